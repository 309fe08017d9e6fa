/// Protocol fees and slashed funds. Never pays anyone but whom the admin names.
///
/// Fees accrue in one vault per routing server, so that settlements of different servers touch nothing in common.
/// Slashed funds, which are rare, go to one central vault.
module cactus::treasury {
    use std::error;
    use std::signer;
    use aptos_framework::event;
    use aptos_framework::fungible_asset::{Self, FungibleAsset};
    use cactus::config;
    use cactus::vault::{Self, Vault};

    //
    // Errors
    //

    /// There is nothing to sweep.
    const ENOTHING_DUE: u64 = 1;

    //
    // Structs
    //

    /// Slashed funds. At the contract's address.
    enum Treasury has key {
        V1 { vault: Vault }
    }

    /// Fees of one server's settlements. At the server's address, for ever.
    enum ServerShare has key {
        V1 { vault: Vault }
    }

    //
    // Events
    //

    #[event]
    enum Slashed has drop, store {
        V1 { octas: u64 }
    }

    #[event]
    enum Swept has drop, store {
        V1 { source: address, recipient: address, octas: u64 }
    }

    //
    // Views
    //

    #[view]
    /// Slashed funds in octas.
    public fun balance(): u64 acquires Treasury {
        Treasury[@cactus].vault.balance()
    }

    #[view]
    /// Fees in octas that accrued at `server` and were not swept.
    public fun due(server: address): u64 acquires ServerShare {
        if (exists<ServerShare>(server)) ServerShare[server].vault.balance() else 0
    }

    //
    // Entry functions
    //

    fun init_module(publisher: &signer) {
        move_to(publisher, Treasury::V1 { vault: vault::create() });
    }

    /// The admin moves all fees that accrued at `server` to `recipient`.
    ///
    /// Aborts if the caller is not the admin or nothing accrued.
    public entry fun sweep(admin: &signer, server: address, recipient: address) acquires ServerShare {
        config::assert_admin(admin);
        let octas = due(server);
        assert!(octas > 0, error::invalid_state(ENOTHING_DUE));
        ServerShare[server].vault.pay(recipient, octas);
        event::emit(Swept::V1 { source: server, recipient, octas });
    }

    /// The admin moves all slashed funds to `recipient`.
    ///
    /// Aborts if the caller is not the admin or there are none.
    public entry fun sweep_slashed(admin: &signer, recipient: address) acquires Treasury {
        config::assert_admin(admin);
        let octas = balance();
        assert!(octas > 0, error::invalid_state(ENOTHING_DUE));
        Treasury[@cactus].vault.pay(recipient, octas);
        event::emit(Swept::V1 { source: @cactus, recipient, octas });
    }

    //
    // For the other modules
    //

    /// Opens the server's share if it has none.
    package fun open_share(server: &signer) {
        if (!exists<ServerShare>(signer::address_of(server))) {
            move_to(server, ServerShare::V1 { vault: vault::create() });
        };
    }

    /// Adds a fee to the server's share.
    package fun accrue(server: address, fee: FungibleAsset) acquires ServerShare {
        ServerShare[server].vault.put(fee);
    }

    /// Takes in slashed funds.
    package fun confiscate(funds: FungibleAsset) acquires Treasury {
        let octas = fungible_asset::amount(&funds);
        Treasury[@cactus].vault.put(funds);
        event::emit(Slashed::V1 { octas });
    }

    #[test_only]
    public fun init_for_test(publisher: &signer) {
        init_module(publisher)
    }
}
