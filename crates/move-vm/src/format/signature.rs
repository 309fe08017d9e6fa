//! Types as a module writes them: struct handles by index, type parameters by position.
//! Never resolves a handle.

use super::reader::{Reader, malformed};
use crate::VmError;

/// Deepest nesting of a type in a signature.
pub(crate) const TOKEN_DEPTH_MAX: usize = 32;
/// Most nodes of one type after type arguments are put in.
pub(crate) const TOKEN_NODES_MAX: usize = 256;
const TYPE_ARGUMENTS_MAX: u64 = 255;

/// A type in a signature.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    U256,
    Address,
    Signer,
    Vector(Box<Token>),
    Struct(u16, Vec<Token>),
    Reference(Box<Token>),
    MutReference(Box<Token>),
    Parameter(u16),
}

impl Token {
    pub(super) fn read(reader: &mut Reader) -> Result<Self, VmError> {
        let mut nodes = 0;
        Self::read_at(reader, 0, &mut nodes)
    }

    fn read_at(reader: &mut Reader, depth: usize, nodes: &mut usize) -> Result<Self, VmError> {
        *nodes += 1;
        if depth > TOKEN_DEPTH_MAX || *nodes > TOKEN_NODES_MAX {
            return Err(malformed("type too deep or too large"));
        }
        let tag = reader.byte()?;
        let mut inner = |reader: &mut Reader| Self::read_at(reader, depth + 1, nodes);
        Ok(match tag {
            0x1 => Self::Bool,
            0x2 => Self::U8,
            0x3 => Self::U64,
            0x4 => Self::U128,
            0x5 => Self::Address,
            0x6 => Self::Reference(Box::new(inner(reader)?)),
            0x7 => Self::MutReference(Box::new(inner(reader)?)),
            0x8 => Self::Struct(reader.index()?, Vec::new()),
            0x9 => Self::Parameter(reader.index()?),
            0xa => Self::Vector(Box::new(inner(reader)?)),
            0xb => {
                let handle = reader.index()?;
                let arguments = reader.list(TYPE_ARGUMENTS_MAX, inner)?;
                if arguments.is_empty() {
                    return Err(malformed("generic type without arguments"));
                }
                Self::Struct(handle, arguments)
            }
            0xc => Self::Signer,
            0xd => Self::U16,
            0xe => Self::U32,
            0xf => Self::U256,
            0x10 => return Err(VmError::new("FEATURE_NOT_ENABLED", "function types")),
            0x11..=0x16 => return Err(VmError::new("FEATURE_NOT_ENABLED", "signed integers")),
            _ => return Err(malformed("unknown type")),
        })
    }

    pub fn is_reference(&self) -> bool {
        matches!(self, Self::Reference(_) | Self::MutReference(_))
    }

    pub fn is_integer(&self) -> bool {
        use Token::{U8, U16, U32, U64, U128, U256};
        matches!(self, U8 | U16 | U32 | U64 | U128 | U256)
    }

    /// The type with `arguments` in place of its parameters; `None` when it grows too large or
    /// a parameter has no argument.
    pub fn substitute(&self, arguments: &[Token]) -> Option<Token> {
        let mut nodes = 0;
        self.substitute_into(arguments, &mut nodes)
    }

    fn substitute_into(&self, arguments: &[Token], nodes: &mut usize) -> Option<Token> {
        *nodes += 1;
        if *nodes > TOKEN_NODES_MAX {
            return None;
        }
        let mut inner = |token: &Token| token.substitute_into(arguments, nodes);
        Some(match self {
            Self::Vector(element) => Self::Vector(Box::new(inner(element)?)),
            Self::Reference(to) => Self::Reference(Box::new(inner(to)?)),
            Self::MutReference(to) => Self::MutReference(Box::new(inner(to)?)),
            Self::Struct(handle, list) => {
                Self::Struct(*handle, list.iter().map(inner).collect::<Option<_>>()?)
            }
            Self::Parameter(index) => {
                let argument = arguments.get(usize::from(*index))?;
                *nodes += argument.nodes();
                (*nodes <= TOKEN_NODES_MAX + 1).then(|| argument.clone())?
            }
            plain => plain.clone(),
        })
    }

    /// How many nodes the type has.
    pub fn nodes(&self) -> usize {
        match self {
            Self::Vector(inner) | Self::Reference(inner) | Self::MutReference(inner) => {
                1 + inner.nodes()
            }
            Self::Struct(_, list) => 1 + list.iter().map(Token::nodes).sum::<usize>(),
            _ => 1,
        }
    }
}
