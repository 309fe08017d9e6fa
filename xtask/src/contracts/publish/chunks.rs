//! The transactions that publish a package: one, or, above a transaction's limit, several that
//! fill a staging area and publish from it, as Aptos' own tools do with `large_packages`.
//! Never sends anything.

use aptos_sdk::transaction::EntryFunction;
use aptos_sdk::types::AccountAddress;

use super::package::Package;

/// Most bytes of code and metadata in one transaction, as in Aptos' tools: the limit of a
/// transaction is 65,536 bytes with everything around them.
pub const CHUNK_MAX: usize = 55_000;

/// What one transaction stages: a part of the metadata and parts of modules by index.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chunk {
    metadata: Vec<u8>,
    indices: Vec<u16>,
    code: Vec<Vec<u8>>,
    size: usize,
}

/// An argument as both the chain and Aptos' command line know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    Bytes(Vec<u8>),
    ListOfBytes(Vec<Vec<u8>>),
    Indices(Vec<u16>),
}

/// A call of an entry function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `address::module::function`.
    pub function: String,
    pub arguments: Vec<Argument>,
}

impl Call {
    pub fn entry_function(&self) -> anyhow::Result<EntryFunction> {
        let encode = |argument: &Argument| match argument {
            Argument::Bytes(bytes) => aptos_bcs::to_bytes(bytes),
            Argument::ListOfBytes(list) => aptos_bcs::to_bytes(list),
            Argument::Indices(indices) => aptos_bcs::to_bytes(indices),
        };
        let arguments = self.arguments.iter().map(encode).collect::<Result<_, _>>()?;
        Ok(EntryFunction::from_function_id(&self.function, Vec::new(), arguments)?)
    }
}

/// The calls that publish the package: through `large_packages` at an address if one is given.
pub fn calls(
    package: &Package,
    large_packages: Option<AccountAddress>,
) -> anyhow::Result<Vec<Call>> {
    let code = package.code();
    let Some(module) = large_packages else {
        let code = code.into_iter().map(<[u8]>::to_vec).collect();
        return Ok(vec![Call {
            function: "0x1::code::publish_package_txn".to_owned(),
            arguments: vec![Argument::Bytes(package.metadata.clone()), Argument::ListOfBytes(code)],
        }]);
    };
    let chunks = split(&package.metadata, &code, CHUNK_MAX)?;
    let last = chunks.len().saturating_sub(1);
    let call = |(position, chunk): (usize, Chunk)| {
        let name = match position == last {
            true => "stage_code_chunk_and_publish_to_account",
            false => "stage_code_chunk",
        };
        Call {
            function: format!("{module}::large_packages::{name}"),
            arguments: vec![
                Argument::Bytes(chunk.metadata),
                Argument::Indices(chunk.indices),
                Argument::ListOfBytes(chunk.code),
            ],
        }
    };
    Ok(chunks.into_iter().enumerate().map(call).collect())
}

/// The call that empties a staging area which an interrupted publication left.
pub fn clean_up(module: AccountAddress) -> Call {
    let function = format!("{module}::large_packages::cleanup_staging_area");
    Call { function, arguments: Vec::new() }
}

/// Fills transactions in order, metadata first; the staging area appends parts of a module in the
/// order they come.
fn split(metadata: &[u8], code: &[&[u8]], most: usize) -> anyhow::Result<Vec<Chunk>> {
    let mut chunks: Vec<Chunk> = Vec::new();
    let mut current = Chunk::default();
    for part in metadata.chunks(most) {
        current = next(&mut chunks, current, part.len(), most);
        current.metadata = part.to_vec();
        current.size += part.len();
    }
    for (index, module) in code.iter().enumerate() {
        let index = u16::try_from(index)?;
        let mut rest = *module;
        while !rest.is_empty() {
            if current.size == most {
                current = next(&mut chunks, current, 1, most);
            }
            let (part, after) = rest.split_at(rest.len().min(most - current.size));
            current.indices.push(index);
            current.code.push(part.to_vec());
            current.size += part.len();
            rest = after;
        }
    }
    chunks.push(current);
    Ok(chunks)
}

/// The chunk that has room for `more` bytes: the current one, or a new one after it.
fn next(chunks: &mut Vec<Chunk>, current: Chunk, more: usize, most: usize) -> Chunk {
    if current.size + more <= most {
        return current;
    }
    chunks.push(current);
    Chunk::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the staging area holds in the end.
    fn staged(chunks: &[Chunk]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut metadata = Vec::new();
        let mut code: Vec<Vec<u8>> = Vec::new();
        for chunk in chunks {
            metadata.extend_from_slice(&chunk.metadata);
            for (index, part) in chunk.indices.iter().zip(&chunk.code) {
                let index = usize::from(*index);
                code.resize_with(code.len().max(index + 1), Vec::new);
                code[index].extend_from_slice(part);
            }
        }
        (metadata, code)
    }

    #[test]
    fn the_staging_area_ends_up_with_the_package_whatever_the_sizes() {
        for most in [1, 7, 64, 1_000] {
            for length in [0usize, 1, 6, 7, 8, 63, 64, 65, 200] {
                let metadata = vec![9; length];
                let modules: Vec<Vec<u8>> =
                    (1..6u8).map(|index| vec![index; length / 2 + usize::from(index)]).collect();
                let code: Vec<&[u8]> = modules.iter().map(Vec::as_slice).collect();
                let chunks = split(&metadata, &code, most).unwrap();
                assert!(chunks.iter().all(|chunk| chunk.size <= most && chunk.size > 0));
                assert_eq!(staged(&chunks), (metadata, modules));
            }
        }
    }

    #[test]
    fn each_transaction_names_its_function() {
        let package = Package {
            modules: [("a".to_owned(), vec![1; 2 * CHUNK_MAX])].into(),
            order: vec!["a".to_owned()],
            metadata: vec![2; 10],
        };
        let names = |at| {
            let calls = calls(&package, at).unwrap();
            assert!(calls.iter().all(|call| call.entry_function().is_ok()));
            calls.into_iter().map(|call| call.function).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["0x1::code::publish_package_txn"]);
        let staged =
            ["stage_code_chunk", "stage_code_chunk", "stage_code_chunk_and_publish_to_account"];
        let staged = staged.map(|name| format!("0x1::large_packages::{name}"));
        assert_eq!(names(Some(AccountAddress::ONE)), staged);
    }
}
