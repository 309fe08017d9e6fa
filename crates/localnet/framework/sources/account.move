/// Accounts: authentication key and sequence number.
module aptos_framework::account {
    use std::bcs;
    use std::error;
    #[test_only]
    use std::signer;

    friend aptos_framework::aptos_account;
    friend aptos_framework::genesis;
    friend aptos_framework::object;
    friend aptos_framework::transaction_validation;

    /// The account exists already.
    const EACCOUNT_ALREADY_EXISTS: u64 = 1;
    /// The sequence number is at its maximum.
    const ESEQUENCE_NUMBER_TOO_BIG: u64 = 3;
    /// The address is reserved.
    const ECANNOT_RESERVED_ADDRESS: u64 = 5;

    const MAX_U64: u128 = 18446744073709551615;

    struct Account has key, store {
        authentication_key: vector<u8>,
        sequence_number: u64,
        guid_creation_num: u64,
    }

    #[view]
    /// Whether `addr` is an account. Every address is one that may send its first transaction.
    public fun exists_at(addr: address): bool {
        exists<Account>(addr)
    }

    #[view]
    /// The sequence number that the next transaction of `addr` must have.
    public fun get_sequence_number(addr: address): u64 acquires Account {
        if (exists<Account>(addr)) Account[addr].sequence_number else 0
    }

    #[view]
    /// The authentication key; that of an account without a resource is its address.
    public fun get_authentication_key(addr: address): vector<u8> acquires Account {
        if (exists<Account>(addr)) Account[addr].authentication_key else bcs::to_bytes(&addr)
    }

    /// Creates the account if there is none.
    public fun create_account_if_does_not_exist(account_address: address) {
        if (!exists<Account>(account_address)) { create_account(account_address); };
    }

    /// Aborts if the account exists or the address is reserved.
    public(friend) fun create_account(new_address: address): signer {
        assert!(!exists<Account>(new_address), error::already_exists(EACCOUNT_ALREADY_EXISTS));
        assert!(
            new_address != @vm && new_address != @aptos_framework && new_address != @0x3,
            error::invalid_argument(ECANNOT_RESERVED_ADDRESS)
        );
        create_account_unchecked(new_address)
    }

    fun create_account_unchecked(new_address: address): signer {
        let new_account = create_signer(new_address);
        move_to(&new_account, Account {
            authentication_key: bcs::to_bytes(&new_address),
            sequence_number: 0,
            guid_creation_num: 0,
        });
        new_account
    }

    public(friend) fun increment_sequence_number(addr: address) acquires Account {
        if (!exists<Account>(addr)) { create_account_unchecked(addr); };
        let sequence_number = &mut Account[addr].sequence_number;
        assert!((*sequence_number as u128) < MAX_U64, error::out_of_range(ESEQUENCE_NUMBER_TOO_BIG));
        *sequence_number += 1;
    }

    native public(friend) fun create_signer(addr: address): signer;

    #[test_only]
    /// Creates the account whatever its address is.
    public fun create_account_for_test(new_address: address): signer {
        if (exists<Account>(new_address)) create_signer(new_address)
        else create_account_unchecked(new_address)
    }

    #[test_only]
    public fun create_signer_for_test(addr: address): signer {
        create_signer(addr)
    }

    #[test_only]
    /// Gives `account` another authentication key, as a key rotation does.
    public fun rotate_authentication_key_internal(account: &signer, new_auth_key: vector<u8>) acquires Account {
        Account[signer::address_of(account)].authentication_key = new_auth_key;
    }
}
