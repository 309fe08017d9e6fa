/// One client's account: its money, what was used under each of its orders, and its tasks. Judges no one's right to
/// act: `payment` does.
///
/// All of it lives at the client's address, so that tasks of different clients touch disjoint state.
module cactus::client_account {
    use std::error;
    use std::signer;
    use aptos_std::table::{Self, Table};
    use aptos_framework::event;
    use aptos_framework::fungible_asset::FungibleAsset;
    use aptos_framework::timestamp;
    use cactus::escrow::{Self, BalanceView, Escrow};
    use cactus::parameters;
    use cactus::task::Task;

    //
    // Errors
    //

    /// The client never deposited.
    const ENO_ACCOUNT: u64 = 1;
    /// The client's balance is smaller than the amount.
    const EINSUFFICIENT_BALANCE: u64 = 2;
    /// The amount must not be zero.
    const EZERO_AMOUNT: u64 = 3;
    /// Ids of orders and tasks must be 32 bytes.
    const EBAD_LENGTH: u64 = 4;
    /// The order's total would be exceeded.
    const EOVER_ORDER_TOTAL: u64 = 5;
    /// The client had a task of this id already.
    const ETASK_EXISTS: u64 = 6;
    /// The client has no task of this id.
    const ETASK_NOT_FOUND: u64 = 7;
    /// The client has not asked to withdraw anything.
    const ENO_REQUEST: u64 = 8;
    /// The time to withdraw has not come yet.
    const ETOO_EARLY: u64 = 9;
    /// Tasks lock all that the client has; what they leave comes free when they end.
    const ENOTHING_FREE: u64 = 10;

    //
    // Constants
    //

    const ID_BYTES: u64 = 32;

    //
    // Structs
    //

    /// At the client's address, for ever.
    enum ClientAccount has key {
        V1 {
            escrow: Escrow,
            /// Octas locked or settled, by order id.
            orders: Table<vector<u8>, u64>,
            /// By task id; never removed, so no id is used twice.
            tasks: Table<vector<u8>, Task>,
        }
    }

    //
    // Events
    //

    #[event]
    enum Deposited has drop, store {
        V1 { client: address, octas: u64, available: u64 }
    }

    #[event]
    enum WithdrawalRequested has drop, store {
        V1 { client: address, octas: u64, withdraw_from_seconds: u64, replaced_octas: u64 }
    }

    #[event]
    enum WithdrawalCancelled has drop, store {
        V1 { client: address, octas: u64 }
    }

    #[event]
    /// `octas` were paid of the `requested` ones.
    enum Withdrawn has drop, store {
        V1 { client: address, octas: u64, requested: u64, available: u64 }
    }

    //
    // For the other modules
    //

    /// The client's balance; zero if it never deposited.
    package fun balance(client: address): BalanceView acquires ClientAccount {
        if (exists<ClientAccount>(client)) ClientAccount[client].escrow.view() else escrow::empty()
    }

    /// What the client's vault really holds, in octas.
    package fun vault_balance(client: address): u64 acquires ClientAccount {
        if (exists<ClientAccount>(client)) ClientAccount[client].escrow.vault_balance() else 0
    }

    /// Octas locked or settled under an order.
    package fun order_used(client: address, order_id: vector<u8>): u64 acquires ClientAccount {
        if (!exists<ClientAccount>(client)) return 0;
        *ClientAccount[client].orders.borrow_with_default(order_id, &0)
    }

    /// Puts `amount` octas of the client's own into its escrow, which is opened if need be.
    ///
    /// Aborts if the amount is zero or the client holds less.
    package fun deposit(client: &signer, amount: u64) acquires ClientAccount {
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

    /// Notes that the client wants `amount` octas back after the withdrawal delay of today.
    ///
    /// Aborts if the client never deposited, the amount is zero, or it is more than the client has, locked or not.
    package fun request_withdrawal(client: address, amount: u64) acquires ClientAccount {
        let escrow = &mut borrow_account(client).escrow;
        assert!(amount > 0, error::invalid_argument(EZERO_AMOUNT));
        assert!(amount <= escrow.total(), error::invalid_argument(EINSUFFICIENT_BALANCE));
        let replaced_octas = escrow.requested();
        let withdraw_from_seconds = timestamp::now_seconds() + parameters::withdrawal_delay_seconds();
        escrow.request(amount, withdraw_from_seconds);
        event::emit(WithdrawalRequested::V1 { client, octas: amount, withdraw_from_seconds, replaced_octas });
    }

    /// Forgets the client's request.
    ///
    /// Aborts if the client never deposited or has none.
    package fun cancel_withdrawal(client: address) acquires ClientAccount {
        let escrow = &mut borrow_account(client).escrow;
        let octas = escrow.requested();
        assert!(octas > 0, error::invalid_state(ENO_REQUEST));
        escrow.request(0, 0);
        event::emit(WithdrawalCancelled::V1 { client, octas });
    }

    /// Pays the client what it requested, as far as no task locks it.
    ///
    /// Aborts if the client never deposited or has no request, its time has not come, or tasks lock everything.
    package fun withdraw(client: address) acquires ClientAccount {
        let escrow = &mut borrow_account(client).escrow;
        let requested = escrow.requested();
        assert!(requested > 0, error::invalid_state(ENO_REQUEST));
        assert!(
            timestamp::now_seconds() >= escrow.withdraw_from_seconds(),
            error::invalid_state(ETOO_EARLY)
        );
        assert!(escrow.available() > 0, error::invalid_state(ENOTHING_FREE));
        let octas = escrow.withdraw(client);
        event::emit(Withdrawn::V1 { client, octas, requested, available: escrow.available() });
    }

    /// Locks `lock` octas under an order.
    ///
    /// Aborts if the order's id is not 32 bytes, the lock is zero, the client never deposited or has less available, or
    /// the order's total would be exceeded.
    package fun lock(client: address, order_id: vector<u8>, max_total: u64, lock: u64) acquires ClientAccount {
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

    /// Records a new task, whose lock has been made.
    ///
    /// Aborts if the id is not 32 bytes or was used.
    package fun add_task(client: address, task_id: vector<u8>, task: Task) acquires ClientAccount {
        assert!(task_id.length() == ID_BYTES, error::invalid_argument(EBAD_LENGTH));
        let tasks = &mut ClientAccount[client].tasks;
        assert!(!tasks.contains(task_id), error::already_exists(ETASK_EXISTS));
        tasks.add(task_id, task);
    }

    package fun has_task(client: address, task_id: vector<u8>): bool acquires ClientAccount {
        exists<ClientAccount>(client) && ClientAccount[client].tasks.contains(task_id)
    }

    /// The task as it stands.
    ///
    /// Aborts if the client never deposited or has no such task.
    package fun task(client: address, task_id: vector<u8>): Task acquires ClientAccount {
        let tasks = &borrow_account(client).tasks;
        assert!(tasks.contains(task_id), error::not_found(ETASK_NOT_FOUND));
        *tasks.borrow(task_id)
    }

    /// Records how a task that goes on stands now.
    package fun update_task(client: address, task_id: vector<u8>, task: Task) acquires ClientAccount {
        let tasks = &mut ClientAccount[client].tasks;
        *tasks.borrow_mut(task_id) = task;
    }

    /// Records how a task ended and undoes its lock: `refund` octas return to the client and to the order, the rest
    /// comes out.
    package fun end_task(
        client: address, task_id: vector<u8>, task: Task, refund: u64
    ): FungibleAsset acquires ClientAccount {
        let account = &mut ClientAccount[client];
        *account.tasks.borrow_mut(task_id) = task;
        let used = account.orders.borrow_mut(task.order_id());
        *used -= refund;
        account.escrow.release(task.lock(), refund)
    }

    //
    // Helpers
    //

    inline fun borrow_account(client: address): &mut ClientAccount {
        assert!(exists<ClientAccount>(client), error::not_found(ENO_ACCOUNT));
        &mut ClientAccount[client]
    }
}
