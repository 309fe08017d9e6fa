//! A chain's state in memory, for tests.

#![allow(dead_code, missing_docs)]

pub mod assembler;
pub mod fuzzing;
pub mod generating;

use std::collections::BTreeMap;
use std::sync::Arc;

use cactus_move_vm::{
    AccountAddress, Context, Effects, Event, ModuleId, StateKey, Storage, StorageError, StructTag,
    TypeTag, Vm, VmStatus,
};

/// Gas units for one call, ample for all but the tests of its end.
pub const GAS: u64 = 1_000_000;

/// A machine with its state.
#[derive(Default)]
pub struct World {
    pub vm: Vm,
    pub modules: BTreeMap<ModuleId, Arc<[u8]>>,
    pub values: BTreeMap<StateKey, Vec<u8>>,
    pub events: Vec<Event>,
    pub transactions: u64,
}

impl Storage for World {
    fn module(&self, id: &ModuleId) -> Result<Option<Arc<[u8]>>, StorageError> {
        Ok(self.modules.get(id).cloned())
    }

    fn resource(
        &self,
        address: &AccountAddress,
        tag: &StructTag,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.values.get(&StateKey::Resource(*address, tag.clone())).cloned())
    }

    fn table_item(
        &self,
        handle: &AccountAddress,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.values.get(&StateKey::TableItem(*handle, key.to_vec())).cloned())
    }
}

impl World {
    pub fn context(&self) -> Context {
        let mut transaction_hash = [7; 32];
        transaction_hash[..8].copy_from_slice(&self.transactions.to_le_bytes());
        Context { chain_id: 4, timestamp_us: 1, transaction_hash, sender: AccountAddress::ZERO }
    }

    pub fn apply(&mut self, effects: Effects) {
        self.transactions += 1;
        for (key, bytes) in effects.writes {
            match (key, bytes) {
                (StateKey::Module(id), Some(bytes)) => {
                    self.modules.insert(id, bytes.into());
                }
                (key, Some(bytes)) => {
                    self.values.insert(key, bytes);
                }
                (key, None) => {
                    self.values.remove(&key);
                }
            }
        }
        self.events.extend(effects.events);
    }

    pub fn publish(&mut self, at: AccountAddress, modules: Vec<Vec<u8>>) -> Result<(), VmStatus> {
        let mut session = self.vm.session(self, self.context(), GAS);
        session.publish(at, modules)?;
        let effects = session.finish()?;
        self.apply(effects);
        Ok(())
    }

    pub fn entry(
        &mut self,
        signers: &[AccountAddress],
        function: &str,
        args: Vec<Vec<u8>>,
    ) -> Result<Effects, VmStatus> {
        let (module, name) = split(function);
        let mut session = self.vm.session(self, self.context(), GAS);
        session.execute_entry(&module, &name, Vec::new(), args, signers)?;
        let effects = session.finish()?;
        self.apply(effects.clone());
        Ok(effects)
    }

    pub fn call(
        &self,
        function: &str,
        type_args: Vec<TypeTag>,
        args: Vec<Vec<u8>>,
    ) -> Result<Vec<(TypeTag, Vec<u8>)>, VmStatus> {
        let (module, name) = split(function);
        self.vm.session(self, self.context(), GAS).call(&module, &name, type_args, args)
    }

    /// Calls a chain function and keeps its effects.
    pub fn system(&mut self, function: &str, args: Vec<Vec<u8>>) -> Result<(), VmStatus> {
        let (module, name) = split(function);
        let mut session = self.vm.session(self, self.context(), GAS);
        session.call(&module, &name, Vec::new(), args)?;
        let effects = session.finish()?;
        self.apply(effects);
        Ok(())
    }
}

/// `0x1::coin::balance` into its module and its name.
pub fn split(function: &str) -> (ModuleId, String) {
    let (module, name) = function.rsplit_once("::").expect("module::function");
    let (address, module) = module.split_once("::").expect("address::module");
    (ModuleId::new(address.parse().expect("address"), module), name.to_owned())
}

pub fn bcs<T: serde::Serialize>(value: &T) -> Vec<u8> {
    aptos_bcs::to_bytes(value).expect("BCS")
}

/// The `.mv` files of a folder.
pub fn bytecode(folder: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{folder}: {error}"))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "mv"))
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("bytecode")).collect()
}
