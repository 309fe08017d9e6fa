/// The record of one task and its state machine: `Assigned`, then `Settled` or `Refunded` for good. Moves no money;
/// `payment` does.
module cactus::task {
    //
    // Constants
    //

    const STATE_UNKNOWN: u8 = 0;
    const STATE_ASSIGNED: u8 = 1;
    const STATE_SETTLED: u8 = 2;
    const STATE_REFUNDED: u8 = 3;

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
    }

    /// What `payment::task` answers, amounts in octas. `state`: 0 unknown, 1 assigned, 2 settled, 3 refunded.
    struct TaskView has copy, drop {
        state: u8,
        server: address,
        orchestrator: address,
        lock: u64,
        orchestrator_paid: u64,
        fee_paid: u64,
        refunded: u64,
        deadline_seconds: u64,
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

    package fun server(self: &Task): address { self.server }
    package fun orchestrator(self: &Task): address { self.orchestrator }
    package fun order_id(self: &Task): vector<u8> { self.order_id }
    package fun lock(self: &Task): u64 { self.lock }
    package fun deadline_seconds(self: &Task): u64 { self.deadline_seconds }
    package fun is_assigned(self: &Task): bool { self.state == TaskState::Assigned }

    /// Octas per 1,000 prompt tokens and per 1,000 output tokens.
    package fun prices(self: &Task): (u64, u64) { (self.prompt_price, self.output_price) }

    /// What the task took from its client for good, in octas: nothing unless it is settled.
    package fun charged(self: &Task): u64 {
        match (&self.state) {
            Settled { orchestrator_octas, fee_octas } => *orchestrator_octas + *fee_octas,
            _ => 0,
        }
    }

    /// Ends an assigned task with a payment.
    package fun settle(self: &mut Task, orchestrator_octas: u64, fee_octas: u64) {
        self.state = TaskState::Settled { orchestrator_octas, fee_octas };
    }

    /// Ends an assigned task without a payment.
    package fun refund(self: &mut Task) {
        self.state = TaskState::Refunded;
    }

    /// All about the task.
    package fun view(self: &Task): TaskView {
        let (state, orchestrator_paid, fee_paid, refunded) = match (&self.state) {
            Assigned => (STATE_ASSIGNED, 0, 0, 0),
            Settled { orchestrator_octas, fee_octas } => (
                STATE_SETTLED, *orchestrator_octas, *fee_octas,
                self.lock - *orchestrator_octas - *fee_octas
            ),
            Refunded => (STATE_REFUNDED, 0, 0, self.lock),
        };
        TaskView {
            state, server: self.server, orchestrator: self.orchestrator, lock: self.lock,
            orchestrator_paid, fee_paid, refunded, deadline_seconds: self.deadline_seconds,
        }
    }

    /// What a view says of a task that does not exist.
    package fun unknown(): TaskView {
        TaskView {
            state: STATE_UNKNOWN, server: @0x0, orchestrator: @0x0, lock: 0,
            orchestrator_paid: 0, fee_paid: 0, refunded: 0, deadline_seconds: 0,
        }
    }

    #[test_only]
    public fun unpack_for_test(self: TaskView): (u8, address, address, u64, u64, u64, u64, u64) {
        (
            self.state, self.server, self.orchestrator, self.lock,
            self.orchestrator_paid, self.fee_paid, self.refunded, self.deadline_seconds
        )
    }
}
