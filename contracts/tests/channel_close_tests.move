#[test_only]
/// How channels end.
module cactus::channel_close_tests {
    use cactus::channel;
    use cactus::config;
    use cactus::tollgate;
    use cactus::world;

    const PAYEE: address = @0x5e1;
    const STRANGER: address = @0x99;
    const DAY: u64 = 86400;

    //
    // Closing
    //

    #[test]
    fun the_payee_closes_at_once_and_the_rest_returns() {
        let setting = tollgate::start();
        tollgate::redeem(&setting, 400);
        tollgate::close_by_payee(&setting);
        tollgate::check(&setting, 3, 1000, 400, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x50003, location = cactus::channel)]
    fun the_payer_does_not_close_at_once() {
        let setting = tollgate::start();
        channel::close_by_payee(&tollgate::payer(&setting), tollgate::address_of(&setting));
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::channel)]
    fun a_channel_closes_once() {
        let setting = tollgate::start();
        tollgate::close_by_payee(&setting);
        tollgate::close_by_payee(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::channel)]
    fun an_unknown_channel_is_not_closed() {
        world::start();
        channel::close_by_payee(&world::sign_as(PAYEE), @0x77);
    }

    #[test]
    fun the_payee_has_its_time_to_redeem_and_exits_know_no_pause() {
        let setting = tollgate::start();
        tollgate::redeem(&setting, 100);
        config::pause_all_for_test();
        tollgate::request_close(&setting);
        tollgate::check(&setting, 2, 1000, 100, world::now() + DAY);
        world::wait(DAY);
        // As long as no one has closed it, even a late voucher counts.
        tollgate::redeem(&setting, 700);
        tollgate::finalize(&setting);
        tollgate::check(&setting, 3, 1000, 700, 0);
    }

    #[test]
    fun the_payee_may_close_a_closing_channel_early() {
        let setting = tollgate::start();
        tollgate::request_close(&setting);
        tollgate::redeem(&setting, 700);
        tollgate::close_by_payee(&setting);
        tollgate::check(&setting, 3, 1000, 700, 0);
    }

    #[test]
    fun anyone_closes_an_expired_channel() {
        let setting = tollgate::start();
        tollgate::redeem(&setting, 1);
        world::wait(10 * DAY);
        tollgate::finalize(&setting);
        tollgate::check(&setting, 3, 1000, 1, 0);
    }

    #[test]
    fun a_close_delay_never_outlasts_the_expiry() {
        let setting = tollgate::start();
        world::wait(10 * DAY - 60);
        tollgate::request_close(&setting);
        tollgate::check(&setting, 2, 1000, 0, world::now() + 10 * DAY);
        world::wait(60);
        tollgate::finalize(&setting);
        tollgate::check(&setting, 3, 1000, 0, 0);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000b, location = cactus::channel)]
    fun a_closing_channel_is_not_finalized_early() {
        let setting = tollgate::start();
        tollgate::request_close(&setting);
        world::wait(DAY - 1);
        tollgate::finalize(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x3000b, location = cactus::channel)]
    fun an_open_channel_is_not_finalized_before_it_expires() {
        let setting = tollgate::start();
        world::wait(10 * DAY - 1);
        tollgate::finalize(&setting);
    }

    #[test]
    #[expected_failure(abort_code = 0x30008, location = cactus::channel)]
    fun a_closed_channel_is_not_finalized() {
        let setting = tollgate::start();
        tollgate::close_by_payee(&setting);
        tollgate::finalize(&setting);
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
        let setting = tollgate::start();
        tollgate::close_by_payee(&setting);
        tollgate::redeem(&setting, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::channel)]
    fun only_the_payer_requests_a_close() {
        let setting = tollgate::start();
        channel::request_close(&world::sign_as(PAYEE), tollgate::address_of(&setting));
    }

    #[test]
    #[expected_failure(abort_code = 0x30007, location = cactus::channel)]
    fun a_second_request_does_not_start_the_delay_anew() {
        let setting = tollgate::start();
        tollgate::request_close(&setting);
        tollgate::request_close(&setting);
    }
}
