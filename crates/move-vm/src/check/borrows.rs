//! Which reference within a function borrows from which other, and along which fields. The
//! graph follows the one of Move's own verifier: a new borrow slips in between a place and the
//! older borrows of it, so that only what nobody borrows from may be written.
//! Never knows instructions or types.

use std::collections::{BTreeMap, BTreeSet};

/// A step from a place to a place within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    /// A local of the frame.
    Local(u8),
    /// Any resource of a struct, at whatever address.
    Global(u16),
    /// A field by struct and position, in whatever variant.
    Field(u16, u16),
}

/// A reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RefId(pub u32);

/// What the whole frame owns: locals and resources are borrowed from it.
pub(super) const FRAME: RefId = RefId(0);

/// How a borrower came from what it borrows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    path: Vec<Label>,
    /// The borrower is at the path; otherwise it is anywhere below it.
    exact: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    mutable: bool,
    borrowers: BTreeMap<RefId, BTreeSet<Edge>>,
    lenders: BTreeSet<RefId>,
}

/// The checks did more work than any honest module needs.
#[derive(Debug)]
pub(super) struct TooComplex;

/// A bound on the work of checking one module, in edges looked at.
#[derive(Debug)]
pub(super) struct Budget(pub u64);

impl Budget {
    pub fn spend(&mut self, amount: usize) -> Result<(), TooComplex> {
        let amount = crate::value::length(amount).saturating_add(1);
        self.0 = self.0.checked_sub(amount).ok_or(TooComplex)?;
        Ok(())
    }
}

/// The references alive at a point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Graph {
    nodes: BTreeMap<RefId, Node>,
}

impl Graph {
    /// A frame that nothing borrows from.
    pub fn new() -> Self {
        let frame = Node { mutable: true, ..Node::default() };
        Self { nodes: BTreeMap::from([(FRAME, frame)]) }
    }

    /// Adds a reference that borrows from nothing in this frame.
    pub fn add(&mut self, id: RefId, mutable: bool) {
        self.nodes.insert(id, Node { mutable, ..Node::default() });
    }

    pub fn is_mutable(&self, id: RefId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.mutable)
    }

    /// Whether anything borrows from `id`: all of it, or at `label` if one is given.
    pub fn is_borrowed(&self, id: RefId, label: Option<Label>) -> bool {
        self.overlapping(id, label).next().is_some()
    }

    /// As [`Graph::is_borrowed`], by a mutable reference.
    pub fn is_mutably_borrowed(&self, id: RefId, label: Option<Label>) -> bool {
        self.overlapping(id, label).any(|borrower| self.is_mutable(borrower))
    }

    /// Whether something borrows all of `id`, or an unknown part.
    pub fn is_borrowed_whole(&self, id: RefId) -> bool {
        self.edges(id).any(|(_, edge)| edge.path.is_empty())
    }

    /// Whether `id` may be read, at `label` if one is given.
    pub fn is_readable(&self, id: RefId, label: Option<Label>) -> bool {
        !self.is_mutable(id) || !self.is_mutably_borrowed(id, label)
    }

    /// Whether `id` may be written, and handed to others that may write it.
    pub fn is_writable(&self, id: RefId) -> bool {
        !self.is_borrowed(id, None)
    }

    fn edges(&self, id: RefId) -> impl Iterator<Item = (RefId, &Edge)> {
        let borrowers = self.nodes.get(&id).map(|node| &node.borrowers);
        borrowers
            .into_iter()
            .flatten()
            .flat_map(|(borrower, edges)| edges.iter().map(|edge| (*borrower, edge)))
    }

    fn overlapping(&self, id: RefId, label: Option<Label>) -> impl Iterator<Item = RefId> {
        let overlaps = move |edge: &Edge| match (label, edge.path.first()) {
            (Some(label), Some(first)) => label == *first,
            _ => true,
        };
        self.edges(id).filter(move |(_, edge)| overlaps(edge)).map(|(borrower, _)| borrower)
    }

    fn connect(&mut self, lender: RefId, edge: Edge, borrower: RefId) {
        if let Some(node) = self.nodes.get_mut(&lender) {
            node.borrowers.entry(borrower).or_default().insert(edge);
        }
        if let Some(node) = self.nodes.get_mut(&borrower) {
            node.lenders.insert(lender);
        }
    }

    /// `borrower` borrows exactly what is at `path` of `lender`. Older borrows of that place, or
    /// of something in it, now come through `borrower`.
    pub fn borrow_exactly(
        &mut self,
        lender: RefId,
        path: &[Label],
        borrower: RefId,
        budget: &mut Budget,
    ) -> Result<(), TooComplex> {
        let mut moved = Vec::new();
        if let Some(node) = self.nodes.get_mut(&lender) {
            for (older, edges) in &mut node.borrowers {
                budget.spend(edges.len())?;
                let (within, kept) = std::mem::take(edges)
                    .into_iter()
                    .partition(|edge: &Edge| edge.path.starts_with(path));
                *edges = kept;
                let within: BTreeSet<Edge> = within;
                moved.extend(within.into_iter().map(|edge| (*older, edge)));
            }
        }
        for (older, edge) in moved {
            self.forget_if_empty(lender, older);
            let rest = edge.path[path.len()..].to_vec();
            self.connect(borrower, Edge { path: rest, exact: edge.exact }, older);
        }
        self.connect(lender, Edge { path: path.to_vec(), exact: true }, borrower);
        Ok(())
    }

    /// `borrower` borrows something in `lender`, nobody knows what.
    pub fn borrow_somewhere(&mut self, lender: RefId, borrower: RefId) {
        self.connect(lender, Edge { path: Vec::new(), exact: false }, borrower);
    }

    fn forget_if_empty(&mut self, lender: RefId, borrower: RefId) {
        let Some(node) = self.nodes.get_mut(&lender) else { return };
        if node.borrowers.get(&borrower).is_some_and(BTreeSet::is_empty) {
            node.borrowers.remove(&borrower);
            if let Some(node) = self.nodes.get_mut(&borrower) {
                node.lenders.remove(&lender);
            }
        }
    }

    /// Ends a reference. What borrowed from it now borrows from its lenders.
    pub fn release(&mut self, id: RefId, budget: &mut Budget) -> Result<(), TooComplex> {
        let Some(node) = self.nodes.remove(&id) else { return Ok(()) };
        for borrower in node.borrowers.keys() {
            if let Some(other) = self.nodes.get_mut(borrower) {
                other.lenders.remove(&id);
            }
        }
        for lender in &node.lenders {
            let from_lender =
                self.nodes.get_mut(lender).and_then(|lender| lender.borrowers.remove(&id));
            for first in from_lender.unwrap_or_default() {
                for (borrower, edges) in &node.borrowers {
                    budget.spend(edges.len().saturating_mul(1 + first.path.len()))?;
                    for second in edges {
                        self.connect(*lender, first.then(second), *borrower);
                    }
                }
            }
        }
        Ok(())
    }

    /// The same graph with other names. Every reference must have one.
    pub fn renamed(
        &self,
        name: impl Fn(RefId) -> RefId,
        budget: &mut Budget,
    ) -> Result<Self, TooComplex> {
        let mut nodes = BTreeMap::new();
        for (id, node) in &self.nodes {
            let borrowers = node.borrowers.iter();
            let borrowers: BTreeMap<_, _> =
                borrowers.map(|(id, edges)| (name(*id), edges.clone())).collect();
            budget.spend(borrowers.values().map(BTreeSet::len).sum())?;
            let lenders = node.lenders.iter().map(|id| name(*id)).collect();
            nodes.insert(name(*id), Node { mutable: node.mutable, borrowers, lenders });
        }
        Ok(Self { nodes })
    }

    /// Adds every borrow of `other`, which has the same references.
    pub fn join(&mut self, other: &Self, budget: &mut Budget) -> Result<(), TooComplex> {
        for (id, node) in &other.nodes {
            for (borrower, edges) in &node.borrowers {
                budget.spend(edges.len())?;
                edges.iter().for_each(|edge| self.connect(*id, edge.clone(), *borrower));
            }
        }
        Ok(())
    }
}

impl Edge {
    /// From a lender over a reference to that reference's borrower.
    fn then(&self, next: &Edge) -> Edge {
        if !self.exact {
            return self.clone();
        }
        let path = self.path.iter().chain(&next.path).copied().collect();
        Edge { path, exact: next.exact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: Label = Label::Field(0, 0);
    const OTHER: Label = Label::Field(0, 1);

    fn graph() -> (Graph, Budget) {
        let mut graph = Graph::new();
        for id in 1..=3 {
            graph.add(RefId(id), true);
        }
        (graph, Budget(1_000))
    }

    #[test]
    fn a_second_borrow_of_a_place_slips_under_the_first() {
        let (mut graph, mut budget) = graph();
        graph.borrow_exactly(FRAME, &[Label::Local(0)], RefId(1), &mut budget).unwrap();
        graph.borrow_exactly(FRAME, &[Label::Local(0)], RefId(2), &mut budget).unwrap();
        assert!(graph.is_writable(RefId(1)));
        assert!(!graph.is_writable(RefId(2)));
        graph.release(RefId(1), &mut budget).unwrap();
        assert!(graph.is_writable(RefId(2)));
        assert!(graph.is_borrowed(FRAME, Some(Label::Local(0))));
        assert!(!graph.is_borrowed(FRAME, Some(Label::Local(1))));
    }

    #[test]
    fn other_fields_stay_readable() {
        let (mut graph, mut budget) = graph();
        graph.borrow_exactly(RefId(1), &[FIELD], RefId(2), &mut budget).unwrap();
        assert!(!graph.is_readable(RefId(1), Some(FIELD)));
        assert!(graph.is_readable(RefId(1), Some(OTHER)));
        assert!(!graph.is_borrowed_whole(RefId(1)));
        graph.borrow_somewhere(RefId(1), RefId(3));
        assert!(!graph.is_readable(RefId(1), Some(OTHER)));
    }

    #[test]
    fn a_released_reference_leaves_its_borrowers_with_its_lenders() {
        let (mut graph, mut budget) = graph();
        graph.borrow_exactly(FRAME, &[Label::Local(0)], RefId(1), &mut budget).unwrap();
        graph.borrow_exactly(RefId(1), &[FIELD], RefId(2), &mut budget).unwrap();
        graph.release(RefId(1), &mut budget).unwrap();
        assert!(graph.is_mutably_borrowed(FRAME, Some(Label::Local(0))));
        graph.release(RefId(2), &mut budget).unwrap();
        assert_eq!(graph.edges(FRAME).count(), 0);
    }

    #[test]
    fn work_is_bounded() {
        let (mut graph, _) = graph();
        graph.borrow_exactly(RefId(1), &[FIELD], RefId(2), &mut Budget(9)).unwrap();
        assert!(graph.borrow_exactly(RefId(1), &[], RefId(3), &mut Budget(0)).is_err());
    }
}
