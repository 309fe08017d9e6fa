//! One transaction's or view's execution: reads through [`Storage`], gathers effects.
//! Never writes to storage; dropping a session discards all it did.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::annotate;
use crate::codec::Decoder;
use crate::failure::Outcome;
use crate::gas::Meter;
use crate::interpreter::status_without_place;
use crate::invoke::{self, Call};
use crate::loader::Loader;
use crate::publish;
use crate::source::{Parsed, Source};
use crate::state::State;
use crate::{
    AccountAddress, AnnotatedValue, Context, Effects, ModuleId, Storage, TypeTag, VmStatus,
};

/// Most linked module sets kept for later sessions.
const LOADERS_KEPT: usize = 4;

/// The Move machine. Holds parsed and linked modules between sessions; may be shared between
/// threads.
#[derive(Default)]
pub struct Vm {
    parsed: Parsed,
    loaders: Mutex<Vec<Loader>>,
}

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
        let loader = self.loader(storage);
        let source = Source { staged: HashMap::new(), storage, parsed: &self.parsed };
        let state = State::new(loader, source, context, Meter::new(gas_limit));
        Session { vm: self, state }
    }

    fn loader(&self, storage: &dyn Storage) -> Loader {
        let kept = self.loaders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.filter(|loader| loader.is_current(storage)).unwrap_or_default()
    }

    fn keep(&self, loader: Loader) {
        let mut kept = self.loaders.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < LOADERS_KEPT {
            kept.push(loader);
        }
    }

    /// Decodes BCS `bytes` of the given type with the names of fields and variants.
    pub fn annotate(
        &self,
        tag: &TypeTag,
        bytes: &[u8],
        storage: &dyn Storage,
    ) -> Result<AnnotatedValue, VmStatus> {
        let mut loader = self.loader(storage);
        let source = Source { staged: HashMap::new(), storage, parsed: &self.parsed };
        let mut decoder = Decoder { rest: bytes };
        let value = loader
            .ty_of_tag(tag, &source)
            .and_then(|ty| annotate::decode(&mut loader, &source, ty, &mut decoder));
        self.keep(loader);
        match value {
            Ok(value) if decoder.rest.is_empty() => Ok(value),
            Ok(_) => Err(VmStatus::MiscellaneousError("FAILED_TO_DESERIALIZE_RESOURCE")),
            Err(failure) => Err(status_without_place(failure)),
        }
    }
}

/// An execution in progress. After an error the session is of no further use: drop it.
pub struct Session<'a> {
    vm: &'a Vm,
    state: State<'a>,
}

impl Session<'_> {
    /// Runs an entry function. `args` are BCS, without the signers, which come first. A package
    /// that the function asked to publish is published before this returns.
    pub fn execute_entry(
        &mut self,
        module: &ModuleId,
        function: &str,
        type_args: Vec<TypeTag>,
        args: Vec<Vec<u8>>,
        signers: &[AccountAddress],
    ) -> Result<(), VmStatus> {
        let call = Call { module, function, type_args: &type_args, args: &args, signers };
        invoke::entry(&mut self.state, &call)?;
        if let Some(request) = self.state.publish_request.take() {
            publish::publish_requested(&mut self.state, request)?;
        }
        self.state.flush(true).map_err(status_without_place)
    }

    /// Calls any function and returns its results: views, and calls by the chain itself.
    /// Whether a function may be called so is the caller's matter.
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
        module: &ModuleId,
        function: &str,
        type_args: Vec<TypeTag>,
        args: Vec<Vec<u8>>,
        signers: &[AccountAddress],
    ) -> Result<Vec<(TypeTag, Vec<u8>)>, VmStatus> {
        let call = Call { module, function, type_args: &type_args, args: &args, signers };
        invoke::any(&mut self.state, &call)
    }

    /// Publishes modules under `publisher`: checks, links, compares with the published version,
    /// and runs `init_module(&signer)` of those that are new.
    pub fn publish(
        &mut self,
        publisher: AccountAddress,
        modules: Vec<Vec<u8>>,
    ) -> Result<(), VmStatus> {
        publish::publish(&mut self.state, publisher, modules)
    }

    /// Gas units used so far, rounded up.
    pub fn gas_used(&self) -> u64 {
        self.state.meter.used()
    }

    /// Ends the session and hands over what it wants written.
    pub fn finish(mut self) -> Result<Effects, VmStatus> {
        let flushed: Outcome<()> = self.state.flush(false);
        flushed.map_err(status_without_place)?;
        Ok(Effects {
            writes: std::mem::take(&mut self.state.pending),
            events: std::mem::take(&mut self.state.events),
            gas_used: self.state.meter.used(),
        })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // What this session staged may never be committed.
        if self.state.source.staged.is_empty() {
            self.vm.keep(std::mem::take(&mut self.state.loader));
        }
    }
}
