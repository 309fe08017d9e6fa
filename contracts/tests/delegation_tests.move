#[test_only]
module cactus::delegation_tests {
    use cactus::config;
    use cactus::delegation;
    use cactus::payment;
    use cactus::registry;
    use cactus::reputation;
    use cactus::stake;
    use cactus::world;

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;
    const DELEGATE: address = @0x0c2;

    fun register(operator: address) {
        registry::register_orchestrator(&world::sign_as(operator), world::text(b"https://operator.example"));
    }

    fun add(delegate: address) { delegation::add_delegate(&world::sign_as(OPERATOR), delegate) }

    fun remove(delegate: address) { delegation::remove_delegate(&world::sign_as(OPERATOR), delegate) }

    /// An operator with a delegate, both fit for work; the delegate's node is returned.
    fun start_with_delegate(): vector<u8> {
        world::start();
        world::authorized_server(SERVER);
        world::working_operator(OPERATOR);
        let node = world::working_operator(DELEGATE);
        add(DELEGATE);
        node
    }

    #[test]
    fun delegates_come_and_go_in_order() {
        world::start();
        register(OPERATOR);
        register(@0xd1);
        register(@0xd2);
        register(@0xd3);
        assert!(delegation::delegates(OPERATOR).is_empty(), 1);
        add(@0xd1);
        add(@0xd2);
        add(@0xd3);
        config::pause_all_for_test();
        remove(@0xd1);
        assert!(delegation::delegates(OPERATOR) == vector[@0xd2, @0xd3], 2);
    }

    #[test]
    fun the_original_is_paid_and_judged_for_what_its_delegate_ran() {
        let node = start_with_delegate();
        let client = world::client(10 * world::apt());
        world::create_task(&client, 1, OPERATOR, node, 10000);
        let (operator_before, delegate_before) = (world::coins(OPERATOR), world::coins(DELEGATE));
        let address = world::address_of(&client);
        payment::complete_task(&world::sign_as(SERVER), address, world::id(1), 1000, 2000, 1, world::id(9));
        assert!(world::coins(OPERATOR) == operator_before + 3290, 1);
        assert!(world::coins(DELEGATE) == delegate_before, 2);
        world::create_task(&client, 2, OPERATOR, node, 10000);
        payment::fail_task(&world::sign_as(SERVER), address, world::id(2), 1);
        let (served, _, failed, _, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(served == 1 && failed == 1, 3);
        let (served, _, failed, _, _, _) = reputation::unpack_for_test(reputation::of(DELEGATE));
        assert!(served == 0 && failed == 0, 4);
        world::assert_conserved(vector[address, SERVER, OPERATOR, DELEGATE]);
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::payment)]
    fun the_originals_stake_counts_and_not_the_delegates() {
        let node = start_with_delegate();
        stake::begin_unbond(&world::sign_as(OPERATOR), 2 * world::apt());
        world::create_task(&world::client(10 * world::apt()), 1, OPERATOR, node, 10000);
    }

    #[test]
    #[expected_failure(abort_code = 0x60005, location = cactus::registry)]
    fun a_node_of_someone_who_is_no_longer_a_delegate_is_refused() {
        let node = start_with_delegate();
        remove(DELEGATE);
        world::create_task(&world::client(10 * world::apt()), 1, OPERATOR, node, 10000);
    }

    #[test]
    #[expected_failure(abort_code = 0x60005, location = cactus::registry)]
    fun a_delegate_does_not_lend_the_originals_nodes() {
        start_with_delegate();
        let node = world::add_node(OPERATOR);
        world::create_task(&world::client(10 * world::apt()), 1, DELEGATE, node, 10000);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000b, location = cactus::registry)]
    fun a_delegates_node_must_be_validated() {
        start_with_delegate();
        let node = world::add_node(DELEGATE);
        world::create_task(&world::client(10 * world::apt()), 1, OPERATOR, node, 10000);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000a, location = cactus::registry)]
    fun a_delegate_must_be_whitelisted() {
        let node = start_with_delegate();
        registry::whitelist(&world::admin(), DELEGATE, false);
        world::create_task(&world::client(10 * world::apt()), 1, OPERATOR, node, 10000);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_delegate_is_added_during_a_pause() {
        world::start();
        config::pause(&world::admin(), 4);
        add(DELEGATE);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_an_operator_has_delegates() {
        world::start();
        register(DELEGATE);
        add(DELEGATE);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_an_operator_is_a_delegate() {
        world::start();
        register(OPERATOR);
        add(DELEGATE);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::delegation)]
    fun nobody_is_its_own_delegate() {
        world::start();
        register(OPERATOR);
        add(OPERATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x80002, location = cactus::delegation)]
    fun a_delegate_is_added_once() {
        world::start();
        register(OPERATOR);
        register(DELEGATE);
        add(DELEGATE);
        add(DELEGATE);
    }

    #[test]
    #[expected_failure(abort_code = 0x60003, location = cactus::delegation)]
    fun a_stranger_is_not_removed() {
        world::start();
        register(OPERATOR);
        register(DELEGATE);
        add(DELEGATE);
        remove(@0x99);
    }

    #[test]
    #[expected_failure(abort_code = 0x60003, location = cactus::delegation)]
    fun without_delegates_none_is_removed() {
        world::start();
        register(OPERATOR);
        remove(DELEGATE);
    }

    #[test]
    #[expected_failure(abort_code = 0x90004, location = cactus::delegation)]
    fun there_are_at_most_32_delegates() {
        world::start();
        register(OPERATOR);
        let n: u8 = 0;
        while (n < 33) {
            let delegate = aptos_std::from_bcs::to_address(world::id(n + 100));
            register(delegate);
            add(delegate);
            n += 1;
        };
    }
}
