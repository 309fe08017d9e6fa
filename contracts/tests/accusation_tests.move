#[test_only]
/// Accusing, answering and voting.
module cactus::accusation_tests {
    use cactus::ballot;
    use cactus::config;
    use cactus::court;
    use cactus::dispute;
    use cactus::stake;
    use cactus::world;

    const OPERATOR: address = @0x0c1;
    const ACCUSER: address = @0xacc;
    const V1: address = @0xb1;
    const V2: address = @0xb2;
    const V3: address = @0xb3;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;
    const BOND: u64 = 10000000;
    const AT_RISK: u64 = 100000000;

    //
    // Accusing and answering
    //

    #[test]
    fun the_entry_function_opens_a_case() {
        let setting = court::start_without_case();
        let client = court::client_of(&setting);
        dispute::accuse(&world::sign_as(ACCUSER), OPERATOR, client, world::id(1), world::id(5));
        assert!(world::coins(ACCUSER) == world::apt() - BOND, 1);
        assert!(stake::quarantine_of(OPERATOR) == AT_RISK && dispute::vault_balance(@0x77) == 0, 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::dispute)]
    fun nobody_accuses_itself() {
        court::accuse(&court::start_without_case(), OPERATOR, 5);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::vault)]
    fun an_accusation_needs_its_bond() {
        court::accuse(&court::start_without_case(), STRANGER, 5);
    }

    #[test]
    #[expected_failure(abort_code = 0x80003, location = cactus::dispute)]
    fun evidence_is_under_one_open_case_only() {
        court::accuse(&court::start(), ACCUSER, 5);
    }

    #[test]
    #[expected_failure(abort_code = 0x80003, location = cactus::dispute)]
    fun punished_evidence_opens_no_case() {
        let setting = court::start_without_case();
        let setting = court::with_case(&setting, court::accuse(&setting, ACCUSER, 5));
        court::first_vote(&setting, vector[1, 1, 1]);
        world::wait(DAY);
        court::finalize(&setting);
        court::accuse(&setting, ACCUSER, 5);
    }

    #[test]
    fun evidence_that_came_to_nothing_may_be_shown_again() {
        let setting = court::start();
        world::wait(3 * DAY);
        court::finalize(&setting);
        world::wait(DAY);
        let setting = court::with_case(&setting, court::accuse(&setting, ACCUSER, 5));
        court::check_phase(&setting, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::dispute)]
    fun evidence_is_named_by_a_whole_hash() {
        let setting = court::start_without_case();
        dispute::accuse(
            &world::sign_as(ACCUSER), OPERATOR, court::client_of(&setting), world::id(1), x"05"
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::dispute)]
    fun an_accusation_names_a_task_that_exists() {
        let setting = court::start_without_case();
        dispute::accuse(
            &world::sign_as(ACCUSER), OPERATOR, court::client_of(&setting), world::id(2), world::id(5)
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::dispute)]
    fun an_accusation_names_the_one_who_had_the_task() {
        let setting = court::start_without_case();
        world::bonded_operator(@0x0c2);
        dispute::accuse(
            &world::sign_as(ACCUSER), @0x0c2, court::client_of(&setting), world::id(1), world::id(5)
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::dispute)]
    fun a_task_is_not_named_without_its_client() {
        court::start_without_case();
        dispute::accuse(&world::sign_as(ACCUSER), OPERATOR, @0x0, world::id(1), world::id(5));
    }

    #[test]
    #[expected_failure(abort_code = 0x30006, location = cactus::dispute)]
    fun who_has_nothing_at_stake_is_not_accused() {
        court::start_without_case();
        dispute::accuse(&world::sign_as(ACCUSER), STRANGER, @0x0, vector[], world::id(5));
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::dispute)]
    fun a_validator_is_not_judge_in_its_own_case() {
        let setting = court::start_without_case();
        config::set_validator(&world::admin(), V2, false);
        config::set_validator(&world::admin(), V3, false);
        world::fund(V1, world::apt());
        court::accuse(&setting, V1, 5);
    }

    #[test]
    fun the_operator_answers_once() {
        let setting = court::start();
        dispute::respond(&world::sign_as(OPERATOR), court::case_of(&setting), world::id(6));
        court::check_phase(&setting, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000c, location = cactus::dispute)]
    fun the_operator_does_not_answer_twice() {
        let setting = court::start();
        dispute::respond(&world::sign_as(OPERATOR), court::case_of(&setting), world::id(6));
        dispute::respond(&world::sign_as(OPERATOR), court::case_of(&setting), world::id(7));
    }

    #[test]
    #[expected_failure(abort_code = 0x5000a, location = cactus::dispute)]
    fun only_the_accused_answers() {
        dispute::respond(&world::sign_as(ACCUSER), court::case_of(&court::start()), world::id(6));
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::dispute)]
    fun an_answer_is_named_by_a_whole_hash() {
        dispute::respond(&world::sign_as(OPERATOR), court::case_of(&court::start()), x"");
    }

    #[test]
    #[expected_failure(abort_code = 0x3000b, location = cactus::dispute)]
    fun an_answer_comes_before_the_vote() {
        let setting = court::start();
        world::wait(DAY);
        dispute::respond(&world::sign_as(OPERATOR), court::case_of(&setting), world::id(6));
    }

    #[test]
    #[expected_failure(abort_code = 0x60008, location = cactus::dispute)]
    fun an_unknown_case_has_no_view() {
        world::start();
        dispute::case(@0x77);
    }

    //
    // Voting
    //

    #[test]
    #[expected_failure(abort_code = 0x30002, location = cactus::ballot)]
    fun nobody_commits_before_the_answer_is_due() {
        court::commit(&court::start(), false, V1, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x30002, location = cactus::ballot)]
    fun nobody_commits_once_others_reveal() {
        let setting = court::start();
        world::wait(2 * DAY);
        court::commit(&setting, false, V1, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::config)]
    fun only_a_validator_commits() {
        let setting = court::start();
        world::wait(DAY);
        court::commit(&setting, false, STRANGER, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x50006, location = cactus::config)]
    fun only_a_validator_reveals() {
        let setting = court::start();
        world::wait(DAY);
        court::commit(&setting, false, V1, true);
        world::wait(DAY);
        config::set_validator(&world::admin(), V1, false);
        court::reveal(&setting, V1, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::ballot)]
    fun a_validator_that_came_later_has_no_vote() {
        let setting = court::start();
        config::set_validator(&world::admin(), STRANGER, true);
        world::wait(DAY);
        court::commit(&setting, false, STRANGER, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::ballot)]
    fun a_short_commitment_is_refused() {
        let setting = court::start();
        world::wait(DAY);
        dispute::commit_vote(&world::sign_as(V1), court::case_of(&setting), x"0102");
    }

    #[test]
    #[expected_failure(abort_code = 0x30005, location = cactus::ballot)]
    fun nobody_commits_twice() {
        let setting = court::start();
        world::wait(DAY);
        court::commit(&setting, false, V1, true);
        court::commit(&setting, false, V1, false);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::ballot)]
    fun nobody_reveals_while_others_commit() {
        let setting = court::start();
        world::wait(DAY);
        court::commit(&setting, false, V1, true);
        court::reveal(&setting, V1, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x30003, location = cactus::ballot)]
    fun nobody_reveals_late() {
        let setting = court::start();
        world::wait(DAY);
        court::commit(&setting, false, V1, true);
        world::wait(2 * DAY);
        court::reveal(&setting, V1, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x30006, location = cactus::ballot)]
    fun nobody_votes_twice() {
        let setting = court::start();
        world::wait(DAY);
        court::commit(&setting, false, V1, true);
        world::wait(DAY);
        court::reveal(&setting, V1, true);
        court::reveal(&setting, V1, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x10007, location = cactus::ballot)]
    fun nobody_reveals_another_opinion() {
        let setting = court::start();
        world::wait(DAY);
        court::commit(&setting, false, V1, true);
        world::wait(DAY);
        court::reveal(&setting, V1, false);
    }

    #[test]
    #[expected_failure(abort_code = 0x10007, location = cactus::ballot)]
    fun a_copied_commitment_is_worth_nothing() {
        let setting = court::start();
        world::wait(DAY);
        let of_another = ballot::commitment(court::case_of(&setting), false, V2, true, world::id(3));
        dispute::commit_vote(&world::sign_as(V1), court::case_of(&setting), of_another);
        world::wait(DAY);
        court::reveal(&setting, V1, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x10008, location = cactus::ballot)]
    fun a_short_salt_is_refused() {
        let setting = court::start();
        world::wait(2 * DAY);
        dispute::reveal_vote(&world::sign_as(V1), court::case_of(&setting), true, x"03");
    }

    #[test]
    #[expected_failure(abort_code = 0x30010, location = cactus::dispute)]
    fun a_case_does_not_end_before_its_time() {
        let setting = court::start();
        court::first_vote(&setting, vector[1, 1, 1]);
        world::wait(DAY - 1);
        court::finalize(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x30009, location = cactus::dispute)]
    fun a_case_ends_once() {
        let setting = court::start();
        world::wait(3 * DAY);
        court::finalize(&setting);
        court::finalize(&setting);
    }
}
