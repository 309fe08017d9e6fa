/// What nodes earn in a pool: by the second of activity and by the unit of accepted work. Decides nothing about who is
/// in the pool.
///
/// Activity and work earn once the pool's lock window has passed over them; until then validators may invalidate them.
/// Rates are scaled by 10^9 and each node's earnings are kept scaled, so nothing is lost to rounding between claims.
module cactus::rewards {
    use std::error;
    use std::signer;
    use aptos_std::table::{Self, Table};
    use aptos_framework::event;
    use aptos_framework::object;
    use aptos_framework::timestamp;
    use cactus::config;
    use cactus::parameters;
    use cactus::pool;
    use cactus::reputation;
    use cactus::vault::{Self, Vault};

    //
    // Errors
    //

    /// The pool has no reward fund.
    const ENO_FUND: u64 = 1;
    /// The pool has a reward fund already.
    const EFUND_EXISTS: u64 = 2;
    /// A rate is above 10^18, or both are zero.
    const EBAD_RATE: u64 = 3;
    /// The node belongs to another operator.
    const ENOT_OPERATOR: u64 = 4;
    /// Nothing has matured, or the fund is empty.
    const ENOTHING_TO_CLAIM: u64 = 5;
    /// Rewards can still be claimed.
    const ETOO_EARLY: u64 = 6;
    /// Nothing is left.
    const ENOTHING_LEFT: u64 = 7;

    //
    // Constants
    //

    /// A rate of this is one octa.
    const SCALE: u128 = 1000000000;
    // With at most 10^9 units per work, 10^11 works would have to mature before u128 overflows.
    const MAX_RATE: u64 = 1000000000000000000;
    const MAX_WORKS_PER_CLAIM: u64 = 100;

    //
    // Structs
    //

    /// At the pool's address. The vault holds `funded - paid - reclaimed`.
    enum Fund has key {
        V1 {
            vault: Vault,
            /// Octas times 10^9 per second of a node's activity.
            time_rate: u64,
            /// Octas times 10^9 per unit of accepted work.
            work_rate: u64,
            /// How long rewards can be claimed after nothing matures any more; fixed at the start.
            claim_seconds: u64,
            funded: u64,
            accounts: Table<vector<u8>, Account>,
        }
    }

    /// One node's earnings. What is paid never exceeds what is earned.
    struct Account has copy, drop, store {
        earned_scaled: u128,
        paid: u64,
    }

    /// What `fund_of` answers, amounts in octas.
    struct FundView has copy, drop {
        time_rate: u64,
        work_rate: u64,
        claim_seconds: u64,
        funded: u64,
        balance: u64,
        /// The metadata of what it pays in; amounts are in that asset's smallest unit.
        asset: address,
    }

    /// What `account` answers, in octas.
    struct AccountView has copy, drop {
        paid: u64,
        /// What a claim would pay if the fund reaches, for at most 100 works.
        claimable: u64,
    }

    //
    // Events
    //

    #[event]
    enum FundOpened has drop, store {
        V1 { pool: address, creator: address, time_rate: u64, work_rate: u64, claim_seconds: u64, asset: address }
    }

    #[event]
    enum Funded has drop, store {
        V1 { pool: address, funder: address, octas: u64, funded: u64 }
    }

    #[event]
    enum RewardClaimed has drop, store {
        V1 {
            pool: address, operator: address, node_public_key: vector<u8>, seconds: u64, units: u64, works: u64,
            octas: u64, paid: u64,
        }
    }

    #[event]
    enum WorkInvalidated has drop, store {
        V1 {
            validator: address, pool: address, operator: address, node_public_key: vector<u8>, work_id: vector<u8>,
            hard: bool,
        }
    }

    #[event]
    enum Reclaimed has drop, store {
        V1 { pool: address, creator: address, octas: u64 }
    }

    //
    // Views
    //

    #[view]
    /// All about a pool's fund; all zero if there is none.
    public fun fund_of(pool: address): FundView acquires Fund {
        if (!exists<Fund>(pool)) {
            return FundView { time_rate: 0, work_rate: 0, claim_seconds: 0, funded: 0, balance: 0, asset: @0x0 }
        };
        let record = &Fund[pool];
        FundView {
            time_rate: record.time_rate, work_rate: record.work_rate, claim_seconds: record.claim_seconds,
            funded: record.funded, balance: record.vault.balance(),
            asset: object::object_address(&record.vault.asset()),
        }
    }

    #[view]
    /// What a node was paid and could claim.
    ///
    /// Aborts if there is no such pool or fund, or the node never joined.
    public fun account(pool: address, node_public_key: vector<u8>): AccountView acquires Fund {
        let (_, seconds, units, _) = pool::matured(pool, node_public_key, MAX_WORKS_PER_CLAIM);
        let record = borrow_fund(pool);
        let account = *record.accounts.borrow_with_default(node_public_key, &new_account());
        account.earned_scaled += earn(record, seconds, units);
        AccountView { paid: account.paid, claimable: owed(&account, record.vault.balance()) }
    }

    //
    // Entry functions
    //

    /// The creator of a pending pool says what it will pay: octas times 10^9 per second of a node's activity and per
    /// unit of accepted work. The rates never change.
    ///
    /// Aborts if pools are paused, there is no such pool, the caller is not its creator, it is not pending or has a
    /// fund, a rate is above 10^18, or both are zero.
    public entry fun open(creator: &signer, pool: address, time_rate: u64, work_rate: u64) {
        create(creator, pool, time_rate, work_rate, vault::apt());
    }

    /// `open` for rewards in any allowed asset, named by the address of its metadata; rates are per its smallest unit.
    ///
    /// Aborts as `open` does, and if the asset is not allowed.
    public entry fun open_in(creator: &signer, pool: address, time_rate: u64, work_rate: u64, asset: address) {
        create(creator, pool, time_rate, work_rate, asset);
    }

    /// Anyone puts `amount` octas of its own into a pool's fund. What nobody earns goes to the pool's creator in the
    /// end.
    ///
    /// Aborts if pools are paused, there is no such pool or fund, the pool is completed, the amount is zero, or the
    /// caller holds less.
    public entry fun fund(funder: &signer, pool: address, amount: u64) acquires Fund {
        config::assert_may_pool();
        let record = borrow_fund(pool);
        pool::assert_not_completed(pool);
        record.vault.take_from(funder, amount);
        record.funded += amount;
        event::emit(Funded::V1 { pool, funder: signer::address_of(funder), octas: amount, funded: record.funded });
    }

    /// An operator takes what has matured for its node, for at most 100 works at a time, into its primary store. What
    /// the fund cannot pay now stays owed. Never paused.
    ///
    /// Aborts if there is no such pool or fund, the node never joined or is another operator's, or nothing has matured
    /// and nothing can be paid.
    public entry fun claim(operator: &signer, pool: address, node_public_key: vector<u8>) acquires Fund {
        let record = borrow_fund(pool);
        let (operator_address, seconds, units, works) =
            pool::matured(pool, node_public_key, MAX_WORKS_PER_CLAIM);
        assert!(operator_address == signer::address_of(operator), error::permission_denied(ENOT_OPERATOR));
        pool::take_matured(pool, node_public_key, works);
        let earned = earn(record, seconds, units);
        let account = record.accounts.borrow_mut_with_default(node_public_key, new_account());
        account.earned_scaled += earned;
        let octas = owed(account, record.vault.balance());
        // A claim that only passes invalid works must succeed, or those behind them would never be reached.
        assert!(octas > 0 || seconds > 0 || works > 0, error::invalid_state(ENOTHING_TO_CLAIM));
        account.paid += octas;
        record.vault.pay(operator_address, octas);
        event::emit(RewardClaimed::V1 {
            pool, operator: operator_address, node_public_key, seconds, units, works, octas, paid: account.paid,
        });
    }

    /// A validator declares a work in its lock window a fraud: it earns nothing, nor does anything else of the node
    /// that is still in the window, the node is put out of the pool for good, and it counts against the operator.
    ///
    /// Aborts if the caller is not a validator, there is no such pool or work, the work was invalidated, or its
    /// window is over.
    public entry fun invalidate_work(validator: &signer, pool: address, work_id: vector<u8>) {
        let operator = invalidate(validator, pool, work_id, true);
        reputation::record_failed_by_provider(operator);
    }

    /// A validator declares a work in its lock window worthless, without blame: it earns nothing.
    ///
    /// Aborts as `invalidate_work` does.
    public entry fun soft_invalidate_work(validator: &signer, pool: address, work_id: vector<u8>) {
        invalidate(validator, pool, work_id, false);
    }

    /// Anyone returns what is left of the fund to the pool's creator, once the pool is completed, all has matured, and
    /// the time to claim is over. Never paused.
    ///
    /// Aborts if there is no such pool or fund, the pool is not completed, it is too early, or nothing is left.
    public entry fun reclaim(_anyone: &signer, pool: address) acquires Fund {
        let record = borrow_fund(pool);
        let (creator, final_seconds) = pool::creator_and_final_seconds(pool);
        assert!(
            timestamp::now_seconds() >= final_seconds + record.claim_seconds,
            error::invalid_state(ETOO_EARLY)
        );
        let octas = record.vault.balance();
        assert!(octas > 0, error::invalid_state(ENOTHING_LEFT));
        record.vault.pay(creator, octas);
        event::emit(Reclaimed::V1 { pool, creator, octas });
    }

    //
    // Helpers
    //

    inline fun borrow_fund(pool: address): &mut Fund {
        assert!(exists<Fund>(pool), error::not_found(ENO_FUND));
        &mut Fund[pool]
    }

    fun create(creator: &signer, pool: address, time_rate: u64, work_rate: u64, asset: address) {
        config::assert_may_pool();
        assert!(
            time_rate <= MAX_RATE && work_rate <= MAX_RATE && (time_rate > 0 || work_rate > 0),
            error::invalid_argument(EBAD_RATE)
        );
        let object = &pool::signer_while_pending(creator, pool);
        assert!(!exists<Fund>(pool), error::already_exists(EFUND_EXISTS));
        let claim_seconds = parameters::reward_claim_seconds();
        let (vault, _) = vault::create_with_signer(asset);
        move_to(object, Fund::V1 {
            vault, time_rate, work_rate, claim_seconds, funded: 0, accounts: table::new(),
        });
        event::emit(FundOpened::V1 {
            pool, creator: signer::address_of(creator), time_rate, work_rate, claim_seconds, asset,
        });
    }

    fun new_account(): Account { Account { earned_scaled: 0, paid: 0 } }

    fun earn(record: &Fund, seconds: u64, units: u64): u128 {
        (seconds as u128) * (record.time_rate as u128) + (units as u128) * (record.work_rate as u128)
    }

    // What is earned and not paid, rounded down, as far as the fund reaches.
    fun owed(account: &Account, balance: u64): u64 {
        let octas = account.earned_scaled / SCALE - (account.paid as u128);
        if (octas < (balance as u128)) (octas as u64) else balance
    }

    fun invalidate(validator: &signer, pool: address, work_id: vector<u8>, hard: bool): address {
        config::assert_validator(validator);
        let validator = signer::address_of(validator);
        let (operator, node_public_key) = pool::invalidate(pool, work_id, hard);
        event::emit(WorkInvalidated::V1 { validator, pool, operator, node_public_key, work_id, hard });
        operator
    }

    #[test_only]
    public fun unpack_for_test(self: AccountView): (u64, u64) { (self.paid, self.claimable) }

    #[test_only]
    public fun unpack_fund_for_test(self: FundView): (u64, u64) { (self.funded, self.balance) }
}
