#[test_only]
module cactus::registry_tests {
    use aptos_framework::account;
    use cactus::config;
    use cactus::registry;
    use cactus::reputation;
    use cactus::stake;
    use cactus::world;

    const OPERATOR: address = @0x0c1;

    fun operator(): signer { world::sign_as(OPERATOR) }

    fun start_registered() {
        world::start();
        registry::register_orchestrator(&operator(), world::text(b"m"));
    }

    fun check_node(index: u64, key: vector<u8>, validated: bool) {
        let (_, _, _, _, nodes) = registry::unpack_for_test(registry::orchestrator(OPERATOR));
        let (k, uri, v) = registry::unpack_node_for_test(nodes[index]);
        assert!(k == key && v == validated && uri == world::text(b"https://node.example"), index);
    }

    #[test]
    fun an_operator_registers_offline_and_without_nodes() {
        start_registered();
        let (registered, uri, status, whitelisted, nodes) =
            registry::unpack_for_test(registry::orchestrator(OPERATOR));
        assert!(registered && !whitelisted && nodes.is_empty(), 1);
        assert!(uri == world::text(b"m") && status == 3, 2);
    }

    #[test]
    fun an_unknown_operator_is_not_registered() {
        world::start();
        let (registered, _, status, whitelisted, nodes) =
            registry::unpack_for_test(registry::orchestrator(OPERATOR));
        assert!(!registered && !whitelisted && nodes.is_empty() && status == 0, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x80001, location = cactus::registry)]
    fun an_operator_registers_once() {
        start_registered();
        registry::register_orchestrator(&operator(), world::text(b"m"));
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::registry)]
    fun an_empty_uri_is_refused() {
        world::start();
        registry::register_orchestrator(&operator(), world::text(b""));
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::registry)]
    fun a_long_uri_is_refused() {
        world::start();
        let uri = vector[];
        while (uri.length() < 513) uri.push_back(120);
        registry::register_orchestrator(&operator(), world::text(uri));
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_operator_registers_during_a_pause() {
        world::start();
        config::pause(&world::admin(), 4);
        registry::register_orchestrator(&operator(), world::text(b"m"));
    }

    #[test]
    fun a_node_joins_with_its_keys_proof_and_leaves() {
        start_registered();
        let first = world::add_node(OPERATOR);
        let second = world::add_node(OPERATOR);
        check_node(0, first, false);
        check_node(1, second, false);
        registry::remove_node(&operator(), first);
        check_node(0, second, false);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_a_registered_operator_adds_nodes() {
        world::start();
        world::add_node(OPERATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_node_joins_during_a_pause() {
        start_registered();
        config::pause(&world::admin(), 4);
        world::add_node(OPERATOR);
    }

    fun add_with_proof_for(chain_id: u8, operator: address) {
        start_registered();
        let node = world::person(0);
        let key = world::public_key_of(&node);
        let proof = world::sign(&node, registry::new_proof_for_test(chain_id, operator, key));
        registry::add_node(&operator(), key, world::text(b"n"), proof);
    }

    #[test]
    #[expected_failure(abort_code = 0x40007, location = cactus::registry)]
    fun a_proof_for_another_operator_is_refused() {
        add_with_proof_for(world::chain_id(), @0x99);
    }

    #[test]
    #[expected_failure(abort_code = 0x40007, location = cactus::registry)]
    fun a_proof_for_another_chain_is_refused() {
        add_with_proof_for(1, OPERATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x40007, location = cactus::registry)]
    fun a_proof_by_another_key_is_refused() {
        start_registered();
        let node = world::person(0);
        let key = world::public_key_of(&node);
        let other = world::person(0);
        let proof = world::sign(&other, registry::new_proof_for_test(world::chain_id(), OPERATOR, key));
        registry::add_node(&operator(), key, world::text(b"n"), proof);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = aptos_std::ed25519)]
    fun a_key_of_another_length_is_refused() {
        start_registered();
        let proof = world::id(1);
        proof.append(world::id(1));
        registry::add_node(&operator(), x"01", world::text(b"n"), proof);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = aptos_std::ed25519)]
    fun a_proof_of_another_length_is_refused() {
        start_registered();
        registry::add_node(&operator(), world::id(1), world::text(b"n"), x"01");
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::registry)]
    fun a_node_without_specs_is_refused() {
        start_registered();
        registry::add_node(&operator(), world::id(1), world::text(b""), x"01");
    }

    #[test]
    #[expected_failure(abort_code = 0x80004, location = cactus::registry)]
    fun a_node_joins_once() {
        start_registered();
        let key = world::add_node(OPERATOR);
        registry::add_node(&operator(), key, world::text(b"n"), x"01");
    }

    #[test]
    #[expected_failure(abort_code = 0x90006, location = cactus::registry)]
    fun an_operator_has_at_most_64_nodes() {
        start_registered();
        let n = 0;
        while (n < 65) {
            world::add_node(OPERATOR);
            n += 1;
        };
    }

    #[test]
    #[expected_failure(abort_code = 0x60005, location = cactus::registry)]
    fun only_an_existing_node_is_removed() {
        start_registered();
        registry::remove_node(&operator(), world::id(1));
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_a_registered_operator_removes_nodes() {
        world::start();
        registry::remove_node(&operator(), world::id(1));
    }

    #[test]
    fun an_operator_says_its_status() {
        start_registered();
        let status: u8 = 1;
        while (status <= 3) {
            registry::set_status(&operator(), status);
            let (_, _, found, _, _) = registry::unpack_for_test(registry::orchestrator(OPERATOR));
            assert!(found == status, 1);
            status += 1;
        };
    }

    #[test]
    #[expected_failure(abort_code = 0x10008, location = cactus::registry)]
    fun there_is_no_status_zero() {
        start_registered();
        registry::set_status(&operator(), 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10008, location = cactus::registry)]
    fun there_is_no_status_four() {
        start_registered();
        registry::set_status(&operator(), 4);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_a_registered_operator_has_a_status() {
        world::start();
        registry::set_status(&operator(), 1);
    }

    #[test]
    fun validators_whitelist_and_validate_and_take_it_back() {
        start_registered();
        let key = world::add_node(OPERATOR);
        config::set_validator(&world::admin(), @0xb1, true);
        let validator = &world::sign_as(@0xb1);
        registry::whitelist(validator, OPERATOR, true);
        registry::validate_node(validator, OPERATOR, key);
        let (_, _, _, whitelisted, _) = registry::unpack_for_test(registry::orchestrator(OPERATOR));
        assert!(whitelisted, 1);
        check_node(0, key, true);
        registry::whitelist(validator, OPERATOR, false);
        registry::invalidate_node(validator, OPERATOR, key);
        let (_, _, _, whitelisted, _) = registry::unpack_for_test(registry::orchestrator(OPERATOR));
        assert!(!whitelisted, 2);
        check_node(0, key, false);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::config)]
    fun an_operator_does_not_whitelist_itself() {
        start_registered();
        registry::whitelist(&operator(), OPERATOR, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_a_registered_operator_is_whitelisted() {
        world::start();
        registry::whitelist(&world::admin(), OPERATOR, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::config)]
    fun only_a_validator_validates() {
        start_registered();
        let key = world::add_node(OPERATOR);
        registry::validate_node(&operator(), OPERATOR, key);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::config)]
    fun only_a_validator_invalidates() {
        start_registered();
        let key = world::add_node(OPERATOR);
        registry::invalidate_node(&operator(), OPERATOR, key);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_a_registered_operators_node_is_validated() {
        world::start();
        registry::validate_node(&world::admin(), OPERATOR, world::id(1));
    }

    #[test]
    #[expected_failure(abort_code = 0x60005, location = cactus::registry)]
    fun only_an_existing_node_is_validated() {
        start_registered();
        registry::validate_node(&world::admin(), OPERATOR, world::id(1));
    }

    #[test]
    fun an_operator_leaves_without_a_stake_and_its_reputation_stays() {
        start_registered();
        reputation::record_failed_by_provider(OPERATOR);
        registry::deregister(&operator());
        let (registered, _, _, _, _) = registry::unpack_for_test(registry::orchestrator(OPERATOR));
        assert!(!registered, 1);
        registry::register_orchestrator(&operator(), world::text(b"m"));
        let (_, _, failed, _, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(failed == 1, 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::registry)]
    fun only_a_registered_operator_leaves() {
        world::start();
        registry::deregister(&operator());
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::registry)]
    fun an_operator_with_a_bond_stays() {
        start_registered();
        world::fund(OPERATOR, 100);
        stake::bond(&operator(), 100);
        registry::deregister(&operator());
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::registry)]
    fun an_operator_with_something_unbonding_stays() {
        start_registered();
        world::fund(OPERATOR, 100);
        stake::bond(&operator(), 100);
        stake::begin_unbond(&operator(), 100);
        registry::deregister(&operator());
    }

    #[test]
    fun an_operator_that_withdrew_everything_leaves() {
        start_registered();
        world::fund(OPERATOR, 100);
        stake::bond(&operator(), 100);
        stake::begin_unbond(&operator(), 100);
        world::wait(604800);
        stake::withdraw(&operator());
        registry::deregister(&operator());
        assert!(account::exists_at(OPERATOR) && world::coins(OPERATOR) == 100, 1);
    }
}
