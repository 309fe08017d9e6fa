//! The Move machine: parses, checks and executes bytecode of versions 6 to 8.
//! Knows no chain, no accounts and no HTTP, and never writes to storage.
#![warn(missing_docs)]

mod address;
mod annotate;
mod check;
mod codec;
mod failure;
mod format;
mod gas;
mod interpreter;
mod introspection;
mod invoke;
mod loader;
mod natives;
mod publish;
mod session;
mod source;
mod state;
mod status;
mod storage;
mod type_tag;
mod types;
mod value;

pub use address::{AccountAddress, BadAddress};
pub use annotate::AnnotatedValue;
pub use ethnum::U256;
pub use format::CompiledModule;
pub use introspection::{
    AbilitySet, AptosMetadata, Attribute, ErrorDescription, FieldInfo, FunctionInfo, MoveType,
    StructInfo, StructTypeParameter, VariantInfo, Visibility,
};
pub use session::{Session, Vm};
pub use status::{AbortReason, VmError, VmStatus};
pub use storage::{Context, Effects, Event, StateKey, Storage, StorageError};
pub use type_tag::{BadTypeTag, ModuleId, StructTag, TypeTag};
