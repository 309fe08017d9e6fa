/// APT, as a fungible asset at 0xa.
module aptos_framework::aptos_coin {
    use std::option;
    use std::string;
    use aptos_framework::fungible_asset::{Self, BurnRef, MintRef};
    use aptos_framework::object::ConstructorRef;
    use aptos_framework::primary_fungible_store;

    friend aptos_framework::genesis;
    friend aptos_framework::transaction_validation;

    /// The type that names APT where a coin type is asked for.
    struct AptosCoin has key {}

    struct Capabilities has key {
        mint_ref: MintRef,
        burn_ref: BurnRef,
    }

    public(friend) fun initialize(aptos_framework: &signer, constructor_ref: &ConstructorRef) {
        primary_fungible_store::create_primary_store_enabled_fungible_asset(
            constructor_ref,
            option::none(),
            string::utf8(b"Aptos Coin"),
            string::utf8(b"APT"),
            8,
            string::utf8(b""),
            string::utf8(b""),
        );
        move_to(aptos_framework, Capabilities {
            mint_ref: fungible_asset::generate_mint_ref(constructor_ref),
            burn_ref: fungible_asset::generate_burn_ref(constructor_ref),
        });
    }

    public(friend) fun mint_to(owner: address, amount: u64) acquires Capabilities {
        primary_fungible_store::mint(&Capabilities[@aptos_framework].mint_ref, owner, amount)
    }

    public(friend) fun burn_fee(payer: address, amount: u64) acquires Capabilities {
        if (amount == 0) return;
        primary_fungible_store::burn(&Capabilities[@aptos_framework].burn_ref, payer, amount)
    }
}
