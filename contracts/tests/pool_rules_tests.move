#[test_only]
/// Ejecting, banning, and handing in work.
module cactus::pool_rules_tests {
    use cactus::campus::{Self, Campus};
    use cactus::config;
    use cactus::member;
    use cactus::pool;
    use cactus::world;

    const CREATOR: address = @0xc7;
    const OPERATOR: address = @0x0c1;
    const OTHER: address = @0x0c2;
    const STRANGER: address = @0x99;

    fun end(campus: &Campus, who: address) { pool::end_pool(&world::sign_as(who), campus::pool_of(campus)) }

    fun eject(campus: &Campus, who: address) {
        pool::eject_node(&world::sign_as(who), campus::pool_of(campus), campus::node_of(campus))
    }

    fun ban_operator(campus: &Campus, banned: bool) {
        pool::blacklist_provider(&campus::creator(), campus::pool_of(campus), OPERATOR, banned)
    }

    fun ban_node(campus: &Campus, banned: bool) {
        pool::blacklist_node(&campus::creator(), campus::pool_of(campus), campus::node_of(campus), banned)
    }

    fun check_member(campus: &Campus, active: bool, waiting: u64, banned: bool) {
        let view = pool::member(campus::pool_of(campus), campus::node_of(campus));
        let (operator, a, void, w, b) = member::unpack_for_test(view);
        assert!(operator == OPERATOR && a == active && !void && w == waiting && b == banned, 1);
    }

    //
    // Ejecting and banning
    //

    #[test]
    fun the_creator_ejects_a_node_and_it_may_return() {
        let campus = campus::joined(0);
        eject(&campus, CREATOR);
        check_member(&campus, false, 0, false);
        campus::join(&campus, 2);
        check_member(&campus, true, 0, false);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::pool)]
    fun only_the_creator_ejects() {
        eject(&campus::joined(0), STRANGER);
    }

    #[test]
    #[expected_failure(abort_code = 0x60008, location = cactus::pool)]
    fun who_is_not_there_is_not_ejected() {
        eject(&campus::active(0), CREATOR);
    }

    #[test]
    fun a_banned_node_is_out_and_may_be_forgiven() {
        let campus = campus::joined(0);
        ban_node(&campus, true);
        check_member(&campus, false, 0, true);
        campus::check(&campus, 2, 0);
        ban_node(&campus, false);
        campus::join(&campus, 2);
        check_member(&campus, true, 0, false);
    }

    #[test]
    #[expected_failure(abort_code = 0x50005, location = cactus::pool)]
    fun a_banned_node_does_not_join() {
        let campus = campus::active(0);
        ban_node(&campus, true);
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50005, location = cactus::pool)]
    fun a_banned_operator_does_not_join() {
        let campus = campus::active(0);
        ban_operator(&campus, true);
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50005, location = cactus::pool)]
    fun a_banned_operator_hands_in_nothing() {
        let campus = campus::joined(0);
        ban_operator(&campus, true);
        campus::submit(&campus, 1, 10);
    }

    #[test]
    fun a_forgiven_operator_joins() {
        let campus = campus::active(0);
        ban_operator(&campus, true);
        ban_operator(&campus, false);
        campus::join(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::pool)]
    fun only_the_creator_bans_an_operator() {
        let campus = campus::active(0);
        pool::blacklist_provider(&world::sign_as(STRANGER), campus::pool_of(&campus), OPERATOR, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::pool)]
    fun only_the_creator_bans_a_node() {
        let campus = campus::active(0);
        pool::blacklist_node(&world::sign_as(STRANGER), campus::pool_of(&campus), world::id(1), true);
    }

    //
    // Work
    //

    #[test]
    fun work_is_found_by_its_id_even_during_a_pause() {
        let campus = campus::joined(0);
        config::pause_all_for_test();
        campus::submit(&campus, 1, 10);
        campus::submit(&campus, 2, 1000);
        check_member(&campus, true, 2, false);
        let (node, valid, units) = pool::unpack_work_for_test(pool::work(campus::pool_of(&campus), world::id(2)));
        assert!(node == campus::node_of(&campus) && valid && units == 1000, 1);
        let (node, valid, units) = pool::unpack_work_for_test(pool::work(campus::pool_of(&campus), world::id(3)));
        assert!(node.is_empty() && !valid && units == 0, 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x8000d, location = cactus::pool)]
    fun a_work_id_is_used_once() {
        let campus = campus::joined(0);
        campus::submit(&campus, 1, 10);
        campus::submit(&campus, 1, 10);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000b, location = cactus::pool)]
    fun a_work_id_is_32_bytes() {
        let campus = campus::joined(0);
        pool::submit_work(&world::sign_as(OPERATOR), campus::pool_of(&campus), campus::node_of(&campus), x"0102", 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::pool)]
    fun a_work_has_units() {
        campus::submit(&campus::joined(0), 1, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::pool)]
    fun a_work_keeps_to_the_limit() {
        campus::submit(&campus::joined(0), 1, 1001);
    }

    #[test]
    #[expected_failure(abort_code = 0x60008, location = cactus::pool)]
    fun who_left_hands_in_nothing() {
        let campus = campus::joined(0);
        campus::leave(&campus);
        campus::submit(&campus, 1, 10);
    }

    #[test]
    #[expected_failure(abort_code = 0x60008, location = cactus::pool)]
    fun nobody_hands_in_for_anothers_node() {
        let campus = campus::joined(0);
        pool::submit_work(
            &world::sign_as(OTHER), campus::pool_of(&campus), campus::node_of(&campus), world::id(1), 1
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun nothing_is_handed_in_after_the_end() {
        let campus = campus::joined(0);
        end(&campus, CREATOR);
        campus::submit(&campus, 1, 10);
    }
}
