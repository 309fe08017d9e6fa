#[test_only]
/// Long random sequences over channels, cases, pools and the stake; after each operation every coin must be in exactly
/// one place, no channel may settle backwards, and what cases hold back must still be there.
module cactus::random_cases_tests {
    use std::bcs;
    use aptos_framework::timestamp;
    use cactus::accuser;
    use cactus::ballot;
    use cactus::campus::{Self, Campus};
    use cactus::case;
    use cactus::channel;
    use cactus::config;
    use cactus::dispute;
    use cactus::pool;
    use cactus::rewards;
    use cactus::stake;
    use cactus::world::{Self, Person};

    const CREATOR: address = @0xc7;
    const OPERATOR: address = @0x0c1;
    const PAYEE: address = @0x0c1;
    const ACCUSER: address = @0xacc;
    const VALIDATORS: vector<address> = vector[@0xb1, @0xb2, @0xb3];
    const OPERATIONS: u64 = 300;
    const HOUR: u64 = 3600;
    const DAY: u64 = 86400;

    struct State has drop {
        seed: vector<u8>,
        counter: u64,
        payer: Person,
        session: Person,
        channels: vector<address>,
        /// Settled so far, by channel.
        settled: vector<u64>,
        cases: vector<address>,
        /// By case: 0 none, 1 the validators committed in the first ballot, 2 in the appeal's.
        commits: vector<u8>,
        campus: Campus,
        paid: u64,
        /// The last work handed in, and when.
        last_work: vector<u8>,
        last_work_seconds: u64,
        closed_channels: u64,
        closed_cases: u64,
        claims: u64,
    }

    fun random(state: &mut State, bound: u64): u64 {
        state.seed = std::hash::sha3_256(state.seed);
        let number = 0;
        let i = 0;
        while (i < 7) {
            number = (number << 8) + (state.seed[i] as u64);
            i += 1;
        };
        number % bound
    }

    fun fresh_id(state: &mut State): vector<u8> {
        state.counter += 1;
        std::hash::sha3_256(bcs::to_bytes(&state.counter))
    }

    fun start(seed: u64): State {
        let campus = campus::active(1000000);
        VALIDATORS.for_each_ref(|validator| config::set_validator(&world::admin(), *validator, true));
        config::set_validator(&world::admin(), @cactus, false);
        world::fund(ACCUSER, world::apt());
        let payer = world::person(world::apt());
        State {
            seed: bcs::to_bytes(&seed), counter: 0, payer, session: world::person(0), channels: vector[],
            settled: vector[], cases: vector[], commits: vector[], campus, paid: 0, last_work: vector[],
            last_work_seconds: 0, closed_channels: 0, closed_cases: 0, claims: 0,
        }
    }

    fun check(state: &mut State) {
        let elsewhere = 0;
        let i = 0;
        while (i < state.channels.length()) {
            let (phase, _, _, deposited, settled, _) =
                channel::unpack_for_test(channel::channel(state.channels[i]));
            assert!(settled >= state.settled[i] && settled <= deposited, 1);
            state.settled[i] = settled;
            let held = if (phase == 3) 0 else deposited - settled;
            assert!(channel::vault_balance(state.channels[i]) == held, 2);
            elsewhere += held;
            i += 1;
        };
        state.cases.for_each_ref(|case| {
            let (_, outcome, _, _, bond, appeal_bond) = case::unpack_for_test(dispute::case(*case));
            let held = if (outcome == 0) bond + appeal_bond else 0;
            assert!(dispute::vault_balance(*case) == held, 3);
            elsewhere += held;
        });
        let (funded, balance) = rewards::unpack_fund_for_test(rewards::fund_of(campus::pool_of(&state.campus)));
        assert!(balance == funded - state.paid, 4);
        elsewhere += balance;
        let everyone = vector[CREATOR, OPERATOR, ACCUSER, world::address_of(&state.payer)];
        everyone.append(VALIDATORS);
        world::assert_supply(everyone, elsewhere);
    }

    //
    // Channels
    //

    fun open(state: &mut State) {
        let coins = world::coins(world::address_of(&state.payer));
        if (coins == 0 || state.channels.length() >= 20) return;
        let most = if (coins < 1000000) coins else 1000000;
        let amount = 1 + random(state, most);
        let expires = timestamp::now_seconds() + DAY + random(state, 20 * DAY);
        let channel = channel::open_for_test(
            &world::signer_of(&state.payer), PAYEE, world::public_key_of(&state.session), amount, expires
        );
        state.channels.push_back(channel);
        state.settled.push_back(0);
    }

    fun use_channel(state: &mut State) {
        if (state.channels.is_empty()) return;
        let count = state.channels.length();
        let i = random(state, count);
        let address = state.channels[i];
        let (phase, _, _, deposited, settled, closable) = channel::unpack_for_test(channel::channel(address));
        if (phase == 3) return;
        let payer = &world::signer_of(&state.payer);
        let choice = random(state, 8);
        if (choice < 4) {
            // Sometimes above the deposit.
            let cumulative = settled + random(state, deposited + 2) + 1;
            if (settled == deposited) return;
            let voucher = channel::new_voucher_for_test(world::chain_id(), address, PAYEE, cumulative);
            let signature = world::sign(&state.session, voucher);
            channel::redeem(&world::sign_as(ACCUSER), address, cumulative, signature);
        } else if (choice == 4 && phase == 1 && world::coins(world::address_of(&state.payer)) > 100) {
            channel::top_up(payer, address, 1 + random(state, 100));
        } else if (choice == 5 && phase == 1) channel::request_close(payer, address)
        else if (choice == 6 && random(state, 4) == 0) {
            channel::close_by_payee(&world::sign_as(PAYEE), address);
            state.closed_channels += 1;
        } else if (timestamp::now_seconds() >= closable) {
            channel::finalize(&world::sign_as(ACCUSER), address);
            state.closed_channels += 1;
        };
    }

    //
    // Cases and the stake
    //

    fun accuse(state: &mut State) {
        let (bonded, unbonding, _, _) = stake::unpack_for_test(stake::stake_of(OPERATOR));
        if (world::coins(ACCUSER) < world::apt() / 10 || bonded + unbonding < 2) return;
        if (timestamp::now_seconds() < accuser::barred_until_seconds(ACCUSER)) return;
        let evidence = fresh_id(state);
        let accuser = &world::sign_as(ACCUSER);
        state.cases.push_back(dispute::accuse_for_test(accuser, OPERATOR, @0x0, vector[], evidence));
        state.commits.push_back(0);
    }

    /// Takes every open case one step further, if one is due. All validators have one opinion, by the case's number.
    fun go_to_court(state: &mut State) {
        let i = 0;
        while (i < state.cases.length()) {
            let case = state.cases[i];
            let (phase, _, upholds, rejects, _, appeal_bond) = case::unpack_for_test(dispute::case(case));
            let appeal = appeal_bond > 0;
            let uphold = (i % 3 == 0) != appeal;
            let ballot: u8 = if (appeal) 2 else 1;
            if (phase == 2 && state.commits[i] < ballot) {
                commit(case, appeal, uphold);
                state.commits[i] = ballot;
            } else if (phase == 3 && state.commits[i] == ballot && upholds + rejects == 0) reveal(case, uphold)
            else if (phase == 4 && random(state, 2) == 0) file_appeal(case, uphold)
            else if (phase == 5) {
                dispute::finalize(&world::sign_as(CREATOR), case);
                state.closed_cases += 1;
            };
            check(state);
            i += 1;
        };
    }

    fun commit(case: address, appeal: bool, uphold: bool) {
        VALIDATORS.for_each_ref(|validator| {
            let commitment = ballot::commitment(case, appeal, *validator, uphold, world::id(3));
            dispute::commit_vote(&world::sign_as(*validator), case, commitment);
        });
    }

    fun reveal(case: address, uphold: bool) {
        VALIDATORS.for_each_ref(|validator| {
            dispute::reveal_vote(&world::sign_as(*validator), case, uphold, world::id(3));
        });
    }

    fun file_appeal(case: address, upheld: bool) {
        let loser = if (upheld) OPERATOR else ACCUSER;
        if (world::coins(loser) >= world::apt() / 5) dispute::appeal(&world::sign_as(loser), case);
    }

    fun move_stake(state: &mut State) {
        let operator = &world::sign_as(OPERATOR);
        let (bonded, unbonding, withdrawable, _) = stake::unpack_for_test(stake::stake_of(OPERATOR));
        let choice = random(state, 4);
        if (choice == 0 && world::coins(OPERATOR) > 1000) stake::bond(operator, 1 + random(state, 1000))
        else if (choice == 1 && unbonding > 0) stake::rebond(operator, 1 + random(state, unbonding))
        else if (choice == 2 && bonded > 1 && unbonding == 0) stake::begin_unbond(operator, 1 + random(state, bonded))
        else if (withdrawable > 0) {
            stake::withdraw(operator);
            // Rule 3: what open cases may cost stays.
            assert!(stake::vault_balance(OPERATOR) >= stake::quarantine_of(OPERATOR), 5);
        };
    }

    //
    // The pool
    //

    fun go_to_pool(state: &mut State) {
        let campus = state.campus;
        let address = campus::pool_of(&campus);
        let (_, _, nodes) = pool::unpack_for_test(pool::pool(address));
        let is_open = timestamp::now_seconds() < world::now() + 10 * DAY;
        let choice = random(state, 6);
        if (nodes == 0) {
            let (bonded, _, _, _) = stake::unpack_for_test(stake::stake_of(OPERATOR));
            if (!is_open || bonded < world::apt() || state.counter > 200) return;
            state.counter += 1;
            campus::join(&campus, (state.counter as u8));
        } else if (choice == 0) campus::leave(&campus)
        else if (choice < 3 && is_open) {
            let work = fresh_id(state);
            pool::submit_work(
                &world::sign_as(OPERATOR), address, campus::node_of(&campus), work, 1 + random(state, 1000)
            );
            state.last_work = work;
            state.last_work_seconds = timestamp::now_seconds();
        } else if (choice == 3 && timestamp::now_seconds() - state.last_work_seconds < HOUR) {
            let (_, valid, _) = pool::unpack_work_for_test(pool::work(address, state.last_work));
            if (valid) rewards::soft_invalidate_work(&world::sign_as(@0xb1), address, state.last_work);
        } else {
            let (before, claimable) =
                rewards::unpack_for_test(rewards::account(address, campus::node_of(&campus)));
            if (claimable == 0) return;
            campus::claim(&campus);
            let (after, _) = rewards::unpack_for_test(rewards::account(address, campus::node_of(&campus)));
            assert!(after - before == claimable, 6);
            state.paid += claimable;
            state.claims += 1;
        };
    }

    fun run(seed: u64) {
        let state = start(seed);
        let n = 0;
        while (n < OPERATIONS) {
            let choice = random(&mut state, 16);
            if (choice < 2) open(&mut state)
            else if (choice < 6) use_channel(&mut state)
            else if (choice == 6 && random(&mut state, 2) == 0) accuse(&mut state)
            else if (choice < 10) move_stake(&mut state)
            else if (choice < 13) go_to_pool(&mut state)
            else if (choice == 13) world::wait(random(&mut state, DAY));
            go_to_court(&mut state);
            check(&mut state);
            n += 1;
        };
        // A sequence in which little happened would prove little.
        assert!(state.closed_channels > 0 && state.closed_cases > 0 && state.claims > 0, 7);
    }

    #[test]
    fun no_coin_is_lost_in_a_first_random_sequence() { run(11) }

    #[test]
    fun no_coin_is_lost_in_a_second_random_sequence() { run(15) }

    #[test]
    fun no_coin_is_lost_in_a_third_random_sequence() { run(13) }
}
