#[test_only]
/// A settled task, three validators, an accuser, and what they do to a case. Used by the tests of accusations.
module cactus::court {
    use cactus::ballot;
    use cactus::case;
    use cactus::config;
    use cactus::dispute;
    use cactus::payment;
    use cactus::stake;
    use cactus::treasury;
    use cactus::world::{Self, Person};

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;
    const ACCUSER: address = @0xacc;
    const V1: address = @0xb1;
    const V2: address = @0xb2;
    const V3: address = @0xb3;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;
    /// The accuser's bond; the operator has 2 APT at stake, of which a case may cost half.
    const BOND: u64 = 10000000;
    const AT_RISK: u64 = 100000000;

    struct Setting has copy, drop {
        client: Person,
        case: address,
    }

    /// Three validators, and a settled task that cost its client 3,500 octas.
    public fun start_without_case(): Setting {
        world::start();
        world::authorized_server(SERVER);
        let node = world::working_operator(OPERATOR);
        let client = world::client(10 * world::apt());
        world::create_task(&client, 1, OPERATOR, node, 10000);
        let address = world::address_of(&client);
        payment::complete_task(&world::sign_as(SERVER), address, world::id(1), 1000, 2000, 1, world::id(9));
        config::set_validator(&world::admin(), V1, true);
        config::set_validator(&world::admin(), V2, true);
        config::set_validator(&world::admin(), V3, true);
        config::set_validator(&world::admin(), @cactus, false);
        world::fund(ACCUSER, world::apt());
        world::fund(OPERATOR, world::apt());
        Setting { client, case: @0x0 }
    }

    public fun start(): Setting {
        let setting = start_without_case();
        setting.case = accuse(&setting, ACCUSER, 5);
        setting
    }

    /// A case about a client's task, with the usual validators.
    public fun about(client: &Person, case: address): Setting { Setting { client: *client, case } }

    public fun accuse(setting: &Setting, accuser: address, evidence: u8): address {
        let client = world::address_of(&setting.client);
        dispute::accuse_for_test(&world::sign_as(accuser), OPERATOR, client, world::id(1), world::id(evidence))
    }

    public fun commit(setting: &Setting, appeal: bool, validator: address, uphold: bool) {
        let commitment = ballot::commitment(setting.case, appeal, validator, uphold, world::id(3));
        dispute::commit_vote(&world::sign_as(validator), setting.case, commitment);
    }

    public fun reveal(setting: &Setting, validator: address, uphold: bool) {
        dispute::reveal_vote(&world::sign_as(validator), setting.case, uphold, world::id(3));
    }

    /// The three validators vote, from the start of committing to the end of revealing. 1 upholds, 2 rejects, 3 only
    /// commits.
    public fun vote(setting: &Setting, appeal: bool, votes: vector<u8>) {
        let voters = vector[V1, V2, V3];
        let i = 0;
        while (i < votes.length()) {
            commit(setting, appeal, voters[i], votes[i] != 2);
            i += 1;
        };
        world::wait(DAY);
        i = 0;
        while (i < votes.length()) {
            if (votes[i] != 3) reveal(setting, voters[i], votes[i] != 2);
            i += 1;
        };
        world::wait(DAY);
    }

    public fun first_vote(setting: &Setting, votes: vector<u8>) {
        world::wait(DAY);
        vote(setting, false, votes);
    }

    public fun appeal(setting: &Setting, who: address) { dispute::appeal(&world::sign_as(who), setting.case) }

    public fun finalize(setting: &Setting) { dispute::finalize(&world::sign_as(STRANGER), setting.case) }

    public fun check_phase(setting: &Setting, expected: u8) {
        let (phase, outcome, _, _, bond, appeal_bond) = case::unpack_for_test(dispute::case(setting.case));
        assert!(phase == expected, (phase as u64));
        let held = if (outcome == 0) bond + appeal_bond else 0;
        assert!(dispute::vault_balance(setting.case) == held, 1);
        let client = world::address_of(&setting.client);
        world::assert_supply(
            vector[client, SERVER, OPERATOR, ACCUSER, V1, V2, V3, STRANGER], held
        );
    }

    public fun check_closed(setting: &Setting, outcome: u8, slashed: u64, treasury: u64) {
        check_phase(setting, 6);
        let (_, decided, _, _, _, _) = case::unpack_for_test(dispute::case(setting.case));
        assert!(decided == outcome, (decided as u64));
        let (bonded, unbonding, _, _) = stake::unpack_for_test(stake::stake_of(OPERATOR));
        assert!(bonded + unbonding == 2 * world::apt() - slashed, 2);
        assert!(treasury::balance() == treasury, treasury::balance());
        assert!(stake::quarantine_of(OPERATOR) == 0, 4);
        assert!(world::coins(V1) + world::coins(V2) + world::coins(V3) + world::coins(STRANGER) == 0, 5);
    }

    public fun client_of(setting: &Setting): address { world::address_of(&setting.client) }
    public fun case_of(setting: &Setting): address { setting.case }

    /// The same people with another case.
    public fun with_case(setting: &Setting, case: address): Setting { Setting { client: setting.client, case } }
}
