/// Roles, parameters and the pause mask. Holds no money.
///
/// Parameters change only within fixed bounds and after a delay that everyone can watch. A pause stops new
/// obligations and never an exit: withdrawals, unbonding, settlements and refunds know no pause.
module cactus::config {
    use std::error;
    use std::option::{Self, Option};
    use std::signer;
    use std::string::{Self, String};
    use aptos_framework::event;
    use aptos_framework::timestamp;

    //
    // Errors
    //

    /// The caller is not the admin.
    const ENOT_ADMIN: u64 = 1;
    /// The caller is not the proposed admin.
    const ENOT_PROPOSED_ADMIN: u64 = 2;
    /// There is no parameter of this name.
    const EUNKNOWN_PARAMETER: u64 = 3;
    /// The value lies outside of the parameter's bounds.
    const EOUT_OF_BOUNDS: u64 = 4;
    /// No change of this parameter is queued.
    const ENOT_QUEUED: u64 = 5;
    /// The queued change may not be applied yet.
    const ETOO_EARLY: u64 = 6;
    /// The pause mask has a bit that means nothing.
    const EUNKNOWN_PAUSE_BIT: u64 = 7;
    /// This operation is paused.
    const EPAUSED: u64 = 8;
    /// There are too many validators already.
    const ETOO_MANY_VALIDATORS: u64 = 9;
    /// The caller is not a validator.
    const ENOT_VALIDATOR: u64 = 10;
    /// There are too many federators already.
    const ETOO_MANY_FEDERATORS: u64 = 11;
    /// The caller is not a federator.
    const ENOT_FEDERATOR: u64 = 12;

    //
    // Constants
    //

    /// Pause bit: clients' deposits.
    const PAUSE_DEPOSIT: u64 = 1;
    /// Pause bit: new tasks.
    const PAUSE_CREATE_TASK: u64 = 2;
    /// Pause bit: registrations of servers, orchestrators and nodes.
    const PAUSE_REGISTER: u64 = 4;
    /// Pause bit: new bonds.
    const PAUSE_BOND: u64 = 8;
    /// Pause bit: new channels, and more money or time for those there are.
    const PAUSE_CHANNEL: u64 = 16;
    /// Pause bit: new domains and pools, joining pools and funding them.
    const PAUSE_POOL: u64 = 32;
    const PAUSE_ALL: u64 = 63;

    const MAX_VALIDATORS: u64 = 64;
    const MAX_FEDERATORS: u64 = 64;

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

    /// Who may do what. At the contract's address.
    enum Roles has key {
        V1 {
            admin: address,
            proposed_admin: Option<address>,
            validators: vector<address>,
            federators: vector<address>,
        }
    }

    /// Read by every task, written only by the admin. At the contract's address.
    enum Parameters has key {
        V1 {
            values: vector<u64>,
            queued: vector<QueuedChange>,
            paused: u64,
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
    enum AdminProposed has drop, store {
        V1 { admin: address, proposed_admin: address }
    }

    #[event]
    enum AdminChanged has drop, store {
        V1 { old_admin: address, new_admin: address }
    }

    #[event]
    enum ValidatorSet has drop, store {
        V1 { validator: address, allowed: bool }
    }

    #[event]
    enum FederatorSet has drop, store {
        V1 { federator: address, allowed: bool }
    }

    #[event]
    enum ParameterQueued has drop, store {
        V1 { name: String, value: u64, apply_from_seconds: u64 }
    }

    #[event]
    enum ParameterChanged has drop, store {
        V1 { name: String, old_value: u64, new_value: u64 }
    }

    #[event]
    enum PauseChanged has drop, store {
        V1 { old_mask: u64, new_mask: u64 }
    }

    //
    // Views
    //

    #[view]
    /// The admin's address.
    public fun admin(): address acquires Roles {
        Roles[@cactus].admin
    }

    #[view]
    /// The parameter's value. Aborts if there is no such parameter.
    public fun param(name: String): u64 acquires Parameters {
        get(index_of(&name))
    }

    #[view]
    /// Whether `account` may whitelist, validate and slash.
    public fun is_validator(account: address): bool acquires Roles {
        Roles[@cactus].validators.contains(&account)
    }

    #[view]
    /// Whether `account` may create domains.
    public fun is_federator(account: address): bool acquires Roles {
        Roles[@cactus].federators.contains(&account)
    }

    #[view]
    /// The pause mask: 1 deposits, 2 new tasks, 4 registrations, 8 bonds, 16 channels, 32 pools.
    public fun paused(): u64 acquires Parameters {
        Parameters[@cactus].paused
    }

    //
    // Entry functions
    //

    // The publishing account becomes admin, first validator and first federator; all parameters take their defaults.
    fun init_module(publisher: &signer) {
        let admin = signer::address_of(publisher);
        move_to(publisher, Roles::V1 {
            admin,
            proposed_admin: option::none(),
            validators: vector[admin],
            federators: vector[admin],
        });
        move_to(publisher, Parameters::V1 { values: DEFAULTS, queued: vector[], paused: 0 });
    }

    /// The admin proposes its successor, replacing an earlier proposal.
    ///
    /// Aborts if the caller is not the admin.
    public entry fun propose_admin(admin: &signer, new_admin: address) acquires Roles {
        assert_admin(admin);
        Roles[@cactus].proposed_admin = option::some(new_admin);
        event::emit(AdminProposed::V1 { admin: signer::address_of(admin), proposed_admin: new_admin });
    }

    /// The proposed admin takes over; a mistyped successor can therefore never lock the role.
    ///
    /// Aborts if the caller is not the one proposed.
    public entry fun accept_admin(new_admin: &signer) acquires Roles {
        let new_admin = signer::address_of(new_admin);
        let roles = &mut Roles[@cactus];
        assert!(
            roles.proposed_admin == option::some(new_admin),
            error::permission_denied(ENOT_PROPOSED_ADMIN)
        );
        let old_admin = roles.admin;
        roles.admin = new_admin;
        roles.proposed_admin = option::none();
        event::emit(AdminChanged::V1 { old_admin, new_admin });
    }

    /// The admin allows or forbids `validator`. Saying the same twice changes nothing.
    ///
    /// Aborts if the caller is not the admin, or if there are 64 validators already.
    public entry fun set_validator(admin: &signer, validator: address, allowed: bool) acquires Roles {
        assert_admin(admin);
        let validators = &mut Roles[@cactus].validators;
        if (validators.contains(&validator) == allowed) return;
        assert!(
            !allowed || validators.length() < MAX_VALIDATORS,
            error::resource_exhausted(ETOO_MANY_VALIDATORS)
        );
        set_member(validators, validator, allowed);
        event::emit(ValidatorSet::V1 { validator, allowed });
    }

    /// The admin lets `federator` create and update domains, or no more. Saying the same twice changes nothing.
    ///
    /// Aborts if the caller is not the admin, or if there are 64 federators already.
    public entry fun set_federator(admin: &signer, federator: address, allowed: bool) acquires Roles {
        assert_admin(admin);
        let federators = &mut Roles[@cactus].federators;
        if (federators.contains(&federator) == allowed) return;
        assert!(
            !allowed || federators.length() < MAX_FEDERATORS,
            error::resource_exhausted(ETOO_MANY_FEDERATORS)
        );
        set_member(federators, federator, allowed);
        event::emit(FederatorSet::V1 { federator, allowed });
    }

    /// The admin announces a change of a parameter; an earlier announcement for it is replaced and the delay
    /// starts anew.
    ///
    /// Aborts if the caller is not the admin, there is no such parameter, or the value is out of its bounds.
    public entry fun queue_param(admin: &signer, name: String, value: u64) acquires Roles, Parameters {
        assert_admin(admin);
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

    /// Anyone applies an announced change once its delay is over.
    ///
    /// Aborts if there is no such parameter, no change of it is announced, or the delay is not over.
    public entry fun apply_param(name: String) acquires Parameters {
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

    /// The admin stops the operations of `mask` in addition to those that are stopped.
    ///
    /// Aborts if the caller is not the admin or the mask has an unknown bit.
    public entry fun pause(admin: &signer, mask: u64) acquires Roles, Parameters {
        assert_admin(admin);
        assert_known_bits(mask);
        let old_mask = paused();
        set_paused(old_mask, old_mask | mask);
    }

    /// The admin lets the operations of `mask` run again.
    ///
    /// Aborts if the caller is not the admin or the mask has an unknown bit.
    public entry fun unpause(admin: &signer, mask: u64) acquires Roles, Parameters {
        assert_admin(admin);
        assert_known_bits(mask);
        let old_mask = paused();
        set_paused(old_mask, old_mask & (PAUSE_ALL ^ mask));
    }

    //
    // For the other modules
    //

    /// Aborts if `account` is not the admin.
    package fun assert_admin(account: &signer) acquires Roles {
        assert!(
            signer::address_of(account) == Roles[@cactus].admin,
            error::permission_denied(ENOT_ADMIN)
        );
    }

    /// Aborts if `account` is not a validator.
    package fun assert_validator(account: &signer) acquires Roles {
        assert!(is_validator(signer::address_of(account)), error::permission_denied(ENOT_VALIDATOR));
    }

    /// Aborts if `account` is not a federator.
    package fun assert_federator(account: &signer) acquires Roles {
        assert!(is_federator(signer::address_of(account)), error::permission_denied(ENOT_FEDERATOR));
    }

    /// All validators, in the order in which they were allowed.
    package fun validators(): vector<address> acquires Roles { Roles[@cactus].validators }

    /// Aborts if deposits are paused.
    package fun assert_may_deposit() acquires Parameters { assert_not_paused(PAUSE_DEPOSIT) }

    /// Aborts if new tasks are paused.
    package fun assert_may_create_task() acquires Parameters { assert_not_paused(PAUSE_CREATE_TASK) }

    /// Aborts if registrations are paused.
    package fun assert_may_register() acquires Parameters { assert_not_paused(PAUSE_REGISTER) }

    /// Aborts if new bonds are paused.
    package fun assert_may_bond() acquires Parameters { assert_not_paused(PAUSE_BOND) }

    /// Aborts if channels are paused.
    package fun assert_may_open_channel() acquires Parameters { assert_not_paused(PAUSE_CHANNEL) }

    /// Aborts if pools are paused.
    package fun assert_may_pool() acquires Parameters { assert_not_paused(PAUSE_POOL) }

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

    fun set_member(members: &mut vector<address>, account: address, allowed: bool) {
        if (allowed) {
            members.push_back(account);
        } else {
            let (_, index) = members.index_of(&account);
            members.remove(index);
        };
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

    fun assert_known_bits(mask: u64) {
        assert!(mask & PAUSE_ALL == mask, error::invalid_argument(EUNKNOWN_PAUSE_BIT));
    }

    fun assert_not_paused(bit: u64) acquires Parameters {
        assert!(paused() & bit == 0, error::invalid_state(EPAUSED));
    }

    fun set_paused(old_mask: u64, new_mask: u64) acquires Parameters {
        Parameters[@cactus].paused = new_mask;
        event::emit(PauseChanged::V1 { old_mask, new_mask });
    }

    #[test_only]
    public fun pause_all_for_test() acquires Parameters {
        Parameters[@cactus].paused = PAUSE_ALL;
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
