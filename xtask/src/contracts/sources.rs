//! What the Move sources promise their readers: every error code is documented and reached by a
//! test, every entry function says when it aborts, and files and functions stay short. Reads one
//! item per line as our own style has it; no general Move parser.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, ensure};

/// No file of the contracts has more lines.
const MAX_FILE_LINES: usize = 500;
/// No function of the contracts has more lines.
const MAX_FUNCTION_LINES: usize = 60;

/// Module and code of an abort, without Aptos' category.
type Code = (String, u64);

/// Checks the modules in `dir` against the tests in `dir/tests`.
///
/// # Errors
/// A promise is broken, and by which item.
pub fn check(dir: &Path) -> anyhow::Result<()> {
    let mut reached = BTreeSet::new();
    for (_, text) in read(&dir.join("tests"))? {
        reached.extend(expected_codes(&text));
    }
    let modules = read(dir)?;
    let mut faults = Vec::new();
    for (name, text) in &modules {
        faults
            .extend(faults_of(text, &reached).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    ensure!(faults.is_empty(), "the contracts' sources break their rules:\n{}", faults.join("\n"));
    println!("{} Move sources keep their rules", modules.len());
    Ok(())
}

fn read(dir: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "move") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            sources.push((name, text));
        }
    }
    sources.sort();
    Ok(sources)
}

/// What `expected_failure` attributes name.
fn expected_codes(text: &str) -> Vec<Code> {
    let attributes = text.lines().filter(|line| line.contains("expected_failure"));
    let code = |line: &str| {
        let hex = between(line, "abort_code = 0x", ",")?;
        let module = between(line, "location = cactus::", ")")?;
        let code = u64::from_str_radix(hex, 16).ok()?;
        Some((module.to_owned(), code & 0xffff))
    };
    attributes.filter_map(code).collect()
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(before)?;
    rest.split_once(after).map(|(inside, _)| inside)
}

fn faults_of(text: &str, reached: &BTreeSet<Code>) -> Vec<String> {
    let mut faults = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > MAX_FILE_LINES {
        faults.push(format!("has {} lines, more than {MAX_FILE_LINES}", lines.len()));
    }
    let module = lines.iter().find_map(|line| between(line, "module cactus::", " {")).unwrap_or("");
    let (mut doc, mut function) = (String::new(), None);
    for (number, line) in lines.iter().enumerate() {
        if let Some(words) = line.trim_start().strip_prefix("///") {
            doc.push_str(words);
            continue;
        }
        if let Some((name, code)) = error_constant(line) {
            if doc.is_empty() {
                faults.push(format!("{name} is not documented"));
            }
            // What only `error::internal` carries says that our own code is wrong: no call gets there.
            let internal = text.contains(&format!("error::internal({name})"));
            if !internal && !reached.contains(&(module.to_owned(), code)) {
                faults.push(format!("no test reaches {name} ({code})"));
            }
        }
        if let Some(name) = function_name(line) {
            if line.contains(" entry fun ") && !doc.contains("Aborts ") {
                faults.push(format!("the doc of {name} does not say when it aborts"));
            }
            function = Some((name, number));
        }
        if let (Some((name, start)), "    }") = (function, *line) {
            let length = number + 1 - start;
            if length > MAX_FUNCTION_LINES {
                faults.push(format!("{name} has {length} lines, more than {MAX_FUNCTION_LINES}"));
            }
            function = None;
        }
        if !line.trim_start().starts_with("#[") {
            doc.clear();
        }
    }
    faults
}

fn error_constant(line: &str) -> Option<(&str, u64)> {
    let name = between(line, "    const E", ": u64 = ")?;
    let start = line.find(name)? - 1;
    let code = between(line, ": u64 = ", ";")?.parse().ok()?;
    line.get(start..start + 1 + name.len()).map(|name| (name, code))
}

/// The name of a function that is declared on this line, at the level of its module.
fn function_name(line: &str) -> Option<&str> {
    let declaration = line.strip_prefix("    ").filter(|rest| !rest.starts_with([' ', '/']))?;
    let (before, rest) = declaration.split_once("fun ")?;
    let words = ["public", "entry", "package", "inline", "friend"];
    let is_declaration = before.split_whitespace().all(|word| words.contains(&word));
    is_declaration.then(|| rest.split(['(', '<']).next()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
module cactus::door {
    /// The door is shut.
    const ESHUT: u64 = 1;
    const EUNSAID: u64 = 2;
    /// Cannot happen.
    const EBROKEN: u64 = 3;

    /// Anyone opens it.
    ///
    /// Aborts if it is shut.
    public entry fun open(_anyone: &signer) {
        assert!(true, error::internal(EBROKEN));
    }

    #[view]
    /// Anyone closes it.
    public entry fun close(_anyone: &signer) {}
}
";

    #[test]
    fn what_is_not_said_or_not_tested_is_found() {
        let test = "#[expected_failure(abort_code = 0x30001, location = cactus::door)]";
        let reached = expected_codes(test).into_iter().collect();
        assert_eq!(
            faults_of(SOURCE, &reached),
            [
                "EUNSAID is not documented",
                "no test reaches EUNSAID (2)",
                "the doc of close does not say when it aborts"
            ]
        );
        let none = faults_of(SOURCE, &BTreeSet::new());
        assert!(none.contains(&"no test reaches ESHUT (1)".to_owned()), "{none:?}");
    }

    #[test]
    fn what_is_too_long_is_found() {
        let body = "        let a = 1;\n".repeat(59);
        let text = format!("module cactus::long {{\n    fun f() {{\n{body}    }}\n}}\n");
        assert_eq!(faults_of(&text, &BTreeSet::new()), ["f has 61 lines, more than 60"]);
        let text = "\n".repeat(501);
        assert_eq!(faults_of(&text, &BTreeSet::new()), ["has 501 lines, more than 500"]);
    }
}
