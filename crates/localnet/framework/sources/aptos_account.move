/// Accounts that are created when they first receive something.
module aptos_framework::aptos_account {
    use std::error;
    use aptos_framework::account;
    use aptos_framework::coin;
    use aptos_framework::fungible_asset::{FungibleAsset, Metadata};
    use aptos_framework::object::{Self, Object};
    use aptos_framework::primary_fungible_store;

    /// The account does not exist.
    const EACCOUNT_NOT_FOUND: u64 = 1;
    /// The lists of recipients and amounts have different lengths.
    const EMISMATCHING_RECIPIENTS_AND_AMOUNTS_LENGTH: u64 = 5;

    /// Creates the account at `auth_key`. Aborts if it exists.
    public entry fun create_account(auth_key: address) {
        account::create_account(auth_key);
    }

    /// Moves `amount` octas to `to`, creating that account if need be.
    public entry fun transfer(source: &signer, to: address, amount: u64) {
        account::create_account_if_does_not_exist(to);
        let apt = object::address_to_object<Metadata>(@0xa);
        primary_fungible_store::transfer(source, apt, to, amount);
    }

    /// `transfer` to many. Aborts if the lists have different lengths.
    public entry fun batch_transfer(source: &signer, recipients: vector<address>, amounts: vector<u64>) {
        assert!(
            recipients.length() == amounts.length(),
            error::invalid_argument(EMISMATCHING_RECIPIENTS_AND_AMOUNTS_LENGTH)
        );
        let i = 0;
        while (i < recipients.length()) {
            transfer(source, recipients[i], amounts[i]);
            i += 1;
        };
    }

    /// Moves `amount` of a coin to `to`, creating that account if need be.
    public entry fun transfer_coins<CoinType>(from: &signer, to: address, amount: u64) {
        account::create_account_if_does_not_exist(to);
        coin::transfer<CoinType>(from, to, amount);
    }

    /// Moves `amount` of an asset to `to`, creating that account if need be.
    public entry fun transfer_fungible_assets(
        from: &signer, metadata: Object<Metadata>, to: address, amount: u64
    ) {
        deposit_fungible_assets(to, primary_fungible_store::withdraw(from, metadata, amount));
    }

    /// Puts `fa` into the primary store of `to`, creating that account if need be.
    public fun deposit_fungible_assets(to: address, fa: FungibleAsset) {
        account::create_account_if_does_not_exist(to);
        primary_fungible_store::deposit(to, fa)
    }

    /// Aborts if the account does not exist.
    public fun assert_account_exists(addr: address) {
        assert!(account::exists_at(addr), error::not_found(EACCOUNT_NOT_FOUND));
    }
}
