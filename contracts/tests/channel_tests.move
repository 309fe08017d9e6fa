#[test_only]
module cactus::channel_tests {
    use cactus::channel;
    use cactus::config;
    use cactus::reputation;
    use cactus::world::{Self, Person};

    const PAYEE: address = @0x5e1;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;

    struct Setting has copy, drop {
        payer: Person,
        session: Person,
        channel: address,
    }

    /// A payer with 1,000 octas left and a channel of 1,000 to `PAYEE` that expires in ten days.
    fun start(): Setting {
        world::start();
        let payer = world::person(2000);
        let session = world::person(0);
        Setting { payer, session, channel: open(&payer, &session, PAYEE) }
    }

    fun open(payer: &Person, session: &Person, payee: address): address {
        channel::open_for_test(
            &world::signer_of(payer), payee, world::public_key_of(session), 1000, world::now() + 10 * DAY
        )
    }

    fun voucher(setting: &Setting, cumulative: u64): vector<u8> {
        let message = channel::new_voucher_for_test(world::chain_id(), setting.channel, PAYEE, cumulative);
        world::sign(&setting.session, message)
    }

    fun redeem(setting: &Setting, cumulative: u64) {
        let signature = voucher(setting, cumulative);
        channel::redeem(&world::sign_as(STRANGER), setting.channel, cumulative, signature);
    }

    fun payer(setting: &Setting): signer { world::signer_of(&setting.payer) }

    fun request_close(setting: &Setting) { channel::request_close(&payer(setting), setting.channel) }

    fun close_by_payee(setting: &Setting) {
        channel::close_by_payee(&world::sign_as(PAYEE), setting.channel)
    }

    fun finalize(setting: &Setting) { channel::finalize(&world::sign_as(STRANGER), setting.channel) }

    fun check(setting: &Setting, state: u8, deposited: u64, settled: u64, closable_from: u64) {
        let address = world::address_of(&setting.payer);
        let (s, payer, payee, d, t, c) = channel::unpack_for_test(channel::channel(setting.channel));
        assert!(s == state && payer == address && payee == PAYEE, 1);
        assert!(d == deposited && t == settled, 2);
        assert!(c == closable_from, 3);
        assert!(world::coins(PAYEE) == settled, 4);
        let returned = if (state == 3) deposited - settled else 0;
        assert!(world::coins(address) == 2000 - deposited + returned, 5);
        world::assert_conserved_with(vector[address, PAYEE, STRANGER], vector[setting.channel]);
    }

    //
    // Opening and adding
    //

    #[test]
    fun an_open_channel_holds_its_deposit() {
        let setting = start();
        check(&setting, 1, 1000, 0, world::now() + 10 * DAY);
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
        let setting = start();
        let other = open(&setting.payer, &setting.session, PAYEE);
        assert!(other != setting.channel, 1);
        redeem(&setting, 400);
        let (_, _, _, _, settled, _) = channel::unpack_for_test(channel::channel(other));
        assert!(settled == 0 && channel::vault_balance(other) == 1000, 2);
        world::assert_conserved_with(
            vector[world::address_of(&setting.payer), PAYEE], vector[setting.channel, other]
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::config)]
    fun no_channel_opens_during_a_pause() {
        world::start();
        config::pause(&world::admin(), 16);
        open(&world::person(2000), &world::person(0), PAYEE);
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::channel)]
    fun no_one_opens_a_channel_to_itself() {
        world::start();
        let payer = world::person(2000);
        open(&payer, &world::person(0), world::address_of(&payer));
    }

    #[test]
    #[expected_failure(abort_code = 0x10004, location = cactus::channel)]
    fun no_channel_leads_to_nobody() {
        world::start();
        open(&world::person(2000), &world::person(0), @0x0);
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
        let setting = start();
        channel::top_up(&payer(&setting), setting.channel, 300);
        channel::extend(&payer(&setting), setting.channel, world::now() + 11 * DAY);
        check(&setting, 1, 1300, 0, world::now() + 11 * DAY);
        redeem(&setting, 1300);
        check(&setting, 1, 1300, 1300, world::now() + 11 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::config)]
    fun no_money_is_added_during_a_pause() {
        let setting = start();
        config::pause(&world::admin(), 16);
        channel::top_up(&payer(&setting), setting.channel, 300);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::config)]
    fun no_time_is_added_during_a_pause() {
        let setting = start();
        config::pause(&world::admin(), 16);
        channel::extend(&payer(&setting), setting.channel, world::now() + 11 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::channel)]
    fun only_the_payer_adds_money() {
        let setting = start();
        channel::top_up(&world::sign_as(STRANGER), setting.channel, 300);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::channel)]
    fun only_the_payer_adds_time() {
        let setting = start();
        channel::extend(&world::sign_as(PAYEE), setting.channel, world::now() + 11 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x10006, location = cactus::channel)]
    fun a_channel_never_expires_earlier_than_promised() {
        let setting = start();
        channel::extend(&payer(&setting), setting.channel, world::now() + 10 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::channel)]
    fun a_closing_channel_takes_no_more_money() {
        let setting = start();
        request_close(&setting);
        channel::top_up(&payer(&setting), setting.channel, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::channel)]
    fun an_unknown_channel_takes_no_money() {
        let setting = start();
        channel::top_up(&payer(&setting), @0x77, 1);
    }

    //
    // Vouchers
    //

    #[test]
    fun each_voucher_pays_what_it_adds() {
        let setting = start();
        redeem(&setting, 400);
        check(&setting, 1, 1000, 400, world::now() + 10 * DAY);
        redeem(&setting, 401);
        redeem(&setting, 1000);
        check(&setting, 1, 1000, 1000, world::now() + 10 * DAY);
    }

    #[test]
    fun a_voucher_above_the_deposit_pays_the_deposit_and_the_rest_after_a_top_up() {
        let setting = start();
        redeem(&setting, 1500);
        check(&setting, 1, 1000, 1000, world::now() + 10 * DAY);
        channel::top_up(&payer(&setting), setting.channel, 700);
        redeem(&setting, 1500);
        check(&setting, 1, 1700, 1500, world::now() + 10 * DAY);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::channel)]
    fun a_voucher_pays_once() {
        let setting = start();
        redeem(&setting, 400);
        redeem(&setting, 400);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000a, location = cactus::channel)]
    fun an_older_voucher_takes_nothing_back() {
        let setting = start();
        redeem(&setting, 400);
        redeem(&setting, 399);
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_voucher_over_another_amount_is_refused() {
        let setting = start();
        channel::redeem(&world::sign_as(PAYEE), setting.channel, 500, voucher(&setting, 400));
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_voucher_of_another_channel_is_refused() {
        let setting = start();
        let other = open(&setting.payer, &setting.session, PAYEE);
        channel::redeem(&world::sign_as(PAYEE), other, 400, voucher(&setting, 400));
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_voucher_of_another_chain_is_refused() {
        let setting = start();
        let message = channel::new_voucher_for_test(5, setting.channel, PAYEE, 400);
        let signature = world::sign(&setting.session, message);
        channel::redeem(&world::sign_as(PAYEE), setting.channel, 400, signature);
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun the_wallets_key_signs_no_vouchers() {
        let setting = start();
        let message = channel::new_voucher_for_test(world::chain_id(), setting.channel, PAYEE, 400);
        let signature = world::sign(&setting.payer, message);
        channel::redeem(&world::sign_as(PAYEE), setting.channel, 400, signature);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = aptos_std::ed25519)]
    fun a_short_signature_is_refused() {
        let setting = start();
        channel::redeem(&world::sign_as(PAYEE), setting.channel, 400, x"01");
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::channel)]
    fun an_unknown_channel_pays_nothing() {
        let setting = start();
        channel::redeem(&world::sign_as(PAYEE), @0x77, 400, voucher(&setting, 400));
    }

    #[test]
    fun a_batch_pays_each_voucher_and_passes_over_those_that_pay_nothing_new() {
        let setting = start();
        let closed = Setting { payer: setting.payer, session: setting.session, channel: open(&setting.payer, &setting.session, PAYEE) };
        redeem(&setting, 300);
        redeem(&closed, 100);
        close_by_payee(&closed);
        let vouchers = vector[
            voucher(&setting, 200), voucher(&setting, 500), voucher(&closed, 900), voucher(&setting, 600)
        ];
        let c = setting.channel;
        channel::redeem_batch(
            &world::sign_as(STRANGER), vector[c, c, closed.channel, c], vector[200, 500, 900, 600], vouchers
        );
        assert!(world::coins(PAYEE) == 700, 1);
        world::assert_conserved_with(vector[world::address_of(&setting.payer), PAYEE], vector[c, closed.channel]);
    }

    #[test]
    #[expected_failure(abort_code = 0x40009, location = cactus::channel)]
    fun a_batch_with_a_forged_voucher_is_refused() {
        let setting = start();
        channel::redeem_batch(
            &world::sign_as(PAYEE), vector[setting.channel], vector[500], vector[voucher(&setting, 400)]
        );
    }

    #[test]
    #[expected_failure(abort_code = 0x1000c, location = cactus::channel)]
    fun the_lists_of_a_batch_are_of_one_length() {
        let setting = start();
        channel::redeem_batch(&world::sign_as(PAYEE), vector[setting.channel], vector[], vector[]);
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
        let setting = start();
        let (channels, cumulatives, signatures) = (vector[], vector[], vector[]);
        while (channels.length() <= 100) {
            channels.push_back(setting.channel);
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
        let setting = Setting { payer, session, channel: open(&payer, &session, PAYEE) };
        redeem(&setting, 1000);
        let (_, _, _, volume, _, _) = reputation::unpack_for_test(reputation::of(PAYEE));
        assert!(volume == 0, 1);
    }

    //
    // Closing
    //

    #[test]
    fun the_payee_closes_at_once_and_the_rest_returns() {
        let setting = start();
        redeem(&setting, 400);
        close_by_payee(&setting);
        check(&setting, 3, 1000, 400, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x50003, location = cactus::channel)]
    fun the_payer_does_not_close_at_once() {
        let setting = start();
        channel::close_by_payee(&payer(&setting), setting.channel);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::channel)]
    fun a_channel_closes_once() {
        let setting = start();
        close_by_payee(&setting);
        close_by_payee(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::channel)]
    fun an_unknown_channel_is_not_closed() {
        world::start();
        channel::close_by_payee(&world::sign_as(PAYEE), @0x77);
    }

    #[test]
    fun the_payee_has_its_time_to_redeem_and_exits_know_no_pause() {
        let setting = start();
        redeem(&setting, 100);
        config::pause_all_for_test();
        request_close(&setting);
        check(&setting, 2, 1000, 100, world::now() + DAY);
        world::wait(DAY);
        // As long as no one has closed it, even a late voucher counts.
        redeem(&setting, 700);
        finalize(&setting);
        check(&setting, 3, 1000, 700, 0);
    }

    #[test]
    fun the_payee_may_close_a_closing_channel_early() {
        let setting = start();
        request_close(&setting);
        redeem(&setting, 700);
        close_by_payee(&setting);
        check(&setting, 3, 1000, 700, 0);
    }

    #[test]
    fun anyone_closes_an_expired_channel() {
        let setting = start();
        redeem(&setting, 1);
        world::wait(10 * DAY);
        finalize(&setting);
        check(&setting, 3, 1000, 1, 0);
    }

    #[test]
    fun a_close_delay_never_outlasts_the_expiry() {
        let setting = start();
        world::wait(10 * DAY - 60);
        request_close(&setting);
        check(&setting, 2, 1000, 0, world::now() + 10 * DAY);
        world::wait(60);
        finalize(&setting);
        check(&setting, 3, 1000, 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000b, location = cactus::channel)]
    fun a_closing_channel_is_not_finalized_early() {
        let setting = start();
        request_close(&setting);
        world::wait(DAY - 1);
        finalize(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000b, location = cactus::channel)]
    fun an_open_channel_is_not_finalized_before_it_expires() {
        let setting = start();
        world::wait(10 * DAY - 1);
        finalize(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::channel)]
    fun a_closed_channel_is_not_finalized() {
        let setting = start();
        close_by_payee(&setting);
        finalize(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::channel)]
    fun an_unknown_channel_is_not_finalized() {
        world::start();
        channel::finalize(&world::sign_as(STRANGER), @0x77);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::channel)]
    fun a_closed_channel_pays_nothing() {
        let setting = start();
        close_by_payee(&setting);
        redeem(&setting, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::channel)]
    fun only_the_payer_requests_a_close() {
        let setting = start();
        channel::request_close(&world::sign_as(PAYEE), setting.channel);
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::channel)]
    fun a_second_request_does_not_start_the_delay_anew() {
        let setting = start();
        request_close(&setting);
        request_close(&setting);
    }
}
