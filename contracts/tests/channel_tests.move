#[test_only]
/// Opening channels and redeeming vouchers.
module cactus::channel_tests {
    use cactus::channel;
    use cactus::config;
    use cactus::reputation;
    use cactus::tollgate;
    use cactus::world;

    const PAYEE: address = @0x5e1;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;

    //
    // Opening and adding
    //

    #[test]
    fun an_open_channel_holds_its_deposit() {
        let setting = tollgate::start();
        tollgate::check(&setting, 1, 1000, 0, world::now() + 10 * DAY);
    }

    #[test]
    fun an_unknown_channel_is_all_zero() {
        world::start();
        let (state, payer, _, deposited, _, _) = channel::unpack_for_test(channel::channel(@0x77));
        assert!(state == 0 && payer == @0x0 && deposited == 0 && channel::vault_balance(@0x77) == 0, 1);
    }

    #[test]
    fun the_entry_function_takes_the_deposit() {
        world::start();
        let payer = world::person(2000);
        let signer = &world::signer_of(&payer);
        channel::open(signer, PAYEE, world::id(1), 1000, world::now() + DAY);
        assert!(world::coins(world::address_of(&payer)) == 1000, 1);
    }

    #[test]
    fun two_channels_of_one_pair_are_separate() {
        let setting = tollgate::start();
        let other = tollgate::address_of(&tollgate::with_another_channel(&setting));
        assert!(other != tollgate::address_of(&setting), 1);
        tollgate::redeem(&setting, 400);
        let (_, _, _, _, settled, _) = channel::unpack_for_test(channel::channel(other));
        assert!(settled == 0 && channel::vault_balance(other) == 1000, 2);
        world::assert_conserved_with(
            vector[world::address_of(&tollgate::payer_of(&setting)), PAYEE],
            vector[tollgate::address_of(&setting), other]
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_channel_opens_during_a_pause() {
        world::start();
        config::pause(&world::admin(), 16);
        tollgate::open(&world::person(2000), &world::person(0), PAYEE);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::channel)]
    fun no_one_opens_a_channel_to_itself() {
        world::start();
        let payer = world::person(2000);
        tollgate::open(&payer, &world::person(0), world::address_of(&payer));
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::channel)]
    fun no_channel_leads_to_nobody() {
        world::start();
        tollgate::open(&world::person(2000), &world::person(0), @0x0);
    }

    #[test]
    #[expected_failure(abort_code = 0x10005, location = cactus::channel)]
    fun a_short_voucher_key_is_refused() {
        world::start();
        channel::open(&world::signer_of(&world::person(2000)), PAYEE, x"01", 1000, world::now() + DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x10006, location = cactus::channel)]
    fun a_channel_lives_at_least_as_long_as_its_close_delay() {
        world::start();
        channel::open(&world::signer_of(&world::person(2000)), PAYEE, world::id(1), 1, world::now() + DAY - 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10006, location = cactus::channel)]
    fun a_channel_expires_within_the_allowed_time() {
        world::start();
        channel::open(&world::signer_of(&world::person(2000)), PAYEE, world::id(1), 1, world::now() + 30 * DAY + 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::vault)]
    fun a_channel_without_money_is_refused() {
        world::start();
        channel::open(&world::signer_of(&world::person(2000)), PAYEE, world::id(1), 0, world::now() + DAY);
    }

    #[test]
    fun the_payer_adds_money_and_time() {
        let setting = tollgate::start();
        channel::top_up(&tollgate::payer(&setting), tollgate::address_of(&setting), 300);
        channel::extend(&tollgate::payer(&setting), tollgate::address_of(&setting), world::now() + 11 * DAY);
        tollgate::check(&setting, 1, 1300, 0, world::now() + 11 * DAY);
        tollgate::redeem(&setting, 1300);
        tollgate::check(&setting, 1, 1300, 1300, world::now() + 11 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_money_is_added_during_a_pause() {
        let setting = tollgate::start();
        config::pause(&world::admin(), 16);
        channel::top_up(&tollgate::payer(&setting), tollgate::address_of(&setting), 300);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::config)]
    fun no_time_is_added_during_a_pause() {
        let setting = tollgate::start();
        config::pause(&world::admin(), 16);
        channel::extend(&tollgate::payer(&setting), tollgate::address_of(&setting), world::now() + 11 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::channel)]
    fun only_the_payer_adds_money() {
        let setting = tollgate::start();
        channel::top_up(&world::sign_as(STRANGER), tollgate::address_of(&setting), 300);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::channel)]
    fun only_the_payer_adds_time() {
        let setting = tollgate::start();
        channel::extend(&world::sign_as(PAYEE), tollgate::address_of(&setting), world::now() + 11 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x10006, location = cactus::channel)]
    fun a_channel_never_expires_earlier_than_promised() {
        let setting = tollgate::start();
        channel::extend(&tollgate::payer(&setting), tollgate::address_of(&setting), world::now() + 10 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::channel)]
    fun a_closing_channel_takes_no_more_money() {
        let setting = tollgate::start();
        tollgate::request_close(&setting);
        channel::top_up(&tollgate::payer(&setting), tollgate::address_of(&setting), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::channel)]
    fun an_unknown_channel_takes_no_money() {
        let setting = tollgate::start();
        channel::top_up(&tollgate::payer(&setting), @0x77, 1);
    }

    //
    // Vouchers
    //

    #[test]
    fun each_voucher_pays_what_it_adds() {
        let setting = tollgate::start();
        tollgate::redeem(&setting, 400);
        tollgate::check(&setting, 1, 1000, 400, world::now() + 10 * DAY);
        tollgate::redeem(&setting, 401);
        tollgate::redeem(&setting, 1000);
        tollgate::check(&setting, 1, 1000, 1000, world::now() + 10 * DAY);
    }

    #[test]
    fun a_voucher_above_the_deposit_pays_the_deposit_and_the_rest_after_a_top_up() {
        let setting = tollgate::start();
        tollgate::redeem(&setting, 1500);
        tollgate::check(&setting, 1, 1000, 1000, world::now() + 10 * DAY);
        channel::top_up(&tollgate::payer(&setting), tollgate::address_of(&setting), 700);
        tollgate::redeem(&setting, 1500);
        tollgate::check(&setting, 1, 1700, 1500, world::now() + 10 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::channel)]
    fun a_voucher_pays_once() {
        let setting = tollgate::start();
        tollgate::redeem(&setting, 400);
        tollgate::redeem(&setting, 400);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::channel)]
    fun an_older_voucher_takes_nothing_back() {
        let setting = tollgate::start();
        tollgate::redeem(&setting, 400);
        tollgate::redeem(&setting, 399);
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_voucher_over_another_amount_is_refused() {
        let setting = tollgate::start();
        channel::redeem(&world::sign_as(PAYEE), tollgate::address_of(&setting), 500, tollgate::voucher(&setting, 400));
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_voucher_of_another_channel_is_refused() {
        let setting = tollgate::start();
        let other = tollgate::address_of(&tollgate::with_another_channel(&setting));
        channel::redeem(&world::sign_as(PAYEE), other, 400, tollgate::voucher(&setting, 400));
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_voucher_of_another_chain_is_refused() {
        let setting = tollgate::start();
        let message = channel::new_voucher_for_test(5, tollgate::address_of(&setting), PAYEE, 400);
        let signature = world::sign(&tollgate::session_of(&setting), message);
        channel::redeem(&world::sign_as(PAYEE), tollgate::address_of(&setting), 400, signature);
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun the_wallets_key_signs_no_vouchers() {
        let setting = tollgate::start();
        let message = channel::new_voucher_for_test(world::chain_id(), tollgate::address_of(&setting), PAYEE, 400);
        let signature = world::sign(&tollgate::payer_of(&setting), message);
        channel::redeem(&world::sign_as(PAYEE), tollgate::address_of(&setting), 400, signature);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = aptos_std::ed25519)]
    fun a_short_signature_is_refused() {
        let setting = tollgate::start();
        channel::redeem(&world::sign_as(PAYEE), tollgate::address_of(&setting), 400, x"01");
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::channel)]
    fun an_unknown_channel_pays_nothing() {
        let setting = tollgate::start();
        channel::redeem(&world::sign_as(PAYEE), @0x77, 400, tollgate::voucher(&setting, 400));
    }

    #[test]
    fun a_batch_pays_each_voucher_and_passes_over_those_that_pay_nothing_new() {
        let setting = tollgate::start();
        let closed = tollgate::with_another_channel(&setting);
        tollgate::redeem(&setting, 300);
        tollgate::redeem(&closed, 100);
        tollgate::close_by_payee(&closed);
        let vouchers = vector[
            tollgate::voucher(&setting, 200), tollgate::voucher(&setting, 500), tollgate::voucher(&closed, 900),
            tollgate::voucher(&setting, 600)
        ];
        let (c, other) = (tollgate::address_of(&setting), tollgate::address_of(&closed));
        channel::redeem_batch(
            &world::sign_as(STRANGER), vector[c, c, other, c], vector[200, 500, 900, 600], vouchers
        );
        assert!(world::coins(PAYEE) == 700, 1);
        let payer = world::address_of(&tollgate::payer_of(&setting));
        world::assert_conserved_with(vector[payer, PAYEE], vector[c, other]);
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_batch_with_a_forged_voucher_is_refused() {
        let setting = tollgate::start();
        channel::redeem_batch(
            &world::sign_as(PAYEE), vector[tollgate::address_of(&setting)], vector[500],
            vector[tollgate::voucher(&setting, 400)]
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::channel)]
    fun the_lists_of_a_batch_are_of_one_length() {
        let setting = tollgate::start();
        channel::redeem_batch(&world::sign_as(PAYEE), vector[tollgate::address_of(&setting)], vector[], vector[]);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::channel)]
    fun an_empty_batch_is_refused() {
        world::start();
        channel::redeem_batch(&world::sign_as(PAYEE), vector[], vector[], vector[]);
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::channel)]
    fun a_batch_has_at_most_a_hundred_vouchers() {
        let setting = tollgate::start();
        let (channels, cumulatives, signatures) = (vector[], vector[], vector[]);
        while (channels.length() <= 100) {
            channels.push_back(tollgate::address_of(&setting));
            cumulatives.push_back(1);
            signatures.push_back(x"");
        };
        channel::redeem_batch(&world::sign_as(PAYEE), channels, cumulatives, signatures);
    }

    #[test]
    fun what_an_authorised_server_pays_counts_for_the_orchestrator() {
        world::start();
        world::authorized_server(world::server());
        world::bonded_operator(world::operator());
        let session = world::person(0);
        let server = &world::sign_as(world::server());
        let channel = channel::open_for_test(
            server, world::operator(), world::public_key_of(&session), 1000, world::now() + 10 * DAY
        );
        let message = channel::new_voucher_for_test(world::chain_id(), channel, world::operator(), 400);
        channel::redeem(&world::sign_as(STRANGER), channel, 400, world::sign(&session, message));
        let (served, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(world::operator()));
        assert!(served == 0 && volume == 400, 1);
    }

    #[test]
    fun an_orchestrator_cannot_buy_itself_a_volume() {
        world::start();
        world::bonded_operator(PAYEE);
        let payer = world::person(2000);
        let session = world::person(0);
        let setting = tollgate::setting_of(payer, session, tollgate::open(&payer, &session, PAYEE));
        tollgate::redeem(&setting, 1000);
        let (_, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(PAYEE));
        assert!(volume == 0, 1);
    }
}
