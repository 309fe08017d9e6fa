#[test_only]
/// How cases end, with and without an appeal, and what that does to the stake.
module cactus::case_tests {
    use cactus::config;
    use cactus::court;
    use cactus::dispute;
    use cactus::reputation;
    use cactus::stake;
    use cactus::world;

    const OPERATOR: address = @0x0c1;
    const ACCUSER: address = @0xacc;
    const V1: address = @0xb1;
    const V2: address = @0xb2;
    const DAY: u64 = 86400;
    const BOND: u64 = 10000000;
    const AT_RISK: u64 = 100000000;

    //
    // Outcomes
    //

    #[test]
    fun an_upheld_case_pays_bounty_and_compensation_and_the_treasury_the_rest() {
        let setting = court::start();
        court::check_phase(&setting, 1);
        court::first_vote(&setting, vector[1, 1, 2]);
        court::check_phase(&setting, 4);
        world::wait(DAY);
        court::check_phase(&setting, 5);
        court::finalize(&setting);
        court::check_closed(&setting, 1, AT_RISK, AT_RISK - AT_RISK / 10 - 3500);
        assert!(world::coins(ACCUSER) == world::apt() + AT_RISK / 10, 1);
        assert!(world::coins(court::client_of(&setting)) == 3500, 2);
        let (_, _, failed, _, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(failed == 1, 3);
    }

    #[test]
    fun a_rejected_case_costs_the_accuser_its_bond() {
        let setting = court::start();
        let before = world::coins(OPERATOR);
        court::first_vote(&setting, vector[2, 2, 1]);
        world::wait(DAY);
        court::finalize(&setting);
        court::check_closed(&setting, 2, 0, BOND / 2);
        assert!(world::coins(ACCUSER) == world::apt() - BOND, 1);
        assert!(world::coins(OPERATOR) == before + BOND / 2, 2);
        let (_, _, failed, _, _, _) = reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(failed == 0, 3);
    }

    #[test]
    fun two_of_three_votes_uphold_and_one_does_not() {
        let setting = court::start();
        court::first_vote(&setting, vector[1, 2, 3]);
        world::wait(DAY);
        court::finalize(&setting);
        court::check_closed(&setting, 2, 0, BOND / 2);
    }

    #[test]
    fun a_case_that_too_few_vote_on_lapses_at_once_and_half_the_bond_goes_to_the_accused() {
        let setting = court::start();
        let before = world::coins(OPERATOR);
        court::first_vote(&setting, vector[1]);
        court::check_phase(&setting, 5);
        court::finalize(&setting);
        court::check_closed(&setting, 3, 0, 0);
        assert!(world::coins(ACCUSER) == world::apt() - BOND / 2, 1);
        assert!(world::coins(OPERATOR) == before + BOND / 2, 2);
    }

    #[test]
    fun a_vote_that_is_not_revealed_does_not_count() {
        let setting = court::start();
        court::first_vote(&setting, vector[1, 3, 3]);
        court::finalize(&setting);
        court::check_closed(&setting, 3, 0, 0);
    }

    #[test]
    fun cases_run_and_end_during_a_pause() {
        let setting = court::start_without_case();
        config::pause_all_for_test();
        let setting = court::with_case(&setting, court::accuse(&setting, ACCUSER, 5));
        court::first_vote(&setting, vector[1, 1, 1]);
        court::appeal(&setting, OPERATOR);
        court::vote(&setting, true, vector[1, 1, 1]);
        court::finalize(&setting);
        court::check_closed(&setting, 1, AT_RISK, AT_RISK - AT_RISK / 10 - 3500 + 2 * BOND);
    }

    #[test]
    fun a_case_about_no_task_compensates_nobody() {
        let setting = court::start_without_case();
        let case = dispute::accuse_for_test(&world::sign_as(ACCUSER), OPERATOR, @0x0, vector[], world::id(5));
        let setting = court::with_case(&setting, case);
        court::first_vote(&setting, vector[1, 1, 1]);
        world::wait(DAY);
        court::finalize(&setting);
        court::check_closed(&setting, 1, AT_RISK, AT_RISK - AT_RISK / 10);
    }

    #[test]
    fun a_task_is_compensated_once() {
        let setting = court::start();
        let second = court::with_case(&setting, court::accuse(&setting, ACCUSER, 6));
        world::wait(DAY);
        court::commit(&setting, false, V1, true);
        court::commit(&setting, false, V2, true);
        court::commit(&second, false, V1, true);
        court::commit(&second, false, V2, true);
        world::wait(DAY);
        court::reveal(&setting, V1, true);
        court::reveal(&setting, V2, true);
        court::reveal(&second, V1, true);
        court::reveal(&second, V2, true);
        world::wait(2 * DAY);
        court::finalize(&setting);
        court::finalize(&second);
        assert!(world::coins(court::client_of(&setting)) == 3500, 1);
        court::check_closed(&setting, 1, 2 * AT_RISK, 2 * (AT_RISK - AT_RISK / 10) - 3500);
    }

    #[test]
    fun a_case_ends_even_if_nothing_is_left_to_slash() {
        let setting = court::start();
        config::set_validator(&world::admin(), @cactus, true);
        world::slash(OPERATOR, 5 * world::apt(), @0x0);
        court::first_vote(&setting, vector[1, 1, 1]);
        world::wait(DAY);
        court::finalize(&setting);
        court::check_closed(&setting, 1, 2 * AT_RISK, 2 * AT_RISK);
        assert!(world::coins(ACCUSER) == world::apt(), 1);
    }

    //
    // Appeals
    //

    #[test]
    fun an_appeal_that_wins_gets_its_bond_back() {
        let setting = court::start();
        let before = world::coins(OPERATOR);
        court::first_vote(&setting, vector[1, 1, 1]);
        court::appeal(&setting, OPERATOR);
        court::check_phase(&setting, 2);
        court::vote(&setting, true, vector[2, 2, 2]);
        court::check_phase(&setting, 5);
        court::finalize(&setting);
        court::check_closed(&setting, 2, 0, BOND / 2);
        assert!(world::coins(OPERATOR) == before + BOND / 2, 1);
    }

    #[test]
    fun an_appeal_in_vain_costs_its_bond() {
        let setting = court::start();
        court::first_vote(&setting, vector[2, 2, 2]);
        court::appeal(&setting, ACCUSER);
        court::vote(&setting, true, vector[2, 2, 1]);
        court::finalize(&setting);
        court::check_closed(&setting, 2, 0, BOND / 2 + 2 * BOND);
        assert!(world::coins(ACCUSER) == world::apt() - 3 * BOND, 1);
    }

    #[test]
    fun an_appeal_that_lapses_changes_nothing_and_gets_its_bond_back() {
        let setting = court::start();
        let before = world::coins(OPERATOR);
        court::first_vote(&setting, vector[1, 1, 1]);
        court::appeal(&setting, OPERATOR);
        world::wait(DAY);
        court::check_phase(&setting, 3);
        world::wait(DAY);
        court::finalize(&setting);
        court::check_closed(&setting, 1, AT_RISK, AT_RISK - AT_RISK / 10 - 3500);
        assert!(world::coins(OPERATOR) == before, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000d, location = cactus::dispute)]
    fun nobody_appeals_before_the_vote_is_over() {
        court::appeal(&court::start(), OPERATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000d, location = cactus::dispute)]
    fun nobody_appeals_after_the_window() {
        let setting = court::start();
        court::first_vote(&setting, vector[1, 1, 1]);
        world::wait(DAY);
        court::appeal(&setting, OPERATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000e, location = cactus::dispute)]
    fun there_is_one_appeal() {
        let setting = court::start();
        court::first_vote(&setting, vector[1, 1, 1]);
        court::appeal(&setting, OPERATOR);
        court::appeal(&setting, OPERATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000f, location = cactus::dispute)]
    fun the_winner_does_not_appeal() {
        let setting = court::start();
        court::first_vote(&setting, vector[1, 1, 1]);
        court::appeal(&setting, ACCUSER);
    }

    #[test]
    #[expected_failure(abort_code = 0x5000f, location = cactus::dispute)]
    fun nobody_appeals_against_a_lapse() {
        let setting = court::start();
        court::first_vote(&setting, vector[1]);
        court::appeal(&setting, ACCUSER);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::vault)]
    fun an_appeal_needs_its_bond() {
        let setting = court::start();
        court::first_vote(&setting, vector[2, 2, 2]);
        world::drain(ACCUSER);
        court::appeal(&setting, ACCUSER);
    }

    //
    // The stake meanwhile
    //

    #[test]
    fun what_a_case_may_cost_is_not_withdrawn_matured_or_not() {
        let setting = court::start_without_case();
        let operator = &world::sign_as(OPERATOR);
        stake::begin_unbond(operator, 2 * world::apt());
        world::wait(7 * DAY);
        let setting = court::with_case(&setting, court::accuse(&setting, ACCUSER, 5));
        let (_, _, withdrawable, _) = stake::unpack_for_test(stake::stake_of(OPERATOR));
        assert!(withdrawable == AT_RISK, withdrawable);
        let before = world::coins(OPERATOR);
        stake::withdraw(operator);
        assert!(world::coins(OPERATOR) == before + AT_RISK, 1);
        court::check_phase(&setting, 1);
        court::first_vote(&setting, vector[1, 1, 1]);
        world::wait(DAY);
        court::finalize(&setting);
        let (bonded, unbonding, _, _) = stake::unpack_for_test(stake::stake_of(OPERATOR));
        assert!(bonded + unbonding == 0, 2);
        court::check_phase(&setting, 6);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::stake)]
    fun a_stake_that_is_all_held_back_is_not_withdrawn() {
        let setting = court::start_without_case();
        let operator = &world::sign_as(OPERATOR);
        stake::begin_unbond(operator, 2 * world::apt());
        world::wait(7 * DAY);
        court::accuse(&setting, ACCUSER, 5);
        stake::withdraw(operator);
        stake::withdraw(operator);
    }

    #[test]
    fun a_rejected_case_frees_what_it_held_back() {
        let setting = court::start();
        let operator = &world::sign_as(OPERATOR);
        assert!(stake::quarantine_of(OPERATOR) == AT_RISK, 1);
        stake::begin_unbond(operator, 2 * world::apt());
        court::first_vote(&setting, vector[2, 2, 2]);
        world::wait(7 * DAY);
        court::finalize(&setting);
        stake::withdraw(operator);
        assert!(stake::vault_balance(OPERATOR) == 0, 2);
        court::check_phase(&setting, 6);
    }
}
