#[test_only]
module cactus::vault_tests {
    use aptos_framework::fungible_asset;
    use aptos_framework::object;
    use aptos_framework::primary_fungible_store;
    use cactus::vault::{Self, Vault};
    use cactus::world;

    const PAYER: address = @0x99;

    fun start_with(octas: u64): Vault {
        world::start();
        world::fund(PAYER, octas);
        let vault = vault::create();
        vault.take_from(&world::sign_as(PAYER), octas);
        vault
    }

    #[test]
    fun a_vault_takes_and_pays_exactly() {
        let vault = start_with(100);
        assert!(vault.balance() == 100 && world::coins(PAYER) == 0, 1);
        vault.pay(PAYER, 40);
        assert!(vault.balance() == 60 && world::coins(PAYER) == 40, 2);
        let funds = vault.take(60);
        assert!(vault.balance() == 0 && fungible_asset::amount(&funds) == 60, 3);
        vault.put(funds);
        vault.pay(PAYER, 60);
        vault.destroy_empty_for_test();
    }

    #[test]
    fun moving_nothing_changes_nothing() {
        let vault = start_with(100);
        vault.pay(@0x98, 0);
        let funds = vault.take(0);
        vault.put(funds);
        assert!(vault.balance() == 100 && world::coins(@0x98) == 0, 1);
        vault.pay(PAYER, 100);
        vault.destroy_empty_for_test();
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = aptos_framework::fungible_asset)]
    fun a_vault_does_not_pay_what_it_does_not_hold() {
        let vault = start_with(100);
        vault.pay(PAYER, 101);
        vault.destroy_empty_for_test();
    }

    #[test]
    fun nobody_owns_a_vault() {
        let vault = start_with(100);
        let store = vault.store_for_test();
        assert!(object::owner(store) == @0x0, 1);
        assert!(!object::owns(store, PAYER) && !object::owns(store, @cactus), 2);
        vault.pay(PAYER, 100);
        vault.destroy_empty_for_test();
    }

    #[test]
    #[expected_failure(abort_code = 0x50008, location = aptos_framework::fungible_asset)]
    fun the_payer_does_not_open_the_vault() {
        let vault = start_with(100);
        let funds = fungible_asset::withdraw(&world::sign_as(PAYER), vault.store_for_test(), 1);
        primary_fungible_store::deposit(PAYER, funds);
        vault.destroy_empty_for_test();
    }

    #[test]
    #[expected_failure(abort_code = 0x50004, location = aptos_framework::object)]
    fun the_payer_does_not_take_the_vault_over() {
        let vault = start_with(100);
        object::transfer(&world::sign_as(PAYER), vault.store_for_test(), PAYER);
        vault.destroy_empty_for_test();
    }
}
