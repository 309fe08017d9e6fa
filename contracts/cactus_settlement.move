/// How a task's lock is divided when the task ends. Asks no one's right to end it: `payment` and `dispute` do.
module cactus::settlement {
    use aptos_framework::event;
    use aptos_framework::fungible_asset;
    use cactus::client_account;
    use cactus::parameters;
    use cactus::pricing;
    use cactus::reputation;
    use cactus::server_registry;
    use cactus::task::{Task, Work};
    use cactus::treasury;
    use cactus::vault;

    //
    // Constants
    //

    const FAULT_PROVIDER: u8 = 1;
    const FAULT_USER: u8 = 2;
    const FAULT_NOBODY: u8 = 3;
    /// Nobody said anything in time.
    const FAULT_IDLE: u8 = 4;

    //
    // Events
    //

    #[event]
    enum TaskSettled has drop, store {
        V1 {
            client: address,
            task_id: vector<u8>,
            server: address,
            orchestrator: address,
            prompt_tokens: u64,
            output_tokens: u64,
            compute_ms: u64,
            receipt_hash: vector<u8>,
            orchestrator_octas: u64,
            server_fee_octas: u64,
            treasury_fee_octas: u64,
            refund_octas: u64,
        }
    }

    #[event]
    /// `fault`: 1 the provider's, 2 the user's, 3 nobody's, 4 nobody delivered in time.
    enum TaskRefunded has drop, store {
        V1 {
            client: address,
            task_id: vector<u8>,
            server: address,
            orchestrator: address,
            fault: u8,
            expired: bool,
            refund_octas: u64,
        }
    }

    //
    // For the other modules
    //

    /// Whether a server may name this fault.
    package fun is_fault(fault: u8): bool {
        fault >= FAULT_PROVIDER && fault <= FAULT_NOBODY
    }

    /// Ends a task with the payment that `work` earns by `pricing::charge`: the orchestrator and the server are paid,
    /// the treasury's share accrues, and the rest of the lock becomes available to the client again.
    package fun pay(client: address, task_id: vector<u8>, task: Task, work: Work) {
        let (prompt_tokens, output_tokens, compute_ms, receipt_hash) = work.unpack();
        let (server, orchestrator, lock) = (task.server(), task.orchestrator(), task.lock());
        let (prompt_price, output_price) = task.prices();
        let (server_fee_bps, treasury_fee_bps, quality_floor_bps) = parameters::settlement_bps();
        let quality_bps = reputation::quality_of(orchestrator, quality_floor_bps);
        let charge = pricing::charge(prompt_tokens, output_tokens, prompt_price, output_price, quality_bps, lock);
        let server_fee_octas = pricing::share(charge, server_fee_bps);
        let treasury_fee_octas = pricing::share(charge, treasury_fee_bps);
        let fee_octas = server_fee_octas + treasury_fee_octas;
        let orchestrator_octas = charge - fee_octas;
        let refund_octas = lock - charge;

        task.settle(orchestrator_octas, fee_octas);
        let funds = client_account::end_task(client, task_id, task, refund_octas);
        server_registry::pay_fee(server, fungible_asset::extract(&mut funds, server_fee_octas), server_fee_octas);
        treasury::accrue(server, fungible_asset::extract(&mut funds, treasury_fee_octas));
        vault::give(orchestrator, funds);
        reputation::record_served(orchestrator, orchestrator_octas, output_tokens, compute_ms);
        event::emit(TaskSettled::V1 {
            client, task_id, server, orchestrator, prompt_tokens, output_tokens, compute_ms, receipt_hash,
            orchestrator_octas, server_fee_octas, treasury_fee_octas, refund_octas,
        });
    }

    /// Ends a task on its server's word: the whole lock returns to the client. The word of a server that is no longer
    /// authorised counts for nothing.
    package fun refund(client: address, task_id: vector<u8>, task: Task, fault: u8) {
        let orchestrator = task.orchestrator();
        if (server_registry::is_authorized(task.server())) {
            if (fault == FAULT_PROVIDER) reputation::record_failed_by_provider(orchestrator)
            else if (fault == FAULT_USER) reputation::record_failed_by_user(orchestrator);
        };
        give_back(client, task_id, task, fault, false);
    }

    /// Ends a task that nobody delivered or ended in time: the whole lock returns to the client. Whether the
    /// orchestrator or the server was silent cannot be known, so it is held against neither.
    package fun refund_idle(client: address, task_id: vector<u8>, task: Task) {
        reputation::record_idle(task.orchestrator());
        give_back(client, task_id, task, FAULT_IDLE, true);
    }

    /// Ends a task whose orchestrator lost the case about it, which the case itself counts: the whole lock returns to
    /// the client.
    package fun refund_upheld(client: address, task_id: vector<u8>, task: Task) {
        give_back(client, task_id, task, FAULT_PROVIDER, false);
    }

    //
    // Helpers
    //

    fun give_back(client: address, task_id: vector<u8>, task: Task, fault: u8, expired: bool) {
        let (server, orchestrator, lock) = (task.server(), task.orchestrator(), task.lock());
        task.refund();
        fungible_asset::destroy_zero(client_account::end_task(client, task_id, task, lock));
        event::emit(TaskRefunded::V1 { client, task_id, server, orchestrator, fault, expired, refund_octas: lock });
    }
}
