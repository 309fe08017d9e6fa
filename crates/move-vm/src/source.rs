//! Modules by name: those published in this session, then storage; parsed once.
//! Never checks a module beyond parsing it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::{Failure, Outcome};
use crate::{CompiledModule, ModuleId, Storage};

/// Most parsed modules kept.
const PARSED_KEPT: usize = 10_000;

/// Modules parsed earlier, by the bytes they came from.
#[derive(Default)]
pub(crate) struct Parsed(Mutex<HashMap<ModuleId, ParsedModule>>);

/// A module and the bytes it came from.
type ParsedModule = (Arc<[u8]>, Arc<CompiledModule>);

impl Parsed {
    /// The parsed module, from earlier if the bytes are the same.
    pub fn parse(&self, id: &ModuleId, bytes: &Arc<[u8]>) -> Outcome<Arc<CompiledModule>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, module)) = kept.get(id).filter(|(old, _)| same(old, bytes)) {
            return Ok(Arc::clone(module));
        }
        let module = Arc::new(CompiledModule::deserialize(bytes)?);
        if module.id() != id {
            return Err(Failure::Other("MODULE_ADDRESS_DOES_NOT_MATCH_SENDER"));
        }
        if kept.len() >= PARSED_KEPT {
            kept.clear();
        }
        kept.insert(id.clone(), (Arc::clone(bytes), Arc::clone(&module)));
        Ok(module)
    }
}

/// Whether two modules are the same bytes.
pub(crate) fn same(left: &Arc<[u8]>, right: &Arc<[u8]>) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

/// Where modules come from: those published in this session, then storage.
pub(crate) struct Source<'a> {
    pub staged: HashMap<ModuleId, Arc<[u8]>>,
    pub storage: &'a dyn Storage,
    pub parsed: &'a Parsed,
}

impl Source<'_> {
    /// The module's bytecode.
    pub fn bytes(&self, id: &ModuleId) -> Outcome<Option<Arc<[u8]>>> {
        match self.staged.get(id) {
            Some(bytes) => Ok(Some(Arc::clone(bytes))),
            None => Ok(self.storage.module(id)?),
        }
    }

    /// The parsed module.
    pub fn module(&self, id: &ModuleId) -> Outcome<Option<Arc<CompiledModule>>> {
        self.bytes(id)?.map(|bytes| self.parsed.parse(id, &bytes)).transpose()
    }
}
