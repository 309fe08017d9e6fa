/// One store per account and asset, at an address that anyone can compute.
module aptos_framework::primary_fungible_store {
    use std::option::Option;
    use std::signer;
    use std::string::String;
    use aptos_framework::fungible_asset::{Self, BurnRef, FungibleAsset, FungibleStore, MintRef};
    use aptos_framework::object::{Self, ConstructorRef, DeriveRef, Object};

    /// Lets this module derive the stores' addresses from the asset's.
    struct DeriveRefPod has key {
        metadata_derive_ref: DeriveRef,
    }

    /// As `fungible_asset::add_fungibility`, with primary stores.
    public fun create_primary_store_enabled_fungible_asset(
        constructor_ref: &ConstructorRef,
        maximum_supply: Option<u128>,
        name: String,
        symbol: String,
        decimals: u8,
        icon_uri: String,
        project_uri: String,
    ) {
        fungible_asset::add_fungibility(
            constructor_ref, maximum_supply, name, symbol, decimals, icon_uri, project_uri
        );
        move_to(&object::generate_signer(constructor_ref), DeriveRefPod {
            metadata_derive_ref: object::generate_derive_ref(constructor_ref),
        });
    }

    /// The owner's primary store, created if there is none.
    public fun ensure_primary_store_exists<T: key>(
        owner: address, metadata: Object<T>
    ): Object<FungibleStore> acquires DeriveRefPod {
        let store = primary_store_address(owner, metadata);
        if (fungible_asset::store_exists(store)) object::address_to_object(store)
        else create_primary_store(owner, metadata)
    }

    /// Creates the owner's primary store. Aborts if it exists.
    public fun create_primary_store<T: key>(
        owner_addr: address, metadata: Object<T>
    ): Object<FungibleStore> acquires DeriveRefPod {
        let derive_ref = &DeriveRefPod[metadata.object_address()].metadata_derive_ref;
        let constructor_ref = &object::create_user_derived_object(owner_addr, derive_ref);
        // Whoever could move a store would take the balance with it.
        object::disable_ungated_transfer(&object::generate_transfer_ref(constructor_ref));
        fungible_asset::create_store(constructor_ref, metadata)
    }

    #[view]
    public fun primary_store_address<T: key>(owner: address, metadata: Object<T>): address {
        object::create_user_derived_object_address(owner, metadata.object_address())
    }

    #[view]
    /// Aborts if the store does not exist.
    public fun primary_store<T: key>(owner: address, metadata: Object<T>): Object<FungibleStore> {
        object::address_to_object<FungibleStore>(primary_store_address(owner, metadata))
    }

    #[view]
    public fun primary_store_exists<T: key>(account: address, metadata: Object<T>): bool {
        fungible_asset::store_exists(primary_store_address(account, metadata))
    }

    #[view]
    public fun balance<T: key>(account: address, metadata: Object<T>): u64 {
        if (primary_store_exists(account, metadata)) {
            fungible_asset::balance(primary_store(account, metadata))
        } else 0
    }

    #[view]
    public fun is_balance_at_least<T: key>(account: address, metadata: Object<T>, amount: u64): bool {
        balance(account, metadata) >= amount
    }

    #[view]
    public fun is_frozen<T: key>(account: address, metadata: Object<T>): bool {
        primary_store_exists(account, metadata)
            && fungible_asset::is_frozen(primary_store(account, metadata))
    }

    /// Takes `amount` out of the owner's primary store. Aborts as `fungible_asset::withdraw` does.
    public fun withdraw<T: key>(
        owner: &signer, metadata: Object<T>, amount: u64
    ): FungibleAsset acquires DeriveRefPod {
        let store = ensure_primary_store_exists(signer::address_of(owner), metadata);
        fungible_asset::withdraw(owner, store, amount)
    }

    /// Puts `fa` into the owner's primary store.
    public fun deposit(owner: address, fa: FungibleAsset) acquires DeriveRefPod {
        let metadata = fungible_asset::asset_metadata(&fa);
        let store = ensure_primary_store_exists(owner, metadata);
        fungible_asset::deposit(store, fa);
    }

    /// Moves `amount` from the sender's primary store to the recipient's.
    public entry fun transfer<T: key>(
        sender: &signer, metadata: Object<T>, recipient: address, amount: u64
    ) acquires DeriveRefPod {
        let from = ensure_primary_store_exists(signer::address_of(sender), metadata);
        let to = ensure_primary_store_exists(recipient, metadata);
        fungible_asset::transfer(sender, from, to, amount);
    }

    /// Creates `amount` in the owner's primary store.
    public fun mint(mint_ref: &MintRef, owner: address, amount: u64) acquires DeriveRefPod {
        let store = ensure_primary_store_exists(owner, fungible_asset::mint_ref_metadata(mint_ref));
        fungible_asset::mint_to(mint_ref, store, amount);
    }

    /// Destroys `amount` out of the owner's primary store.
    public fun burn(burn_ref: &BurnRef, owner: address, amount: u64) {
        let store = primary_store(owner, fungible_asset::burn_ref_metadata(burn_ref));
        fungible_asset::burn_from(burn_ref, store, amount);
    }
}
