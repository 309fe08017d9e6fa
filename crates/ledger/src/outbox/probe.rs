//! The moments at which a process may die without losing or doubling anything, told to whoever
//! wants to try. It changes nothing about what the worker does; with `()` it is no code at all.

/// Lies right before or right after something that outlives the process: a change of the database,
/// or a request that the chain may have received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Transactions are signed; nothing is stored.
    BeforeStoring,
    /// Between two rows of the one database transaction that stores what was signed.
    WhileStoring,
    /// Signed transactions are stored; none is sent.
    AfterStoring,
    /// A stored transaction is about to be sent, the first time or again.
    BeforeSubmitting,
    /// The node has answered, or not; nothing is stored about it.
    AfterSubmitting,
    /// The chain has decided the intents of a transaction; that is not stored.
    BeforeSettling,
    /// Between two rows of the one database transaction that stores what it decided.
    WhileSettling,
    /// The decision is stored; no subscriber knows it.
    AfterSettling,
    /// A transaction can never happen any more; it is still stored.
    BeforeReleasing,
    /// It is forgotten and its intent is open again.
    AfterReleasing,
}

impl Point {
    /// Every point.
    pub const ALL: [Self; 10] = [
        Self::BeforeStoring,
        Self::WhileStoring,
        Self::AfterStoring,
        Self::BeforeSubmitting,
        Self::AfterSubmitting,
        Self::BeforeSettling,
        Self::WhileSettling,
        Self::AfterSettling,
        Self::BeforeReleasing,
        Self::AfterReleasing,
    ];
}

/// Is told of every [`Point`] that a worker reaches.
pub trait Probe: Send + Sync + 'static {
    /// The worker is at `point`.
    fn reached(&self, point: Point);
}

/// What ships: nobody is told.
impl Probe for () {
    fn reached(&self, _: Point) {}
}
