//! Every entry function of the contracts, as a value that can be stored and sent later. It says
//! what is to happen and never who signs it, when, or whether it happened.

use crate::{argument::Argument, view::Availability};
use cactus_protocol::{
    Address, Hash, Octas, OrderId, Price, PublicKey, Signature, SignedOrder, TaskId, task::Fault,
};
use serde::{Deserialize, Serialize};

/// An entry function and its arguments in BCS, still without the account that holds the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryCall {
    pub(crate) module: Module,
    pub(crate) function: &'static str,
    pub(crate) arguments: Vec<Vec<u8>>,
}

/// Where an entry function lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    /// A module of the contracts.
    Cactus(&'static str),
    /// A module of the framework at `0x1`.
    Framework(&'static str),
}

/// A table of `Variant { fields in the order of the parameters } = place(module)::function`.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $variant:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty,)* }
            = $place:ident($module:literal, $function:literal);
    )*) => {
        /// One call of an entry function. Amounts are in octas, times in Unix seconds.
        ///
        /// Stored calls are read back by later versions of this software: variants are only ever
        /// added at the end, and fields never change.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Call {
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $kind,)* },)*
        }

        impl Call {
            pub(crate) fn entry(&self) -> EntryCall {
                match self {
                    $(Self::$variant { $($field,)* } => EntryCall {
                        module: Module::$place($module),
                        function: $function,
                        arguments: vec![$($field.encode(),)*],
                    },)*
                }
            }
        }
    };
}

calls! {
    /// Moves APT from the sender to any account, which it creates if need be.
    Transfer {
        /// Who receives.
        recipient: Address,
        /// How much.
        amount: Octas,
    } = Framework("aptos_account", "transfer");

    /// The sender puts APT into its balance at the escrow.
    Deposit {
        /// How much.
        amount: Octas,
    } = Cactus("payment", "deposit");

    /// The sender takes back what it requested, as far as no task locks it.
    Withdraw {} = Cactus("payment", "withdraw");

    /// The sender, an authorised routing server, locks a client's money for one task.
    /// [`Call::create_task`] builds it from a signed order.
    CreateTask {
        /// Who pays.
        client: Address,
        /// The client's key; it must open the client's account.
        client_public_key: PublicKey,
        /// Of the client's order.
        order_id: OrderId,
        /// Of the client's order.
        max_total: Octas,
        /// Of the client's order.
        max_per_task: Octas,
        /// Of the client's order.
        expires_seconds: u64,
        /// The client's, over the order.
        signature: Signature,
        /// Unique for ever per client.
        task_id: TaskId,
        /// Who will be paid.
        orchestrator: Address,
        /// The node that works; its key signs the receipt.
        node_public_key: PublicKey,
        /// The most that the task can cost.
        lock: Octas,
        /// Octas per 1,000 prompt tokens.
        prompt_price: Octas,
        /// Octas per 1,000 output tokens.
        output_price: Octas,
        /// After this moment anyone may return the lock.
        deadline_seconds: u64,
    } = Cactus("payment", "create_task");

    /// The server pays for delivered work; what is left of the lock returns to the client.
    CompleteTask {
        /// Who pays.
        client: Address,
        /// Which task.
        task_id: TaskId,
        /// Prompt length.
        prompt_tokens: u32,
        /// Output length.
        output_tokens: u32,
        /// Milliseconds of compute.
        compute_ms: u32,
        /// Of the receipt that the node signed.
        receipt_hash: Hash,
    } = Cactus("payment", "complete_task");

    /// The server gives a task up; the whole lock returns to the client.
    FailTask {
        /// Who gets the lock back.
        client: Address,
        /// Which task.
        task_id: TaskId,
        /// Who is to blame.
        fault: Fault,
    } = Cactus("payment", "fail_task");

    /// Anyone returns the lock of a task whose deadline has passed.
    RefundExpired {
        /// Who gets the lock back.
        client: Address,
        /// Which task.
        task_id: TaskId,
    } = Cactus("payment", "refund_expired");

    /// The sender becomes an orchestrator.
    RegisterOrchestrator {
        /// Where its description is.
        metadata_uri: String,
    } = Cactus("registry", "register_orchestrator");

    /// The sender adds a node to its orchestrator.
    AddNode {
        /// The node's key.
        node_public_key: PublicKey,
        /// Where its hardware is described.
        specs_uri: String,
        /// The node key's signature over `NodeKeyProof`.
        proof: Signature,
    } = Cactus("registry", "add_node");

    /// The sender removes one of its nodes.
    RemoveNode {
        /// The node's key.
        node_public_key: PublicKey,
    } = Cactus("registry", "remove_node");

    /// The sender says whether its orchestrator takes work.
    SetStatus {
        /// The new status.
        status: Availability,
    } = Cactus("registry", "set_status");

    /// The sender, a validator, puts an operator on the whitelist or takes it off.
    Whitelist {
        /// Whose standing changes.
        operator: Address,
        /// On or off.
        allowed: bool,
    } = Cactus("registry", "whitelist");

    /// The sender, a validator, vouches for a node.
    ValidateNode {
        /// Whose node.
        operator: Address,
        /// The node's key.
        node_public_key: PublicKey,
    } = Cactus("registry", "validate_node");

    /// The sender, a validator, withdraws what it vouched for.
    InvalidateNode {
        /// Whose node.
        operator: Address,
        /// The node's key.
        node_public_key: PublicKey,
    } = Cactus("registry", "invalidate_node");

    /// The sender stops being an orchestrator; it needs to have no stake left.
    Deregister {} = Cactus("registry", "deregister");

    /// The sender adds to its stake.
    Bond {
        /// How much.
        amount: Octas,
    } = Cactus("stake", "bond");

    /// The sender starts to take stake out; it stays slashable until withdrawn.
    BeginUnbond {
        /// How much.
        amount: Octas,
    } = Cactus("stake", "begin_unbond");

    /// The sender returns unbonding money to its stake.
    Rebond {
        /// How much.
        amount: Octas,
    } = Cactus("stake", "rebond");

    /// The sender takes out what has finished unbonding.
    WithdrawStake {} = Cactus("stake", "withdraw");

    /// The sender becomes a routing server, not yet an authorised one.
    RegisterServer {
        /// Where clients reach it.
        url: String,
        /// Its key for messages.
        public_key: PublicKey,
        /// Held until it leaves.
        bond: Octas,
    } = Cactus("server_registry", "register_server");

    /// The sender changes its routing server's entry.
    UpdateServer {
        /// Where clients reach it.
        url: String,
        /// Its key for messages.
        public_key: PublicKey,
    } = Cactus("server_registry", "update_server");

    /// The sender stops being a routing server; its bond returns.
    RemoveServer {} = Cactus("server_registry", "remove_server");

    /// The admin lets a routing server create tasks.
    AuthorizeServer {
        /// Which one.
        server: Address,
    } = Cactus("server_registry", "authorize_server");

    /// The admin stops a routing server from creating tasks.
    RevokeServer {
        /// Which one.
        server: Address,
    } = Cactus("server_registry", "revoke_server");

    /// The admin names its successor.
    ProposeAdmin {
        /// Who may accept.
        new_admin: Address,
    } = Cactus("config", "propose_admin");

    /// The sender, the proposed admin, takes office.
    AcceptAdmin {} = Cactus("config", "accept_admin");

    /// The admin makes an account a validator, or ends that.
    SetValidator {
        /// Whose standing changes.
        validator: Address,
        /// Validator or not.
        allowed: bool,
    } = Cactus("config", "set_validator");

    /// The admin announces a parameter's new value.
    QueueParameter {
        /// The parameter.
        name: String,
        /// Its new value, in its own unit.
        value: u64,
    } = Cactus("config", "queue_param");

    /// Anyone puts an announced value into force once its delay has passed.
    ApplyParameter {
        /// The parameter.
        name: String,
    } = Cactus("config", "apply_param");

    /// The admin pauses kinds of entries; exits are never paused.
    Pause {
        /// One bit per kind.
        mask: u64,
    } = Cactus("config", "pause");

    /// The admin ends a pause.
    Unpause {
        /// One bit per kind.
        mask: u64,
    } = Cactus("config", "unpause");

    /// The admin moves the protocol's fees out of a server's vault.
    SweepTreasury {
        /// Whose vault.
        server: Address,
        /// Who receives.
        recipient: Address,
    } = Cactus("treasury", "sweep");

    /// The admin moves slashed stake out of the treasury.
    SweepSlashed {
        /// Who receives.
        recipient: Address,
    } = Cactus("treasury", "sweep_slashed");

    /// The sender announces a withdrawal; it replaces an earlier one and starts the delay anew.
    RequestWithdraw {
        /// How much.
        amount: Octas,
    } = Cactus("payment", "request_withdraw");

    /// The sender takes its announcement of a withdrawal back.
    CancelWithdraw {} = Cactus("payment", "cancel_withdraw");

    /// The sender, a task's orchestrator, puts its delivery on record because the server is silent.
    DeliverTask {
        /// Who pays.
        client: Address,
        /// Which task.
        task_id: TaskId,
        /// Prompt length.
        prompt_tokens: u32,
        /// Output length.
        output_tokens: u32,
        /// Milliseconds of compute.
        compute_ms: u32,
        /// Of the receipt that the node signed.
        receipt_hash: Hash,
    } = Cactus("payment", "deliver_task");

    /// Anyone has a delivery paid to which no one objected in time.
    ReleaseExpired {
        /// Who pays.
        client: Address,
        /// Which task.
        task_id: TaskId,
    } = Cactus("payment", "release_expired");

    /// The sender, a routing server, pays for many tasks; the lists are of one length, 1 to 100.
    /// What cannot be paid is passed over: [`crate::ChainEvent::settlement`] and
    /// [`crate::ChainEvent::skipped`] tell which.
    CompleteTasks {
        /// Who pays.
        clients: Vec<Address>,
        /// Which tasks.
        task_ids: Vec<TaskId>,
        /// Prompt lengths.
        prompt_tokens: Vec<u32>,
        /// Output lengths.
        output_tokens: Vec<u32>,
        /// Milliseconds of compute.
        compute_ms: Vec<u32>,
        /// Of the receipts that the nodes signed.
        receipt_hashes: Vec<Hash>,
    } = Cactus("payment", "complete_tasks");

    /// The sender accuses an operator, and puts up a bond.
    Accuse {
        /// Who is accused.
        operator: Address,
        /// Whose task it is about; the zero address if none.
        client: Address,
        /// Which task; none if it is about no task.
        task_id: Option<TaskId>,
        /// Of the evidence.
        evidence_hash: Hash,
    } = Cactus("dispute", "accuse");

    /// The sender, client or server of a delivered task, has a case hold it.
    HoldTask {
        /// Where the case is.
        case: Address,
    } = Cactus("dispute", "hold_task");

    /// The sender, who is accused, answers.
    Respond {
        /// Where the case is.
        case: Address,
        /// Of its defence.
        response_hash: Hash,
    } = Cactus("dispute", "respond");

    /// The sender, a validator, commits to an opinion.
    CommitVote {
        /// Where the case is.
        case: Address,
        /// As `ballot::commitment` defines it.
        commitment: Hash,
    } = Cactus("dispute", "commit_vote");

    /// The sender, a validator, reveals the opinion that it committed to.
    RevealVote {
        /// Where the case is.
        case: Address,
        /// Whether it is for the accuser.
        uphold: bool,
        /// The secret half of the commitment.
        salt: Hash,
    } = Cactus("dispute", "reveal_vote");

    /// The sender, who lost the first vote, asks for a second one, and puts up a bond.
    Appeal {
        /// Where the case is.
        case: Address,
    } = Cactus("dispute", "appeal");

    /// Anyone ends a case whose time is over.
    FinalizeCase {
        /// Where the case is.
        case: Address,
    } = Cactus("dispute", "finalize");
}

/// What a routing server decides about a task when it assigns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Unique for ever per client.
    pub task_id: TaskId,
    /// Who will be paid.
    pub orchestrator: Address,
    /// The node that works.
    pub node: PublicKey,
    /// The most that the task can cost.
    pub lock: Octas,
    /// What the orchestrator asks.
    pub price: Price,
    /// After this moment anyone may return the lock.
    pub deadline_seconds: u64,
}

impl Call {
    /// Locks a client's money under its signed order.
    pub fn create_task(order: &SignedOrder, assignment: Assignment) -> Self {
        Self::CreateTask {
            client: order.order.client,
            client_public_key: order.public_key,
            order_id: order.order.order_id,
            max_total: order.order.max_total,
            max_per_task: order.order.max_per_task,
            expires_seconds: order.order.expires_seconds,
            signature: order.signature,
            task_id: assignment.task_id,
            orchestrator: assignment.orchestrator,
            node_public_key: assignment.node,
            lock: assignment.lock,
            prompt_price: assignment.price.prompt,
            output_price: assignment.price.output,
            deadline_seconds: assignment.deadline_seconds,
        }
    }

    /// The task that this call is about, if any. Calls about one task happen in order.
    pub(crate) fn task(&self) -> Option<(Address, TaskId)> {
        match self {
            Self::CreateTask { client, task_id, .. }
            | Self::CompleteTask { client, task_id, .. }
            | Self::FailTask { client, task_id, .. }
            | Self::RefundExpired { client, task_id, .. }
            | Self::DeliverTask { client, task_id, .. }
            | Self::ReleaseExpired { client, task_id, .. } => Some((*client, *task_id)),
            _ => None,
        }
    }

    /// Whether the calls about the same task can only happen after this one did.
    pub(crate) fn creates_task(&self) -> bool {
        matches!(self, Self::CreateTask { .. })
    }
}
