/// Clients' balances and tasks: money is locked before the first token and leaves once, after the last.
///
/// A task is `Assigned` until it is `Settled` or `Refunded`, both final. Everything about a client lives at the
/// client's address, so tasks of different clients touch disjoint state.
module cactus::payment {
    use std::error;
    use std::signer;
    use aptos_std::ed25519;
    use aptos_std::table::{Self, Table};
    use aptos_framework::account;
    use aptos_framework::chain_id;
    use aptos_framework::event;
    use aptos_framework::fungible_asset::{Self, FungibleAsset};
    use aptos_framework::timestamp;
    use cactus::config;
    use cactus::delegation;
    use cactus::escrow::{Self, BalanceView, Escrow};
    use cactus::pricing;
    use cactus::reputation;
    use cactus::server_registry;
    use cactus::stake;
    use cactus::task::{Self, Task, TaskView};
    use cactus::treasury;
    use cactus::vault;

    //
    // Errors
    //

    /// The client never deposited.
    const ENO_ACCOUNT: u64 = 1;
    /// The client's available balance is smaller than the amount.
    const EINSUFFICIENT_BALANCE: u64 = 2;
    /// The amount must not be zero.
    const EZERO_AMOUNT: u64 = 3;
    /// Ids and hashes must be 32 bytes.
    const EBAD_LENGTH: u64 = 4;
    /// The order has expired.
    const EORDER_EXPIRED: u64 = 5;
    /// The lock is above the order's maximum per task.
    const EOVER_TASK_MAXIMUM: u64 = 6;
    /// The order's total would be exceeded.
    const EOVER_ORDER_TOTAL: u64 = 7;
    /// The public key is not the client's.
    const EWRONG_CLIENT_KEY: u64 = 8;
    /// The client did not sign this order.
    const EBAD_SIGNATURE: u64 = 9;
    /// The client had a task of this id already.
    const ETASK_EXISTS: u64 = 10;
    /// The deadline has passed or is further away than a task may take.
    const EBAD_DEADLINE: u64 = 11;
    /// There is no such fault.
    const EBAD_FAULT: u64 = 12;
    /// The orchestrator's bond is below the minimum.
    const ESTAKE_TOO_SMALL: u64 = 13;
    /// The client has no task of this id.
    const ETASK_NOT_FOUND: u64 = 14;
    /// The task belongs to another server.
    const ENOT_TASK_SERVER: u64 = 15;
    /// The task is settled or refunded already.
    const ETASK_FINAL: u64 = 16;
    /// The task's deadline has passed.
    const ETOO_LATE: u64 = 17;
    /// The task's deadline has not passed yet.
    const ENOT_EXPIRED: u64 = 18;
    /// The lists differ in length, or have no or more than 100 entries.
    const EBAD_BATCH: u64 = 19;

    //
    // Constants
    //

    const FAULT_PROVIDER: u8 = 1;
    const FAULT_USER: u8 = 2;
    const FAULT_NOBODY: u8 = 3;

    const ID_BYTES: u64 = 32;
    const MAX_BATCH: u64 = 100;

    //
    // Structs
    //

    /// One client's money and tasks. At the client's address, for ever.
    enum ClientAccount has key {
        V1 {
            escrow: Escrow,
            /// Octas locked or settled, by order id.
            orders: Table<vector<u8>, u64>,
            /// By task id; never removed, so no id is used twice.
            tasks: Table<vector<u8>, Task>,
        }
    }

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

    /// What a server reports of a task's work.
    struct Work has drop {
        prompt_tokens: u64,
        output_tokens: u64,
        compute_ms: u64,
        receipt_hash: vector<u8>,
    }

    //
    // Events
    //

    #[event]
    enum Deposited has drop, store {
        V1 { client: address, octas: u64, available: u64 }
    }

    #[event]
    enum Withdrawn has drop, store {
        V1 { client: address, octas: u64, available: u64 }
    }

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
    /// A batch passed over this task because it could no longer be settled.
    enum TaskSkipped has drop, store {
        V1 { client: address, task_id: vector<u8>, server: address }
    }

    #[event]
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
    // Views
    //

    #[view]
    /// The client's balance here; zero if it never deposited.
    public fun balance(client: address): BalanceView acquires ClientAccount {
        if (exists<ClientAccount>(client)) ClientAccount[client].escrow.view() else escrow::empty()
    }

    #[view]
    /// All about a task; all zero if there is none.
    public fun task(client: address, task_id: vector<u8>): TaskView acquires ClientAccount {
        if (!exists<ClientAccount>(client) || !ClientAccount[client].tasks.contains(task_id)) return task::unknown();
        ClientAccount[client].tasks.borrow(task_id).view()
    }

    #[view]
    /// Octas locked or settled under an order; refunds are given back.
    public fun order_used(client: address, order_id: vector<u8>): u64 acquires ClientAccount {
        if (!exists<ClientAccount>(client)) return 0;
        *ClientAccount[client].orders.borrow_with_default(order_id, &0)
    }

    #[view]
    /// What the client's vault really holds, in octas: available plus locked.
    public fun vault_balance(client: address): u64 acquires ClientAccount {
        if (exists<ClientAccount>(client)) ClientAccount[client].escrow.vault_balance() else 0
    }

    //
    // Entry functions
    //

    /// A client puts `amount` octas of its own into escrow.
    ///
    /// Aborts if deposits are paused, the amount is zero, or the client holds less.
    public entry fun deposit(client: &signer, amount: u64) acquires ClientAccount {
        config::assert_may_deposit();
        let address = signer::address_of(client);
        if (!exists<ClientAccount>(address)) {
            move_to(client, ClientAccount::V1 {
                escrow: escrow::create(), orders: table::new(), tasks: table::new(),
            });
        };
        let escrow = &mut ClientAccount[address].escrow;
        escrow.deposit(client, amount);
        event::emit(Deposited::V1 { client: address, octas: amount, available: escrow.available() });
    }

    /// A client takes `amount` octas that no task locks back into its primary store. Never paused.
    ///
    /// Aborts if the amount is zero or more than is available.
    public entry fun withdraw(client: &signer, amount: u64) acquires ClientAccount {
        assert!(amount > 0, error::invalid_argument(EZERO_AMOUNT));
        let client = signer::address_of(client);
        let escrow = &mut borrow_account(client).escrow;
        assert!(amount <= escrow.available(), error::invalid_argument(EINSUFFICIENT_BALANCE));
        escrow.withdraw(client, amount);
        event::emit(Withdrawn::V1 { client, octas: amount, available: escrow.available() });
    }

    /// An authorised server locks `lock` octas of a client's balance for a task, on the strength of an order that the
    /// client signed for this server and chain.
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
    ) acquires ClientAccount {
        config::assert_may_create_task();
        let server = signer::address_of(server);
        server_registry::assert_authorized(server);
        delegation::assert_may_work(orchestrator, &node_public_key);
        assert!(stake::bonded(orchestrator) >= config::min_stake(), error::invalid_state(ESTAKE_TOO_SMALL));
        pricing::assert_prices(prompt_price, output_price);
        assert_times(expires_seconds, deadline_seconds);
        let order = Order {
            chain_id: chain_id::get(), client, server, order_id, max_total, max_per_task, expires_seconds,
        };
        verify(order, client_public_key, signature);
        assert!(lock <= max_per_task, error::invalid_argument(EOVER_TASK_MAXIMUM));

        reserve(client, order_id, max_total, lock);
        let task = task::new(server, orchestrator, order_id, lock, prompt_price, output_price, deadline_seconds);
        add_task(client, task_id, task);
        event::emit(TaskCreated::V1 {
            client, task_id, server, orchestrator, node_public_key, order_id, lock, prompt_price, output_price,
            deadline_seconds,
        });
    }

    /// The task's server reports the work that it verified: the orchestrator and the server are paid, the treasury's
    /// share accrues, and the rest of the lock becomes available to the client again. Never paused.
    ///
    /// Aborts if the server is not authorised or not the task's, there is no such task, it is final, its deadline has
    /// passed, the receipt hash is not 32 bytes, or there are too many tokens.
    public entry fun complete_task(
        server: &signer, client: address, task_id: vector<u8>,
        prompt_tokens: u64, output_tokens: u64, compute_ms: u64, receipt_hash: vector<u8>,
    ) acquires ClientAccount {
        let server = signer::address_of(server);
        server_registry::assert_authorized(server);
        let task = borrow_assigned(&mut borrow_account(client).tasks, task_id);
        assert!(timestamp::now_seconds() <= task.deadline_seconds(), error::invalid_state(ETOO_LATE));
        settle(server, client, task_id, Work { prompt_tokens, output_tokens, compute_ms, receipt_hash });
    }

    /// `complete_task` for many tasks of one server: the `i`th entries of the lists make one. A task that is final or
    /// overdue is passed over with the event `TaskSkipped`, so that no one can spoil a batch by a refund. Never paused.
    ///
    /// Aborts if the server is not authorised, the lists differ in length or have no or more than 100 entries, there is
    /// no such task, one is of another server, a receipt hash is not 32 bytes, or there are too many tokens.
    public entry fun complete_tasks(
        server: &signer, clients: vector<address>, task_ids: vector<vector<u8>>,
        prompt_tokens: vector<u64>, output_tokens: vector<u64>, compute_ms: vector<u64>,
        receipt_hashes: vector<vector<u8>>,
    ) acquires ClientAccount {
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
            if (may_settle(client, task_id)) {
                settle(server, client, task_id, Work {
                    prompt_tokens: prompt_tokens[i], output_tokens: output_tokens[i], compute_ms: compute_ms[i],
                    receipt_hash: receipt_hashes[i],
                });
            } else event::emit(TaskSkipped::V1 { client, task_id, server });
            i += 1;
        };
    }

    /// The task's server gives the whole lock back to the client and says whose fault it was: the provider's (1), the
    /// user's (2) or nobody's (3). Never paused. The word of a server that is no longer authorised counts for nothing.
    ///
    /// Aborts if there is no such fault or task, the task is final, or it belongs to another server.
    public entry fun fail_task(
        server: &signer, client: address, task_id: vector<u8>, fault: u8
    ) acquires ClientAccount {
        assert!(
            fault >= FAULT_PROVIDER && fault <= FAULT_NOBODY,
            error::invalid_argument(EBAD_FAULT)
        );
        let server = signer::address_of(server);
        let task = borrow_assigned(&mut borrow_account(client).tasks, task_id);
        assert!(task.server() == server, error::permission_denied(ENOT_TASK_SERVER));
        refund(client, task_id, fault, false);
    }

    /// Anyone gives the whole lock of an overdue task back to its client. Counts as the provider's failure, unless the
    /// server lost its authorisation and could not have settled. Never paused.
    ///
    /// Aborts if there is no such task, it is final, or its deadline has not passed.
    public entry fun refund_expired(_anyone: &signer, client: address, task_id: vector<u8>) acquires ClientAccount {
        let task = borrow_assigned(&mut borrow_account(client).tasks, task_id);
        assert!(timestamp::now_seconds() > task.deadline_seconds(), error::invalid_state(ENOT_EXPIRED));
        refund(client, task_id, FAULT_PROVIDER, true);
    }

    //
    // For the other modules
    //

    /// A task's orchestrator and what the task took from its client for good; nobody and nothing if there is no task.
    package fun orchestrator_and_charge(client: address, task_id: vector<u8>): (address, u64) acquires ClientAccount {
        if (!exists<ClientAccount>(client) || !ClientAccount[client].tasks.contains(task_id)) return (@0x0, 0);
        let task = ClientAccount[client].tasks.borrow(task_id);
        (task.orchestrator(), task.charged())
    }

    //
    // Helpers
    //

    inline fun borrow_account(client: address): &mut ClientAccount {
        assert!(exists<ClientAccount>(client), error::not_found(ENO_ACCOUNT));
        &mut ClientAccount[client]
    }

    // Aborts if there is no such task.
    fun borrow_task(tasks: &mut Table<vector<u8>, Task>, task_id: vector<u8>): &mut Task {
        assert!(tasks.contains(task_id), error::not_found(ETASK_NOT_FOUND));
        tasks.borrow_mut(task_id)
    }

    // Aborts if there is no such task or it is final.
    fun borrow_assigned(tasks: &mut Table<vector<u8>, Task>, task_id: vector<u8>): &mut Task {
        let task = borrow_task(tasks, task_id);
        assert!(task.is_assigned(), error::invalid_state(ETASK_FINAL));
        task
    }

    // Aborts if there is no such task.
    fun may_settle(client: address, task_id: vector<u8>): bool acquires ClientAccount {
        let task = borrow_task(&mut borrow_account(client).tasks, task_id);
        task.is_assigned() && timestamp::now_seconds() <= task.deadline_seconds()
    }

    // Makes an assigned task `Settled` and pays everyone.
    fun settle(server: address, client: address, task_id: vector<u8>, work: Work) acquires ClientAccount {
        let Work { prompt_tokens, output_tokens, compute_ms, receipt_hash } = work;
        assert!(receipt_hash.length() == ID_BYTES, error::invalid_argument(EBAD_LENGTH));
        let account = &mut ClientAccount[client];
        let task = account.tasks.borrow_mut(task_id);
        assert!(task.server() == server, error::permission_denied(ENOT_TASK_SERVER));
        let (orchestrator, order_id, lock) = (task.orchestrator(), task.order_id(), task.lock());
        let (prompt_price, output_price) = task.prices();
        let (server_fee_bps, treasury_fee_bps, quality_floor_bps) = config::settlement_bps();
        let quality_bps = reputation::quality_of(orchestrator, quality_floor_bps);
        let charge = pricing::charge(prompt_tokens, output_tokens, prompt_price, output_price, quality_bps, lock);
        let server_fee_octas = pricing::share(charge, server_fee_bps);
        let treasury_fee_octas = pricing::share(charge, treasury_fee_bps);
        let fee_octas = server_fee_octas + treasury_fee_octas;
        let orchestrator_octas = charge - fee_octas;
        let refund_octas = lock - charge;

        task.settle(orchestrator_octas, fee_octas);
        let funds = release(account, order_id, lock, refund_octas);
        server_registry::pay_fee(server, fungible_asset::extract(&mut funds, server_fee_octas), server_fee_octas);
        treasury::accrue(server, fungible_asset::extract(&mut funds, treasury_fee_octas));
        vault::give(orchestrator, funds);
        reputation::record_served(orchestrator, orchestrator_octas, output_tokens, compute_ms);
        event::emit(TaskSettled::V1 {
            client, task_id, server, orchestrator, prompt_tokens, output_tokens, compute_ms, receipt_hash,
            orchestrator_octas, server_fee_octas, treasury_fee_octas, refund_octas,
        });
    }

    fun assert_times(expires_seconds: u64, deadline_seconds: u64) {
        let now = timestamp::now_seconds();
        assert!(now < expires_seconds, error::invalid_state(EORDER_EXPIRED));
        assert!(
            deadline_seconds > now && deadline_seconds - now <= config::max_task_seconds(),
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

    // Locks `lock` octas under the order.
    fun reserve(client: address, order_id: vector<u8>, max_total: u64, lock: u64) acquires ClientAccount {
        assert!(order_id.length() == ID_BYTES, error::invalid_argument(EBAD_LENGTH));
        assert!(lock > 0, error::invalid_argument(EZERO_AMOUNT));
        let account = borrow_account(client);
        assert!(lock <= account.escrow.available(), error::invalid_argument(EINSUFFICIENT_BALANCE));
        let used = account.orders.borrow_mut_with_default(order_id, 0);
        assert!(
            *used <= max_total && lock <= max_total - *used,
            error::resource_exhausted(EOVER_ORDER_TOTAL)
        );
        *used += lock;
        account.escrow.lock(lock);
    }

    fun add_task(client: address, task_id: vector<u8>, task: Task) acquires ClientAccount {
        assert!(task_id.length() == ID_BYTES, error::invalid_argument(EBAD_LENGTH));
        let tasks = &mut ClientAccount[client].tasks;
        assert!(!tasks.contains(task_id), error::already_exists(ETASK_EXISTS));
        tasks.add(task_id, task);
    }

    // Undoes a lock: `refund` octas return to the client and to the order, the rest comes out.
    fun release(account: &mut ClientAccount, order_id: vector<u8>, lock: u64, refund: u64): FungibleAsset {
        let used = account.orders.borrow_mut(order_id);
        *used -= refund;
        account.escrow.release(lock, refund)
    }

    // Makes an assigned task `Refunded`.
    fun refund(client: address, task_id: vector<u8>, fault: u8, expired: bool) acquires ClientAccount {
        let account = &mut ClientAccount[client];
        let task = account.tasks.borrow_mut(task_id);
        let (server, orchestrator, lock) = (task.server(), task.orchestrator(), task.lock());
        let order_id = task.order_id();
        task.refund();
        fungible_asset::destroy_zero(release(account, order_id, lock, lock));
        if (server_registry::is_authorized(server)) {
            if (fault == FAULT_PROVIDER) reputation::record_failed_by_provider(orchestrator)
            else if (fault == FAULT_USER) reputation::record_failed_by_user(orchestrator);
        };
        event::emit(TaskRefunded::V1 {
            client, task_id, server, orchestrator, fault, expired, refund_octas: lock,
        });
    }

    #[test_only]
    public fun new_order_for_test(
        chain_id: u8, client: address, server: address, order_id: vector<u8>,
        max_total: u64, max_per_task: u64, expires_seconds: u64,
    ): Order {
        Order { chain_id, client, server, order_id, max_total, max_per_task, expires_seconds }
    }
}
