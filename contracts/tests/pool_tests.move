#[test_only]
/// The life of a pool; joining and leaving it.
module cactus::pool_tests {
    use cactus::campus::{Self, Campus};
    use cactus::config;
    use cactus::invite;
    use cactus::member;
    use cactus::pool;
    use cactus::registry;
    use cactus::stake;
    use cactus::world;

    const CREATOR: address = @0xc7;
    const OPERATOR: address = @0x0c1;
    const OTHER: address = @0x0c2;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;

    fun create(name: vector<u8>, key: vector<u8>, nodes: u64, units: u64, lock: u64, end: u64) {
        pool::create_pool(
            &campus::creator(), 1, world::text(name), world::text(b"https://d"), key, nodes, units, lock,
            world::now() + end
        );
    }

    fun end(campus: &Campus, who: address) { pool::end_pool(&world::sign_as(who), campus::pool_of(campus)) }

    fun check_member(campus: &Campus, active: bool, waiting: u64, banned: bool) {
        let view = pool::member(campus::pool_of(campus), campus::node_of(campus));
        let (operator, a, void, w, b) = member::unpack_for_test(view);
        assert!(operator == OPERATOR && a == active && !void && w == waiting && b == banned, 1);
    }

    //
    // Lifecycle
    //

    #[test]
    fun a_pool_is_pending_then_active_then_completed() {
        let campus = campus::pending();
        campus::check(&campus, 1, 0);
        pool::start_pool(&campus::creator(), campus::pool_of(&campus));
        campus::check(&campus, 2, 0);
        end(&campus, CREATOR);
        campus::check(&campus, 3, 0);
    }

    #[test]
    fun a_pending_pool_is_called_off_by_its_creator_or_by_anyone_after_its_end() {
        let campus = campus::pending();
        config::pause_all_for_test();
        world::wait(11 * DAY);
        end(&campus, STRANGER);
        let (state, ended, _) = pool::unpack_for_test(pool::pool(campus::pool_of(&campus)));
        assert!(state == 3 && ended == world::now() + 10 * DAY, 1);
    }

    #[test]
    fun anyone_creates_a_pool_within_the_bounds() {
        campus::pending();
        create(b"a", world::id(1), 1, 1, 600, 1);
        create(b"b", world::id(1), 100000, 1000000000, 30 * DAY, 90 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_pool_is_created_during_a_pause() {
        campus::pending();
        config::pause(&world::admin(), 32);
        create(b"a", world::id(1), 1, 1, 600, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60004, location = cactus::domain)]
    fun a_pool_needs_a_domain() {
        world::start();
        create(b"a", world::id(1), 1, 1, 600, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pool_terms)]
    fun a_pool_needs_a_name() {
        campus::pending();
        create(b"", world::id(1), 1, 1, 600, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pool_terms)]
    fun an_invite_key_is_32_bytes() {
        campus::pending();
        create(b"a", x"0102", 1, 1, 600, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pool_terms)]
    fun a_pool_has_room_for_someone() {
        campus::pending();
        create(b"a", world::id(1), 0, 1, 600, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pool_terms)]
    fun a_work_has_a_limit() {
        campus::pending();
        create(b"a", world::id(1), 1, 1000000001, 600, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pool_terms)]
    fun there_is_time_to_invalidate() {
        campus::pending();
        create(b"a", world::id(1), 1, 1, 599, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::pool_terms)]
    fun a_pool_ends_in_the_future() {
        campus::pending();
        create(b"a", world::id(1), 1, 1, 600, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::pool_terms)]
    fun a_pool_ends_within_the_allowed_time() {
        campus::pending();
        create(b"a", world::id(1), 1, 1, 600, 90 * DAY + 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::pool)]
    fun only_the_creator_starts_a_pool() {
        let campus = campus::pending();
        pool::start_pool(&world::sign_as(STRANGER), campus::pool_of(&campus));
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_pool_starts_during_a_pause() {
        let campus = campus::pending();
        config::pause(&world::admin(), 32);
        pool::start_pool(&campus::creator(), campus::pool_of(&campus));
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun a_pool_starts_once() {
        let campus = campus::active(0);
        pool::start_pool(&campus::creator(), campus::pool_of(&campus));
    }

    #[test]
    #[expected_failure(abort_code = 0x50004, location = cactus::pool)]
    fun a_stranger_does_not_end_a_pool_early() {
        end(&campus::active(0), STRANGER);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun a_pool_ends_once() {
        let campus = campus::active(0);
        end(&campus, CREATOR);
        end(&campus, CREATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::pool)]
    fun an_unknown_pool_has_no_view() {
        world::start();
        pool::pool(@0x77);
    }

    //
    // Joining and leaving
    //

    #[test]
    fun a_node_joins_leaves_and_returns_with_a_new_invite() {
        let campus = campus::joined(0);
        campus::check(&campus, 2, 1);
        check_member(&campus, true, 0, false);
        config::pause_all_for_test();
        campus::leave(&campus);
        campus::check(&campus, 2, 0);
        config::unpause(&world::admin(), 63);
        campus::join(&campus, 2);
        campus::check(&campus, 2, 1);
    }

    #[test]
    fun an_unknown_node_is_no_member() {
        let campus = campus::active(0);
        let (operator, active, _, _, _) =
            member::unpack_for_test(pool::member(campus::pool_of(&campus), campus::node_of(&campus)));
        assert!(operator == @0x0 && !active, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x80003, location = cactus::invite)]
    fun an_invite_does_not_replay() {
        let campus = campus::joined(0);
        campus::leave(&campus);
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30002, location = cactus::invite)]
    fun an_invite_expires() {
        let campus = campus::active(0);
        let signature = campus::invitation(&campus, OPERATOR, campus::node_of(&campus), 1, world::now());
        pool::join_pool(
            &world::sign_as(OPERATOR), campus::pool_of(&campus), campus::node_of(&campus), world::id(1), world::now(),
            signature
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x40004, location = cactus::invite)]
    fun an_invite_for_another_node_is_refused() {
        let campus = campus::active(0);
        let node = world::add_node(OPERATOR);
        registry::validate_node(&world::admin(), OPERATOR, node);
        let expires = world::now() + DAY;
        let signature = campus::invitation(&campus, OPERATOR, campus::node_of(&campus), 1, expires);
        pool::join_pool(
            &world::sign_as(OPERATOR), campus::pool_of(&campus), node, world::id(1), expires, signature
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x40004, location = cactus::invite)]
    fun an_invite_of_another_chain_is_refused() {
        let campus = campus::active(0);
        let node = campus::node_of(&campus);
        let expires = world::now() + DAY;
        let invite = invite::new_for_test(5, campus::pool_of(&campus), OPERATOR, node, world::id(1), expires);
        pool::join_pool(
            &world::sign_as(OPERATOR), campus::pool_of(&campus), node, world::id(1), expires,
            campus::sign(&campus, invite)
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::invite)]
    fun a_nonce_is_32_bytes() {
        let campus = campus::active(0);
        pool::join_pool(
            &world::sign_as(OPERATOR), campus::pool_of(&campus), campus::node_of(&campus), x"0102", world::now() + DAY,
            x""
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun nobody_joins_during_a_pause() {
        let campus = campus::active(0);
        config::pause(&world::admin(), 32);
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun nobody_joins_a_pending_pool() {
        campus::join(&campus::pending(), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun nobody_joins_after_the_end() {
        let campus = campus::active(0);
        world::wait(10 * DAY);
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x80007, location = cactus::pool)]
    fun a_node_is_in_a_pool_once() {
        let campus = campus::joined(0);
        campus::join(&campus, 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x90006, location = cactus::pool)]
    fun a_full_pool_takes_no_one() {
        let campus = campus::joined(0);
        let node = world::add_node(OPERATOR);
        registry::validate_node(&world::admin(), OPERATOR, node);
        campus::join_with(&campus, OPERATOR, node, 2);
        campus::join_with(&campus, OTHER, world::working_operator(OTHER), 3);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000a, location = cactus::registry)]
    fun only_a_whitelisted_operator_joins() {
        let campus = campus::active(0);
        registry::whitelist(&world::admin(), OPERATOR, false);
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000b, location = cactus::registry)]
    fun only_a_validated_node_joins() {
        let campus = campus::active(0);
        campus::join_with(&campus, OPERATOR, world::add_node(OPERATOR), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::pool)]
    fun only_a_bonded_operator_joins() {
        let campus = campus::active(0);
        stake::begin_unbond(&world::sign_as(OPERATOR), 2 * world::apt());
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x90009, location = cactus::pool)]
    fun a_node_that_only_comes_and_goes_must_claim() {
        let campus = campus::active(0);
        let n: u8 = 1;
        while (n <= 17) {
            campus::join(&campus, n);
            world::wait(1);
            campus::leave(&campus);
            n += 1;
        };
    }

    #[test]
    #[expected_failure(abort_code = 0x60008, location = cactus::pool)]
    fun a_node_leaves_once() {
        let campus = campus::joined(0);
        campus::leave(&campus);
        campus::leave(&campus);
    }

    #[test]
    #[expected_failure(abort_code = 0x60008, location = cactus::pool)]
    fun nobody_takes_out_anothers_node() {
        let campus = campus::joined(0);
        pool::leave_pool(&world::sign_as(OTHER), campus::pool_of(&campus), campus::node_of(&campus));
    }

    #[test]
    #[expected_failure(abort_code = 0x50008, location = cactus::pool)]
    fun a_node_key_stays_with_the_operator_that_brought_it() {
        let campus = campus::active(0);
        let node = world::person(0);
        let key = world::public_key_of(&node);
        world::add_known_node(OPERATOR, &node);
        registry::validate_node(&world::admin(), OPERATOR, key);
        campus::join_with(&campus, OPERATOR, key, 1);
        pool::leave_pool(&world::sign_as(OPERATOR), campus::pool_of(&campus), key);
        world::working_operator(OTHER);
        world::add_known_node(OTHER, &node);
        registry::validate_node(&world::admin(), OTHER, key);
        campus::join_with(&campus, OTHER, key, 2);
    }
}
