//! Concrete types as small numbers, equal exactly if the types are.
//! Never resolves names: structs come in already numbered.

use std::collections::HashMap;
use std::sync::Arc;

use crate::failure::{Failure, Outcome};

/// Deepest nesting of a concrete type, as in Aptos.
const TYPE_DEPTH_MAX: u8 = 20;
/// Most nodes of a concrete type, as in Aptos.
const TYPE_NODES_MAX: u16 = 128;

/// A concrete type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ty(u32);

/// A list of concrete types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TyList(u32);

impl TyList {
    /// The empty list.
    pub const EMPTY: Self = Self(0);
}

/// A struct or enum definition: the loaded module and the definition's index in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StructId {
    pub module: u32,
    pub def: u16,
}

/// What a concrete type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TyNode {
    Bool,
    U8,
    U16,
    U32,
    U64,
    U128,
    U256,
    Address,
    Signer,
    Vector(Ty),
    Struct(StructId, TyList),
}

/// The types seen so far.
#[derive(Debug)]
pub(crate) struct Types {
    nodes: Vec<(TyNode, u8, u16)>,
    by_node: HashMap<TyNode, Ty>,
    lists: Vec<Arc<[Ty]>>,
    by_list: HashMap<Arc<[Ty]>, TyList>,
}

impl Default for Types {
    fn default() -> Self {
        let empty: Arc<[Ty]> = Arc::from([]);
        Self {
            nodes: Vec::new(),
            by_node: HashMap::new(),
            by_list: HashMap::from([(Arc::clone(&empty), TyList::EMPTY)]),
            lists: vec![empty],
        }
    }
}

impl Types {
    /// How many types there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn node(&self, ty: Ty) -> TyNode {
        self.nodes[ty.index()].0
    }

    pub fn list(&self, list: TyList) -> &Arc<[Ty]> {
        &self.lists[usize::try_from(list.0).unwrap_or(usize::MAX)]
    }

    /// The number of a type.
    pub fn intern(&mut self, node: TyNode) -> Outcome<Ty> {
        if let Some(ty) = self.by_node.get(&node) {
            return Ok(*ty);
        }
        let (mut depth, mut nodes) = (1u8, 1u16);
        let inner: &[Ty] = match &node {
            TyNode::Vector(element) => std::slice::from_ref(element),
            TyNode::Struct(_, list) => &self.lists[usize::try_from(list.0).unwrap_or(usize::MAX)],
            _ => &[],
        };
        for ty in inner {
            let (_, inner_depth, inner_nodes) = self.nodes[ty.index()];
            depth = depth.max(inner_depth.saturating_add(1));
            nodes = nodes.saturating_add(inner_nodes);
        }
        if depth > TYPE_DEPTH_MAX || nodes > TYPE_NODES_MAX {
            return Err(Failure::Execution("TYPE_TAG_LIMIT_EXCEEDED"));
        }
        let ty = Ty(number(self.nodes.len())?);
        self.nodes.push((node, depth, nodes));
        self.by_node.insert(node, ty);
        Ok(ty)
    }

    /// The number of a list of types.
    pub fn intern_list(&mut self, types: &[Ty]) -> Outcome<TyList> {
        if let Some(list) = self.by_list.get(types) {
            return Ok(*list);
        }
        let list = TyList(number(self.lists.len())?);
        let types: Arc<[Ty]> = types.into();
        self.lists.push(Arc::clone(&types));
        self.by_list.insert(types, list);
        Ok(list)
    }
}

impl Ty {
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

fn number(count: usize) -> Outcome<u32> {
    u32::try_from(count).map_err(|_| Failure::Other("TYPE_TAG_LIMIT_EXCEEDED"))
}
