/// Slashing of orchestrators by validators. The one who slashes is never paid.
module cactus::dispute {
    use std::error;
    use std::signer;
    use aptos_std::table::{Self, Table};
    use aptos_framework::event;
    use aptos_framework::fungible_asset;
    use cactus::config;
    use cactus::pricing;
    use cactus::stake;
    use cactus::treasury;
    use cactus::vault;

    //
    // Errors
    //

    /// The amount must not be zero.
    const EZERO_AMOUNT: u64 = 1;
    /// An evidence hash must be 32 bytes.
    const EBAD_EVIDENCE_HASH: u64 = 2;
    /// This evidence was punished already.
    const EEVIDENCE_USED: u64 = 3;
    /// The accuser must be neither the validator nor the operator.
    const EBAD_ACCUSER: u64 = 4;

    //
    // Constants
    //

    const HASH_BYTES: u64 = 32;

    //
    // Structs
    //

    /// Evidence that was acted on. At the contract's address.
    enum Cases has key {
        V1 { punished: Table<vector<u8>, bool> }
    }

    //
    // Events
    //

    #[event]
    enum OperatorSlashed has drop, store {
        V1 {
            validator: address,
            operator: address,
            accuser: address,
            evidence_hash: vector<u8>,
            slashed_octas: u64,
            bounty_octas: u64,
            treasury_octas: u64,
        }
    }

    //
    // Entry functions
    //

    fun init_module(publisher: &signer) {
        move_to(publisher, Cases::V1 { punished: table::new() });
    }

    /// A validator takes up to `amount` octas of an operator's stake, what unbonds included. The accuser gets at most
    /// the share that the parameter `slash_bounty_cap_bps` allows; the rest, rounding included, goes to the treasury.
    /// The accuser `@0x0` stands for nobody: then all of it does.
    ///
    /// Aborts if the caller is not a validator, the amount is zero, the evidence hash is not 32 bytes or was used, the
    /// accuser is the validator or the operator, or the operator has nothing to slash.
    public entry fun slash(
        validator: &signer, operator: address, amount: u64, accuser: address, evidence_hash: vector<u8>
    ) acquires Cases {
        config::assert_validator(validator);
        let validator = signer::address_of(validator);
        assert!(amount > 0, error::invalid_argument(EZERO_AMOUNT));
        assert!(evidence_hash.length() == HASH_BYTES, error::invalid_argument(EBAD_EVIDENCE_HASH));
        assert!(accuser != validator && accuser != operator, error::invalid_argument(EBAD_ACCUSER));
        let punished = &mut Cases[@cactus].punished;
        assert!(!punished.contains(evidence_hash), error::already_exists(EEVIDENCE_USED));

        punished.add(evidence_hash, true);
        let funds = stake::slash(operator, amount);
        let slashed_octas = fungible_asset::amount(&funds);
        let bounty_octas = if (accuser == @0x0) 0 else pricing::share(slashed_octas, config::slash_bounty_cap_bps());
        vault::give(accuser, fungible_asset::extract(&mut funds, bounty_octas));
        treasury::confiscate(funds);
        event::emit(OperatorSlashed::V1 {
            validator, operator, accuser, evidence_hash, slashed_octas, bounty_octas,
            treasury_octas: slashed_octas - bounty_octas,
        });
    }

    #[test_only]
    public fun init_for_test(publisher: &signer) {
        init_module(publisher)
    }
}
