//! The binary format of modules.
//! Never executes anything.

use crate::{AptosMetadata, FunctionInfo, ModuleId, StructInfo, VmError};

/// A deserialised module whose every index is in bounds.
#[derive(Debug, Clone)]
pub struct CompiledModule {
    id: ModuleId,
}

impl CompiledModule {
    /// Parses and bounds-checks. Never panics, whatever the bytes.
    pub fn deserialize(_bytes: &[u8]) -> Result<Self, VmError> {
        Err(VmError::new("MALFORMED", "not yet"))
    }

    /// Where the module lives.
    pub fn id(&self) -> &ModuleId {
        &self.id
    }

    /// The modules it uses, without itself.
    pub fn dependencies(&self) -> Vec<ModuleId> {
        Vec::new()
    }

    /// The modules that may call its friend functions.
    pub fn friends(&self) -> Vec<ModuleId> {
        Vec::new()
    }

    /// Its functions, in the order of definition.
    pub fn functions(&self) -> Vec<FunctionInfo> {
        Vec::new()
    }

    /// One function by name.
    pub fn function(&self, _name: &str) -> Option<FunctionInfo> {
        None
    }

    /// Its structs and enums, in the order of definition.
    pub fn structs(&self) -> Vec<StructInfo> {
        Vec::new()
    }

    /// Raw metadata entries: key and value.
    pub fn metadata(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &[]
    }

    /// The Aptos part of the metadata: error names and attributes. Empty if there is none.
    pub fn aptos_metadata(&self) -> AptosMetadata {
        AptosMetadata::default()
    }
}
