#[test_only]
module cactus::stake_tests {
    use cactus::config;
    use cactus::stake;
    use cactus::world;

    const OPERATOR: address = @0x0c1;
    const WEEK: u64 = 604800;

    fun operator(): signer { world::sign_as(OPERATOR) }

    fun start_with_bond(octas: u64) {
        world::start();
        world::fund(OPERATOR, 1000);
        stake::bond(&operator(), octas);
    }

    fun check(bonded: u64, unbonding: u64, withdrawable: u64, next_unlock_seconds: u64) {
        let (b, u, w, n) = stake::unpack_for_test(stake::stake_of(OPERATOR));
        assert!(b == bonded, b);
        assert!(u == unbonding, u);
        assert!(w == withdrawable, w);
        assert!(n == next_unlock_seconds, n);
        world::assert_conserved(vector[OPERATOR]);
    }

    #[test]
    fun a_bond_is_real_coins_and_grows() {
        start_with_bond(600);
        stake::bond(&operator(), 300);
        assert!(world::coins(OPERATOR) == 100, 1);
        check(900, 0, 0, 0);
    }

    #[test]
    fun an_unknown_operator_has_no_stake() {
        world::start();
        check(0, 0, 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::vault)]
    fun a_bond_of_nothing_is_refused() {
        start_with_bond(0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::vault)]
    fun a_bond_of_coins_that_one_does_not_have_is_refused() {
        start_with_bond(1001);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_bond_is_taken_during_a_pause() {
        world::start();
        world::fund(OPERATOR, 1000);
        config::pause(&world::admin(), 8);
        stake::bond(&operator(), 1);
    }

    #[test]
    fun unbonding_takes_its_time_and_exits_know_no_pause() {
        start_with_bond(600);
        config::pause_all_for_test();
        stake::begin_unbond(&operator(), 200);
        check(400, 200, 0, world::now() + WEEK);
        world::wait(WEEK);
        check(400, 200, 200, 0);
        stake::withdraw(&operator());
        check(400, 0, 0, 0);
        assert!(world::coins(OPERATOR) == 600, 1);
    }

    #[test]
    fun a_later_unbonding_neither_delays_nor_hastens_an_earlier_one() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 100);
        world::wait(1000);
        stake::begin_unbond(&operator(), 50);
        world::wait(WEEK - 1000);
        check(450, 150, 100, world::now() + WEEK + 1000);
        stake::withdraw(&operator());
        check(450, 50, 0, world::now() + WEEK + 1000);
    }

    #[test]
    fun a_shortened_period_lets_a_younger_unbonding_mature_first() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 100);
        config::queue_param(&world::admin(), world::text(b"unbonding_seconds"), 3600);
        world::wait(86400);
        config::apply_param(world::text(b"unbonding_seconds"));
        stake::begin_unbond(&operator(), 50);
        world::wait(3600);
        check(450, 150, 50, world::now() + WEEK);
        stake::withdraw(&operator());
        check(450, 100, 0, world::now() + WEEK);
    }

    #[test]
    #[expected_failure(abort_code = 0x30006, location = cactus::stake)]
    fun nothing_is_withdrawn_before_it_matures() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 200);
        world::wait(WEEK - 1);
        stake::withdraw(&operator());
    }

    #[test]
    #[expected_failure(abort_code = 0x30006, location = cactus::stake)]
    fun a_matured_amount_is_withdrawn_once() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 200);
        world::wait(WEEK);
        stake::withdraw(&operator());
        stake::withdraw(&operator());
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::stake)]
    fun only_an_operator_with_a_stake_withdraws() {
        world::start();
        stake::withdraw(&operator());
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::stake)]
    fun only_an_operator_with_a_stake_unbonds() {
        world::start();
        stake::begin_unbond(&operator(), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::stake)]
    fun only_an_operator_with_a_stake_rebonds() {
        world::start();
        stake::rebond(&operator(), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::stake)]
    fun unbonding_nothing_is_refused() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::stake)]
    fun unbonding_more_than_the_bond_is_refused() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 601);
    }

    #[test]
    fun sixteen_amounts_may_unbond_at_once() {
        start_with_bond(600);
        let n = 0;
        while (n < 16) {
            stake::begin_unbond(&operator(), 1);
            n += 1;
        };
        check(584, 16, 0, world::now() + WEEK);
    }

    #[test]
    #[expected_failure(abort_code = 0x90004, location = cactus::stake)]
    fun a_seventeenth_is_refused_instead_of_touching_the_others() {
        start_with_bond(600);
        let n = 0;
        while (n < 17) {
            stake::begin_unbond(&operator(), 1);
            n += 1;
        };
    }

    #[test]
    fun rebonding_takes_the_youngest_first() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 100);
        world::wait(1000);
        stake::begin_unbond(&operator(), 50);
        stake::rebond(&operator(), 70);
        check(520, 80, 0, world::now() + WEEK);
        world::wait(WEEK - 1000);
        check(520, 80, 80, 0);
        stake::rebond(&operator(), 80);
        check(600, 0, 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::stake)]
    fun rebonding_more_than_unbonds_is_refused() {
        start_with_bond(600);
        stake::begin_unbond(&operator(), 100);
        stake::rebond(&operator(), 101);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::stake)]
    fun rebonding_nothing_is_refused() {
        start_with_bond(600);
        stake::rebond(&operator(), 0);
    }
}
