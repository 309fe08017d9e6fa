#[test_only]
module cactus::domain_tests {
    use cactus::config;
    use cactus::domain;
    use cactus::world;

    fun create(name: vector<u8>) {
        domain::create_domain(&world::admin(), world::text(name), world::text(b"toploc-1"), world::text(b"https://p"));
    }

    fun long(): vector<u8> {
        let bytes = vector[];
        while (bytes.length() < 65) bytes.push_back(97);
        bytes
    }

    #[test]
    fun domains_have_ids_in_order_and_unique_names() {
        world::start();
        create(b"inference");
        create(b"training");
        assert!(domain::id_of(world::text(b"inference")) == 1, 1);
        assert!(domain::id_of(world::text(b"training")) == 2, 2);
        assert!(domain::id_of(world::text(b"other")) == 0, 3);
        let (name, logic, uri) = domain::unpack_for_test(domain::domain(2));
        assert!(name == world::text(b"training") && logic == world::text(b"toploc-1"), 4);
        assert!(uri == world::text(b"https://p"), 5);
        let (name, _, _) = domain::unpack_for_test(domain::domain(3));
        assert!(name.is_empty(), 6);
    }

    #[test]
    fun a_domain_is_updated_even_during_a_pause() {
        world::start();
        create(b"inference");
        config::pause_all_for_test();
        domain::update_domain(&world::admin(), 1, world::text(b"toploc-2"), world::text(b"https://q"));
        let (name, logic, uri) = domain::unpack_for_test(domain::domain(1));
        assert!(name == world::text(b"inference") && logic == world::text(b"toploc-2"), 1);
        assert!(uri == world::text(b"https://q"), 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_domain_is_created_during_a_pause() {
        world::start();
        config::pause(&world::admin(), 32);
        create(b"inference");
    }

    #[test]
    #[expected_failure(abort_code = 0x50008, location = cactus::config)]
    fun only_a_federator_creates_a_domain() {
        world::start();
        domain::create_domain(&world::sign_as(@0x99), world::text(b"a"), world::text(b"b"), world::text(b"c"));
    }

    #[test]
    #[expected_failure(abort_code = 0x50008, location = cactus::config)]
    fun only_a_federator_updates_a_domain() {
        world::start();
        create(b"inference");
        domain::update_domain(&world::sign_as(@0x99), 1, world::text(b"b"), world::text(b"c"));
    }

    #[test]
    #[expected_failure(abort_code = 0x80002, location = cactus::domain)]
    fun a_name_is_given_once() {
        world::start();
        create(b"inference");
        create(b"inference");
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::domain)]
    fun a_domain_needs_a_name() {
        world::start();
        create(b"");
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::domain)]
    fun a_long_name_is_refused() {
        world::start();
        create(long());
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::domain)]
    fun a_domain_needs_a_description() {
        world::start();
        domain::create_domain(&world::admin(), world::text(b"a"), world::text(b"b"), world::text(b""));
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::domain)]
    fun a_long_description_is_refused() {
        world::start();
        create(b"inference");
        domain::update_domain(&world::admin(), 1, world::text(long()), world::text(b"c"));
    }

    #[test]
    #[expected_failure(abort_code = 0x60004, location = cactus::domain)]
    fun an_unknown_domain_is_not_updated() {
        world::start();
        domain::update_domain(&world::admin(), 1, world::text(b"b"), world::text(b"c"));
    }
}
