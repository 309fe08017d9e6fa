#[test_only]
/// The node of these tests earns one and a half octas per second and a quarter per unit, an hour later.
module cactus::rewards_tests {
    use cactus::campus::{Self, Campus};
    use cactus::config;
    use cactus::member;
    use cactus::pool;
    use cactus::reputation;
    use cactus::rewards;
    use cactus::world;

    const CREATOR: address = @0xc7;
    const OPERATOR: address = @0x0c1;
    const OTHER: address = @0x0c2;
    const VALIDATOR: address = @0xb1;
    const STRANGER: address = @0x99;
    const HOUR: u64 = 3600;
    const DAY: u64 = 86400;

    fun hard(campus: &Campus, work: u8) {
        rewards::invalidate_work(&world::admin(), campus::pool_of(campus), world::id(work))
    }

    fun soft(campus: &Campus, work: u8) {
        rewards::soft_invalidate_work(&world::admin(), campus::pool_of(campus), world::id(work))
    }

    fun end(campus: &Campus) { pool::end_pool(&campus::creator(), campus::pool_of(campus)) }

    fun reclaim(campus: &Campus) { rewards::reclaim(&world::sign_as(STRANGER), campus::pool_of(campus)) }

    //
    // Activity
    //

    #[test]
    fun activity_earns_by_the_second_after_the_lock_window() {
        let campus = campus::joined(100000);
        world::wait(HOUR);
        campus::check_account(&campus, 0, 0);
        world::wait(101);
        // 151.5
        campus::check_account(&campus, 0, 151);
        campus::claim(&campus);
        campus::check_account(&campus, 151, 0);
        world::wait(1);
        // The half octa of the first claim was not lost.
        campus::check_account(&campus, 151, 2);
        campus::claim(&campus);
        campus::check_account(&campus, 153, 0);
    }

    #[test]
    fun a_claim_each_second_earns_as_much_as_one_in_the_end() {
        let campus = campus::joined(100000);
        world::wait(HOUR);
        let n = 0;
        while (n < 50) {
            world::wait(1);
            campus::claim(&campus);
            n += 1;
        };
        campus::check_account(&campus, 75, 0);
    }

    #[test]
    fun only_the_time_in_the_pool_counts() {
        let campus = campus::joined(100000);
        world::wait(100);
        campus::leave(&campus);
        world::wait(1000);
        campus::join(&campus, 2);
        world::wait(10);
        campus::leave(&campus);
        campus::check_account(&campus, 0, 0);
        // The first interval has half matured.
        world::wait(HOUR - 1010 - 50);
        campus::check_account(&campus, 0, 75);
        campus::claim(&campus);
        world::wait(DAY);
        campus::check_account(&campus, 75, 90);
        campus::claim(&campus);
        campus::check_account(&campus, 165, 0);
    }

    #[test]
    fun nothing_is_earned_after_the_end_even_if_nobody_ends_the_pool() {
        let campus = campus::joined(100000000);
        world::wait(20 * DAY);
        campus::check_account(&campus, 0, 15 * DAY);
        campus::leave(&campus);
        campus::check_account(&campus, 0, 15 * DAY);
        campus::claim(&campus);
        campus::check_account(&campus, 15 * DAY, 0);
    }

    #[test]
    fun a_pool_that_ends_early_pays_until_then() {
        let campus = campus::joined(100000);
        world::wait(100);
        end(&campus);
        world::wait(2 * HOUR);
        config::pause_all_for_test();
        campus::claim(&campus);
        campus::check_account(&campus, 150, 0);
    }

    #[test]
    fun what_the_fund_cannot_pay_stays_owed() {
        let campus = campus::joined(100);
        world::wait(HOUR + 100);
        campus::claim(&campus);
        campus::check_account(&campus, 100, 0);
        rewards::fund(&campus::creator(), campus::pool_of(&campus), 500);
        campus::check_account(&campus, 100, 50);
        campus::claim(&campus);
        campus::check_account(&campus, 150, 0);
    }

    //
    // Work
    //

    #[test]
    fun accepted_work_earns_by_the_unit() {
        let campus = campus::joined(100000);
        campus::submit(&campus, 1, 10);
        campus::submit(&campus, 2, 1);
        campus::leave(&campus);
        world::wait(HOUR - 1);
        campus::check_account(&campus, 0, 0);
        world::wait(1);
        // 2.75
        campus::check_account(&campus, 0, 2);
        campus::claim(&campus);
        campus::check_account(&campus, 2, 0);
        let (_, valid, units) = pool::unpack_work_for_test(pool::work(campus::pool_of(&campus), world::id(1)));
        assert!(!valid && units == 0, 1);
    }

    #[test]
    fun work_matures_in_the_order_of_time() {
        let campus = campus::joined(100000);
        campus::submit(&campus, 1, 100);
        world::wait(10);
        campus::submit(&campus, 2, 200);
        campus::leave(&campus);
        world::wait(HOUR - 10);
        campus::check_account(&campus, 0, 25);
        campus::claim(&campus);
        // An invalidation of older, taken work cannot pull the newer one ahead.
        world::wait(9);
        campus::check_account(&campus, 25, 13);
        world::wait(1);
        campus::check_account(&campus, 25, 65);
    }

    #[test]
    fun worthless_work_earns_nothing_and_the_rest_does() {
        let campus = campus::joined(100000);
        campus::submit(&campus, 1, 100);
        campus::submit(&campus, 2, 200);
        campus::submit(&campus, 3, 400);
        campus::leave(&campus);
        soft(&campus, 2);
        world::wait(HOUR);
        campus::check_account(&campus, 0, 125);
        campus::claim(&campus);
        campus::check_account(&campus, 125, 0);
        let (_, _, failed, _, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(failed == 0, 1);
    }

    #[test]
    fun a_fraud_loses_all_that_is_in_the_window_and_nothing_before() {
        let campus = campus::joined(100000);
        campus::submit(&campus, 1, 100);
        world::wait(HOUR + 100);
        campus::submit(&campus, 2, 200);
        campus::submit(&campus, 3, 400);
        hard(&campus, 2);
        campus::check(&campus, 2, 0);
        let (_, active, void, _, _) =
            member::unpack_for_test(pool::member(campus::pool_of(&campus), campus::node_of(&campus)));
        assert!(!active && void, 1);
        let (_, valid, _) = pool::unpack_work_for_test(pool::work(campus::pool_of(&campus), world::id(3)));
        assert!(!valid, 2);
        // 100 seconds and the first work had matured.
        campus::check_account(&campus, 0, 175);
        world::wait(DAY);
        campus::claim(&campus);
        campus::check_account(&campus, 175, 0);
        let (_, _, failed, _, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(failed == 1, 3);
    }

    #[test]
    #[expected_failure(abort_code = 0x50005, location = cactus::pool)]
    fun a_fraud_does_not_return() {
        let campus = campus::joined(0);
        campus::submit(&campus, 1, 100);
        hard(&campus, 1);
        campus::join(&campus, 2);
    }

    #[test]
    fun a_fraud_is_found_out_after_leaving_too() {
        let campus = campus::joined(100000);
        campus::submit(&campus, 1, 100);
        world::wait(60);
        campus::leave(&campus);
        hard(&campus, 1);
        world::wait(DAY);
        campus::check_account(&campus, 0, 0);
    }

    #[test]
    fun a_hundred_worthless_works_do_not_bar_those_behind_them() {
        let campus = campus::joined(100000);
        let n: u8 = 1;
        while (n <= 101) {
            campus::submit(&campus, n, 4);
            if (n <= 100) soft(&campus, n);
            n += 1;
        };
        campus::leave(&campus);
        world::wait(HOUR);
        campus::claim(&campus);
        campus::check_account(&campus, 0, 1);
        campus::claim(&campus);
        campus::check_account(&campus, 1, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::config)]
    fun only_a_validator_declares_a_fraud() {
        let campus = campus::joined(0);
        campus::submit(&campus, 1, 100);
        rewards::invalidate_work(&world::sign_as(CREATOR), campus::pool_of(&campus), world::id(1));
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::config)]
    fun only_a_validator_declares_work_worthless() {
        let campus = campus::joined(0);
        campus::submit(&campus, 1, 100);
        rewards::soft_invalidate_work(&world::sign_as(VALIDATOR), campus::pool_of(&campus), world::id(1));
    }

    #[test]
    #[expected_failure(abort_code = 0x6000e, location = cactus::pool)]
    fun unknown_work_is_not_invalidated() {
        hard(&campus::joined(0), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000f, location = cactus::pool)]
    fun work_is_invalidated_once() {
        let campus = campus::joined(0);
        campus::submit(&campus, 1, 100);
        soft(&campus, 1);
        hard(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000f, location = cactus::pool)]
    fun accepted_work_stays_accepted() {
        let campus = campus::joined(0);
        campus::submit(&campus, 1, 100);
        world::wait(HOUR);
        soft(&campus, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50004, location = cactus::rewards)]
    fun nobody_claims_for_anothers_node() {
        let campus = campus::joined(1000);
        world::wait(DAY);
        rewards::claim(&world::sign_as(OTHER), campus::pool_of(&campus), campus::node_of(&campus));
    }

    #[test]
    #[expected_failure(abort_code = 0x60008, location = cactus::pool)]
    fun who_never_joined_claims_nothing() {
        campus::claim(&campus::active(1000));
    }

    #[test]
    #[expected_failure(abort_code = 0x30005, location = cactus::rewards)]
    fun nothing_is_claimed_before_it_matures() {
        let campus = campus::joined(1000);
        world::wait(HOUR);
        campus::claim(&campus);
    }

    //
    // The fund
    //

    #[test]
    fun an_unknown_fund_is_empty() {
        world::start();
        let (funded, balance) = rewards::unpack_fund_for_test(rewards::fund_of(@0x77));
        assert!(funded == 0 && balance == 0, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::rewards)]
    fun a_pool_without_rates_takes_no_money() {
        world::start();
        rewards::fund(&campus::creator(), @0x77, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x80002, location = cactus::rewards)]
    fun rates_are_set_once() {
        let campus = campus::pending();
        rewards::open(&campus::creator(), campus::pool_of(&campus), 1, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::rewards)]
    fun rates_are_not_all_zero() {
        let campus = campus::pending();
        rewards::open(&campus::creator(), campus::pool_of(&campus), 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::rewards)]
    fun rates_are_bounded() {
        let campus = campus::pending();
        rewards::open(&campus::creator(), campus::pool_of(&campus), 1, 1000000000000000001);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::pool)]
    fun only_the_creator_sets_rates() {
        let campus = campus::pending();
        rewards::open(&world::sign_as(STRANGER), campus::pool_of(&campus), 1, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun rates_are_set_before_the_start() {
        let campus = campus::active(0);
        rewards::open(&campus::creator(), campus::pool_of(&campus), 1, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_fund_opens_during_a_pause() {
        let campus = campus::pending();
        config::pause(&world::admin(), 32);
        rewards::open(&campus::creator(), campus::pool_of(&campus), 1, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_fund_grows_during_a_pause() {
        let campus = campus::active(0);
        config::pause(&world::admin(), 32);
        rewards::fund(&campus::creator(), campus::pool_of(&campus), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::vault)]
    fun a_fund_does_not_grow_by_nothing() {
        rewards::fund(&campus::creator(), campus::pool_of(&campus::active(0)), 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun a_completed_pool_takes_no_money() {
        let campus = campus::active(0);
        end(&campus);
        rewards::fund(&campus::creator(), campus::pool_of(&campus), 1);
    }

    #[test]
    fun what_nobody_claimed_returns_to_the_creator() {
        let campus = campus::joined(1000);
        world::wait(100);
        end(&campus);
        world::wait(HOUR);
        campus::claim(&campus);
        campus::check_account(&campus, 150, 0);
        config::pause_all_for_test();
        world::wait(30 * DAY);
        let before = world::coins(CREATOR);
        reclaim(&campus);
        assert!(world::coins(CREATOR) == before + 850, 1);
        world::assert_supply(vector[CREATOR, OPERATOR], 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x30006, location = cactus::rewards)]
    fun the_time_to_claim_is_kept() {
        let campus = campus::joined(1000);
        end(&campus);
        world::wait(HOUR + 30 * DAY - 1);
        reclaim(&campus);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::pool)]
    fun an_active_pool_keeps_its_fund() {
        let campus = campus::joined(1000);
        world::wait(80 * DAY);
        reclaim(&campus);
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::rewards)]
    fun an_empty_fund_returns_nothing() {
        let campus = campus::active(0);
        end(&campus);
        world::wait(80 * DAY);
        reclaim(&campus);
    }
}
