/// What clients, servers and orchestrators do with clients' money: deposits and withdrawals, orders and tasks. Holds no
/// money itself: `client_account` does, and `settlement` divides it.
///
/// Money is locked before the first token of an answer and leaves once, after the last. A client announces each
/// withdrawal, so that a server may begin to work before its lock is on the chain: what was free and not requested when
/// the server looked cannot be gone within the withdrawal delay.
module cactus::payment {
    use std::error;
    use std::signer;
    use aptos_std::ed25519;
    use aptos_framework::account;
    use aptos_framework::chain_id;
    use aptos_framework::event;
    use aptos_framework::timestamp;
    use cactus::client_account;
    use cactus::config;
    use cactus::delegation;
    use cactus::escrow::BalanceView;
    use cactus::parameters;
    use cactus::pricing;
    use cactus::server_registry;
    use cactus::settlement;
    use cactus::stake;
    use cactus::task::{Self, Task, TaskView};

    //
    // Errors
    //

    /// The order has expired.
    const EORDER_EXPIRED: u64 = 1;
    /// The lock is above the order's maximum per task.
    const EOVER_TASK_MAXIMUM: u64 = 2;
    /// The public key is not the client's.
    const EWRONG_CLIENT_KEY: u64 = 3;
    /// The client did not sign this order.
    const EBAD_SIGNATURE: u64 = 4;
    /// The deadline has passed or is further away than a task may take.
    const EBAD_DEADLINE: u64 = 5;
    /// There is no such fault.
    const EBAD_FAULT: u64 = 6;
    /// The orchestrator's bond is below the minimum.
    const ESTAKE_TOO_SMALL: u64 = 7;
    /// The task belongs to another server.
    const ENOT_TASK_SERVER: u64 = 8;
    /// The task is settled or refunded already.
    const ETASK_FINAL: u64 = 9;
    /// The task's deadline, or its review, is over.
    const ETOO_LATE: u64 = 10;
    /// The task's deadline has not passed yet.
    const ENOT_EXPIRED: u64 = 11;
    /// The lists differ in length, or have no or more than 100 entries.
    const EBAD_BATCH: u64 = 12;
    /// The task belongs to another orchestrator.
    const ENOT_TASK_ORCHESTRATOR: u64 = 13;
    /// The task is delivered already.
    const EDELIVERED: u64 = 14;
    /// The task is not delivered.
    const ENOT_DELIVERED: u64 = 15;
    /// The task's review is not over yet.
    const EUNDER_REVIEW: u64 = 16;
    /// A case holds the task until it is closed.
    const EDISPUTED: u64 = 17;

    //
    // Constants
    //

    const MAX_BATCH: u64 = 100;

    // Why a batch passed over a task.
    const SKIPPED_UNKNOWN: u8 = 1;
    const SKIPPED_FOREIGN: u8 = 2;
    const SKIPPED_FINAL: u8 = 3;
    const SKIPPED_DISPUTED: u8 = 4;
    const SKIPPED_LATE: u8 = 5;
    const SKIPPED_UNSOUND: u8 = 6;
    const NOT_SKIPPED: u8 = 0;

    //
    // Structs
    //

    /// What a client signs: the server may lock up to `max_per_task` octas for a task and `max_total` in all.
    struct Order has drop {
        chain_id: u8,
        client: address,
        server: address,
        order_id: vector<u8>,
        max_total: u64,
        max_per_task: u64,
        expires_seconds: u64,
    }

    //
    // Events
    //

    #[event]
    enum TaskCreated has drop, store {
        V1 {
            client: address,
            task_id: vector<u8>,
            server: address,
            orchestrator: address,
            node_public_key: vector<u8>,
            order_id: vector<u8>,
            lock: u64,
            prompt_price: u64,
            output_price: u64,
            deadline_seconds: u64,
        }
    }

    #[event]
    /// The orchestrator put its delivery on record; unless someone objects, it is paid for after the review.
    enum TaskDelivered has drop, store {
        V1 {
            client: address,
            task_id: vector<u8>,
            server: address,
            orchestrator: address,
            prompt_tokens: u64,
            output_tokens: u64,
            compute_ms: u64,
            receipt_hash: vector<u8>,
            review_until_seconds: u64,
        }
    }

    #[event]
    /// A case holds the task until it is closed.
    enum TaskDisputed has drop, store {
        V1 { client: address, task_id: vector<u8>, case: address, party: address }
    }

    #[event]
    /// A batch passed over this entry. `reason`: 1 there is no such task, 2 it is of another server, 3 it is final,
    /// 4 disputed, 5 overdue, 6 the report is unsound (a hash that is not 32 bytes, or too many tokens).
    enum TaskSkipped has drop, store {
        V1 { client: address, task_id: vector<u8>, server: address, reason: u8 }
    }

    //
    // Views
    //

    #[view]
    /// The client's balance here and what it has asked to take back; zero if it never deposited.
    public fun balance(client: address): BalanceView { client_account::balance(client) }

    #[view]
    /// All about a task; all zero if there is none.
    public fun task(client: address, task_id: vector<u8>): TaskView {
        if (client_account::has_task(client, task_id)) client_account::task(client, task_id).view() else task::unknown()
    }

    #[view]
    /// Octas locked or settled under an order; refunds are given back.
    public fun order_used(client: address, order_id: vector<u8>): u64 { client_account::order_used(client, order_id) }

    #[view]
    /// What the client's vault really holds, in octas: available plus locked.
    public fun vault_balance(client: address): u64 { client_account::vault_balance(client) }

    //
    // Entry functions: balances
    //

    /// A client puts `amount` octas of its own into escrow.
    ///
    /// Aborts if deposits are paused, the amount is zero, or the client holds less.
    public entry fun deposit(client: &signer, amount: u64) {
        config::assert_may_deposit();
        client_account::deposit(client, amount);
    }

    /// A client announces that it wants `amount` octas back. Nothing moves: what it asked for can still be locked by
    /// tasks, and is paid by `withdraw` once the delay `withdrawal_delay_seconds` has passed. There is one request per
    /// client: a second one replaces the amount and starts the delay anew. Never paused.
    ///
    /// Aborts if the client never deposited, the amount is zero, or it is more than the client has, locked or not.
    public entry fun request_withdraw(client: &signer, amount: u64) {
        client_account::request_withdrawal(signer::address_of(client), amount);
    }

    /// A client takes back what it announced into its primary store, or as much of it as no task locks. The request is
    /// then over, paid in full or not. Never paused.
    ///
    /// Aborts if the client never deposited, there is no request, the delay is not over, or tasks lock everything.
    public entry fun withdraw(client: &signer) {
        client_account::withdraw(signer::address_of(client));
    }

    /// A client takes its announcement back. Nothing moves. Never paused.
    ///
    /// Aborts if the client never deposited or there is no request.
    public entry fun cancel_withdraw(client: &signer) {
        client_account::cancel_withdrawal(signer::address_of(client));
    }

    //
    // Entry functions: tasks
    //

    /// An authorised server locks `lock` octas of a client's balance for a task, on the strength of an order that the
    /// client signed for this server and chain. What the client has asked to take back can be locked too.
    ///
    /// Aborts if new tasks are paused; the server is not authorised; the operator is not registered, whitelisted and
    /// sufficiently bonded with this node validated; an id is not 32 bytes; the lock is zero or above what the order
    /// or the client's balance allows; a price is too high; the order has expired; the deadline has passed or is too
    /// far away; the task id was used; or key or signature are not the client's.
    public entry fun create_task(
        server: &signer,
        client: address, client_public_key: vector<u8>,
        order_id: vector<u8>, max_total: u64, max_per_task: u64, expires_seconds: u64, signature: vector<u8>,
        task_id: vector<u8>, orchestrator: address, node_public_key: vector<u8>,
        lock: u64, prompt_price: u64, output_price: u64, deadline_seconds: u64,
    ) {
        config::assert_may_create_task();
        let server = signer::address_of(server);
        server_registry::assert_authorized(server);
        delegation::assert_may_work(orchestrator, &node_public_key);
        assert!(stake::bonded(orchestrator) >= parameters::min_stake(), error::invalid_state(ESTAKE_TOO_SMALL));
        pricing::assert_prices(prompt_price, output_price);
        assert_times(expires_seconds, deadline_seconds);
        let order = Order {
            chain_id: chain_id::get(), client, server, order_id, max_total, max_per_task, expires_seconds,
        };
        verify(order, client_public_key, signature);
        assert!(lock <= max_per_task, error::invalid_argument(EOVER_TASK_MAXIMUM));

        client_account::lock(client, order_id, max_total, lock);
        let task = task::new(server, orchestrator, order_id, lock, prompt_price, output_price, deadline_seconds);
        client_account::add_task(client, task_id, task);
        event::emit(TaskCreated::V1 {
            client, task_id, server, orchestrator, node_public_key, order_id, lock, prompt_price, output_price,
            deadline_seconds,
        });
    }

    /// The task's orchestrator puts its delivery on record, which it does when the server is silent. Nothing moves yet:
    /// until the deadline, and for `review_seconds` at least, the server may still complete or fail the task, and
    /// server or client may have a case decide; then `release_expired` pays. Never paused.
    ///
    /// Aborts if there is no such task, it is of another orchestrator, it is delivered, disputed or final, its deadline
    /// has passed, the receipt hash is not 32 bytes, or there are too many tokens.
    public entry fun deliver_task(
        operator: &signer, client: address, task_id: vector<u8>,
        prompt_tokens: u64, output_tokens: u64, compute_ms: u64, receipt_hash: vector<u8>,
    ) {
        let task = live_task(client, task_id);
        let orchestrator = signer::address_of(operator);
        assert!(task.orchestrator() == orchestrator, error::permission_denied(ENOT_TASK_ORCHESTRATOR));
        assert!(task.is_assigned(), error::invalid_state(EDELIVERED));
        let (now, deadline_seconds) = (timestamp::now_seconds(), task.deadline_seconds());
        assert!(now <= deadline_seconds, error::invalid_state(ETOO_LATE));
        let work = task::report(prompt_tokens, output_tokens, compute_ms, receipt_hash);
        // An early delivery must not shorten the time that the server has.
        let review_until_seconds = now + parameters::review_seconds();
        if (review_until_seconds < deadline_seconds) review_until_seconds = deadline_seconds;
        let server = task.server();
        task.deliver(work, review_until_seconds);
        client_account::update_task(client, task_id, task);
        event::emit(TaskDelivered::V1 {
            client, task_id, server, orchestrator, prompt_tokens, output_tokens, compute_ms, receipt_hash,
            review_until_seconds,
        });
    }

    /// The task's server reports the work that it verified: the orchestrator and the server are paid, the treasury's
    /// share accrues, and the rest of the lock becomes available to the client again. What the orchestrator delivered on
    /// chain does not bind the server. Never paused.
    ///
    /// Aborts if the server is not authorised or not the task's, there is no such task, it is final or disputed, its
    /// deadline has passed, or its review if it is delivered, the receipt hash is not 32 bytes, or there are too many
    /// tokens.
    public entry fun complete_task(
        server: &signer, client: address, task_id: vector<u8>,
        prompt_tokens: u64, output_tokens: u64, compute_ms: u64, receipt_hash: vector<u8>,
    ) {
        let server = signer::address_of(server);
        server_registry::assert_authorized(server);
        let task = live_task(client, task_id);
        assert!(timestamp::now_seconds() <= task.settle_until_seconds(), error::invalid_state(ETOO_LATE));
        assert!(task.server() == server, error::permission_denied(ENOT_TASK_SERVER));
        let work = task::report(prompt_tokens, output_tokens, compute_ms, receipt_hash);
        settlement::pay(client, task_id, task, work);
    }

    /// `complete_task` for many tasks of one server: the `i`th entries of the lists make one. What cannot be settled is
    /// passed over with the event `TaskSkipped`, which says why, so that no entry can spoil the others. Never paused.
    ///
    /// Aborts if the server is not authorised, or the lists differ in length or have no or more than 100 entries.
    public entry fun complete_tasks(
        server: &signer, clients: vector<address>, task_ids: vector<vector<u8>>,
        prompt_tokens: vector<u64>, output_tokens: vector<u64>, compute_ms: vector<u64>,
        receipt_hashes: vector<vector<u8>>,
    ) {
        let server = signer::address_of(server);
        server_registry::assert_authorized(server);
        let count = clients.length();
        assert!(
            count > 0 && count <= MAX_BATCH && task_ids.length() == count && prompt_tokens.length() == count
                && output_tokens.length() == count && compute_ms.length() == count && receipt_hashes.length() == count,
            error::invalid_argument(EBAD_BATCH)
        );
        let i = 0;
        while (i < count) {
            let (client, task_id) = (clients[i], task_ids[i]);
            let reason = reason_to_skip(server, client, task_id);
            if (reason == NOT_SKIPPED && !task::may_report(prompt_tokens[i], output_tokens[i], &receipt_hashes[i])) {
                reason = SKIPPED_UNSOUND;
            };
            if (reason == NOT_SKIPPED) {
                let work = task::report(prompt_tokens[i], output_tokens[i], compute_ms[i], receipt_hashes[i]);
                settlement::pay(client, task_id, client_account::task(client, task_id), work);
            } else event::emit(TaskSkipped::V1 { client, task_id, server, reason });
            i += 1;
        };
    }

    /// The task's server gives the whole lock back to the client and says whose fault it was: the provider's (1), the
    /// user's (2) or nobody's (3). It may do so at any time unless the task is delivered, then until the review is over.
    /// Never paused. The word of a server that is no longer authorised counts for nothing.
    ///
    /// Aborts if there is no such fault or task, the task is final or disputed, it belongs to another server, or it is
    /// delivered and its review is over.
    public entry fun fail_task(server: &signer, client: address, task_id: vector<u8>, fault: u8) {
        assert!(settlement::is_fault(fault), error::invalid_argument(EBAD_FAULT));
        let task = live_task(client, task_id);
        assert!(task.server() == signer::address_of(server), error::permission_denied(ENOT_TASK_SERVER));
        let late = task.is_delivered() && timestamp::now_seconds() > task.settle_until_seconds();
        assert!(!late, error::invalid_state(ETOO_LATE));
        settlement::refund(client, task_id, task, fault);
    }

    /// Anyone gives the whole lock of an overdue task that nobody delivered back to its client. Counts as idle, and
    /// against no one: whether orchestrator or server was silent cannot be known. Never paused.
    ///
    /// Aborts if there is no such task, it is delivered, disputed or final, or its deadline has not passed.
    public entry fun refund_expired(_anyone: &signer, client: address, task_id: vector<u8>) {
        let task = live_task(client, task_id);
        assert!(task.is_assigned(), error::invalid_state(EDELIVERED));
        assert!(timestamp::now_seconds() > task.deadline_seconds(), error::invalid_state(ENOT_EXPIRED));
        settlement::refund_idle(client, task_id, task);
    }

    /// Anyone has a delivered task paid whose review is over and to which no one objected: for what was delivered, by
    /// the same formula as ever, and never more than the lock. Never paused.
    ///
    /// Aborts if there is no such task, it is not delivered, disputed or final, or its review is not over.
    public entry fun release_expired(_anyone: &signer, client: address, task_id: vector<u8>) {
        let task = live_task(client, task_id);
        assert!(task.is_delivered(), error::invalid_state(ENOT_DELIVERED));
        assert!(timestamp::now_seconds() > task.settle_until_seconds(), error::invalid_state(EUNDER_REVIEW));
        settlement::pay(client, task_id, task, task.delivered());
    }

    //
    // For the other modules
    //

    /// Whether `party` is the client or the server of a task that is under review, and may have a case hold it.
    package fun may_hold(party: address, client: address, task_id: vector<u8>): bool {
        if (!client_account::has_task(client, task_id)) return false;
        let task = client_account::task(client, task_id);
        (party == client || party == task.server())
            && task.is_delivered() && timestamp::now_seconds() <= task.settle_until_seconds()
    }

    /// Has a case hold a task that `party` may have held.
    package fun hold_task(party: address, client: address, task_id: vector<u8>, case: address) {
        let task = client_account::task(client, task_id);
        task.hold(case);
        client_account::update_task(client, task_id, task);
        event::emit(TaskDisputed::V1 { client, task_id, case, party });
    }

    /// Ends the task that a closed case held: the lock returns to the client if the case was upheld, else the delivery
    /// is paid. Nothing happens to a task that this case does not hold.
    package fun resolve_task(client: address, task_id: vector<u8>, case: address, upheld: bool) {
        if (!client_account::has_task(client, task_id)) return;
        let task = client_account::task(client, task_id);
        if (!task.is_held_by(case)) return;
        if (upheld) settlement::refund_upheld(client, task_id, task)
        else settlement::pay(client, task_id, task, task.delivered());
    }

    //
    // Helpers
    //

    // Aborts if there is no such task, it is final, or a case holds it.
    fun live_task(client: address, task_id: vector<u8>): Task {
        let task = client_account::task(client, task_id);
        assert!(!task.is_final(), error::invalid_state(ETASK_FINAL));
        assert!(!task.is_disputed(), error::invalid_state(EDISPUTED));
        task
    }

    fun reason_to_skip(server: address, client: address, task_id: vector<u8>): u8 {
        if (!client_account::has_task(client, task_id)) return SKIPPED_UNKNOWN;
        let task = client_account::task(client, task_id);
        if (task.server() != server) SKIPPED_FOREIGN
        else if (task.is_final()) SKIPPED_FINAL
        else if (task.is_disputed()) SKIPPED_DISPUTED
        else if (timestamp::now_seconds() > task.settle_until_seconds()) SKIPPED_LATE
        else NOT_SKIPPED
    }

    fun assert_times(expires_seconds: u64, deadline_seconds: u64) {
        let now = timestamp::now_seconds();
        assert!(now < expires_seconds, error::invalid_state(EORDER_EXPIRED));
        assert!(
            deadline_seconds > now && deadline_seconds - now <= parameters::max_task_seconds(),
            error::invalid_argument(EBAD_DEADLINE)
        );
    }

    // Aborts unless the key is that of the client's account and signed the order.
    fun verify(order: Order, client_public_key: vector<u8>, signature: vector<u8>) {
        let public_key = ed25519::new_unvalidated_public_key_from_bytes(client_public_key);
        assert!(
            ed25519::unvalidated_public_key_to_authentication_key(&public_key)
                == account::get_authentication_key(order.client),
            error::unauthenticated(EWRONG_CLIENT_KEY)
        );
        let signature = ed25519::new_signature_from_bytes(signature);
        assert!(
            ed25519::signature_verify_strict_t(&signature, &public_key, order),
            error::unauthenticated(EBAD_SIGNATURE)
        );
    }

    #[test_only]
    public fun new_order_for_test(
        chain_id: u8, client: address, server: address, order_id: vector<u8>,
        max_total: u64, max_per_task: u64, expires_seconds: u64,
    ): Order {
        Order { chain_id, client, server, order_id, max_total, max_per_task, expires_seconds }
    }
}
