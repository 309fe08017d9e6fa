#[test_only]
/// Withdrawals: announced, delayed, and never more than what is free.
module cactus::withdrawal_tests {
    use cactus::config;
    use cactus::escrow;
    use cactus::parameters;
    use cactus::payment;
    use cactus::world::{Self, Person};

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;
    const DELAY: u64 = 300;

    fun start(): Person {
        world::start();
        world::client(1000)
    }

    fun request(client: &Person, octas: u64) { payment::request_withdraw(&world::signer_of(client), octas) }

    fun claim(client: &Person) { payment::withdraw(&world::signer_of(client)) }

    fun check(client: &Person, available: u64, requested: u64, from: u64) {
        let view = payment::balance(world::address_of(client));
        let (a, _) = escrow::unpack_for_test(view);
        let (r, f) = escrow::request_for_test(view);
        assert!(a == available, a);
        assert!(r == requested, r);
        assert!(f == from, f);
        world::assert_conserved(vector[world::address_of(client), SERVER, OPERATOR]);
    }

    #[test]
    fun a_withdrawal_is_paid_after_its_delay_and_not_before() {
        let client = start();
        request(&client, 400);
        check(&client, 1000, 400, world::now() + DELAY);
        world::wait(DELAY);
        claim(&client);
        check(&client, 600, 0, 0);
        assert!(world::coins(world::address_of(&client)) == 400, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::client_account)]
    fun nothing_is_paid_a_second_too_early() {
        let client = start();
        request(&client, 400);
        world::wait(DELAY - 1);
        claim(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::client_account)]
    fun nothing_is_paid_without_a_request() {
        claim(&start());
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::client_account)]
    fun a_request_is_paid_once() {
        let client = start();
        world::withdraw(&client, 400);
        claim(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::client_account)]
    fun nobody_requests_more_than_it_has() {
        request(&start(), 1001);
    }

    #[test]
    fun a_second_request_replaces_the_first_and_waits_anew() {
        let client = start();
        request(&client, 400);
        world::wait(DELAY - 1);
        request(&client, 700);
        check(&client, 1000, 700, world::now() + 2 * DELAY - 1);
        world::wait(DELAY);
        claim(&client);
        check(&client, 300, 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::client_account)]
    fun a_second_request_does_not_inherit_the_time_of_the_first() {
        let client = start();
        request(&client, 400);
        world::wait(DELAY);
        request(&client, 401);
        claim(&client);
    }

    #[test]
    fun a_request_is_taken_back() {
        let client = start();
        request(&client, 400);
        payment::cancel_withdraw(&world::signer_of(&client));
        check(&client, 1000, 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::client_account)]
    fun a_request_that_was_taken_back_is_not_paid() {
        let client = start();
        request(&client, 400);
        payment::cancel_withdraw(&world::signer_of(&client));
        world::wait(DELAY);
        claim(&client);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::client_account)]
    fun there_is_nothing_to_take_back_without_a_request() {
        payment::cancel_withdraw(&world::signer_of(&start()));
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::client_account)]
    fun only_a_client_takes_a_request_back() {
        world::start();
        payment::cancel_withdraw(&world::signer_of(&world::person(5)));
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::client_account)]
    fun only_a_client_is_paid() {
        world::start();
        claim(&world::person(5));
    }

    #[test]
    fun a_later_deposit_is_not_part_of_a_request() {
        let client = start();
        request(&client, 1000);
        world::fund(world::address_of(&client), 50);
        payment::deposit(&world::signer_of(&client), 50);
        world::wait(DELAY);
        claim(&client);
        check(&client, 50, 0, 0);
    }

    #[test]
    fun withdrawals_know_no_pause() {
        let client = start();
        config::pause_all_for_test();
        request(&client, 1);
        payment::cancel_withdraw(&world::signer_of(&client));
        world::withdraw(&client, 400);
        check(&client, 600, 0, 0);
    }

    #[test]
    fun a_longer_delay_does_not_reach_a_request_that_was_made() {
        let client = start();
        request(&client, 400);
        parameters::set_for_test(b"withdrawal_delay_seconds", 86400);
        world::wait(DELAY);
        claim(&client);
        check(&client, 600, 0, 0);
    }

    //
    // The race that the delay is for
    //

    fun with_server(): (Person, vector<u8>) {
        world::start();
        world::authorized_server(SERVER);
        let node = world::working_operator(OPERATOR);
        (world::client(1000), node)
    }

    #[test]
    fun a_client_that_withdraws_after_a_server_looked_still_pays_for_the_work() {
        let (client, node) = with_server();
        // The server looks, sees 1,000 free and begins to work; the client asks for everything at once.
        request(&client, 1000);
        // The lock arrives in time, since nothing can leave within the delay.
        world::wait(DELAY - 1);
        world::create_task(&client, 1, OPERATOR, node, 800);
        check(&client, 200, 1000, world::now() + DELAY);
        world::wait(1);
        claim(&client);
        check(&client, 0, 0, 0);
        assert!(world::coins(world::address_of(&client)) == 200, 1);
        payment::complete_task(
            &world::sign_as(SERVER), world::address_of(&client), world::id(1), 1000, 0, 1, world::id(9)
        );
        // 500 of the lock were spent, and what it left is the client's.
        check(&client, 300, 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::client_account)]
    fun a_request_stands_while_tasks_lock_everything() {
        let (client, node) = with_server();
        request(&client, 1000);
        world::create_task(&client, 1, OPERATOR, node, 1000);
        world::wait(DELAY);
        claim(&client);
    }

    #[test]
    fun what_a_task_gives_back_is_paid_under_an_earlier_request() {
        let (client, node) = with_server();
        request(&client, 1000);
        world::create_task(&client, 1, OPERATOR, node, 1000);
        payment::fail_task(&world::sign_as(SERVER), world::address_of(&client), world::id(1), 3);
        world::wait(DELAY);
        claim(&client);
        check(&client, 0, 0, 0);
    }
}
