//! The Move machine: parses, checks and executes bytecode of versions 6 to 8.
//! Knows no chain, no accounts and no HTTP, and never writes to storage.
#![warn(missing_docs)]

mod address;
mod annotate;
mod introspection;
mod session;
mod status;
mod storage;
mod type_tag;

pub use address::{AccountAddress, BadAddress};
pub use annotate::AnnotatedValue;
pub use ethnum::U256;
pub use introspection::{
    AbilitySet, AptosMetadata, Attribute, ErrorDescription, FieldInfo, FunctionInfo, MoveType,
    StructInfo, StructTypeParameter, VariantInfo, Visibility,
};
pub use session::{Session, Vm};
pub use status::{AbortReason, VmError, VmStatus};
pub use storage::{Context, Effects, Event, StateKey, Storage, StorageError};
pub use type_tag::{BadTypeTag, ModuleId, StructTag, TypeTag};

mod format;
pub use format::CompiledModule;
