/// Stores of allowed assets that only this package can open. Knows nothing of who a balance belongs to.
///
/// A vault's store is an object owned by `@0x0`, and the vault keeps its `ExtendRef`. Ownership of objects is
/// transitive, so a store owned by a person could be emptied by that person behind our back.
module cactus::vault {
    use std::error;
    use std::signer;
    use aptos_framework::fungible_asset::{Self, FungibleAsset, FungibleStore, Metadata};
    use aptos_framework::object::{Self, ExtendRef, Object};
    use aptos_framework::primary_fungible_store;
    use cactus::config;

    //
    // Errors
    //

    /// The amount must not be zero.
    const EZERO_AMOUNT: u64 = 1;
    /// The payer's balance is smaller than the amount.
    const EINSUFFICIENT_FUNDS: u64 = 2;
    /// The store's balance did not change by exactly the amount.
    const EINEXACT: u64 = 3;
    /// Vaults may not hold this asset.
    const EASSET_NOT_ALLOWED: u64 = 4;

    //
    // Constants
    //

    /// APT as a fungible asset.
    const APT: address = @0xa;

    //
    // Structs
    //

    /// A store and the only key to it.
    enum Vault has store {
        V1 {
            store: Object<FungibleStore>,
            extend_ref: ExtendRef,
        }
    }

    //
    // For the other modules
    //

    /// A new, empty vault for APT.
    package fun create(): Vault {
        let (vault, _) = create_with_signer(APT);
        vault
    }

    /// A new, empty vault for the asset of this metadata, and its object's signer for whoever wants to keep a record
    /// next to the store.
    ///
    /// Aborts if the asset is not allowed.
    package fun create_with_signer(asset: address): (Vault, signer) {
        assert!(config::is_allowed_asset(asset), error::permission_denied(EASSET_NOT_ALLOWED));
        let constructor_ref = &object::create_object(@0x0);
        let metadata = object::address_to_object<Metadata>(asset);
        let vault = Vault::V1 {
            store: fungible_asset::create_store(constructor_ref, metadata),
            extend_ref: object::generate_extend_ref(constructor_ref),
        };
        (vault, object::generate_signer(constructor_ref))
    }

    package fun apt(): address { APT }

    /// The metadata of what the vault holds.
    package fun asset(self: &Vault): Object<Metadata> { fungible_asset::store_metadata(self.store) }

    package fun is_of_apt(self: &Vault): bool { object::object_address(&self.asset()) == APT }

    /// What the store really holds, in the asset's smallest unit: octas if it is APT.
    package fun balance(self: &Vault): u64 {
        fungible_asset::balance(self.store)
    }

    /// Moves `amount` from the payer's primary store into the vault.
    ///
    /// Aborts if the amount is zero or the payer holds less.
    package fun take_from(self: &Vault, payer: &signer, amount: u64) {
        assert!(amount > 0, error::invalid_argument(EZERO_AMOUNT));
        let asset = self.asset();
        assert!(
            primary_fungible_store::is_balance_at_least(signer::address_of(payer), asset, amount),
            error::invalid_argument(EINSUFFICIENT_FUNDS)
        );
        self.put(primary_fungible_store::withdraw(payer, asset, amount));
    }

    /// Puts `funds` into the vault; nothing happens if they are zero.
    ///
    /// Aborts if they are of another asset.
    package fun put(self: &Vault, funds: FungibleAsset) {
        let amount = fungible_asset::amount(&funds);
        if (amount == 0) {
            fungible_asset::destroy_zero(funds);
            return
        };
        let before = self.balance();
        fungible_asset::deposit(self.store, funds);
        assert!(self.balance() - before == amount, error::internal(EINEXACT));
    }

    /// Takes `amount` out of the vault, whether its asset is still allowed or not.
    ///
    /// Aborts if the vault holds less.
    package fun take(self: &Vault, amount: u64): FungibleAsset {
        if (amount == 0) return fungible_asset::zero(self.asset());
        let opener = &object::generate_signer_for_extending(&self.extend_ref);
        let funds = fungible_asset::withdraw(opener, self.store, amount);
        assert!(fungible_asset::amount(&funds) == amount, error::internal(EINEXACT));
        funds
    }

    /// Pays `amount` out of the vault into the recipient's primary store; nothing happens if it is zero.
    ///
    /// Aborts if the vault holds less.
    package fun pay(self: &Vault, recipient: address, amount: u64) {
        give(recipient, self.take(amount));
    }

    /// Puts `funds` into the recipient's primary store; nothing happens if they are zero.
    package fun give(recipient: address, funds: FungibleAsset) {
        if (fungible_asset::amount(&funds) == 0) fungible_asset::destroy_zero(funds)
        else primary_fungible_store::deposit(recipient, funds);
    }

    #[test_only]
    public fun destroy_empty_for_test(self: Vault) {
        let Vault::V1 { store, extend_ref: _ } = self;
        assert!(fungible_asset::balance(store) == 0, 0);
        assert!(object::owner(store) == @0x0, 1);
    }

    #[test_only]
    public fun store_for_test(self: &Vault): Object<FungibleStore> {
        self.store
    }
}
