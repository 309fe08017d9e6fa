#[test_only]
/// What callers of the real framework rely on: results and abort codes.
module aptos_framework::framework_tests {
    use std::bcs;
    use std::hash;
    use std::option;
    use std::signer;
    use std::string;
    use aptos_experimental::large_packages;
    use aptos_std::ed25519;
    use aptos_std::from_bcs;
    use aptos_std::table;
    use aptos_framework::account;
    use aptos_framework::aptos_account;
    use aptos_framework::aptos_coin::AptosCoin;
    use aptos_framework::chain_id;
    use aptos_framework::coin;
    use aptos_framework::fungible_asset::{Self, Metadata};
    use aptos_framework::genesis;
    use aptos_framework::object::{Self, Object};
    use aptos_framework::primary_fungible_store;
    use aptos_framework::timestamp;

    const ALICE: address = @0xa11ce;
    const BOB: address = @0xb0b;

    struct OtherCoin {}

    fun start() {
        genesis::initialize_for_test(4);
        genesis::mint_for_test(ALICE, 1000);
    }

    fun alice(): signer { account::create_signer_for_test(ALICE) }
    fun apt(): Object<Metadata> { object::address_to_object<Metadata>(@0xa) }
    fun balance(who: address): u64 { coin::balance<AptosCoin>(who) }

    #[test]
    fun the_first_state_names_the_chain_and_its_coin() {
        start();
        assert!(chain_id::get() == 4 && timestamp::now_seconds() == 0, 1);
        assert!(coin::symbol<AptosCoin>() == string::utf8(b"APT") && coin::decimals<AptosCoin>() == 8, 2);
        assert!(coin::supply<AptosCoin>() == option::some(1000), 3);
        assert!(coin::paired_metadata<AptosCoin>() == option::some(apt()), 4);
    }

    #[test]
    fun three_ways_to_transfer_move_the_same_coins() {
        start();
        aptos_account::transfer(&alice(), BOB, 100);
        coin::transfer<AptosCoin>(&alice(), BOB, 20);
        primary_fungible_store::transfer(&alice(), apt(), BOB, 3);
        assert!(balance(BOB) == 123 && balance(ALICE) == 877, 1);
        assert!(primary_fungible_store::balance(BOB, apt()) == 123 && account::exists_at(BOB), 2);
        assert!(coin::supply<AptosCoin>() == option::some(1000), 3);
    }

    #[test]
    fun transferring_nothing_creates_the_account() {
        start();
        coin::transfer<AptosCoin>(&alice(), BOB, 0);
        assert!(!account::exists_at(BOB), 2);
        aptos_account::transfer(&alice(), BOB, 0);
        assert!(account::exists_at(BOB) && balance(BOB) == 0, 1);
    }

    #[test]
    fun a_batch_goes_to_everyone() {
        start();
        aptos_account::batch_transfer(&alice(), vector[BOB, @0xca201], vector[10, 20]);
        assert!(balance(BOB) == 10 && balance(@0xca201) == 20, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = aptos_framework::aptos_account)]
    fun a_batch_needs_an_amount_for_each_recipient() {
        start();
        aptos_account::batch_transfer(&alice(), vector[BOB], vector[]);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = aptos_framework::fungible_asset)]
    fun an_account_transfer_over_the_balance_aborts_in_fungible_asset() {
        start();
        aptos_account::transfer(&alice(), BOB, 1001);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = aptos_framework::fungible_asset)]
    fun a_coin_transfer_over_the_balance_aborts_in_fungible_asset() {
        start();
        coin::transfer<AptosCoin>(&alice(), BOB, 1001);
    }

    #[test]
    #[expected_failure(abort_code = 0x60003, location = aptos_framework::coin)]
    fun there_are_no_other_coins() {
        start();
        assert!(coin::balance<OtherCoin>(ALICE) == 0, 1);
        coin::transfer<OtherCoin>(&alice(), BOB, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50008, location = aptos_framework::fungible_asset)]
    fun only_its_owner_opens_a_store() {
        start();
        let store = primary_fungible_store::primary_store(ALICE, apt());
        let stolen = fungible_asset::withdraw(&account::create_signer_for_test(BOB), store, 1);
        primary_fungible_store::deposit(BOB, stolen);
    }

    #[test]
    #[expected_failure(abort_code = 0x50003, location = aptos_framework::object)]
    fun a_primary_store_does_not_change_hands() {
        start();
        object::transfer(&alice(), primary_fungible_store::primary_store(ALICE, apt()), BOB);
    }

    #[test]
    fun an_account_without_a_resource_has_its_address_as_key() {
        start();
        assert!(account::get_authentication_key(BOB) == bcs::to_bytes(&BOB), 1);
        assert!(account::get_sequence_number(BOB) == 0 && !account::exists_at(BOB), 2);
        aptos_account::create_account(BOB);
        assert!(account::get_authentication_key(BOB) == bcs::to_bytes(&BOB) && account::exists_at(BOB), 3);
    }

    #[test]
    #[expected_failure(abort_code = 0x80001, location = aptos_framework::account)]
    fun an_account_is_created_once() {
        start();
        aptos_account::create_account(ALICE);
    }

    #[test]
    fun objects_are_owned_through_objects() {
        start();
        let outer = object::create_named_object(&alice(), b"outer");
        let inner = object::create_object(object::address_from_constructor_ref(&outer));
        let inner = object::object_from_constructor_ref<object::ObjectCore>(&inner);
        assert!(object::owns(inner, ALICE) && !object::is_owner(inner, ALICE) && !object::owns(inner, BOB), 1);
        object::transfer(&alice(), inner, BOB);
        assert!(object::is_owner(inner, BOB) && !object::owns(inner, ALICE), 2);
    }

    #[test]
    fun named_objects_have_aptos_addresses() {
        start();
        // sha3_256(alice as 32 bytes | "outer" | 0xFE), computed outside of Move.
        let expected = from_bcs::to_address(x"0a170adf18a01ac95f3bb42c4ea51fc3c09e37796c7dd2785d1943ee3cdcd1df");
        assert!(object::create_object_address(&ALICE, b"outer") == expected, 1);
    }

    struct Holder has key { table: table::Table<u64, u64> }

    #[test]
    fun tables_hold_what_is_put_into_them() {
        start();
        let table = table::new<u64, u64>();
        table.add(1, 10);
        table.upsert(1, 11);
        table.upsert(2, 20);
        *table.borrow_mut_with_default(3, 30) += 1;
        assert!(*table.borrow(1) == 11 && *table.borrow(3) == 31, 1);
        assert!(*table.borrow_with_default(4, &40) == 40 && !table.contains(4), 2);
        assert!(table.remove(2) == 20 && !table.contains(2), 3);
        move_to(&alice(), Holder { table });
    }

    #[test]
    fun vectors_keep_their_order() {
        let v = vector[1, 2, 3];
        v.append(vector[4, 5]);
        assert!(v == vector[1, 2, 3, 4, 5], 1);
        assert!(v.remove(1) == 2 && v == vector[1, 3, 4, 5], 2);
        v.insert(1, 2);
        v.reverse();
        assert!(v == vector[5, 4, 3, 2, 1], 3);
        assert!(v.swap_remove(0) == 5 && v == vector[1, 4, 3, 2], 4);
    }

    #[test]
    #[expected_failure(abort_code = 0x20000, location = std::vector)]
    fun removing_past_the_end_aborts() {
        vector[1].remove(1);
    }

    #[test]
    #[expected_failure(abort_code = 1, location = std::string)]
    fun text_is_utf8() {
        string::utf8(x"ff");
    }

    // What both keys sign to rotate: `0x1::account::RotationProofChallenge`, laid out by hand as clients do.
    fun challenge(sequence_number: u64, who: address, new_public_key: vector<u8>): vector<u8> {
        let message = bcs::to_bytes(&@0x1);
        message.append(bcs::to_bytes(&b"account"));
        message.append(bcs::to_bytes(&b"RotationProofChallenge"));
        message.append(bcs::to_bytes(&sequence_number));
        message.append(bcs::to_bytes(&who));
        message.append(account::get_authentication_key(who));
        message.append(bcs::to_bytes(&new_public_key));
        message
    }

    fun authentication_key(public_key: vector<u8>): vector<u8> {
        public_key.push_back(0);
        hash::sha3_256(public_key)
    }

    // An account whose address follows from its key.
    fun owner_of(public_key: vector<u8>): signer {
        account::create_account_for_test(from_bcs::to_address(authentication_key(public_key)))
    }

    #[test]
    fun an_account_gets_a_key_that_both_keys_agree_to() {
        start();
        let (old_secret, old) = ed25519::generate_keys();
        let (new_secret, new) = ed25519::generate_keys();
        let owner = owner_of(old);
        let who = signer::address_of(&owner);
        let message = challenge(0, who, new);
        account::rotate_authentication_key(
            &owner, 0, old, 0, new, ed25519::sign(message, old_secret), ed25519::sign(message, new_secret)
        );
        assert!(account::get_authentication_key(who) == authentication_key(new), 1);
        // And back again, by the new key.
        let message = challenge(0, who, old);
        account::rotate_authentication_key(
            &owner, 0, new, 0, old, ed25519::sign(message, new_secret), ed25519::sign(message, old_secret)
        );
        assert!(account::get_authentication_key(who) == authentication_key(old), 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x10008, location = aptos_framework::account)]
    fun an_account_does_not_get_a_key_that_did_not_agree() {
        start();
        let (old_secret, old) = ed25519::generate_keys();
        let (_, new) = ed25519::generate_keys();
        let owner = owner_of(old);
        let proof = ed25519::sign(challenge(0, signer::address_of(&owner), new), old_secret);
        account::rotate_authentication_key(&owner, 0, old, 0, new, proof, proof);
    }

    #[test]
    #[expected_failure(abort_code = 0x40007, location = aptos_framework::account)]
    fun only_the_current_key_gives_an_account_away() {
        start();
        let (secret, key) = ed25519::generate_keys();
        let proof = ed25519::sign(challenge(0, ALICE, key), secret);
        account::rotate_authentication_key(&alice(), 0, key, 0, key, proof, proof);
    }

    #[test]
    fun an_object_is_transferred_by_its_address() {
        start();
        let object = object::address_from_constructor_ref(&object::create_object(ALICE));
        object::transfer_call(&alice(), object, BOB);
        let object = object::address_to_object<object::ObjectCore>(object);
        assert!(object::is_owner(object, BOB), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = aptos_experimental::large_packages)]
    fun every_staged_chunk_has_an_index() {
        large_packages::stage_code_chunk(&alice(), vector[], vector[0], vector[]);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = aptos_experimental::large_packages)]
    fun a_module_that_was_not_staged_cannot_be_published() {
        let chunks = vector[b"last"];
        large_packages::stage_code_chunk_and_publish_to_account(&alice(), b"metadata", vector[1], chunks);
    }

    #[test]
    #[expected_failure]
    fun what_was_cleaned_up_is_gone() {
        large_packages::stage_code_chunk(&alice(), b"metadata", vector[0], vector[b"code"]);
        large_packages::cleanup_staging_area(&alice());
        large_packages::cleanup_staging_area(&alice());
    }
}
