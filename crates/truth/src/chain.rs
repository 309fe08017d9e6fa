//! A chain in memory: the committed bytecode on the Move machine, and nothing else.
//! Never persists, never charges gas, and keeps no history.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cactus_move_vm::{
    AccountAddress, Context, Effects, ModuleId, StateKey, Storage, StorageError, StructTag,
    TypeTag, Vm, VmStatus,
};
use sha3::{Digest, Sha3_256};

use crate::argument::bcs;
use crate::operation::Operation;

/// The chain's id, as on localnet.
pub const CHAIN_ID: u8 = 4;
/// Where the committed bytecode lives.
pub const CONTRACT: AccountAddress = AccountAddress([
    0x77, 0x0e, 0xb1, 0xb3, 0x17, 0x0b, 0xcd, 0xd2, 0x7a, 0xab, 0x10, 0xae, 0xd5, 0x4a, 0x73, 0xbf,
    0x2b, 0x40, 0xf4, 0x9c, 0x88, 0xae, 0x43, 0x09, 0x57, 0x99, 0x27, 0x98, 0xc9, 0xcd, 0xfe, 0xd8,
]);
/// More than any single call may use.
const GAS: u64 = 1_000_000_000;

/// The state, and the machine that changes it.
#[derive(Clone)]
pub struct Chain {
    vm: Arc<Vm>,
    modules: HashMap<ModuleId, Arc<[u8]>>,
    resources: HashMap<AccountAddress, HashMap<StructTag, Vec<u8>>>,
    items: HashMap<AccountAddress, HashMap<Vec<u8>, Vec<u8>>>,
    seconds: u64,
}

impl Storage for Chain {
    fn module(&self, id: &ModuleId) -> Result<Option<Arc<[u8]>>, StorageError> {
        Ok(self.modules.get(id).cloned())
    }

    fn resource(
        &self,
        address: &AccountAddress,
        tag: &StructTag,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.resources.get(address).and_then(|of_address| of_address.get(tag)).cloned())
    }

    fn table_item(
        &self,
        handle: &AccountAddress,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.items.get(handle).and_then(|table| table.get(key)).cloned())
    }
}

impl Chain {
    /// A chain with the framework and the contracts at `seconds` of Unix time, and what genesis
    /// wrote.
    ///
    /// # Errors
    /// The committed bytecode is missing or does not start.
    pub fn genesis(seconds: u64) -> Result<(Self, Vec<Effects>), VmStatus> {
        let mut chain = Self {
            vm: Arc::default(),
            modules: HashMap::new(),
            resources: HashMap::new(),
            items: HashMap::new(),
            seconds: 0,
        };
        let mut all = vec![chain.publish(AccountAddress::ONE, "framework")?];
        all.push(chain.system("0x1::genesis::initialize", vec![bcs(&CHAIN_ID)])?);
        chain.wait(seconds);
        all.push(chain.mint(CONTRACT, 0)?);
        all.push(chain.publish(CONTRACT, "cactus")?);
        Ok((chain, all))
    }

    /// Unix time.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: u64) {
        self.seconds += seconds;
        let clock = self.resources.entry(AccountAddress::ONE).or_default();
        clock.insert(
            framework_tag("timestamp", "CurrentTimeMicroseconds"),
            bcs(&(self.seconds * 1_000_000)),
        );
    }

    /// Creates `octas` for `owner`.
    ///
    /// # Errors
    /// The supply would overflow.
    pub fn mint(&mut self, owner: AccountAddress, octas: u64) -> Result<Effects, VmStatus> {
        self.system("0x1::genesis::mint", vec![bcs(&owner), bcs(&octas)])
    }

    /// Calls an entry function and keeps its effects.
    ///
    /// # Errors
    /// It aborted or failed; then nothing changed.
    pub fn call(&mut self, operation: &Operation) -> Result<Effects, VmStatus> {
        let (module, function) = contract_function(operation.function);
        let arguments = operation.arguments.iter().map(|argument| argument.to_bcs()).collect();
        let signers = operation.signer.as_slice();
        let mut session = self.vm.session(self, self.context(operation.nonce), GAS);
        session.execute_entry(&module, function, Vec::new(), arguments, signers)?;
        let effects = session.finish()?;
        self.apply(&effects);
        Ok(effects)
    }

    /// The BCS of what a view of the contracts answers.
    ///
    /// # Errors
    /// The view aborted.
    pub fn view(&self, function: &str, arguments: Vec<Vec<u8>>) -> Result<Vec<u8>, VmStatus> {
        let (module, function) = contract_function(function);
        let mut session = self.vm.session(self, self.context(0), GAS);
        let results = session.call(&module, function, Vec::new(), arguments)?;
        Ok(results.into_iter().flat_map(|(_, bytes)| bytes).collect())
    }

    /// Octas in an account's primary store.
    ///
    /// # Errors
    /// The framework failed.
    pub fn wallet(&self, owner: &AccountAddress) -> Result<Vec<u8>, VmStatus> {
        let coin = TypeTag::Struct(Box::new(framework_tag("aptos_coin", "AptosCoin")));
        let module = ModuleId::new(AccountAddress::ONE, "coin");
        let mut session = self.vm.session(self, self.context(0), GAS);
        let results = session.call(&module, "balance", vec![coin], vec![bcs(owner)])?;
        Ok(results.into_iter().flat_map(|(_, bytes)| bytes).collect())
    }

    fn publish(&mut self, at: AccountAddress, folder: &str) -> Result<Effects, VmStatus> {
        let code = bytecode(folder);
        let mut session = self.vm.session(self, self.context(0), GAS);
        session.publish(at, code)?;
        let effects = session.finish()?;
        self.apply(&effects);
        Ok(effects)
    }

    fn system(&mut self, function: &str, arguments: Vec<Vec<u8>>) -> Result<Effects, VmStatus> {
        let name = function.trim_start_matches("0x1::");
        let (module, name) = name.split_once("::").unwrap_or((name, ""));
        let module = ModuleId::new(AccountAddress::ONE, module);
        let mut session = self.vm.session(self, self.context(0), GAS);
        session.call(&module, name, Vec::new(), arguments)?;
        let effects = session.finish()?;
        self.apply(&effects);
        Ok(effects)
    }

    fn context(&self, nonce: u64) -> Context {
        Context {
            chain_id: CHAIN_ID,
            timestamp_us: self.seconds * 1_000_000,
            transaction_hash: Sha3_256::digest(nonce.to_le_bytes()).into(),
            sender: AccountAddress::ZERO,
        }
    }

    fn apply(&mut self, effects: &Effects) {
        for (key, bytes) in &effects.writes {
            match key {
                StateKey::Module(id) => {
                    let bytes = bytes.as_deref().unwrap_or_default();
                    self.modules.insert(id.clone(), bytes.into());
                }
                StateKey::Resource(address, tag) => {
                    put(self.resources.entry(*address).or_default(), tag, bytes.as_ref());
                }
                StateKey::TableItem(handle, item) => {
                    put(self.items.entry(*handle).or_default(), item, bytes.as_ref());
                }
            }
        }
    }
}

fn put<K: Clone + Eq + std::hash::Hash>(
    map: &mut HashMap<K, Vec<u8>>,
    key: &K,
    value: Option<&Vec<u8>>,
) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}

/// A struct of the framework without type arguments.
pub fn framework_tag(module: &str, name: &str) -> StructTag {
    StructTag {
        address: AccountAddress::ONE,
        module: module.to_owned(),
        name: name.to_owned(),
        type_args: Vec::new(),
    }
}

/// `module::function` of the contracts.
fn contract_function(function: &str) -> (ModuleId, &str) {
    let (module, name) = function.split_once("::").unwrap_or((function, ""));
    (ModuleId::new(CONTRACT, module), name)
}

fn bytecode_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../localnet/bytecode")
}

/// The committed modules of `framework` or `cactus`, in publication order.
pub fn bytecode(package: &str) -> Vec<Vec<u8>> {
    let dir = bytecode_dir();
    let order = std::fs::read_to_string(dir.join("order.txt")).unwrap_or_default();
    let names = order.lines().filter(|name| name.split('/').next() == Some(package));
    names.filter_map(|name| std::fs::read(dir.join(format!("{name}.mv"))).ok()).collect()
}
