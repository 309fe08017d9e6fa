//! Parsed modules for the API, so that not every answer parses bytecode again.
//! Never used for execution: the machine keeps its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cactus_move_vm::{CompiledModule, ModuleId};

/// Modules kept at most.
const CAPACITY: usize = 512;

/// Bytecode and what it parses to.
type Parsed = (Arc<[u8]>, Arc<CompiledModule>);

/// A cache of parsed modules.
#[derive(Default)]
pub struct Interfaces {
    parsed: Mutex<HashMap<ModuleId, Parsed>>,
}

impl Interfaces {
    /// Parses `bytes`, or recalls what they parsed to; `None` if they do not parse.
    pub fn get(&self, id: &ModuleId, bytes: &Arc<[u8]>) -> Option<Arc<CompiledModule>> {
        let known = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, module)) = known.get(id)
            && Arc::ptr_eq(from, bytes)
        {
            return Some(Arc::clone(module));
        }
        drop(known);
        let module = Arc::new(CompiledModule::deserialize(bytes).ok()?);
        let mut known = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CAPACITY {
            known.clear();
        }
        known.insert(id.clone(), (Arc::clone(bytes), Arc::clone(&module)));
        Some(module)
    }
}
