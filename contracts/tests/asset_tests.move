#[test_only]
/// Which assets vaults may hold, and channels and reward funds in another one than APT.
module cactus::asset_tests {
    use std::option;
    use aptos_framework::fungible_asset::{Self, Metadata};
    use aptos_framework::object::{Self, ConstructorRef};
    use aptos_framework::primary_fungible_store;
    use cactus::campus;
    use cactus::channel;
    use cactus::config;
    use cactus::reputation;
    use cactus::rewards;
    use cactus::vault;
    use cactus::world::{Self, Person};

    const PAYEE: address = @0x0c1;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;
    const SUPPLY: u64 = 5000;

    /// A coin of `ISSUER`, of which `owner` has all.
    fun issue(owner: address): address {
        let constructor_ref = &new_asset();
        let funds = fungible_asset::mint(&fungible_asset::generate_mint_ref(constructor_ref), SUPPLY);
        primary_fungible_store::deposit(owner, funds);
        object::address_from_constructor_ref(constructor_ref)
    }

    fun new_asset(): ConstructorRef {
        let constructor_ref = object::create_sticky_object(STRANGER);
        primary_fungible_store::create_primary_store_enabled_fungible_asset(
            &constructor_ref, option::none(), world::text(b"Dollar"), world::text(b"USD"), 6, world::text(b""),
            world::text(b"")
        );
        constructor_ref
    }

    fun held(who: address, asset: address): u64 {
        primary_fungible_store::balance(who, object::address_to_object<Metadata>(asset))
    }

    fun started(): (Person, Person, address) {
        world::start();
        let payer = world::person(world::apt());
        let asset = issue(world::address_of(&payer));
        (payer, world::person(0), asset)
    }

    fun open(payer: &Person, session: &Person, asset: address): address {
        channel::open_in_for_test(
            &world::signer_of(payer), PAYEE, world::public_key_of(session), 1000, world::now() + 10 * DAY, asset
        )
    }

    fun redeem(session: &Person, channel: address, cumulative: u64) {
        let voucher = channel::new_voucher_for_test(world::chain_id(), channel, PAYEE, cumulative);
        channel::redeem(&world::sign_as(STRANGER), channel, cumulative, world::sign(session, voucher));
    }

    // Rule 1 for one asset: what people and vaults hold is what was issued.
    fun check(payer: &Person, asset: address, channel: address, paid: u64) {
        let all = held(world::address_of(payer), asset) + held(PAYEE, asset) + channel::vault_balance(channel);
        assert!(all == SUPPLY, all);
        assert!(held(PAYEE, asset) == paid, 1);
        let supply = fungible_asset::supply(object::address_to_object<Metadata>(asset));
        assert!(supply == option::some((SUPPLY as u128)), 2);
        world::assert_conserved(vector[world::address_of(payer), PAYEE, STRANGER]);
    }

    //
    // The list
    //

    #[test]
    fun apt_is_allowed_from_the_start_and_others_when_the_admin_says_so() {
        let (_, _, asset) = started();
        assert!(config::is_allowed_asset(@0xa) && !config::is_allowed_asset(asset), 1);
        config::allow_asset(&world::admin(), asset);
        config::allow_asset(&world::admin(), asset);
        assert!(config::is_allowed_asset(asset), 2);
        config::disallow_asset(&world::admin(), asset);
        config::disallow_asset(&world::admin(), asset);
        assert!(!config::is_allowed_asset(asset), 3);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_allows_an_asset() {
        let (_, _, asset) = started();
        config::allow_asset(&world::sign_as(STRANGER), asset);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_disallows_an_asset() {
        world::start();
        config::disallow_asset(&world::sign_as(STRANGER), @0xa);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000b, location = cactus::config)]
    fun apt_is_never_disallowed() {
        world::start();
        config::disallow_asset(&world::admin(), @0xa);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000a, location = cactus::config)]
    fun an_asset_whose_issuers_code_runs_in_payments_is_refused() {
        world::start();
        let constructor_ref = &new_asset();
        fungible_asset::make_dispatchable_for_test(constructor_ref);
        config::allow_asset(&world::admin(), object::address_from_constructor_ref(constructor_ref));
    }

    #[test]
    #[expected_failure(abort_code = 0x90009, location = cactus::config)]
    fun there_are_at_most_32_assets() {
        world::start();
        let n = 0;
        while (n < 32) {
            config::allow_asset(&world::admin(), object::address_from_constructor_ref(&new_asset()));
            n += 1;
        };
    }

    #[test]
    #[expected_failure(abort_code = 0x60002, location = aptos_framework::object)]
    fun what_is_no_asset_is_not_allowed() {
        world::start();
        config::allow_asset(&world::admin(), @0x77);
    }

    #[test]
    #[expected_failure(abort_code = 0x50004, location = cactus::vault)]
    fun no_vault_is_opened_for_an_asset_that_is_not_allowed() {
        let (_, _, asset) = started();
        let (vault, _) = vault::create_with_signer(asset);
        vault.destroy_empty_for_test();
    }

    #[test]
    #[expected_failure(abort_code = 0x1000b, location = aptos_framework::fungible_asset)]
    fun a_vault_of_apt_takes_nothing_else() {
        let (payer, _, asset) = started();
        let metadata = object::address_to_object<Metadata>(asset);
        let vault = vault::create();
        vault.put(primary_fungible_store::withdraw(&world::signer_of(&payer), metadata, 1));
        vault.destroy_empty_for_test();
    }

    //
    // Channels and funds
    //

    #[test]
    fun a_channel_pays_in_its_asset_and_touches_no_other() {
        let (payer, session, asset) = started();
        config::allow_asset(&world::admin(), asset);
        let channel = open(&payer, &session, asset);
        check(&payer, asset, channel, 0);
        redeem(&session, channel, 700);
        check(&payer, asset, channel, 700);
        channel::top_up(&world::signer_of(&payer), channel, 50);
        channel::close_by_payee(&world::sign_as(PAYEE), channel);
        check(&payer, asset, channel, 700);
        assert!(world::coins(world::address_of(&payer)) == world::apt(), 1);
    }

    #[test]
    fun an_asset_that_is_no_longer_allowed_is_still_paid_out() {
        let (payer, session, asset) = started();
        config::allow_asset(&world::admin(), asset);
        let channel = open(&payer, &session, asset);
        config::disallow_asset(&world::admin(), asset);
        config::pause_all_for_test();
        redeem(&session, channel, 700);
        channel::close_by_payee(&world::sign_as(PAYEE), channel);
        check(&payer, asset, channel, 700);
    }

    #[test]
    #[expected_failure(abort_code = 0x50004, location = cactus::vault)]
    fun no_channel_is_opened_in_an_asset_that_is_not_allowed() {
        let (payer, session, asset) = started();
        channel::open_in(
            &world::signer_of(&payer), PAYEE, world::public_key_of(&session), 1000, world::now() + 10 * DAY, asset
        );
    }

    #[test]
    fun payments_in_other_assets_make_no_volume() {
        world::start();
        let session = world::person(0);
        let server = world::person(10 * world::apt());
        let asset = issue(world::address_of(&server));
        config::allow_asset(&world::admin(), asset);
        world::authorized_server(world::address_of(&server));
        world::working_operator(PAYEE);
        let channel = open(&server, &session, asset);
        redeem(&session, channel, 700);
        let (_, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(PAYEE));
        assert!(volume == 0, volume);
    }

    #[test]
    fun a_pool_rewards_in_an_allowed_asset() {
        let campus = campus::without_fund();
        let creator = std::signer::address_of(&campus::creator());
        let asset = issue(creator);
        config::allow_asset(&world::admin(), asset);
        let pool = campus::pool_of(&campus);
        rewards::open_in(&campus::creator(), pool, 1000000000, 0, asset);
        rewards::fund(&campus::creator(), pool, SUPPLY);
        campus::start(&campus);
        campus::join(&campus, 1);
        world::wait(2 * 3600);
        campus::claim(&campus);
        // An hour is still in the lock window.
        assert!(held(PAYEE, asset) == 3600, held(PAYEE, asset));
        let (_, balance) = rewards::unpack_fund_for_test(rewards::fund_of(pool));
        assert!(held(PAYEE, asset) + balance == SUPPLY, 1);
    }
}
