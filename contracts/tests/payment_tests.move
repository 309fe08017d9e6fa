#[test_only]
/// Deposits and withdrawals, and how tasks end.
module cactus::payment_tests {
    use cactus::config;
    use cactus::escrow;
    use cactus::payment;
    use cactus::registry;
    use cactus::reputation;
    use cactus::server_registry;
    use cactus::task;
    use cactus::treasury;
    use cactus::world::{Self, Person};

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;
    const STRANGER: address = @0x99;
    const LOCK: u64 = 10000;

    /// A client with 10 APT in escrow and its task `id(1)` assigned.
    fun start_task(): Person {
        let (client, _) = start_task_on_node();
        client
    }

    fun start_task_on_node(): (Person, vector<u8>) {
        world::start();
        world::authorized_server(SERVER);
        let node = world::working_operator(OPERATOR);
        let client = world::client(10 * world::apt());
        world::create_task(&client, 1, OPERATOR, node, LOCK);
        (client, node)
    }

    fun complete(client: &Person, task: u8, prompt_tokens: u64, output_tokens: u64) {
        payment::complete_task(
            &world::sign_as(SERVER), world::address_of(client), world::id(task),
            prompt_tokens, output_tokens, 1234, world::id(9)
        );
    }

    fun fail(client: &Person, fault: u8) {
        payment::fail_task(&world::sign_as(SERVER), world::address_of(client), world::id(1), fault);
    }

    fun refund(client: &Person) {
        payment::refund_expired(&world::sign_as(STRANGER), world::address_of(client), world::id(1));
    }

    fun check_balance(client: &Person, available: u64, locked: u64) {
        let (a, l) = escrow::unpack_for_test(payment::balance(world::address_of(client)));
        assert!(a == available, a);
        assert!(l == locked, l);
        world::assert_conserved(vector[world::address_of(client), SERVER, OPERATOR, STRANGER]);
    }

    fun check_task(client: &Person, state: u8, orchestrator: u64, fees: u64, refund: u64) {
        let (s, server, operator, lock, o, f, r, deadline) =
            task::unpack_for_test(payment::task(world::address_of(client), world::id(1)));
        assert!(s == state && o == orchestrator && f == fees && r == refund, 1);
        assert!(server == SERVER && operator == OPERATOR && lock == LOCK, 2);
        assert!(deadline == world::now() + 600, 3);
    }

    fun used(client: &Person): u64 {
        payment::order_used(world::address_of(client), world::id(1))
    }

    fun failures(): (u64, u64) {
        let (_, user, provider, _, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        (user, provider)
    }

    //
    // Deposits and withdrawals
    //

    #[test]
    fun deposits_add_up_and_come_back() {
        world::start();
        let client = world::client(700);
        world::fund(world::address_of(&client), 300);
        payment::deposit(&world::signer_of(&client), 200);
        check_balance(&client, 900, 0);
        world::withdraw(&client, 900);
        check_balance(&client, 0, 0);
        assert!(world::coins(world::address_of(&client)) == 1000, 1);
    }

    #[test]
    fun an_unknown_client_has_nothing() {
        world::start();
        let client = world::person(5);
        check_balance(&client, 0, 0);
        assert!(used(&client) == 0, 1);
        let (state, _, _, _, _, _, _, _) =
            task::unpack_for_test(payment::task(world::address_of(&client), world::id(1)));
        assert!(state == 0, 2);
    }

    #[test]
    fun a_known_client_has_no_unknown_task_or_order() {
        world::start();
        let client = world::client(5);
        let (state, server, _, lock, _, _, _, _) =
            task::unpack_for_test(payment::task(world::address_of(&client), world::id(1)));
        assert!(state == 0 && server == @0x0 && lock == 0 && used(&client) == 0, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::vault)]
    fun a_deposit_of_nothing_is_refused() {
        world::start();
        world::client(0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::vault)]
    fun a_deposit_of_coins_that_one_does_not_have_is_refused() {
        world::start();
        let client = world::person(5);
        payment::deposit(&world::signer_of(&client), 6);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_deposit_is_taken_during_a_pause() {
        world::start();
        config::pause(&world::admin(), 1);
        world::client(5);
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::client_account)]
    fun a_withdrawal_of_nothing_is_refused() {
        world::start();
        payment::request_withdraw(&world::signer_of(&world::client(5)), 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::client_account)]
    fun only_a_client_withdraws() {
        world::start();
        payment::request_withdraw(&world::signer_of(&world::person(5)), 1);
    }

    #[test]
    fun what_a_task_locks_is_not_withdrawn() {
        let client = start_task();
        world::withdraw(&client, 10 * world::apt());
        check_balance(&client, 0, LOCK);
    }

    #[test]
    fun what_no_task_locks_is_withdrawn_even_during_a_pause() {
        let client = start_task();
        config::pause_all_for_test();
        world::withdraw(&client, 10 * world::apt() - LOCK);
        check_balance(&client, 0, LOCK);
    }

    //
    // Settlement
    //

    #[test]
    fun a_settlement_pays_everyone_exactly() {
        let client = start_task();
        check_balance(&client, 10 * world::apt() - LOCK, LOCK);
        check_task(&client, 1, 0, 0, 0);
        let operator_before = world::coins(OPERATOR);
        let server_before = world::coins(SERVER);
        complete(&client, 1, 1000, 2000);
        // 3,500 in all: 5 % to the server, 1 % to the treasury.
        assert!(world::coins(OPERATOR) == operator_before + 3290, 1);
        assert!(world::coins(SERVER) == server_before + 175, 2);
        assert!(treasury::due(SERVER) == 35, 3);
        assert!(used(&client) == 3500, 4);
        check_task(&client, 2, 3290, 210, 6500);
        check_balance(&client, 10 * world::apt() - 3500, 0);
        let (_, _, _, _, _, fees, due) = server_registry::unpack_for_test(server_registry::server(SERVER));
        assert!(fees == 175 && due == 35, 5);
        let (served, _, _, volume, tokens, compute) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(served == 1 && volume == 3290 && tokens == 2000 && compute == 1234, 6);
    }

    #[test]
    fun a_charge_never_exceeds_the_lock() {
        let client = start_task();
        complete(&client, 1, 1000000000, 1000000000);
        check_task(&client, 2, 9400, 600, 0);
        check_balance(&client, 10 * world::apt() - LOCK, 0);
    }

    #[test]
    fun fees_round_down_in_the_orchestrators_favour() {
        let client = start_task();
        complete(&client, 1, 0, 13);
        // 13 * 1500 / 1000 = 19.5: 19 in all, 0.95 to the server, 0.19 to the treasury.
        check_task(&client, 2, 19, 0, LOCK - 19);
        check_balance(&client, 10 * world::apt() - 19, 0);
    }

    #[test]
    fun a_task_without_tokens_costs_nothing() {
        let client = start_task();
        complete(&client, 1, 0, 0);
        check_task(&client, 2, 0, 0, LOCK);
        check_balance(&client, 10 * world::apt(), 0);
    }

    #[test]
    fun a_failure_lowers_the_price_of_the_next_task() {
        let (client, node) = start_task_on_node();
        fail(&client, 1);
        world::create_task(&client, 2, OPERATOR, node, LOCK);
        complete(&client, 2, 1000, 2000);
        // One failure and nothing served: quality 9,000.
        check_balance(&client, 10 * world::apt() - 3150, 0);
    }

    #[test]
    fun a_hundred_tasks_settle() {
        let (client, node) = start_task_on_node();
        let n: u8 = 1;
        complete(&client, 1, 1000, 0);
        while (n < 100) {
            n += 1;
            world::create_task(&client, n, OPERATOR, node, LOCK);
            complete(&client, n, 1000, 0);
        };
        assert!(used(&client) == 50000, 1);
        check_balance(&client, 10 * world::apt() - 50000, 0);
    }

    #[test]
    fun settlement_and_refund_know_no_pause() {
        let (client, node) = start_task_on_node();
        world::create_task(&client, 2, OPERATOR, node, LOCK);
        world::create_task(&client, 3, OPERATOR, node, LOCK);
        config::pause_all_for_test();
        complete(&client, 2, 1000, 0);
        fail(&client, 3);
        world::wait(601);
        payment::refund_expired(&world::sign_as(STRANGER), world::address_of(&client), world::id(3));
        check_balance(&client, 10 * world::apt() - 500, 0);
    }

    #[test]
    fun an_orchestrator_that_was_slashed_and_deregistered_is_still_paid_for_its_task() {
        let client = start_task();
        world::slash(OPERATOR, 2 * world::apt(), STRANGER);
        registry::deregister(&world::sign_as(OPERATOR));
        complete(&client, 1, 1000, 2000);
        assert!(world::coins(OPERATOR) == 8 * world::apt() + 3290, 1);
        check_balance(&client, 10 * world::apt() - 3500, 0);
    }

    #[test]
    fun the_admin_sweeps_the_treasurys_share_of_a_server_that_left() {
        let client = start_task();
        complete(&client, 1, 1000, 2000);
        server_registry::remove_server(&world::sign_as(SERVER));
        treasury::sweep(&world::admin(), SERVER, STRANGER);
        assert!(world::coins(STRANGER) == 35 && treasury::due(SERVER) == 0, 1);
        check_balance(&client, 10 * world::apt() - 3500, 0);
    }

    #[test]
    fun a_settlement_on_the_deadline_is_in_time() {
        let client = start_task();
        world::wait(600);
        complete(&client, 1, 1000, 2000);
        check_task(&client, 2, 3290, 210, 6500);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::payment)]
    fun a_late_result_forfeits_the_reward() {
        let client = start_task();
        world::wait(601);
        complete(&client, 1, 1000, 2000);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::payment)]
    fun a_task_settles_once() {
        let client = start_task();
        complete(&client, 1, 1000, 2000);
        complete(&client, 1, 1000, 2000);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::payment)]
    fun a_refunded_task_does_not_settle() {
        let client = start_task();
        fail(&client, 3);
        complete(&client, 1, 1000, 2000);
    }

    #[test]
    #[expected_failure(abort_code = 0x60007, location = cactus::client_account)]
    fun an_unknown_task_does_not_settle() {
        let client = start_task();
        complete(&client, 2, 1000, 2000);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::client_account)]
    fun an_unknown_clients_task_does_not_settle() {
        start_task();
        complete(&world::person(0), 1, 1000, 2000);
    }

    #[test]
    #[expected_failure(abort_code = 0x50008, location = cactus::payment)]
    fun another_servers_task_does_not_settle() {
        let client = start_task();
        world::authorized_server(@0x5e2);
        payment::complete_task(
            &world::sign_as(@0x5e2), world::address_of(&client), world::id(1), 1, 1, 1, world::id(9)
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::server_registry)]
    fun a_revoked_server_does_not_settle() {
        let client = start_task();
        server_registry::revoke_server(&world::admin(), SERVER);
        complete(&client, 1, 1000, 2000);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::task)]
    fun a_short_receipt_hash_is_refused() {
        let client = start_task();
        payment::complete_task(
            &world::sign_as(SERVER), world::address_of(&client), world::id(1), 1, 1, 1, x"01"
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::pricing)]
    fun a_settlement_over_too_many_tokens_is_refused() {
        let client = start_task();
        complete(&client, 1, 0, 1000000001);
    }

    //
    // Failure and expiry
    //

    #[test]
    fun a_failed_task_returns_the_whole_lock_and_blames_the_provider() {
        let client = start_task();
        fail(&client, 1);
        check_task(&client, 3, 0, 0, LOCK);
        check_balance(&client, 10 * world::apt(), 0);
        assert!(used(&client) == 0, 1);
        let (user, provider) = failures();
        assert!(user == 0 && provider == 1, 2);
    }

    #[test]
    fun a_task_may_fail_through_the_user_or_through_nobody() {
        let (client, node) = start_task_on_node();
        fail(&client, 2);
        world::create_task(&client, 2, OPERATOR, node, LOCK);
        payment::fail_task(&world::sign_as(SERVER), world::address_of(&client), world::id(2), 3);
        let (user, provider) = failures();
        assert!(user == 1 && provider == 0, 1);
        check_balance(&client, 10 * world::apt(), 0);
    }

    #[test]
    fun a_revoked_server_gives_money_back_but_blames_nobody() {
        let client = start_task();
        server_registry::revoke_server(&world::admin(), SERVER);
        fail(&client, 1);
        let (user, provider) = failures();
        assert!(user == 0 && provider == 0, 1);
        check_balance(&client, 10 * world::apt(), 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10006, location = cactus::payment)]
    fun there_is_no_fault_zero() {
        let client = start_task();
        fail(&client, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10006, location = cactus::payment)]
    fun there_is_no_fault_four() {
        let client = start_task();
        fail(&client, 4);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::payment)]
    fun a_settled_task_does_not_fail() {
        let client = start_task();
        complete(&client, 1, 1000, 2000);
        fail(&client, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60007, location = cactus::client_account)]
    fun an_unknown_task_does_not_fail() {
        world::start();
        fail(&world::client(5), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::client_account)]
    fun an_unknown_clients_task_does_not_fail() {
        world::start();
        fail(&world::person(5), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50008, location = cactus::payment)]
    fun another_servers_task_does_not_fail() {
        let client = start_task();
        payment::fail_task(&world::sign_as(STRANGER), world::address_of(&client), world::id(1), 1);
    }

    #[test]
    fun anyone_refunds_an_expired_task_which_counts_as_idle() {
        let client = start_task();
        world::wait(601);
        refund(&client);
        check_task(&client, 3, 0, 0, LOCK);
        check_balance(&client, 10 * world::apt(), 0);
        assert!(used(&client) == 0, 1);
        let (user, provider) = failures();
        assert!(user == 0 && provider == 0, 2);
        assert!(reputation::idle_for_test(reputation::of(OPERATOR)) == 1, 3);
    }

    #[test]
    fun a_task_of_a_server_that_left_is_refunded_without_blame() {
        let client = start_task();
        server_registry::remove_server(&world::sign_as(SERVER));
        world::wait(601);
        refund(&client);
        let (_, provider) = failures();
        assert!(provider == 0, 1);
        check_balance(&client, 10 * world::apt(), 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000b, location = cactus::payment)]
    fun a_task_is_not_refunded_before_its_deadline_has_passed() {
        let client = start_task();
        world::wait(600);
        refund(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::payment)]
    fun an_expired_task_is_refunded_once() {
        let client = start_task();
        world::wait(601);
        refund(&client);
        refund(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::payment)]
    fun a_settled_task_is_not_refunded() {
        let client = start_task();
        complete(&client, 1, 1000, 2000);
        world::wait(601);
        refund(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x60007, location = cactus::client_account)]
    fun an_unknown_task_is_not_refunded() {
        world::start();
        refund(&world::client(5));
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::client_account)]
    fun an_unknown_clients_task_is_not_refunded() {
        world::start();
        refund(&world::person(5));
    }
}
