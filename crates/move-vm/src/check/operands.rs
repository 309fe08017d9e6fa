//! The stack of operand types within a block, and the instructions on fields and variants.
//! Never forgets an ability: what leaves the stack unused must have `drop`.

use super::types::reference;
use super::{Body, abilities};
use crate::format::{Access, Binary, FieldDef, Instantiation, Token, Use};
use crate::{AbilitySet, VmError};

/// Types of operands at an instruction.
pub(super) struct Operands<'a> {
    pub body: &'a Body<'a>,
    /// The instruction.
    pub at: usize,
    pub stack: Vec<Token>,
}

impl<'a> Operands<'a> {
    pub fn error(&self, code: &'static str) -> VmError {
        self.body.error(code, self.at)
    }

    pub fn pop(&mut self) -> Result<Token, VmError> {
        self.stack.pop().ok_or_else(|| self.error("NEGATIVE_STACK_SIZE_WITHIN_BLOCK"))
    }

    pub fn push(&mut self, token: Token) -> Result<(), VmError> {
        self.stack.push(token);
        Ok(())
    }

    /// Pops a value that must have exactly this type.
    pub fn expect(&mut self, token: &Token) -> Result<(), VmError> {
        if self.pop()? == *token { Ok(()) } else { Err(self.error("TYPE_MISMATCH")) }
    }

    pub fn need(&self, token: &Token, ability: u8, code: &'static str) -> Result<(), VmError> {
        if self.body.abilities(token).has(ability) { Ok(()) } else { Err(self.error(code)) }
    }

    pub fn local(&self, local: u8) -> Token {
        self.body.locals[usize::from(local)].clone()
    }

    /// Pops an integer of any width.
    pub fn integer(&mut self) -> Result<Token, VmError> {
        let token = self.pop()?;
        if token.is_integer() {
            Ok(token)
        } else {
            Err(self.error("INTEGER_OP_TYPE_MISMATCH_ERROR"))
        }
    }

    /// Pops a reference and says what it refers to. A mutable one serves as a shared one.
    pub fn referred(&mut self, access: Access) -> Result<Token, VmError> {
        match (self.pop()?, access) {
            (Token::MutReference(to), _) | (Token::Reference(to), Access::Shared) => Ok(*to),
            _ => Err(self.error("TYPE_MISMATCH")),
        }
    }

    pub fn substitute(&self, token: &Token, arguments: &[Token]) -> Result<Token, VmError> {
        if arguments.is_empty() {
            return Ok(token.clone());
        }
        token.substitute(arguments).ok_or_else(|| self.error("TOO_MANY_TYPE_NODES"))
    }

    pub fn satisfied(
        &self,
        constraints: impl Iterator<Item = AbilitySet>,
        arguments: &[Token],
    ) -> Result<(), VmError> {
        let Body { module, handle, .. } = self.body;
        abilities::satisfied(module, constraints, arguments, &handle.type_params)
            .map_err(|error| self.error(error.code))
    }

    /// The element type that a vector instruction names.
    pub fn element(&self, signature: u16) -> Result<Token, VmError> {
        let Body { module, handle, .. } = self.body;
        let [element] = module.signature(signature) else {
            return Err(self.error("TYPE_MISMATCH"));
        };
        abilities::well_formed(module, element, &handle.type_params)?;
        Ok(element.clone())
    }

    pub fn binary(&mut self, op: Binary) -> Result<(), VmError> {
        match op {
            Binary::Or | Binary::And => {
                self.expect(&Token::Bool)?;
                self.expect(&Token::Bool)?;
                self.push(Token::Bool)
            }
            Binary::Eq | Binary::Neq => {
                let token = self.pop()?;
                self.need(&token, AbilitySet::DROP, "EQUALITY_OP_TYPE_MISMATCH_ERROR")?;
                self.expect(&token)?;
                self.push(Token::Bool)
            }
            Binary::Shl | Binary::Shr => {
                self.expect(&Token::U8)?;
                let token = self.integer()?;
                self.push(token)
            }
            Binary::Lt | Binary::Gt | Binary::Le | Binary::Ge => {
                let token = self.integer()?;
                self.expect(&token)?;
                self.push(Token::Bool)
            }
            _ => {
                let token = self.integer()?;
                self.expect(&token)?;
                self.push(token)
            }
        }
    }

    /// The struct definition's type under type arguments, and those arguments.
    fn owner(&self, def: u16, arguments: &'a [Token]) -> Result<Token, VmError> {
        let module = self.body.module;
        let handle = module.struct_def(def).handle;
        let constraints = module.struct_handle(handle).type_params.iter();
        self.satisfied(constraints.map(|parameter| parameter.constraints), arguments)?;
        Ok(Token::Struct(handle, arguments.to_vec()))
    }

    fn resolve(&self, used: Use, insts: &[Instantiation]) -> (u16, &'a [Token]) {
        match used {
            Use::Plain(index) => (index, &[]),
            Use::Generic(index) => {
                let inst = insts[usize::from(index)];
                (inst.of, self.body.module.signature(inst.type_args))
            }
        }
    }

    /// The struct that an instruction names: its type, its definition and its type arguments.
    pub fn structure(&self, used: Use) -> Result<(Token, (u16, &'a [Token])), VmError> {
        let (def, arguments) = self.resolve(used, &self.body.module.struct_insts);
        Ok((self.owner(def, arguments)?, (def, arguments)))
    }

    pub fn pack(&mut self, used: Use, packing: bool) -> Result<(), VmError> {
        let (token, (def, arguments)) = self.structure(used)?;
        let fields = self.body.module.struct_def(def).fields(None);
        self.pack_fields(token, fields, arguments, packing)
    }

    pub fn pack_variant(&mut self, used: Use, packing: bool) -> Result<(), VmError> {
        let module = self.body.module;
        let (handle, arguments) = self.resolve(used, &module.variant_insts);
        let handle = module.variant_handles[usize::from(handle)];
        let token = self.owner(handle.owner, arguments)?;
        let fields = module.struct_def(handle.owner).fields(Some(handle.variant));
        self.pack_fields(token, fields, arguments, packing)
    }

    fn pack_fields(
        &mut self,
        token: Token,
        fields: Option<&[FieldDef]>,
        arguments: &[Token],
        packing: bool,
    ) -> Result<(), VmError> {
        let fields = fields.ok_or_else(|| self.error("TYPE_MISMATCH"))?;
        let types = fields.iter().map(|field| self.substitute(&field.token, arguments));
        let types: Vec<Token> = types.collect::<Result<_, _>>()?;
        if packing {
            types.iter().rev().try_for_each(|token| self.expect(token))?;
            return self.push(token);
        }
        self.expect(&token)?;
        self.stack.extend(types);
        Ok(())
    }

    pub fn test_variant(&mut self, used: Use) -> Result<(), VmError> {
        let module = self.body.module;
        let (handle, arguments) = self.resolve(used, &module.variant_insts);
        let token = self.owner(module.variant_handles[usize::from(handle)].owner, arguments)?;
        if self.referred(Access::Shared)? != token {
            return Err(self.error("TYPE_MISMATCH"));
        }
        self.push(Token::Bool)
    }

    pub fn borrow_field(&mut self, access: Access, used: Use) -> Result<(), VmError> {
        let module = self.body.module;
        let (handle, arguments) = self.resolve(used, &module.field_insts);
        let handle = module.field_handles[usize::from(handle)];
        let token = self.owner(handle.owner, arguments)?;
        let fields = module.struct_def(handle.owner).fields(None);
        let field = fields.and_then(|fields| fields.get(usize::from(handle.field)));
        let field = field.ok_or_else(|| self.error("TYPE_MISMATCH"))?;
        self.borrow_from(&token, access, self.substitute(&field.token, arguments)?)
    }

    pub fn borrow_variant_field(&mut self, access: Access, used: Use) -> Result<(), VmError> {
        let module = self.body.module;
        let (handle, arguments) = self.resolve(used, &module.variant_field_insts);
        let handle = &module.variant_field_handles[usize::from(handle)];
        let token = self.owner(handle.owner, arguments)?;
        let def = module.struct_def(handle.owner);
        let field = |variant: &u16| {
            let fields = def.fields(Some(*variant));
            fields.and_then(|fields| fields.get(usize::from(handle.field)))
        };
        let mut types = handle.variants.iter().map(field).map(|field| field.map(|def| &def.token));
        let first = types.next().flatten().ok_or_else(|| self.error("TYPE_MISMATCH"))?;
        if types.any(|other| other != Some(first)) {
            return Err(self.error("TYPE_MISMATCH"));
        }
        self.borrow_from(&token, access, self.substitute(first, arguments)?)
    }

    fn borrow_from(&mut self, owner: &Token, access: Access, field: Token) -> Result<(), VmError> {
        if self.referred(access)? != *owner {
            return Err(self.error("TYPE_MISMATCH"));
        }
        self.push(reference(access, field))
    }
}
