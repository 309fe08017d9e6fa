/// Orchestrators' bonds. Money leaves only to its owner, after the unbonding period, or by a slash.
///
/// What unbonds stays slashable until it is withdrawn, matured or not. A quarantine holds back as much as open cases
/// may cost: it stays where it is, bonded or unbonding, but nothing of it is withdrawn.
module cactus::stake {
    use std::error;
    use std::signer;
    use aptos_framework::event;
    use aptos_framework::fungible_asset::FungibleAsset;
    use aptos_framework::timestamp;
    use cactus::config;
    use cactus::parameters;
    use cactus::vault::{Self, Vault};

    //
    // Errors
    //

    /// The operator never bonded.
    const ENO_STAKE: u64 = 1;
    /// The amount must not be zero.
    const EZERO_AMOUNT: u64 = 2;
    /// The bond is smaller than the amount.
    const EINSUFFICIENT_BOND: u64 = 3;
    /// Sixteen amounts are unbonding already; withdraw or rebond first.
    const ETOO_MANY_UNBONDING: u64 = 4;
    /// Less than the amount is unbonding.
    const EINSUFFICIENT_UNBONDING: u64 = 5;
    /// Nothing has matured yet.
    const ENOTHING_TO_WITHDRAW: u64 = 6;
    /// There is nothing left to slash.
    const ENOTHING_TO_SLASH: u64 = 7;
    /// All that has matured is held back for open cases.
    const EQUARANTINED: u64 = 8;

    //
    // Constants
    //

    const MAX_UNBONDING: u64 = 16;

    //
    // Structs
    //

    /// One operator's stake. At the operator's address, for ever.
    enum Stake has key {
        V1 {
            vault: Vault,
            bonded: u64,
            /// In the order in which they began.
            unbonding: vector<Unbonding>,
            /// What open cases may cost, all together; may exceed what there is.
            quarantined: u64,
        }
    }

    struct Unbonding has copy, drop, store {
        octas: u64,
        unlock_seconds: u64,
    }

    /// What `stake_of` answers, in octas.
    struct StakeView has copy, drop {
        bonded: u64,
        /// All that unbonds, matured or not.
        unbonding: u64,
        /// The part of `unbonding` that has matured and is not held back.
        withdrawable: u64,
        /// When the next part matures; 0 if none will.
        next_unlock_seconds: u64,
    }

    //
    // Events
    //

    #[event]
    enum Bonded has drop, store {
        V1 { operator: address, octas: u64, bonded: u64 }
    }

    #[event]
    enum UnbondingBegun has drop, store {
        V1 { operator: address, octas: u64, unlock_seconds: u64, bonded: u64 }
    }

    #[event]
    enum Rebonded has drop, store {
        V1 { operator: address, octas: u64, bonded: u64 }
    }

    #[event]
    enum Withdrawn has drop, store {
        V1 { operator: address, octas: u64 }
    }

    //
    // Views
    //

    #[view]
    /// The operator's stake; all zero if there is none.
    public fun stake_of(operator: address): StakeView acquires Stake {
        let view = StakeView { bonded: 0, unbonding: 0, withdrawable: 0, next_unlock_seconds: 0 };
        if (!exists<Stake>(operator)) return view;
        let stake = &Stake[operator];
        let now = timestamp::now_seconds();
        view.bonded = stake.bonded;
        let i = 0;
        while (i < stake.unbonding.length()) {
            let Unbonding { octas, unlock_seconds } = stake.unbonding[i];
            view.unbonding += octas;
            if (unlock_seconds <= now) {
                view.withdrawable += octas;
            } else if (view.next_unlock_seconds == 0 || unlock_seconds < view.next_unlock_seconds) {
                view.next_unlock_seconds = unlock_seconds;
            };
            i += 1;
        };
        view.withdrawable = smaller(view.withdrawable, payable(stake));
        view
    }

    #[view]
    /// What is held back for open cases, in octas; may exceed what there is.
    public fun quarantine_of(operator: address): u64 acquires Stake {
        if (exists<Stake>(operator)) Stake[operator].quarantined else 0
    }

    #[view]
    /// What the operator's vault really holds, in octas.
    public fun vault_balance(operator: address): u64 acquires Stake {
        if (exists<Stake>(operator)) Stake[operator].vault.balance() else 0
    }

    //
    // Entry functions
    //

    /// An operator adds `amount` octas of its own to its bond.
    ///
    /// Aborts if bonding is paused, the amount is zero, or the operator holds less.
    public entry fun bond(operator: &signer, amount: u64) acquires Stake {
        config::assert_may_bond();
        let address = signer::address_of(operator);
        if (!exists<Stake>(address)) {
            move_to(operator, Stake::V1 { vault: vault::create(), bonded: 0, unbonding: vector[], quarantined: 0 });
        };
        let stake = &mut Stake[address];
        stake.vault.take_from(operator, amount);
        stake.bonded += amount;
        event::emit(Bonded::V1 { operator: address, octas: amount, bonded: stake.bonded });
    }

    /// An operator begins to take `amount` octas out of its bond. Each such amount has its own clock; a later one
    /// never delays an earlier one.
    ///
    /// Aborts if the amount is zero, the bond is smaller, or sixteen amounts are unbonding already.
    public entry fun begin_unbond(operator: &signer, amount: u64) acquires Stake {
        assert!(amount > 0, error::invalid_argument(EZERO_AMOUNT));
        let operator = signer::address_of(operator);
        let stake = borrow_stake(operator);
        assert!(amount <= stake.bonded, error::invalid_argument(EINSUFFICIENT_BOND));
        assert!(
            stake.unbonding.length() < MAX_UNBONDING,
            error::resource_exhausted(ETOO_MANY_UNBONDING)
        );
        let unlock_seconds = timestamp::now_seconds() + parameters::unbonding_seconds();
        stake.bonded -= amount;
        stake.unbonding.push_back(Unbonding { octas: amount, unlock_seconds });
        event::emit(UnbondingBegun::V1 { operator, octas: amount, unlock_seconds, bonded: stake.bonded });
    }

    /// An operator puts `amount` octas that unbond back into its bond, the youngest first, so that the oldest go on
    /// maturing.
    ///
    /// Aborts if the amount is zero or less than it is unbonding.
    public entry fun rebond(operator: &signer, amount: u64) acquires Stake {
        assert!(amount > 0, error::invalid_argument(EZERO_AMOUNT));
        let operator = signer::address_of(operator);
        let stake = borrow_stake(operator);
        let missing = amount;
        while (missing > 0) {
            assert!(!stake.unbonding.is_empty(), error::invalid_argument(EINSUFFICIENT_UNBONDING));
            let youngest = stake.unbonding.length() - 1;
            missing -= take_from_entry(&mut stake.unbonding, youngest, missing);
        };
        stake.bonded += amount;
        event::emit(Rebonded::V1 { operator, octas: amount, bonded: stake.bonded });
    }

    /// An operator takes everything that has matured into its primary store, except for what is held back for open
    /// cases. Never paused.
    ///
    /// Aborts if nothing has matured or all of it is held back.
    public entry fun withdraw(operator: &signer) acquires Stake {
        let operator = signer::address_of(operator);
        let stake = borrow_stake(operator);
        let now = timestamp::now_seconds();
        let limit = payable(stake);
        let octas = 0;
        let matured = false;
        let i = 0;
        while (i < stake.unbonding.length()) {
            if (stake.unbonding[i].unlock_seconds > now) {
                i += 1;
            } else {
                matured = true;
                if (octas == limit) break;
                octas += take_from_entry(&mut stake.unbonding, i, limit - octas);
            };
        };
        assert!(matured, error::invalid_state(ENOTHING_TO_WITHDRAW));
        assert!(octas > 0, error::invalid_state(EQUARANTINED));
        stake.vault.pay(operator, octas);
        event::emit(Withdrawn::V1 { operator, octas });
    }

    //
    // For the other modules
    //

    /// The operator's bond in octas, without what unbonds.
    package fun bonded(operator: address): u64 acquires Stake {
        if (exists<Stake>(operator)) Stake[operator].bonded else 0
    }

    /// Whether the operator has neither a bond nor anything unbonding.
    package fun is_empty(operator: address): bool acquires Stake {
        !exists<Stake>(operator) || (Stake[operator].bonded == 0 && Stake[operator].unbonding.is_empty())
    }

    /// All that an operator has at stake, in octas: the bond and what unbonds.
    package fun total(operator: address): u64 acquires Stake {
        if (exists<Stake>(operator)) sum(&Stake[operator]) else 0
    }

    /// Holds back `amount` octas more for a case.
    ///
    /// Aborts if there is no stake.
    package fun quarantine(operator: address, amount: u64) acquires Stake {
        let stake = borrow_stake(operator);
        stake.quarantined += amount;
    }

    /// Undoes `quarantine` when the case ends.
    package fun release(operator: address, amount: u64) acquires Stake {
        let stake = borrow_stake(operator);
        stake.quarantined -= amount;
    }

    /// Takes up to `amount` octas, as much as there is: first what unbonds, the oldest first because it would
    /// leave first, then the bond.
    ///
    /// Aborts if there is nothing.
    package fun slash(operator: address, amount: u64): FungibleAsset acquires Stake {
        let stake = borrow_stake(operator);
        let missing = amount;
        while (missing > 0 && !stake.unbonding.is_empty()) {
            missing -= take_from_entry(&mut stake.unbonding, 0, missing);
        };
        let from_bond = smaller(missing, stake.bonded);
        stake.bonded -= from_bond;
        let slashed = amount - (missing - from_bond);
        assert!(slashed > 0, error::invalid_state(ENOTHING_TO_SLASH));
        stake.vault.take(slashed)
    }

    //
    // Helpers
    //

    inline fun borrow_stake(operator: address): &mut Stake {
        assert!(exists<Stake>(operator), error::not_found(ENO_STAKE));
        &mut Stake[operator]
    }

    fun sum(stake: &Stake): u64 {
        let octas = stake.bonded;
        stake.unbonding.for_each_ref(|entry| octas += entry.octas);
        octas
    }

    // What could leave without touching what open cases may cost.
    fun payable(stake: &Stake): u64 {
        let all = sum(stake);
        if (all > stake.quarantined) all - stake.quarantined else 0
    }

    fun smaller(a: u64, b: u64): u64 {
        if (a < b) a else b
    }

    // Takes up to `octas` out of one entry, removes it if that empties it, and says how much was taken.
    fun take_from_entry(unbonding: &mut vector<Unbonding>, index: u64, octas: u64): u64 {
        let entry = &mut unbonding[index];
        if (entry.octas > octas) {
            entry.octas -= octas;
            octas
        } else {
            unbonding.remove(index).octas
        }
    }

    #[test_only]
    public fun unpack_for_test(self: StakeView): (u64, u64, u64, u64) {
        (self.bonded, self.unbonding, self.withdrawable, self.next_unlock_seconds)
    }
}
