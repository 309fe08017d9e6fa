/// The coin interface to APT. Other coin types do not exist on this chain.
module aptos_framework::coin {
    use std::error;
    use std::option::{Self, Option};
    use std::string::String;
    use aptos_std::type_info;
    use aptos_framework::aptos_coin::AptosCoin;
    use aptos_framework::fungible_asset::{Self, Metadata};
    use aptos_framework::object::{Self, Object};
    use aptos_framework::primary_fungible_store;

    /// There is no such coin.
    const ECOIN_INFO_NOT_PUBLISHED: u64 = 3;

    #[view]
    /// The fungible asset behind the coin, if there is one.
    public fun paired_metadata<CoinType>(): Option<Object<Metadata>> {
        if (type_info::type_name<CoinType>() == type_info::type_name<AptosCoin>()) {
            option::some(object::address_to_object<Metadata>(@0xa))
        } else option::none()
    }

    #[view]
    public fun balance<CoinType>(owner: address): u64 {
        let metadata = paired_metadata<CoinType>();
        if (metadata.is_some()) primary_fungible_store::balance(owner, metadata.extract()) else 0
    }

    #[view]
    public fun is_balance_at_least<CoinType>(owner: address, amount: u64): bool {
        balance<CoinType>(owner) >= amount
    }

    #[view]
    public fun is_coin_initialized<CoinType>(): bool {
        paired_metadata<CoinType>().is_some()
    }

    #[view]
    public fun is_account_registered<CoinType>(_account_addr: address): bool {
        is_coin_initialized<CoinType>()
    }

    #[view]
    /// Aborts if there is no such coin.
    public fun name<CoinType>(): String {
        fungible_asset::name(metadata<CoinType>())
    }

    #[view]
    /// Aborts if there is no such coin.
    public fun symbol<CoinType>(): String {
        fungible_asset::symbol(metadata<CoinType>())
    }

    #[view]
    /// Aborts if there is no such coin.
    public fun decimals<CoinType>(): u8 {
        fungible_asset::decimals(metadata<CoinType>())
    }

    #[view]
    public fun supply<CoinType>(): Option<u128> {
        let metadata = paired_metadata<CoinType>();
        if (metadata.is_some()) fungible_asset::supply(metadata.extract()) else option::none()
    }

    /// Moves `amount` to `to`. Aborts if there is no such coin or the balance is smaller.
    public entry fun transfer<CoinType>(from: &signer, to: address, amount: u64) {
        let funds = primary_fungible_store::withdraw(from, metadata<CoinType>(), amount);
        primary_fungible_store::deposit(to, funds);
    }

    fun metadata<CoinType>(): Object<Metadata> {
        let metadata = paired_metadata<CoinType>();
        assert!(metadata.is_some(), error::not_found(ECOIN_INFO_NOT_PUBLISHED));
        metadata.extract()
    }
}
