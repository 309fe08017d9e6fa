#[test_only]
/// What accusing costs whoever accuses for nothing: no one holds back another's stake cheaply.
module cactus::accuser_tests {
    use cactus::accuser;
    use cactus::court;
    use cactus::parameters;
    use cactus::stake;
    use cactus::world;

    const OPERATOR: address = @0x0c1;
    const ACCUSER: address = @0xacc;
    const DAY: u64 = 86400;
    const BOND: u64 = 10000000;

    #[test]
    fun an_accuser_whose_case_lapsed_waits_for_a_day() {
        let setting = court::start();
        world::wait(3 * DAY);
        court::finalize(&setting);
        assert!(accuser::barred_until_seconds(ACCUSER) == world::now() + 4 * DAY, 1);
        world::wait(DAY);
        court::accuse(&setting, ACCUSER, 6);
    }

    #[test]
    #[expected_failure(abort_code = 0x30001, location = cactus::accuser)]
    fun an_accuser_whose_case_lapsed_does_not_accuse_again_at_once() {
        let setting = court::start();
        world::wait(3 * DAY);
        court::finalize(&setting);
        world::wait(DAY - 1);
        court::accuse(&setting, ACCUSER, 6);
    }

    #[test]
    #[expected_failure(abort_code = 0x30001, location = cactus::accuser)]
    fun an_accuser_whose_case_was_rejected_does_not_accuse_again_at_once() {
        let setting = court::start();
        court::first_vote(&setting, vector[2, 2, 2]);
        world::wait(DAY);
        court::finalize(&setting);
        court::accuse(&setting, ACCUSER, 6);
    }

    #[test]
    fun an_accuser_who_was_right_may_accuse_again_at_once() {
        let setting = court::start();
        court::first_vote(&setting, vector[1, 1, 1]);
        world::wait(DAY);
        court::finalize(&setting);
        assert!(accuser::barred_until_seconds(ACCUSER) == 0, 1);
        court::accuse(&setting, ACCUSER, 6);
    }

    #[test]
    fun the_bond_grows_with_what_the_case_holds_back() {
        let setting = court::start_without_case();
        assert!(accuser::bond_for(0) == BOND && accuser::bond_for(200 * BOND) == BOND, 1);
        assert!(accuser::bond_for(200 * BOND + 200) == BOND + 1, 2);
        // 1,000 APT at stake, of which a case holds back half: half a per cent of that.
        world::fund(OPERATOR, 998 * world::apt());
        stake::bond(&world::sign_as(OPERATOR), 998 * world::apt());
        world::fund(ACCUSER, 2 * world::apt());
        let case = court::accuse(&setting, ACCUSER, 5);
        assert!(world::coins(ACCUSER) == world::apt() / 2, 3);
        // Nobody votes: holding back 500 APT for three days cost 1.25.
        let before = world::coins(OPERATOR);
        world::wait(3 * DAY);
        court::finalize(&court::with_case(&setting, case));
        assert!(world::coins(ACCUSER) == world::apt() / 2 + 125000000, 4);
        assert!(world::coins(OPERATOR) == before + 125000000, 5);
        world::assert_conserved(vector[OPERATOR, ACCUSER, @0x5e1, court::client_of(&setting)]);
    }

    #[test]
    fun parameters_may_waive_the_pause() {
        let setting = court::start_without_case();
        parameters::set_for_test(b"accuser_cooldown_seconds", 0);
        let setting = court::with_case(&setting, court::accuse(&setting, ACCUSER, 5));
        world::wait(3 * DAY);
        court::finalize(&setting);
        court::accuse(&setting, ACCUSER, 6);
    }
}
