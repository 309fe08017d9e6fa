/// Accounts: authentication key and sequence number.
module aptos_framework::account {
    use std::bcs;
    use std::error;
    use std::hash;
    use std::signer;
    use aptos_std::ed25519;
    use aptos_std::from_bcs;
    use aptos_std::table::{Self, Table};
    use aptos_framework::event;

    friend aptos_framework::aptos_account;
    friend aptos_framework::genesis;
    friend aptos_framework::object;
    friend aptos_framework::transaction_validation;

    /// The account exists already.
    const EACCOUNT_ALREADY_EXISTS: u64 = 1;
    /// There is no account at this address.
    const EACCOUNT_DOES_NOT_EXIST: u64 = 2;
    /// The sequence number is at its maximum.
    const ESEQUENCE_NUMBER_TOO_BIG: u64 = 3;
    /// An authentication key must be 32 bytes.
    const EMALFORMED_AUTHENTICATION_KEY: u64 = 4;
    /// The address is reserved.
    const ECANNOT_RESERVED_ADDRESS: u64 = 5;
    /// The public key is not the account's.
    const EWRONG_CURRENT_PUBLIC_KEY: u64 = 7;
    /// A signature over the challenge is not valid.
    const EINVALID_PROOF_OF_KNOWLEDGE: u64 = 8;
    /// Keys of this scheme cannot be rotated so.
    const EINVALID_SCHEME: u64 = 12;
    /// The table names another account for the current key.
    const EINVALID_ORIGINATING_ADDRESS: u64 = 13;
    /// The new key is that of another account.
    const ENEW_AUTH_KEY_ALREADY_MAPPED: u64 = 21;
    /// The new key is the current one.
    const ENEW_AUTH_KEY_SAME_AS_CURRENT: u64 = 22;

    const MAX_U64: u128 = 18446744073709551615;
    const AUTHENTICATION_KEY_NUM_BYTES: u64 = 32;
    const ED25519_SCHEME: u8 = 0;
    const MULTI_KEY_SCHEME: u8 = 3;

    struct Account has key, store {
        authentication_key: vector<u8>,
        sequence_number: u64,
        guid_creation_num: u64,
    }

    /// Whose account a rotated key opens, for wallets that know only the key.
    struct OriginatingAddress has key {
        address_map: Table<address, address>,
    }

    /// What the current and the new key sign to rotate an account's key.
    struct RotationProofChallenge has copy, drop {
        sequence_number: u64,
        originator: address,
        current_auth_key: address,
        new_public_key: vector<u8>,
    }

    #[event]
    struct KeyRotation has drop, store {
        account: address,
        old_authentication_key: vector<u8>,
        new_authentication_key: vector<u8>,
    }

    // Called once by genesis.
    public(friend) fun initialize(aptos_framework: &signer) {
        move_to(aptos_framework, OriginatingAddress { address_map: table::new() });
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

    /// Gives the account another key, proven by signatures of the current and the new one over the
    /// `RotationProofChallenge`. Only ed25519 keys (scheme 0) prove themselves here.
    /// Aborts if a key or signature is not right, or another account has the new key.
    public entry fun rotate_authentication_key(
        account: &signer,
        from_scheme: u8,
        from_public_key_bytes: vector<u8>,
        to_scheme: u8,
        to_public_key_bytes: vector<u8>,
        cap_rotate_key: vector<u8>,
        cap_update_table: vector<u8>,
    ) acquires Account, OriginatingAddress {
        let originator = signer::address_of(account);
        assert!(exists<Account>(originator), error::not_found(EACCOUNT_DOES_NOT_EXIST));
        let current = Account[originator].authentication_key;
        assert!(
            current == ed25519_authentication_key(from_scheme, from_public_key_bytes),
            error::unauthenticated(EWRONG_CURRENT_PUBLIC_KEY)
        );
        let challenge = RotationProofChallenge {
            sequence_number: Account[originator].sequence_number,
            originator,
            current_auth_key: from_bcs::to_address(current),
            new_public_key: to_public_key_bytes,
        };
        assert_proof(from_public_key_bytes, cap_rotate_key, challenge);
        let new_auth_key = ed25519_authentication_key(to_scheme, to_public_key_bytes);
        assert_proof(to_public_key_bytes, cap_update_table, challenge);
        update_originating_address(originator, current, new_auth_key);
        set_authentication_key(originator, new_auth_key);
        event::emit(KeyRotation {
            account: originator, old_authentication_key: current, new_authentication_key: new_auth_key,
        });
    }

    /// Gives the account the key of `new_public_key_bytes` without a proof that anyone holds it.
    /// Aborts if the scheme is unknown.
    entry fun rotate_authentication_key_from_public_key(
        account: &signer, scheme: u8, new_public_key_bytes: vector<u8>
    ) acquires Account {
        assert!(scheme <= MULTI_KEY_SCHEME, error::invalid_argument(EINVALID_SCHEME));
        new_public_key_bytes.push_back(scheme);
        rotate_authentication_key_call(account, hash::sha3_256(new_public_key_bytes))
    }

    /// Gives the account another authentication key without a proof that anyone holds it.
    /// Aborts if it is not 32 bytes.
    entry fun rotate_authentication_key_call(account: &signer, new_auth_key: vector<u8>) acquires Account {
        set_authentication_key(signer::address_of(account), new_auth_key)
    }

    fun set_authentication_key(addr: address, new_auth_key: vector<u8>) acquires Account {
        assert!(exists<Account>(addr), error::not_found(EACCOUNT_DOES_NOT_EXIST));
        assert!(
            new_auth_key.length() == AUTHENTICATION_KEY_NUM_BYTES,
            error::invalid_argument(EMALFORMED_AUTHENTICATION_KEY)
        );
        Account[addr].authentication_key = new_auth_key;
    }

    fun ed25519_authentication_key(scheme: u8, public_key: vector<u8>): vector<u8> {
        assert!(scheme == ED25519_SCHEME, error::invalid_argument(EINVALID_SCHEME));
        let public_key = ed25519::new_unvalidated_public_key_from_bytes(public_key);
        ed25519::unvalidated_public_key_to_authentication_key(&public_key)
    }

    fun assert_proof(public_key: vector<u8>, signature: vector<u8>, challenge: RotationProofChallenge) {
        let public_key = ed25519::new_unvalidated_public_key_from_bytes(public_key);
        let signature = ed25519::new_signature_from_bytes(signature);
        assert!(
            ed25519::signature_verify_strict_t(&signature, &public_key, challenge),
            error::invalid_argument(EINVALID_PROOF_OF_KNOWLEDGE)
        );
    }

    fun update_originating_address(
        originator: address, current: vector<u8>, new_auth_key: vector<u8>
    ) acquires OriginatingAddress {
        let address_map = &mut OriginatingAddress[@aptos_framework].address_map;
        let (current, new) = (from_bcs::to_address(current), from_bcs::to_address(new_auth_key));
        assert!(current != new, error::invalid_argument(ENEW_AUTH_KEY_SAME_AS_CURRENT));
        if (address_map.contains(current)) {
            assert!(
                originator == address_map.remove(current),
                error::not_found(EINVALID_ORIGINATING_ADDRESS)
            );
        };
        assert!(!address_map.contains(new), error::invalid_argument(ENEW_AUTH_KEY_ALREADY_MAPPED));
        address_map.add(new, originator);
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
