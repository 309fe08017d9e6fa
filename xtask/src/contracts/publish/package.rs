//! The package as a network takes it: the committed bytecode with the publisher's address in
//! place of the localnet's, and `0x1::code::PackageMetadata`. Never compiles: the committed
//! bytecode is what CI rebuilds and compares.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, ensure};
use aptos_sdk::types::AccountAddress;
use flate2::{Compression, write::GzEncoder};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::contracts::stage::CONTRACT_ADDRESS;

/// Upgrades must be compatible.
const POLICY_COMPATIBLE: u8 = 1;

/// What is published.
pub struct Package {
    /// Bytecode by module name.
    pub modules: BTreeMap<String, Vec<u8>>,
    /// Module names, each after those that it imports.
    pub order: Vec<String>,
    /// `0x1::code::PackageMetadata` in BCS.
    pub metadata: Vec<u8>,
}

#[derive(Serialize)]
struct PackageMetadata {
    name: &'static str,
    upgrade_policy: u8,
    upgrade_number: u64,
    source_digest: String,
    manifest: Vec<u8>,
    modules: Vec<ModuleMetadata>,
    deps: Vec<PackageDep>,
    extension: Option<()>,
}

#[derive(Serialize)]
struct ModuleMetadata {
    name: String,
    source: Vec<u8>,
    source_map: Vec<u8>,
    extension: Option<()>,
}

#[derive(Serialize)]
struct PackageDep {
    account: AccountAddress,
    package_name: &'static str,
}

impl Package {
    /// The committed package of the repository at `root`, for `publisher`.
    pub fn for_address(root: &Path, publisher: AccountAddress) -> anyhow::Result<Self> {
        let bytecode = root.join("crates/localnet/bytecode");
        let order = std::fs::read_to_string(bytecode.join("order.txt"))?;
        let order: Vec<String> = order
            .lines()
            .filter_map(|line| line.strip_prefix("cactus/"))
            .map(str::to_owned)
            .collect();
        let built_for = hex::decode(CONTRACT_ADDRESS.trim_start_matches("0x"))?;
        let mut modules = BTreeMap::new();
        for name in &order {
            let path = bytecode.join(format!("cactus/{name}.mv"));
            let bytes = std::fs::read(&path).with_context(|| format!("no {}", path.display()))?;
            let moved = replaced(&bytes, &built_for, &publisher.to_bytes());
            ensure!(
                moved != bytes || publisher.to_bytes()[..] == built_for[..],
                "{name} has no address"
            );
            modules.insert(name.clone(), moved);
        }
        let metadata = metadata(root, &order)?;
        Ok(Self { modules, order, metadata })
    }

    /// Bytecode in publication order.
    pub fn code(&self) -> Vec<&[u8]> {
        self.order.iter().map(|name| self.modules[name].as_slice()).collect()
    }

    /// Bytes that one transaction would carry.
    pub fn size(&self) -> usize {
        self.metadata.len() + self.modules.values().map(Vec::len).sum::<usize>()
    }
}

fn metadata(root: &Path, order: &[String]) -> anyhow::Result<Vec<u8>> {
    let manifest = std::fs::read(root.join("Move.toml"))?;
    let mut compressed = GzEncoder::new(Vec::new(), Compression::best());
    compressed.write_all(&manifest)?;
    let module = |name: &String| ModuleMetadata {
        name: name.clone(),
        source: Vec::new(),
        source_map: Vec::new(),
        extension: None,
    };
    // A network lets modules import only from packages that are listed here.
    let dependency = |package_name| PackageDep { account: AccountAddress::ONE, package_name };
    let metadata = PackageMetadata {
        name: "cactus",
        upgrade_policy: POLICY_COMPATIBLE,
        upgrade_number: 0,
        source_digest: source_digest(&root.join("contracts"))?,
        manifest: compressed.finish()?,
        modules: order.iter().map(module).collect(),
        deps: ["AptosFramework", "AptosStdlib", "MoveStdlib"].map(dependency).into(),
        extension: None,
    };
    Ok(aptos_bcs::to_bytes(&metadata)?)
}

/// SHA-256 over the sources in the order of their names; tells packages apart, proves nothing.
fn source_digest(sources: &Path) -> anyhow::Result<String> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(sources)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "move") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut digest = Sha256::new();
    for path in paths {
        digest.update(std::fs::read(path)?);
    }
    Ok(hex::encode_upper(digest.finalize()))
}

/// `bytes` with every `from` replaced by `to` of the same length. Addresses are 32 bytes from a
/// hash, so no other content equals one by chance.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        out[at + found..at + found + from.len()].copy_from_slice(to);
        at += found + from.len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_replaced_and_nothing_else() {
        assert_eq!(replaced(b"abXXcXXXd", b"XX", b"yz"), b"abyzcyzXd");
        assert_eq!(replaced(b"", b"XX", b"yz"), b"");
    }

    #[test]
    fn the_package_is_that_of_the_publisher() {
        let publisher = AccountAddress::new([0xab; 32]);
        let package = Package::for_address(&crate::contracts::root(), publisher).unwrap();
        let old = hex::decode(CONTRACT_ADDRESS.trim_start_matches("0x")).unwrap();
        assert_eq!(package.order.len(), package.modules.len());
        for bytes in package.modules.values() {
            assert!(bytes.windows(32).any(|window| window == [0xab; 32]));
            assert!(!bytes.windows(32).any(|window| window == old));
        }
    }
}
