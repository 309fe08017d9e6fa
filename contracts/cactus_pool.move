/// Compute pools: who may work in them, when each node was there, and what it handed in. Holds no money.
///
/// A pool is `Pending` until its creator starts it, `Active` until its end, then `Completed` for good. Nodes join by
/// invites that the pool's invite key signed and that work once. Each pool is an object of its own, which `@0x0` owns;
/// nodes of one pool write different table entries when they hand in work.
module cactus::pool {
    use std::error;
    use std::signer;
    use std::string::String;
    use aptos_std::table::{Self, Table};
    use aptos_framework::event;
    use aptos_framework::object::{Self, ExtendRef};
    use aptos_framework::timestamp;
    use cactus::config;
    use cactus::invite::{Self, Invites};
    use cactus::member::{Self, Member, MemberView};
    use cactus::parameters;
    use cactus::pool_terms::{Self, Terms};
    use cactus::registry;
    use cactus::stake;

    //
    // Errors
    //

    /// There is no pool at this address.
    const ENO_POOL: u64 = 1;
    /// The caller did not create the pool.
    const ENOT_CREATOR: u64 = 2;
    /// The pool is not in the state for this, or its end has passed.
    const EWRONG_STATE: u64 = 3;
    /// The pool's end has not come yet.
    const ETOO_EARLY: u64 = 4;
    /// The operator or the node is banned from the pool.
    const EBANNED: u64 = 5;
    /// The pool is full.
    const EFULL: u64 = 6;
    /// The node is in the pool already.
    const EALREADY_JOINED: u64 = 7;
    /// The node is not in the pool, or is someone else's.
    const ENOT_MEMBER: u64 = 8;
    /// The node left 16 times since its last claim.
    const ETOO_MANY_INTERVALS: u64 = 9;
    /// The operator's bond is below the minimum.
    const ESTAKE_TOO_SMALL: u64 = 10;
    /// A work's id must be 32 bytes.
    const EBAD_WORK_ID: u64 = 11;
    /// The work has no units or more than the pool allows.
    const EBAD_UNITS: u64 = 12;
    /// The pool has work of this id already.
    const EWORK_EXISTS: u64 = 13;
    /// The pool has no work of this id.
    const ENO_WORK: u64 = 14;
    /// The work was invalidated already, or its lock window is over.
    const EWORK_FINAL: u64 = 15;

    //
    // Constants
    //

    const ID_BYTES: u64 = 32;
    const MAX_INTERVALS: u64 = 16;

    //
    // Structs
    //

    enum Pool has key {
        V1 {
            extend_ref: ExtendRef,
            terms: Terms,
            state: PoolState,
            active_nodes: u64,
            members: Table<vector<u8>, Member>,
            /// By id; never removed, so no id is used twice.
            works: Table<vector<u8>, WorkPlace>,
            invites: Invites,
            banned_operators: Table<address, bool>,
            banned_nodes: Table<vector<u8>, bool>,
        }
    }

    enum PoolState has copy, drop, store {
        Pending,
        Active,
        Completed { ended_seconds: u64 },
    }

    /// Whose work it is and its number there.
    struct WorkPlace has copy, drop, store {
        node_public_key: vector<u8>,
        number: u64,
    }

    /// What `pool` answers. `state`: 1 pending, 2 active, 3 completed.
    struct PoolView has copy, drop {
        state: u8,
        terms: Terms,
        ended_seconds: u64,
        active_nodes: u64,
    }

    /// What `work` answers; all empty if there is none. Once it is claimed, `valid` is false and `units` are zero.
    struct WorkView has copy, drop {
        node_public_key: vector<u8>,
        valid: bool,
        units: u64,
        submitted_seconds: u64,
    }

    //
    // Events
    //

    #[event]
    enum PoolCreated has drop, store { V1 { pool: address, terms: Terms } }

    #[event]
    /// `state`: 2 active, 3 completed.
    enum PoolStateChanged has drop, store { V1 { pool: address, state: u8 } }

    #[event]
    enum NodeJoined has drop, store { V1 { pool: address, operator: address, node_public_key: vector<u8> } }

    #[event]
    enum NodeLeft has drop, store {
        V1 { pool: address, operator: address, node_public_key: vector<u8>, ejected: bool }
    }

    #[event]
    enum OperatorBanChanged has drop, store { V1 { pool: address, operator: address, banned: bool } }

    #[event]
    enum NodeBanChanged has drop, store { V1 { pool: address, node_public_key: vector<u8>, banned: bool } }

    #[event]
    enum WorkSubmitted has drop, store {
        V1 { pool: address, operator: address, node_public_key: vector<u8>, work_id: vector<u8>, units: u64 }
    }

    //
    // Views
    //

    #[view]
    /// All about a pool.
    ///
    /// Aborts if there is none.
    public fun pool(pool: address): PoolView acquires Pool {
        let record = borrow_pool(pool);
        let (state, ended_seconds) = match (&record.state) {
            Pending => (1, 0),
            Active => (2, 0),
            Completed { ended_seconds } => (3, *ended_seconds),
        };
        PoolView { state, terms: record.terms, ended_seconds, active_nodes: record.active_nodes }
    }

    #[view]
    /// All about a node in a pool.
    ///
    /// Aborts if there is no such pool.
    public fun member(pool: address, node_public_key: vector<u8>): MemberView acquires Pool {
        let record = borrow_pool(pool);
        let banned = *record.banned_nodes.borrow_with_default(node_public_key, &false);
        if (!record.members.contains(node_public_key)) member::unknown(banned)
        else record.members.borrow(node_public_key).view(banned)
    }

    #[view]
    /// All about a work.
    ///
    /// Aborts if there is no such pool.
    public fun work(pool: address, work_id: vector<u8>): WorkView acquires Pool {
        let record = borrow_pool(pool);
        if (!record.works.contains(work_id)) {
            return WorkView { node_public_key: vector[], valid: false, units: 0, submitted_seconds: 0 }
        };
        let WorkPlace { node_public_key, number } = *record.works.borrow(work_id);
        let (valid, units, submitted_seconds) = record.members.borrow(node_public_key).work(number);
        WorkView { node_public_key, valid, units, submitted_seconds }
    }

    //
    // Entry functions
    //

    /// Anyone creates a pool, pending, in an existing domain. Its address is in the event `PoolCreated`.
    ///
    /// Aborts if pools are paused, there is no such domain, a term is out of bounds (name 64, URI 512 bytes, invite
    /// key 32; 1 to 100,000 nodes, 1 to 10^9 units per work, a lock window of 10 minutes to 30 days), or the end lies
    /// in the past or further away than the parameter `max_pool_seconds` allows.
    public entry fun create_pool(
        creator: &signer, domain_id: u64, name: String, data_uri: String, invite_key: vector<u8>,
        max_nodes: u64, max_units_per_work: u64, lock_seconds: u64, end_seconds: u64
    ) {
        create(pool_terms::new(
            signer::address_of(creator), domain_id, name, data_uri, invite_key, max_nodes, max_units_per_work,
            lock_seconds, end_seconds,
        ));
    }

    /// The creator starts a pending pool.
    ///
    /// Aborts if pools are paused, there is no such pool, the caller is not its creator, it is not pending, or its end
    /// has passed.
    public entry fun start_pool(creator: &signer, pool: address) acquires Pool {
        config::assert_may_pool();
        let record = borrow_own(creator, pool);
        assert!(
            record.state == PoolState::Pending && timestamp::now_seconds() < record.terms.end_seconds(),
            error::invalid_state(EWRONG_STATE)
        );
        record.state = PoolState::Active;
        event::emit(PoolStateChanged::V1 { pool, state: 2 });
    }

    /// The creator ends a pool, at any time; once its end has come, anyone does. Never paused.
    ///
    /// Aborts if there is no such pool, it is completed, or the caller is someone else and it is too early.
    public entry fun end_pool(anyone: &signer, pool: address) acquires Pool {
        let record = borrow_pool(pool);
        assert!(!(record.state is PoolState::Completed), error::invalid_state(EWRONG_STATE));
        let (now, end_seconds) = (timestamp::now_seconds(), record.terms.end_seconds());
        assert!(
            now >= end_seconds || signer::address_of(anyone) == record.terms.creator(),
            error::permission_denied(ETOO_EARLY)
        );
        record.state = PoolState::Completed { ended_seconds: earlier(now, end_seconds) };
        event::emit(PoolStateChanged::V1 { pool, state: 3 });
    }

    /// An operator lets one of its nodes join, with an invite for exactly that.
    ///
    /// Aborts if pools are paused, there is no such pool, it is not active or its end has passed, operator or node is
    /// banned, the operator is not whitelisted or its bond below the minimum, the node is not its own or not validated,
    /// it is in the pool, was put out for good or left too often since its last claim, the pool is full, the nonce is
    /// not 32 bytes, or the invite is expired, used or not signed by the pool's invite key.
    public entry fun join_pool(
        operator: &signer, pool: address, node_public_key: vector<u8>, nonce: vector<u8>, expires_seconds: u64,
        signature: vector<u8>
    ) acquires Pool {
        config::assert_may_pool();
        let operator = signer::address_of(operator);
        registry::assert_whitelisted(operator);
        registry::assert_validated(operator, &node_public_key);
        assert!(stake::bonded(operator) >= parameters::min_stake(), error::invalid_state(ESTAKE_TOO_SMALL));
        let record = borrow_pool(pool);
        assert_open(record);
        assert_not_banned(record, operator, node_public_key);
        record.invites.redeem(pool, operator, node_public_key, nonce, expires_seconds, signature);
        assert!(record.active_nodes < record.terms.max_nodes(), error::resource_exhausted(EFULL));
        let members = &mut record.members;
        if (!members.contains(node_public_key)) members.add(node_public_key, member::new(operator));
        let member = members.borrow_mut(node_public_key);
        assert!(member.operator() == operator, error::permission_denied(ENOT_MEMBER));
        assert!(!member.is_active(), error::already_exists(EALREADY_JOINED));
        assert!(!member.is_void(), error::permission_denied(EBANNED));
        assert!(member.intervals() < MAX_INTERVALS, error::resource_exhausted(ETOO_MANY_INTERVALS));
        member.begin(timestamp::now_seconds());
        record.active_nodes += 1;
        event::emit(NodeJoined::V1 { pool, operator, node_public_key });
    }

    /// An operator takes its node out. What it earned stays. Never paused.
    ///
    /// Aborts if there is no such pool, or the node is not in it or not this operator's.
    public entry fun leave_pool(operator: &signer, pool: address, node_public_key: vector<u8>) acquires Pool {
        let record = borrow_pool(pool);
        assert!(
            is_active_member(record, signer::address_of(operator), node_public_key),
            error::not_found(ENOT_MEMBER)
        );
        remove(pool, record, node_public_key, false);
    }

    /// The creator takes a node out. What it earned stays.
    ///
    /// Aborts if there is no such pool, the caller is not its creator, or the node is not in it.
    public entry fun eject_node(creator: &signer, pool: address, node_public_key: vector<u8>) acquires Pool {
        let record = borrow_own(creator, pool);
        assert!(is_active(record, node_public_key), error::not_found(ENOT_MEMBER));
        remove(pool, record, node_public_key, true);
    }

    /// The creator bans an operator from joining and handing in work, or no more. Its nodes are ejected one by one.
    ///
    /// Aborts if there is no such pool or the caller is not its creator.
    public entry fun blacklist_provider(
        creator: &signer, pool: address, operator: address, banned: bool
    ) acquires Pool {
        let banned_operators = &mut borrow_own(creator, pool).banned_operators;
        banned_operators.upsert(operator, banned);
        event::emit(OperatorBanChanged::V1 { pool, operator, banned });
    }

    /// The creator bans a node from joining and handing in work, ejecting it if it is there, or no more.
    ///
    /// Aborts if there is no such pool or the caller is not its creator.
    public entry fun blacklist_node(
        creator: &signer, pool: address, node_public_key: vector<u8>, banned: bool
    ) acquires Pool {
        let record = borrow_own(creator, pool);
        record.banned_nodes.upsert(node_public_key, banned);
        event::emit(NodeBanChanged::V1 { pool, node_public_key, banned });
        if (banned && is_active(record, node_public_key)) remove(pool, record, node_public_key, true);
    }

    /// An operator hands in work of its node. Not paused, because the work is done.
    ///
    /// Aborts if there is no such pool, it is not active or its end has passed, operator or node is banned, the node is
    /// not in it or not this operator's, the units are zero or above the limit, or the id is not 32 bytes or was used.
    public entry fun submit_work(
        operator: &signer, pool: address, node_public_key: vector<u8>, work_id: vector<u8>, units: u64
    ) acquires Pool {
        let operator = signer::address_of(operator);
        let record = borrow_pool(pool);
        assert_open(record);
        assert_not_banned(record, operator, node_public_key);
        assert!(is_active_member(record, operator, node_public_key), error::not_found(ENOT_MEMBER));
        assert!(units > 0 && units <= record.terms.max_units_per_work(), error::invalid_argument(EBAD_UNITS));
        assert!(work_id.length() == ID_BYTES, error::invalid_argument(EBAD_WORK_ID));
        assert!(!record.works.contains(work_id), error::already_exists(EWORK_EXISTS));
        let number = record.members.borrow_mut(node_public_key).add_work(units, timestamp::now_seconds());
        record.works.add(work_id, WorkPlace { node_public_key, number });
        event::emit(WorkSubmitted::V1 { pool, operator, node_public_key, work_id, units });
    }

    //
    // For the other modules
    //

    /// The pool's own signer, to keep records at its address.
    ///
    /// Aborts if there is no such pool, the caller is not its creator, or it is not pending.
    package fun signer_while_pending(creator: &signer, pool: address): signer acquires Pool {
        let record = borrow_own(creator, pool);
        assert!(record.state == PoolState::Pending, error::invalid_state(EWRONG_STATE));
        object::generate_signer_for_extending(&record.extend_ref)
    }

    /// Aborts if there is no such pool or it is completed.
    package fun assert_not_completed(pool: address) acquires Pool {
        assert!(!(borrow_pool(pool).state is PoolState::Completed), error::invalid_state(EWRONG_STATE));
    }

    /// Who created the pool, and since when nothing in it can be invalidated any more.
    ///
    /// Aborts if there is no such pool or it is not completed.
    package fun creator_and_final_seconds(pool: address): (address, u64) acquires Pool {
        let record = borrow_pool(pool);
        match (&record.state) {
            Completed { ended_seconds } =>
                (record.terms.creator(), *ended_seconds + record.terms.lock_seconds()),
            _ => abort error::invalid_state(EWRONG_STATE),
        }
    }

    /// Whose node it is, and what `member::matured` says of it.
    ///
    /// Aborts if there is no such pool or the node never joined.
    package fun matured(
        pool: address, node_public_key: vector<u8>, max_works: u64
    ): (address, u64, u64, u64) acquires Pool {
        let record = borrow_pool(pool);
        let (until, active_until) = limits(record);
        assert!(record.members.contains(node_public_key), error::not_found(ENOT_MEMBER));
        let member = record.members.borrow(node_public_key);
        let (seconds, units, works) = member.matured(until, active_until, max_works);
        (member.operator(), seconds, units, works)
    }

    /// Takes what `matured` says, with the number of works that it passes.
    package fun take_matured(pool: address, node_public_key: vector<u8>, works: u64) acquires Pool {
        let record = borrow_pool(pool);
        let (until, active_until) = limits(record);
        record.members.borrow_mut(node_public_key).take(until, active_until, works);
    }

    /// Makes a work in its lock window count for nothing, and says whose it is: operator and node. If `hard`, so does
    /// all else of the node that is still in the window, and the node is put out for good.
    ///
    /// Aborts if there is no such pool or work, the work was invalidated, or its window is over.
    package fun invalidate(pool: address, work_id: vector<u8>, hard: bool): (address, vector<u8>) acquires Pool {
        let record = borrow_pool(pool);
        assert!(record.works.contains(work_id), error::not_found(ENO_WORK));
        let WorkPlace { node_public_key, number } = *record.works.borrow(work_id);
        let window_start = window_start(record);
        let member = record.members.borrow_mut(node_public_key);
        let (valid, _, submitted_seconds) = member.work(number);
        assert!(valid && submitted_seconds > window_start, error::invalid_state(EWORK_FINAL));
        member.invalidate(number);
        let operator = member.operator();
        if (hard) {
            member.void_after(window_start);
            if (member.is_active()) remove(pool, record, node_public_key, true);
        };
        (operator, node_public_key)
    }

    //
    // Helpers
    //

    inline fun borrow_pool(pool: address): &mut Pool {
        assert!(exists<Pool>(pool), error::not_found(ENO_POOL));
        &mut Pool[pool]
    }

    inline fun borrow_own(creator: &signer, pool: address): &mut Pool {
        let record = borrow_pool(pool);
        assert!(signer::address_of(creator) == record.terms.creator(), error::permission_denied(ENOT_CREATOR));
        record
    }

    fun create(terms: Terms): address {
        config::assert_may_pool();
        let constructor_ref = &object::create_object(@0x0);
        let pool = object::address_from_constructor_ref(constructor_ref);
        move_to(&object::generate_signer(constructor_ref), Pool::V1 {
            extend_ref: object::generate_extend_ref(constructor_ref), terms, state: PoolState::Pending,
            active_nodes: 0, members: table::new(), works: table::new(), invites: invite::new(terms.invite_key()),
            banned_operators: table::new(), banned_nodes: table::new(),
        });
        event::emit(PoolCreated::V1 { pool, terms });
        pool
    }

    // What matures by when, and until when activity counts.
    fun limits(record: &Pool): (u64, u64) {
        let active_until = match (&record.state) {
            Completed { ended_seconds } => *ended_seconds,
            _ => record.terms.end_seconds(),
        };
        (window_start(record), active_until)
    }

    // When the lock window over the present began.
    fun window_start(record: &Pool): u64 {
        let (now, lock_seconds) = (timestamp::now_seconds(), record.terms.lock_seconds());
        if (now > lock_seconds) now - lock_seconds else 0
    }

    fun assert_open(record: &Pool) {
        assert!(
            record.state == PoolState::Active && timestamp::now_seconds() < record.terms.end_seconds(),
            error::invalid_state(EWRONG_STATE)
        );
    }

    fun assert_not_banned(record: &Pool, operator: address, node_public_key: vector<u8>) {
        assert!(
            !*record.banned_operators.borrow_with_default(operator, &false)
                && !*record.banned_nodes.borrow_with_default(node_public_key, &false),
            error::permission_denied(EBANNED)
        );
    }

    fun is_active(record: &Pool, node_public_key: vector<u8>): bool {
        record.members.contains(node_public_key) && record.members.borrow(node_public_key).is_active()
    }

    fun is_active_member(record: &Pool, operator: address, node_public_key: vector<u8>): bool {
        is_active(record, node_public_key) && record.members.borrow(node_public_key).operator() == operator
    }

    fun remove(pool: address, record: &mut Pool, node_public_key: vector<u8>, ejected: bool) {
        let (_, active_until) = limits(record);
        let member = record.members.borrow_mut(node_public_key);
        member.end(earlier(timestamp::now_seconds(), active_until));
        record.active_nodes -= 1;
        event::emit(NodeLeft::V1 { pool, operator: member.operator(), node_public_key, ejected });
    }

    fun earlier(a: u64, b: u64): u64 {
        if (a < b) a else b
    }

    #[test_only]
    public fun create_for_test(
        creator: &signer, domain_id: u64, name: String, data_uri: String, invite_key: vector<u8>, max_nodes: u64,
        max_units_per_work: u64, lock_seconds: u64, end_seconds: u64
    ): address {
        create(pool_terms::new(
            signer::address_of(creator), domain_id, name, data_uri, invite_key, max_nodes, max_units_per_work,
            lock_seconds, end_seconds,
        ))
    }

    #[test_only]
    public fun unpack_for_test(self: PoolView): (u8, u64, u64) { (self.state, self.ended_seconds, self.active_nodes) }

    #[test_only]
    public fun unpack_work_for_test(self: WorkView): (vector<u8>, bool, u64) {
        (self.node_public_key, self.valid, self.units)
    }
}
