/// The record of one task and its state machine. Moves no money; `settlement` does.
///
/// ```text
///              deliver              hold
///   Assigned ----------> Delivered ---------> Disputed
///      |                     |                    |
///      +---------------------+--------------------+--> Settled or Refunded, for good
/// ```
/// A task is created and assigned in one step, so there is no state `Created` of its own.
module cactus::task {
    use std::error;
    use cactus::pricing;

    //
    // Errors
    //

    /// A receipt's hash must be 32 bytes.
    const EBAD_RECEIPT_HASH: u64 = 1;

    //
    // Constants
    //

    const STATE_UNKNOWN: u8 = 0;
    const STATE_ASSIGNED: u8 = 1;
    const STATE_SETTLED: u8 = 2;
    const STATE_REFUNDED: u8 = 3;
    const STATE_DELIVERED: u8 = 4;
    const STATE_DISPUTED: u8 = 5;

    const HASH_BYTES: u64 = 32;

    //
    // Structs
    //

    enum Task has copy, drop, store {
        V1 {
            server: address,
            orchestrator: address,
            order_id: vector<u8>,
            lock: u64,
            prompt_price: u64,
            output_price: u64,
            deadline_seconds: u64,
            state: TaskState,
        }
    }

    enum TaskState has copy, drop, store {
        Assigned,
        Settled { orchestrator_octas: u64, fee_octas: u64 },
        Refunded,
        /// The orchestrator says so; the server and the client may object until then.
        Delivered { work: Work, review_until_seconds: u64 },
        /// Nobody touches it before the case is closed.
        Disputed { work: Work, case: address },
    }

    /// What a server or an orchestrator reports of a task's work.
    struct Work has copy, drop, store {
        prompt_tokens: u64,
        output_tokens: u64,
        compute_ms: u64,
        receipt_hash: vector<u8>,
    }

    /// What `payment::task` answers, amounts in octas.
    struct TaskView has copy, drop {
        /// 0 unknown, 1 assigned, 2 settled, 3 refunded, 4 delivered, 5 disputed.
        state: u8,
        server: address,
        orchestrator: address,
        lock: u64,
        orchestrator_paid: u64,
        fee_paid: u64,
        refunded: u64,
        deadline_seconds: u64,
        /// What the orchestrator says it delivered; zero and empty unless the task is delivered or disputed.
        prompt_tokens: u64,
        output_tokens: u64,
        compute_ms: u64,
        receipt_hash: vector<u8>,
        /// The last second of the review; 0 unless the task is delivered.
        review_until_seconds: u64,
        /// The case that holds the task; `@0x0` unless it is disputed.
        case: address,
    }

    //
    // For the other modules
    //

    /// An assigned task.
    package fun new(
        server: address, orchestrator: address, order_id: vector<u8>, lock: u64, prompt_price: u64, output_price: u64,
        deadline_seconds: u64
    ): Task {
        Task::V1 {
            server, orchestrator, order_id, lock, prompt_price, output_price, deadline_seconds,
            state: TaskState::Assigned,
        }
    }

    /// A report that can be priced.
    ///
    /// Aborts if the receipt's hash is not 32 bytes or there are too many tokens.
    package fun report(prompt_tokens: u64, output_tokens: u64, compute_ms: u64, receipt_hash: vector<u8>): Work {
        assert!(receipt_hash.length() == HASH_BYTES, error::invalid_argument(EBAD_RECEIPT_HASH));
        pricing::assert_tokens(prompt_tokens, output_tokens);
        Work { prompt_tokens, output_tokens, compute_ms, receipt_hash }
    }

    /// Whether `report` would accept this.
    package fun may_report(prompt_tokens: u64, output_tokens: u64, receipt_hash: &vector<u8>): bool {
        receipt_hash.length() == HASH_BYTES && pricing::may_price(prompt_tokens, output_tokens)
    }

    /// Prompt tokens, output tokens, milliseconds of compute, hash of the receipt.
    package fun unpack(self: Work): (u64, u64, u64, vector<u8>) {
        (self.prompt_tokens, self.output_tokens, self.compute_ms, self.receipt_hash)
    }

    package fun server(self: &Task): address { self.server }
    package fun orchestrator(self: &Task): address { self.orchestrator }
    package fun order_id(self: &Task): vector<u8> { self.order_id }
    package fun lock(self: &Task): u64 { self.lock }
    package fun deadline_seconds(self: &Task): u64 { self.deadline_seconds }
    package fun is_assigned(self: &Task): bool { self.state is TaskState::Assigned }
    package fun is_delivered(self: &Task): bool { self.state is TaskState::Delivered }
    package fun is_disputed(self: &Task): bool { self.state is TaskState::Disputed }
    package fun is_held_by(self: &Task, case: address): bool {
        match (&self.state) { Disputed { case: holder, .. } => *holder == case, _ => false }
    }
    package fun is_final(self: &Task): bool { self.state is TaskState::Settled | TaskState::Refunded }

    /// Octas per 1,000 prompt tokens and per 1,000 output tokens.
    package fun prices(self: &Task): (u64, u64) { (self.prompt_price, self.output_price) }

    /// The last second in which the task's server may settle it: of the review once it is delivered, else the deadline.
    package fun settle_until_seconds(self: &Task): u64 {
        match (&self.state) {
            Delivered { review_until_seconds, .. } => *review_until_seconds,
            _ => self.deadline_seconds,
        }
    }

    /// What the orchestrator of a delivered or disputed task says it did.
    package fun delivered(self: &Task): Work {
        match (&self.state) {
            Delivered { work, .. } => *work,
            Disputed { work, .. } => *work,
            _ => Work { prompt_tokens: 0, output_tokens: 0, compute_ms: 0, receipt_hash: vector[] },
        }
    }

    /// What the task took from its client for good, in octas: nothing unless it is settled.
    package fun charged(self: &Task): u64 {
        match (&self.state) {
            Settled { orchestrator_octas, fee_octas } => *orchestrator_octas + *fee_octas,
            _ => 0,
        }
    }

    /// Puts an assigned task under review.
    package fun deliver(self: &mut Task, work: Work, review_until_seconds: u64) {
        self.state = TaskState::Delivered { work, review_until_seconds };
    }

    /// Holds a delivered task until the case is closed.
    package fun hold(self: &mut Task, case: address) {
        let work = self.delivered();
        self.state = TaskState::Disputed { work, case };
    }

    /// Ends a task with a payment.
    package fun settle(self: &mut Task, orchestrator_octas: u64, fee_octas: u64) {
        self.state = TaskState::Settled { orchestrator_octas, fee_octas };
    }

    /// Ends a task without a payment.
    package fun refund(self: &mut Task) {
        self.state = TaskState::Refunded;
    }

    /// All about the task.
    package fun view(self: &Task): TaskView {
        let (state, orchestrator_paid, fee_paid, refunded, review_until_seconds, case) = match (&self.state) {
            Assigned => (STATE_ASSIGNED, 0, 0, 0, 0, @0x0),
            Settled { orchestrator_octas, fee_octas } => (
                STATE_SETTLED, *orchestrator_octas, *fee_octas,
                self.lock - *orchestrator_octas - *fee_octas, 0, @0x0
            ),
            Refunded => (STATE_REFUNDED, 0, 0, self.lock, 0, @0x0),
            Delivered { review_until_seconds, .. } => (STATE_DELIVERED, 0, 0, 0, *review_until_seconds, @0x0),
            Disputed { case, .. } => (STATE_DISPUTED, 0, 0, 0, 0, *case),
        };
        let (prompt_tokens, output_tokens, compute_ms, receipt_hash) = self.delivered().unpack();
        TaskView {
            state, server: self.server, orchestrator: self.orchestrator, lock: self.lock,
            orchestrator_paid, fee_paid, refunded, deadline_seconds: self.deadline_seconds,
            prompt_tokens, output_tokens, compute_ms, receipt_hash, review_until_seconds, case,
        }
    }

    /// What a view says of a task that does not exist.
    package fun unknown(): TaskView {
        TaskView {
            state: STATE_UNKNOWN, server: @0x0, orchestrator: @0x0, lock: 0,
            orchestrator_paid: 0, fee_paid: 0, refunded: 0, deadline_seconds: 0,
            prompt_tokens: 0, output_tokens: 0, compute_ms: 0, receipt_hash: vector[],
            review_until_seconds: 0, case: @0x0,
        }
    }

    #[test_only]
    public fun unpack_for_test(self: TaskView): (u8, address, address, u64, u64, u64, u64, u64) {
        (
            self.state, self.server, self.orchestrator, self.lock,
            self.orchestrator_paid, self.fee_paid, self.refunded, self.deadline_seconds
        )
    }

    #[test_only]
    public fun delivery_for_test(self: TaskView): (u64, u64, u64, vector<u8>, u64, address) {
        (
            self.prompt_tokens, self.output_tokens, self.compute_ms, self.receipt_hash,
            self.review_until_seconds, self.case
        )
    }
}
