//! Calls as files that `aptos multisig create-transaction --json-file` reads, so that the owners
//! of a multisig account can read, propose and approve them. Never talks to a network.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use super::chunks::{Argument, Call};

/// Writes one file per call, named in the order in which they must be executed.
pub fn write(folder: &Path, calls: &[Call]) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)?;
    let mut paths = Vec::new();
    for (position, call) in calls.iter().enumerate() {
        let path = folder.join(format!("publish-{:02}.json", position + 1));
        let text = serde_json::to_string_pretty(&as_json(call))? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}

fn as_json(call: &Call) -> Value {
    let hex = |bytes: &Vec<u8>| format!("0x{}", hex::encode(bytes));
    let argument = |argument: &Argument| match argument {
        Argument::Bytes(bytes) => json!({ "type": "hex", "value": hex(bytes) }),
        Argument::ListOfBytes(list) => {
            json!({ "type": "hex", "value": list.iter().map(hex).collect::<Vec<_>>() })
        }
        Argument::Indices(indices) => json!({ "type": "u16", "value": indices }),
    };
    let arguments: Vec<Value> = call.arguments.iter().map(argument).collect();
    json!({ "function_id": call.function, "type_args": [], "args": arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_written_as_the_command_line_of_aptos_reads_it() {
        let call = Call {
            function: "0x7::large_packages::stage_code_chunk".to_owned(),
            arguments: vec![
                Argument::Bytes(vec![1, 0xab]),
                Argument::Indices(vec![0, 300]),
                Argument::ListOfBytes(vec![vec![2], vec![]]),
            ],
        };
        let expected = json!({
            "function_id": "0x7::large_packages::stage_code_chunk",
            "type_args": [],
            "args": [
                { "type": "hex", "value": "0x01ab" },
                { "type": "u16", "value": [0, 300] },
                { "type": "hex", "value": ["0x02", "0x"] },
            ],
        });
        assert_eq!(as_json(&call), expected);
    }

    #[test]
    fn files_are_named_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let call =
            Call { function: "0x1::code::publish_package_txn".to_owned(), arguments: vec![] };
        let paths = write(&folder.path().join("new"), &[call.clone(), call]).unwrap();
        let names: Vec<_> = paths.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["publish-01.json", "publish-02.json"]);
        assert!(paths.iter().all(|path| path.exists()));
    }
}
