//! Version 0: publishes the framework and the contracts, and funds the faucet.
//! Never looks at a clock or at randomness: every chain starts from the same state.

use cactus_move_vm::{
    AccountAddress, CompiledModule, Context, Effects, Session, Vm, VmError, VmStatus,
};
use serde::Serialize;

use crate::block::BlockBuilder;
use crate::execution::Discarded;
use crate::faucet;
use crate::framework::{self, FRAMEWORK};
use crate::state::Overlay;
use crate::store::CommittedBlock;
use crate::{CONTRACT_ADDRESS, execution::Executed, records::Outcome};

/// Committed bytecode in publication order: `framework/<module>`, `experimental/<module>` or
/// `cactus/<module>`.
static BUNDLE: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundle.rs"));
/// Where Aptos keeps what is not part of the framework yet: `large_packages`.
const EXPERIMENTAL: AccountAddress = AccountAddress::small(7);
/// Gas units for genesis, which nobody pays for.
const GENESIS_GAS: u64 = 1_000_000_000;
/// `code::UpgradePolicy`: upgrades must be compatible.
const COMPATIBLE: u8 = 1;

/// The committed bytecode cannot start a chain.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// A module does not parse.
    #[error("module {name} does not parse: {cause}")]
    Module {
        /// As in `order.txt`.
        name: &'static str,
        /// Why.
        cause: VmError,
    },
    /// A step of genesis failed.
    #[error("genesis failed while {step}: {cause}")]
    Step {
        /// What was being done.
        step: &'static str,
        /// Why.
        cause: VmStatus,
    },
    /// The effects could not be laid out.
    #[error(transparent)]
    Effects(#[from] Discarded),
    /// A value has no canonical bytes.
    #[error(transparent)]
    Encoding(#[from] aptos_bcs::Error),
}

/// Builds the first block.
pub fn genesis_block(vm: &Vm, chain_id: u8) -> Result<CommittedBlock, GenesisError> {
    let mut genesis =
        Genesis { vm, chain_id, state: Overlay::new(None), effects: Effects::default() };
    let framework = modules("framework/");
    genesis.step("publishing the framework", |session| session.publish(FRAMEWORK, framework))?;
    let experimental = modules("experimental/");
    genesis.step("publishing what Aptos tries out", |session| {
        session.publish(EXPERIMENTAL, experimental)
    })?;
    genesis.call(
        "initializing the framework",
        "initialize",
        vec![aptos_bcs::to_bytes(&chain_id)?],
    )?;
    genesis.call(
        "funding the faucet",
        "mint",
        vec![aptos_bcs::to_bytes(&faucet::address())?, aptos_bcs::to_bytes(&faucet::ENDOWMENT)?],
    )?;
    genesis.call(
        "creating the admin",
        "mint",
        vec![aptos_bcs::to_bytes(&CONTRACT_ADDRESS)?, aptos_bcs::to_bytes(&0_u64)?],
    )?;
    genesis.publish_contracts()?;
    let mut block = BlockBuilder::genesis(vm, chain_id, 0);
    block.record_genesis(genesis.effects)?;
    Ok(block.finish())
}

/// The bytecode whose name starts with `prefix`, in publication order.
fn modules(prefix: &str) -> Vec<Vec<u8>> {
    let chosen = BUNDLE.iter().filter(|(name, _)| name.starts_with(prefix));
    chosen.map(|(_, bytes)| bytes.to_vec()).collect()
}

struct Genesis<'a> {
    vm: &'a Vm,
    chain_id: u8,
    state: Overlay,
    effects: Effects,
}

impl Genesis<'_> {
    /// Publishes the contracts as their owner would: by `0x1::code::publish_package_txn`.
    fn publish_contracts(&mut self) -> Result<(), GenesisError> {
        let code = modules("cactus/");
        if code.is_empty() {
            return Ok(());
        }
        let metadata = aptos_bcs::to_bytes(&PackageMetadata::of_contracts()?)?;
        let args = vec![aptos_bcs::to_bytes(&metadata)?, aptos_bcs::to_bytes(&code)?];
        self.step("publishing the contracts", |session| {
            let module = framework::module("code");
            session.execute_entry(
                &module,
                "publish_package_txn",
                Vec::new(),
                args,
                &[CONTRACT_ADDRESS],
            )
        })
    }

    fn call(
        &mut self,
        step: &'static str,
        function: &str,
        args: Vec<Vec<u8>>,
    ) -> Result<(), GenesisError> {
        let module = framework::module("genesis");
        self.step(step, |session| {
            session.call(&module, function, Vec::new(), args)?;
            Ok(())
        })
    }

    fn step(
        &mut self,
        step: &'static str,
        run: impl FnOnce(&mut Session<'_>) -> Result<(), VmStatus>,
    ) -> Result<(), GenesisError> {
        let failed = |cause| GenesisError::Step { step, cause };
        let context =
            Context { chain_id: self.chain_id, sender: CONTRACT_ADDRESS, ..Context::default() };
        let mut session = self.vm.session(&self.state, context, GENESIS_GAS);
        run(&mut session).map_err(failed)?;
        let effects = session.finish().map_err(failed)?;
        self.effects.events.extend(effects.events.clone());
        self.effects.writes.extend(effects.writes.clone());
        let executed = Executed::new(Outcome::new(&Ok(()), 0), effects)?;
        self.state.apply(&executed.writes).map_err(|cause| failed(cause.into()))
    }
}

/// `0x1::code::PackageMetadata`.
#[derive(Serialize)]
struct PackageMetadata {
    name: &'static str,
    upgrade_policy: u8,
    upgrade_number: u64,
    source_digest: String,
    manifest: Vec<u8>,
    modules: Vec<ModuleMetadata>,
    deps: Vec<PackageDependency>,
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
struct PackageDependency {
    account: AccountAddress,
    package_name: &'static str,
}

impl PackageMetadata {
    fn of_contracts() -> Result<Self, GenesisError> {
        let mut modules = Vec::new();
        for (name, bytes) in BUNDLE.iter().filter(|(name, _)| name.starts_with("cactus/")) {
            let module = CompiledModule::deserialize(bytes)
                .map_err(|cause| GenesisError::Module { name, cause })?;
            modules.push(ModuleMetadata {
                name: module.id().name.clone(),
                source: Vec::new(),
                source_map: Vec::new(),
                extension: None,
            });
        }
        Ok(Self {
            name: "cactus",
            upgrade_policy: COMPATIBLE,
            upgrade_number: 0,
            source_digest: String::new(),
            manifest: Vec::new(),
            modules,
            deps: vec![PackageDependency { account: FRAMEWORK, package_name: "AptosFramework" }],
            extension: None,
        })
    }
}

/// Bundled modules whose bytes differ from those on chain: the data directory is from another
/// release.
pub fn modules_not_on_chain(state: &dyn cactus_move_vm::Storage) -> Vec<&'static str> {
    let differs = |bytes: &[u8]| {
        let Ok(module) = CompiledModule::deserialize(bytes) else {
            return true;
        };
        !matches!(state.module(module.id()), Ok(Some(stored)) if *stored == *bytes)
    };
    let different = BUNDLE.iter().filter(|(_, bytes)| differs(bytes));
    different.map(|(name, _)| *name).collect()
}
