/// The parameters: their bounds, and changes that wait for a delay which everyone can watch. Judges no one's right to
/// change them: `config` does.
module cactus::parameters {
    use std::error;
    use std::string::{Self, String};
    use aptos_framework::event;
    use aptos_framework::timestamp;

    //
    // Errors
    //

    /// There is no parameter of this name.
    const EUNKNOWN_PARAMETER: u64 = 1;
    /// The value lies outside of the parameter's bounds.
    const EOUT_OF_BOUNDS: u64 = 2;
    /// No change of this parameter is queued.
    const ENOT_QUEUED: u64 = 3;
    /// The queued change may not be applied yet.
    const ETOO_EARLY: u64 = 4;

    //
    // Constants
    //

    // Indices into the lists below. A new parameter goes to the end.
    const MIN_STAKE: u64 = 0;
    const MIN_SERVER_BOND: u64 = 1;
    const UNBONDING_SECONDS: u64 = 2;
    const SERVER_FEE_BPS: u64 = 3;
    const TREASURY_FEE_BPS: u64 = 4;
    const QUALITY_FLOOR_BPS: u64 = 5;
    const MAX_TASK_SECONDS: u64 = 6;
    const SLASH_BOUNTY_CAP_BPS: u64 = 7;
    const PARAMETER_DELAY_SECONDS: u64 = 8;
    const CHANNEL_CLOSE_SECONDS: u64 = 9;
    const MAX_CHANNEL_SECONDS: u64 = 10;
    const ACCUSER_BOND: u64 = 11;
    const CASE_SLASH_BPS: u64 = 12;
    const RESPONSE_SECONDS: u64 = 13;
    const VOTE_SECONDS: u64 = 14;
    const APPEAL_SECONDS: u64 = 15;
    const MAX_POOL_SECONDS: u64 = 16;
    const REWARD_CLAIM_SECONDS: u64 = 17;
    const WITHDRAWAL_DELAY_SECONDS: u64 = 18;
    const REVIEW_SECONDS: u64 = 19;
    const ACCUSER_BOND_BPS: u64 = 20;
    const ACCUSER_COOLDOWN_SECONDS: u64 = 21;

    const NAMES: vector<vector<u8>> = vector[
        b"min_stake", b"min_server_bond", b"unbonding_seconds", b"server_fee_bps", b"treasury_fee_bps",
        b"quality_floor_bps", b"max_task_seconds", b"slash_bounty_cap_bps", b"parameter_delay_seconds",
        b"channel_close_seconds", b"max_channel_seconds",
        b"accuser_bond", b"case_slash_bps", b"response_seconds", b"vote_seconds", b"appeal_seconds",
        b"max_pool_seconds", b"reward_claim_seconds",
        b"withdrawal_delay_seconds", b"review_seconds", b"accuser_bond_bps", b"accuser_cooldown_seconds"
    ];
    // Stakes and bonds in octas: 1 APT. Seven days to unbond, one hour for a task, one day for a change. One day to
    // close a channel, which lives for 30 days at most unless extended. 0.1 APT to accuse, half of the stake at risk,
    // and a day each to answer, to vote, to reveal and to appeal. 90 days for a pool, 30 to claim its rewards. Five
    // minutes between asking for a withdrawal and getting it, an hour to review a delivery. An accuser puts up at least
    // half a per cent of what its case holds back, and after one that came to nothing it waits for a day.
    const DEFAULTS: vector<u64> = vector[
        100000000, 100000000, 604800, 500, 100, 8000, 3600, 1000, 86400,
        86400, 2592000,
        10000000, 5000, 86400, 86400, 86400,
        7776000, 2592000,
        300, 3600, 50, 86400
    ];
    const MINIMA: vector<u64> = vector[
        1000000, 1000000, 3600, 0, 0, 5000, 60, 0, 3600,
        600, 86400,
        100000, 100, 600, 600, 600,
        86400, 86400,
        60, 300, 0, 0
    ];
    const MAXIMA: vector<u64> = vector[
        100000000000000, 100000000000000, 5184000, 2000, 1000, 10000, 86400, 5000, 2592000,
        86400, 31536000,
        10000000000000, 10000, 604800, 604800, 604800,
        63072000, 31536000,
        86400, 604800, 2000, 2592000
    ];

    //
    // Structs
    //

    /// Read by every task, written only when a change is queued or applied. At the contract's address.
    enum Parameters has key {
        V1 {
            values: vector<u64>,
            queued: vector<QueuedChange>,
        }
    }

    struct QueuedChange has copy, drop, store {
        parameter: u64,
        value: u64,
        apply_from_seconds: u64,
    }

    //
    // Events
    //

    #[event]
    enum ParameterQueued has drop, store {
        V1 { name: String, value: u64, apply_from_seconds: u64 }
    }

    #[event]
    enum ParameterChanged has drop, store {
        V1 { name: String, old_value: u64, new_value: u64 }
    }

    //
    // For the other modules
    //

    // All parameters take their defaults.
    fun init_module(publisher: &signer) {
        move_to(publisher, Parameters::V1 { values: DEFAULTS, queued: vector[] });
    }

    /// A parameter's value.
    ///
    /// Aborts if there is no such parameter.
    package fun of(name: &String): u64 acquires Parameters { get(index_of(name)) }

    /// Announces a change; an earlier announcement for the parameter is replaced and the delay starts anew.
    ///
    /// Aborts if there is no such parameter or the value is out of its bounds.
    package fun queue(name: String, value: u64) acquires Parameters {
        let parameter = index_of(&name);
        assert!(
            value >= MINIMA[parameter] && value <= MAXIMA[parameter],
            error::out_of_range(EOUT_OF_BOUNDS)
        );
        let apply_from_seconds = timestamp::now_seconds() + get(PARAMETER_DELAY_SECONDS);
        let queued = &mut Parameters[@cactus].queued;
        let (found, i) = find_queued(queued, parameter);
        if (found) {
            queued.remove(i);
        };
        queued.push_back(QueuedChange { parameter, value, apply_from_seconds });
        event::emit(ParameterQueued::V1 { name, value, apply_from_seconds });
    }

    /// Applies an announced change.
    ///
    /// Aborts if there is no such parameter, no change of it is announced, or the delay is not over.
    package fun apply(name: String) acquires Parameters {
        let parameter = index_of(&name);
        let parameters = &mut Parameters[@cactus];
        let (found, i) = find_queued(&parameters.queued, parameter);
        assert!(found, error::not_found(ENOT_QUEUED));
        let QueuedChange { parameter: _, value, apply_from_seconds } = parameters.queued[i];
        assert!(timestamp::now_seconds() >= apply_from_seconds, error::invalid_state(ETOO_EARLY));
        parameters.queued.remove(i);
        let old_value = parameters.values[parameter];
        parameters.values[parameter] = value;
        event::emit(ParameterChanged::V1 { name, old_value, new_value: value });
    }

    /// The least bond, in octas, with which an orchestrator gets tasks.
    package fun min_stake(): u64 acquires Parameters { get(MIN_STAKE) }

    /// The least bond of a routing server, in octas.
    package fun min_server_bond(): u64 acquires Parameters { get(MIN_SERVER_BOND) }

    /// How long a bond stays slashable after its owner began to unbond it.
    package fun unbonding_seconds(): u64 acquires Parameters { get(UNBONDING_SECONDS) }

    /// The longest a task may take.
    package fun max_task_seconds(): u64 acquires Parameters { get(MAX_TASK_SECONDS) }

    /// The accuser's largest share of a slash.
    package fun slash_bounty_cap_bps(): u64 acquires Parameters { get(SLASH_BOUNTY_CAP_BPS) }

    /// How long a payee may hand in vouchers after the payer asked to close.
    package fun channel_close_seconds(): u64 acquires Parameters { get(CHANNEL_CLOSE_SECONDS) }

    /// The longest that a channel may live, from when it is opened or extended.
    package fun max_channel_seconds(): u64 acquires Parameters { get(MAX_CHANNEL_SECONDS) }

    /// What an accuser puts up, in octas; an appeal costs twice as much.
    package fun accuser_bond(): u64 acquires Parameters { get(ACCUSER_BOND) }

    /// The share of an operator's stake that a case may cost.
    package fun case_slash_bps(): u64 acquires Parameters { get(CASE_SLASH_BPS) }

    /// How long an accused operator may answer; how long validators may commit, and then reveal; how long the loser may
    /// appeal.
    package fun case_seconds(): (u64, u64, u64) acquires Parameters {
        (get(RESPONSE_SECONDS), get(VOTE_SECONDS), get(APPEAL_SECONDS))
    }

    /// The least share of what a case holds back that its accuser puts up.
    package fun accuser_bond_bps(): u64 acquires Parameters { get(ACCUSER_BOND_BPS) }

    /// How long an accuser accuses no one after a case of its that was rejected or lapsed.
    package fun accuser_cooldown_seconds(): u64 acquires Parameters { get(ACCUSER_COOLDOWN_SECONDS) }

    /// How long a client waits between asking for a withdrawal and getting it.
    package fun withdrawal_delay_seconds(): u64 acquires Parameters { get(WITHDRAWAL_DELAY_SECONDS) }

    /// How long server and client have, at least, to object to a delivery.
    package fun review_seconds(): u64 acquires Parameters { get(REVIEW_SECONDS) }

    /// The longest that a pool may last.
    package fun max_pool_seconds(): u64 acquires Parameters { get(MAX_POOL_SECONDS) }

    /// How long rewards can be claimed after a pool ended and its lock window is over.
    package fun reward_claim_seconds(): u64 acquires Parameters { get(REWARD_CLAIM_SECONDS) }

    /// What a settlement needs, in one read: server fee, treasury fee, quality floor, in basis points.
    package fun settlement_bps(): (u64, u64, u64) acquires Parameters {
        let values = &Parameters[@cactus].values;
        (values[SERVER_FEE_BPS], values[TREASURY_FEE_BPS], values[QUALITY_FLOOR_BPS])
    }

    //
    // Helpers
    //

    fun get(parameter: u64): u64 acquires Parameters {
        Parameters[@cactus].values[parameter]
    }

    fun index_of(name: &String): u64 {
        let (found, parameter) = NAMES.index_of(string::bytes(name));
        assert!(found, error::not_found(EUNKNOWN_PARAMETER));
        parameter
    }

    fun find_queued(queued: &vector<QueuedChange>, parameter: u64): (bool, u64) {
        let i = 0;
        while (i < queued.length()) {
            if (queued[i].parameter == parameter) return (true, i);
            i += 1;
        };
        (false, 0)
    }

    #[test_only]
    public fun set_for_test(name: vector<u8>, value: u64) acquires Parameters {
        let parameter = index_of(&string::utf8(name));
        assert!(value >= MINIMA[parameter] && value <= MAXIMA[parameter], 0);
        Parameters[@cactus].values[parameter] = value;
    }

    #[test_only]
    public fun init_for_test(publisher: &signer) {
        init_module(publisher)
    }
}
