//! Constants hold what their types say.
//! Never accepts a struct or signer as a constant.

use std::sync::Arc;

use crate::codec::{Layout, decode};
use crate::format::Token;
use crate::{CompiledModule, VmError};

pub(super) fn check(module: &CompiledModule) -> Result<(), VmError> {
    for constant in &module.constants {
        let layout = layout(&constant.token);
        let layout = layout.ok_or_else(|| VmError::new("INVALID_CONSTANT_TYPE", "constant"))?;
        decode(&layout, &constant.data)
            .map_err(|_| VmError::new("MALFORMED_CONSTANT_DATA", "constant"))?;
    }
    Ok(())
}

fn layout(token: &Token) -> Option<Layout> {
    Some(match token {
        Token::Bool => Layout::Bool,
        Token::U8 => Layout::U8,
        Token::U16 => Layout::U16,
        Token::U32 => Layout::U32,
        Token::U64 => Layout::U64,
        Token::U128 => Layout::U128,
        Token::U256 => Layout::U256,
        Token::Address => Layout::Address,
        Token::Vector(element) if **element == Token::U8 => Layout::Bytes,
        Token::Vector(element) => Layout::Vector(Arc::new(layout(element)?)),
        _ => return None,
    })
}
