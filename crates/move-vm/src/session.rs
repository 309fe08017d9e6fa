//! One transaction's or view's execution: reads through [`Storage`], gathers effects.
//! Never writes to storage; dropping a session discards all it did.

use crate::{
    AccountAddress, AnnotatedValue, Context, Effects, ModuleId, Storage, TypeTag, VmStatus,
};

/// The Move machine. Holds compiled modules between sessions; may be shared between threads.
#[derive(Default)]
pub struct Vm {}

impl Vm {
    /// An empty machine.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a session with at most `gas_limit` units of gas.
    pub fn session<'a>(
        &'a self,
        storage: &'a dyn Storage,
        context: Context,
        gas_limit: u64,
    ) -> Session<'a> {
        Session {
            _vm: self,
            _storage: storage,
            _context: context,
            _gas_limit: gas_limit,
        }
    }

    /// Decodes BCS `bytes` of the given type with the names of fields and variants.
    pub fn annotate(
        &self,
        _tag: &TypeTag,
        _bytes: &[u8],
        _storage: &dyn Storage,
    ) -> Result<AnnotatedValue, VmStatus> {
        Err(VmStatus::MiscellaneousError("FEATURE_UNDER_GATING"))
    }
}

/// An execution in progress.
pub struct Session<'a> {
    _vm: &'a Vm,
    _storage: &'a dyn Storage,
    _context: Context,
    _gas_limit: u64,
}

impl Session<'_> {
    /// Runs an entry function. `args` are BCS, without the signers, which come first.
    pub fn execute_entry(
        &mut self,
        _module: &ModuleId,
        _function: &str,
        _type_args: Vec<TypeTag>,
        _args: Vec<Vec<u8>>,
        _signers: &[AccountAddress],
    ) -> Result<(), VmStatus> {
        Err(VmStatus::MiscellaneousError("FEATURE_UNDER_GATING"))
    }

    /// Calls any function and returns its results: views, and calls by the chain itself.
    pub fn call(
        &mut self,
        module: &ModuleId,
        function: &str,
        type_args: Vec<TypeTag>,
        args: Vec<Vec<u8>>,
    ) -> Result<Vec<(TypeTag, Vec<u8>)>, VmStatus> {
        self.call_with_signers(module, function, type_args, args, &[])
    }

    /// As [`Session::call`], with `signers` for the leading `signer` or `&signer` parameters.
    pub fn call_with_signers(
        &mut self,
        _module: &ModuleId,
        _function: &str,
        _type_args: Vec<TypeTag>,
        _args: Vec<Vec<u8>>,
        _signers: &[AccountAddress],
    ) -> Result<Vec<(TypeTag, Vec<u8>)>, VmStatus> {
        Err(VmStatus::MiscellaneousError("FEATURE_UNDER_GATING"))
    }

    /// Publishes modules under `publisher`: checks, links, compares with the published version,
    /// and runs `init_module(&signer)` of those that are new.
    pub fn publish(
        &mut self,
        _publisher: AccountAddress,
        _modules: Vec<Vec<u8>>,
    ) -> Result<(), VmStatus> {
        Err(VmStatus::MiscellaneousError("FEATURE_UNDER_GATING"))
    }

    /// Gas units used so far, rounded up.
    pub fn gas_used(&self) -> u64 {
        0
    }

    /// Ends the session and hands over what it wants written.
    pub fn finish(self) -> Result<Effects, VmStatus> {
        Ok(Effects::default())
    }
}
