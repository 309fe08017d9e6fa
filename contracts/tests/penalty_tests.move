#[test_only]
/// What a closed case takes from a stake, who gets it, and the treasury that receives the rest.
module cactus::penalty_tests {
    use cactus::config;
    use cactus::stake;
    use cactus::treasury;
    use cactus::world;

    const OPERATOR: address = @0x0c1;
    const VALIDATOR: address = @0xb1;
    const ACCUSER: address = @0xacc;
    const WEEK: u64 = 604800;

    fun start_with_bond(octas: u64) {
        world::start();
        config::set_validator(&world::admin(), VALIDATOR, true);
        world::fund(OPERATOR, octas);
        stake::bond(&world::sign_as(OPERATOR), octas);
    }

    fun slash(octas: u64) {
        world::slash(OPERATOR, octas, ACCUSER);
    }

    fun check(bonded: u64, unbonding: u64, bounty: u64, treasury: u64) {
        let (b, u, _, _) = stake::unpack_for_test(stake::stake_of(OPERATOR));
        assert!(b == bonded, b);
        assert!(u == unbonding, u);
        assert!(world::coins(ACCUSER) == bounty, 3);
        assert!(treasury::balance() == treasury, 4);
        assert!(world::coins(VALIDATOR) == 0, 5);
        world::assert_conserved(vector[OPERATOR, ACCUSER, VALIDATOR]);
    }

    #[test]
    fun the_accuser_gets_a_capped_bounty_and_the_treasury_the_rest() {
        start_with_bond(1000);
        slash(299);
        check(701, 0, 29, 270);
    }

    #[test]
    fun without_an_accuser_the_treasury_gets_everything() {
        start_with_bond(1000);
        world::slash(OPERATOR, 299, @0x0);
        check(701, 0, 0, 299);
    }

    #[test]
    fun a_slash_takes_what_there_is() {
        start_with_bond(1000);
        slash(5000);
        check(0, 0, 100, 900);
    }

    #[test]
    fun what_unbonds_is_slashed_first_matured_or_not() {
        start_with_bond(1000);
        stake::begin_unbond(&world::sign_as(OPERATOR), 100);
        world::wait(WEEK);
        stake::begin_unbond(&world::sign_as(OPERATOR), 200);
        slash(150);
        check(700, 150, 15, 135);
        slash(400);
        check(450, 0, 55, 495);
    }

    #[test]
    fun a_withdrawn_stake_is_out_of_reach_and_the_rest_is_not() {
        start_with_bond(1000);
        stake::begin_unbond(&world::sign_as(OPERATOR), 900);
        world::wait(WEEK);
        stake::withdraw(&world::sign_as(OPERATOR));
        slash(1000);
        check(0, 0, 10, 90);
        assert!(world::coins(OPERATOR) == 900, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::stake)]
    fun an_empty_stake_cannot_be_slashed() {
        start_with_bond(1000);
        slash(1000);
        slash(1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::stake)]
    fun only_an_operator_with_a_stake_is_slashed() {
        world::start();
        slash(1);
    }

    #[test]
    fun the_admin_sweeps_slashed_funds() {
        start_with_bond(1000);
        slash(500);
        treasury::sweep_slashed(&world::admin(), @0x7e);
        assert!(world::coins(@0x7e) == 450 && treasury::balance() == 0, 1);
        world::assert_conserved(vector[OPERATOR, ACCUSER, @0x7e]);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_sweeps_slashed_funds() {
        start_with_bond(1000);
        slash(500);
        treasury::sweep_slashed(&world::sign_as(VALIDATOR), VALIDATOR);
    }

    #[test]
    #[expected_failure(abort_code = 0x30001, location = cactus::treasury)]
    fun an_empty_treasury_is_not_swept() {
        world::start();
        treasury::sweep_slashed(&world::admin(), @0x7e);
    }

    #[test]
    #[expected_failure(abort_code = 0x30001, location = cactus::treasury)]
    fun a_server_without_fees_is_not_swept() {
        world::start();
        treasury::sweep(&world::admin(), @0x5e1, @0x7e);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_sweeps_fees() {
        world::start();
        treasury::sweep(&world::sign_as(@0x5e1), @0x5e1, @0x5e1);
    }
}
