#[test_only]
/// What a server may and may not do with an order that a client signed.
module cactus::create_task_tests {
    use aptos_framework::timestamp;
    use cactus::config;
    use cactus::escrow;
    use cactus::payment;
    use cactus::registry;
    use cactus::stake;
    use cactus::world::{Self, Person};

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;

    /// All that `create_task` is told, and what the client signed instead where a test wants that to differ.
    struct Request has copy, drop {
        server: address,
        client: Person,
        public_key: vector<u8>,
        order_id: vector<u8>,
        max_total: u64,
        max_per_task: u64,
        expires_seconds: u64,
        signed_chain_id: u8,
        signed_server: address,
        signed_max_total: u64,
        signatory: Person,
        task_id: vector<u8>,
        orchestrator: address,
        node: vector<u8>,
        lock: u64,
        prompt_price: u64,
        output_price: u64,
        deadline_seconds: u64,
    }

    /// A world in which this request succeeds: a client with 1,000 octas in escrow, an order over 600 of them with at
    /// most 300 per task.
    fun start(): Request {
        world::start();
        world::authorized_server(SERVER);
        let node = world::working_operator(OPERATOR);
        request(world::client(1000), node)
    }

    fun request(client: Person, node: vector<u8>): Request {
        Request {
            server: SERVER,
            client,
            public_key: world::public_key_of(&client),
            order_id: world::id(1),
            max_total: 600,
            max_per_task: 300,
            expires_seconds: world::now() + 1000,
            signed_chain_id: world::chain_id(),
            signed_server: SERVER,
            signed_max_total: 600,
            signatory: client,
            task_id: world::id(1),
            orchestrator: OPERATOR,
            node,
            lock: 300,
            prompt_price: 500,
            output_price: 1500,
            deadline_seconds: timestamp::now_seconds() + 600,
        }
    }

    fun send(r: Request) {
        let client = world::address_of(&r.client);
        let signature = world::sign(&r.signatory, payment::new_order_for_test(
            r.signed_chain_id, client, r.signed_server, r.order_id, r.signed_max_total, r.max_per_task,
            r.expires_seconds
        ));
        payment::create_task(
            &world::sign_as(r.server), client, r.public_key, r.order_id, r.max_total, r.max_per_task,
            r.expires_seconds, signature, r.task_id, r.orchestrator, r.node, r.lock, r.prompt_price,
            r.output_price, r.deadline_seconds
        );
    }

    fun check_balance(client: &Person, available: u64, locked: u64) {
        let (a, l) = escrow::unpack_for_test(payment::balance(world::address_of(client)));
        assert!(a == available && l == locked, 1);
        world::assert_conserved(vector[world::address_of(client), SERVER, OPERATOR]);
    }

    #[test]
    fun a_server_locks_money_on_a_signed_order() {
        let r = start();
        send(r);
        check_balance(&r.client, 700, 300);
        assert!(payment::order_used(world::address_of(&r.client), world::id(1)) == 300, 1);
    }

    #[test]
    fun an_order_serves_many_tasks_up_to_its_total() {
        let r = start();
        send(r);
        r.task_id = world::id(2);
        send(r);
        check_balance(&r.client, 400, 600);
    }

    #[test]
    #[expected_failure(abort_code = 0x90005, location = cactus::client_account)]
    fun live_locks_never_exceed_the_orders_total() {
        let r = start();
        send(r);
        r.task_id = world::id(2);
        send(r);
        r.task_id = world::id(3);
        r.lock = 1;
        send(r);
    }

    #[test]
    fun a_refund_restores_the_order() {
        let r = start();
        send(r);
        r.task_id = world::id(2);
        send(r);
        payment::fail_task(&world::sign_as(SERVER), world::address_of(&r.client), world::id(1), 3);
        r.task_id = world::id(3);
        send(r);
        check_balance(&r.client, 400, 600);
    }

    #[test]
    #[expected_failure(abort_code = 0x90005, location = cactus::client_account)]
    fun settled_amounts_stay_used() {
        let r = start();
        send(r);
        payment::complete_task(
            &world::sign_as(SERVER), world::address_of(&r.client), world::id(1), 0, 1000, 1, world::id(9)
        );
        r.task_id = world::id(2);
        send(r);
        r.task_id = world::id(3);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x90005, location = cactus::client_account)]
    fun a_smaller_order_of_the_same_id_finds_its_total_used() {
        let r = start();
        send(r);
        r.task_id = world::id(2);
        r.max_total = 200;
        r.signed_max_total = 200;
        r.lock = 1;
        send(r);
    }

    #[test]
    fun a_larger_order_of_the_same_id_raises_the_total() {
        let r = start();
        send(r);
        r.max_total = 900;
        r.signed_max_total = 900;
        r.task_id = world::id(2);
        send(r);
        r.task_id = world::id(3);
        send(r);
        check_balance(&r.client, 100, 900);
    }

    #[test]
    fun orders_count_separately_and_clients_do_not_share_ids() {
        let r = start();
        send(r);
        r.order_id = world::id(2);
        r.task_id = world::id(2);
        send(r);
        let other = request(world::client(1000), r.node);
        send(other);
        let (other_client, first_client) = (world::address_of(&other.client), world::address_of(&r.client));
        let (available, locked) = escrow::unpack_for_test(payment::balance(other_client));
        assert!(available == 700 && locked == 300, 2);
        assert!(payment::order_used(first_client, world::id(2)) == 300, 3);
        world::assert_conserved(vector[first_client, other_client, SERVER, OPERATOR]);
    }

    #[test]
    #[expected_failure(abort_code = 0x80006, location = cactus::client_account)]
    fun a_task_id_is_never_reused_not_even_after_a_refund() {
        let r = start();
        send(r);
        payment::fail_task(&world::sign_as(SERVER), world::address_of(&r.client), world::id(1), 3);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::payment)]
    fun a_lock_over_the_maximum_per_task_is_refused() {
        let r = start();
        r.lock = 301;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::client_account)]
    fun a_lock_of_nothing_is_refused() {
        let r = start();
        r.lock = 0;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::client_account)]
    fun a_lock_over_the_clients_balance_is_refused() {
        let r = start();
        world::withdraw(&r.client, 800);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::client_account)]
    fun a_client_without_a_deposit_is_refused() {
        let r = start();
        let client = world::person(1000);
        send(request(client, r.node));
    }

    #[test]
    #[expected_failure(abort_code = 0x30001, location = cactus::payment)]
    fun an_expired_order_is_refused() {
        let r = start();
        world::wait(1000);
        r.deadline_seconds = timestamp::now_seconds() + 600;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::payment)]
    fun a_deadline_that_has_passed_is_refused() {
        let r = start();
        r.deadline_seconds = world::now();
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::payment)]
    fun a_deadline_too_far_away_is_refused() {
        let r = start();
        r.deadline_seconds = world::now() + 3601;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pricing)]
    fun a_prompt_price_over_the_limit_is_refused() {
        let r = start();
        r.prompt_price = 1000000000001;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pricing)]
    fun an_output_price_over_the_limit_is_refused() {
        let r = start();
        r.output_price = 1000000000001;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::client_account)]
    fun a_short_order_id_is_refused() {
        let r = start();
        r.order_id = x"01";
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::client_account)]
    fun a_short_task_id_is_refused() {
        let r = start();
        r.task_id = x"01";
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x40004, location = cactus::payment)]
    fun a_server_cannot_raise_what_the_client_signed() {
        let r = start();
        r.max_total = 601;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x40004, location = cactus::payment)]
    fun an_order_for_another_server_is_refused() {
        let r = start();
        r.signed_server = @0x5e2;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x40004, location = cactus::payment)]
    fun an_order_for_another_chain_is_refused() {
        let r = start();
        r.signed_chain_id = 1;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x40004, location = cactus::payment)]
    fun an_order_signed_by_another_key_is_refused() {
        let r = start();
        r.signatory = world::person(0);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x40003, location = cactus::payment)]
    fun a_key_that_is_not_the_clients_is_refused() {
        let r = start();
        let stranger = world::person(0);
        r.signatory = stranger;
        r.public_key = world::public_key_of(&stranger);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x40003, location = cactus::payment)]
    fun a_rotated_key_no_longer_spends() {
        let r = start();
        world::rotate_key(world::address_of(&r.client), world::id(5));
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = aptos_std::ed25519)]
    fun a_key_of_another_length_is_refused() {
        let r = start();
        r.public_key = x"01";
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::server_registry)]
    fun a_server_without_authorisation_is_refused() {
        let r = start();
        world::registered_server(@0x5e2);
        r.server = @0x5e2;
        r.signed_server = @0x5e2;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::server_registry)]
    fun a_server_that_left_is_refused() {
        let r = start();
        cactus::server_registry::remove_server(&world::sign_as(SERVER));
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_task_is_created_during_a_pause() {
        let r = start();
        config::pause(&world::admin(), 2);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun an_unregistered_orchestrator_is_refused() {
        let r = start();
        r.orchestrator = @0x99;
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000a, location = cactus::registry)]
    fun an_orchestrator_off_the_whitelist_is_refused() {
        let r = start();
        registry::whitelist(&world::admin(), OPERATOR, false);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x60005, location = cactus::registry)]
    fun a_foreign_node_is_refused() {
        let r = start();
        r.node = world::id(1);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000b, location = cactus::registry)]
    fun an_invalidated_node_is_refused() {
        let r = start();
        registry::invalidate_node(&world::admin(), OPERATOR, r.node);
        send(r);
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::payment)]
    fun an_orchestrator_whose_bond_unbonds_is_refused() {
        let r = start();
        stake::begin_unbond(&world::sign_as(OPERATOR), world::apt() + 1);
        send(r);
    }
}
