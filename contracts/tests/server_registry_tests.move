#[test_only]
module cactus::server_registry_tests {
    use cactus::config;
    use cactus::server_registry;
    use cactus::world;

    const SERVER: address = @0x5e1;

    fun register(bond: u64) {
        world::fund(SERVER, 10 * world::apt());
        server_registry::register_server(&world::sign_as(SERVER), world::text(b"u"), world::id(1), bond);
    }

    #[test]
    fun a_server_registers_with_a_bond_and_waits_for_authorisation() {
        world::start();
        register(3 * world::apt());
        let (registered, url, key, bond, authorized, fees, due) =
            server_registry::unpack_for_test(server_registry::server(SERVER));
        assert!(registered && !authorized, 1);
        assert!(url == world::text(b"u") && key == world::id(1), 2);
        assert!(bond == 3 * world::apt() && fees == 0 && due == 0, 3);
        assert!(world::coins(SERVER) == 7 * world::apt(), 4);
        world::assert_conserved(vector[SERVER]);
    }

    #[test]
    fun an_unknown_server_is_not_registered() {
        world::start();
        let (registered, _, _, bond, authorized, _, _) =
            server_registry::unpack_for_test(server_registry::server(@0x99));
        assert!(!registered && !authorized && bond == 0, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x80001, location = cactus::server_registry)]
    fun a_server_registers_once() {
        world::start();
        register(world::apt());
        register(world::apt());
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::server_registry)]
    fun a_bond_below_the_minimum_is_refused() {
        world::start();
        register(world::apt() - 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::vault)]
    fun a_bond_that_the_server_does_not_have_is_refused() {
        world::start();
        register(11 * world::apt());
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::server_registry)]
    fun an_empty_url_is_refused() {
        world::start();
        world::fund(SERVER, 10 * world::apt());
        server_registry::register_server(&world::sign_as(SERVER), world::text(b""), world::id(1), world::apt());
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::server_registry)]
    fun a_long_url_is_refused() {
        world::start();
        register(world::apt());
        let url = vector[];
        while (url.length() < 257) url.push_back(120);
        server_registry::update_server(&world::sign_as(SERVER), world::text(url), world::id(1));
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::server_registry)]
    fun a_short_public_key_is_refused() {
        world::start();
        register(world::apt());
        server_registry::update_server(&world::sign_as(SERVER), world::text(b"u"), x"0102");
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_server_registers_during_a_pause() {
        world::start();
        config::pause(&world::admin(), 4);
        register(world::apt());
    }

    #[test]
    fun a_server_updates_its_description() {
        world::start();
        register(world::apt());
        server_registry::update_server(&world::sign_as(SERVER), world::text(b"v"), world::id(2));
        let (_, url, key, _, _, _, _) = server_registry::unpack_for_test(server_registry::server(SERVER));
        assert!(url == world::text(b"v") && key == world::id(2), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::server_registry)]
    fun only_a_registered_server_updates() {
        world::start();
        server_registry::update_server(&world::sign_as(SERVER), world::text(b"v"), world::id(2));
    }

    #[test]
    fun a_server_that_leaves_gets_its_bond_back_even_during_a_pause_and_may_return() {
        world::start();
        register(2 * world::apt());
        server_registry::authorize_server(&world::admin(), SERVER);
        config::pause_all_for_test();
        server_registry::remove_server(&world::sign_as(SERVER));
        assert!(world::coins(SERVER) == 10 * world::apt(), 1);
        let (registered, _, _, bond, authorized, _, _) =
            server_registry::unpack_for_test(server_registry::server(SERVER));
        assert!(!registered && !authorized && bond == 0, 2);
        config::unpause(&world::admin(), 15);
        register(world::apt());
        let (registered, _, _, _, authorized, _, _) =
            server_registry::unpack_for_test(server_registry::server(SERVER));
        assert!(registered && !authorized, 3);
        world::assert_conserved(vector[SERVER]);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::server_registry)]
    fun a_bond_returns_once() {
        world::start();
        register(world::apt());
        server_registry::remove_server(&world::sign_as(SERVER));
        server_registry::remove_server(&world::sign_as(SERVER));
    }

    #[test]
    fun the_admin_authorises_and_revokes() {
        world::start();
        register(world::apt());
        server_registry::authorize_server(&world::admin(), SERVER);
        let (_, _, _, _, authorized, _, _) = server_registry::unpack_for_test(server_registry::server(SERVER));
        assert!(authorized, 1);
        server_registry::revoke_server(&world::admin(), SERVER);
        let (_, _, _, _, authorized, _, _) = server_registry::unpack_for_test(server_registry::server(SERVER));
        assert!(!authorized, 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun a_server_does_not_authorise_itself() {
        world::start();
        register(world::apt());
        server_registry::authorize_server(&world::sign_as(SERVER), SERVER);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::server_registry)]
    fun only_a_registered_server_is_authorised() {
        world::start();
        server_registry::authorize_server(&world::admin(), SERVER);
    }

    #[test]
    #[expected_failure(abort_code = 0x30005, location = cactus::server_registry)]
    fun a_server_below_a_raised_minimum_is_not_authorised() {
        world::start();
        register(world::apt());
        config::queue_param(&world::admin(), world::text(b"min_server_bond"), 2 * world::apt());
        world::wait(86400);
        config::apply_param(world::text(b"min_server_bond"));
        server_registry::authorize_server(&world::admin(), SERVER);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_revokes() {
        world::start();
        register(world::apt());
        server_registry::revoke_server(&world::sign_as(SERVER), SERVER);
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = cactus::server_registry)]
    fun only_a_registered_server_is_revoked() {
        world::start();
        server_registry::revoke_server(&world::admin(), SERVER);
    }
}
