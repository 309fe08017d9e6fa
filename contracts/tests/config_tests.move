#[test_only]
module cactus::config_tests {
    use cactus::config;
    use cactus::world;

    const DAY: u64 = 86400;

    fun value(name: vector<u8>): u64 { config::param(world::text(name)) }

    #[test]
    fun the_publisher_is_admin_and_first_validator() {
        world::start();
        assert!(config::admin() == @cactus, 1);
        assert!(config::is_validator(@cactus), 2);
        assert!(!config::is_validator(@0x99), 3);
        assert!(config::paused() == 0, 4);
    }

    #[test]
    fun parameters_start_with_their_defaults() {
        world::start();
        assert!(value(b"min_stake") == world::apt(), 1);
        assert!(value(b"min_server_bond") == world::apt(), 2);
        assert!(value(b"unbonding_seconds") == 7 * DAY, 3);
        assert!(value(b"server_fee_bps") == 500, 4);
        assert!(value(b"treasury_fee_bps") == 100, 5);
        assert!(value(b"quality_floor_bps") == 8000, 6);
        assert!(value(b"max_task_seconds") == 3600, 7);
        assert!(value(b"slash_bounty_cap_bps") == 1000, 8);
        assert!(value(b"parameter_delay_seconds") == DAY, 9);
        assert!(value(b"channel_close_seconds") == DAY, 10);
        assert!(value(b"max_channel_seconds") == 30 * DAY, 11);
        assert!(value(b"accuser_bond") == world::apt() / 10, 12);
        assert!(value(b"case_slash_bps") == 5000, 13);
        assert!(value(b"response_seconds") == DAY, 14);
        assert!(value(b"vote_seconds") == DAY, 15);
        assert!(value(b"appeal_seconds") == DAY, 16);
        assert!(value(b"max_pool_seconds") == 90 * DAY, 17);
        assert!(value(b"reward_claim_seconds") == 30 * DAY, 18);
    }

    #[test]
    #[expected_failure(abort_code = 0x60001, location = cactus::parameters)]
    fun an_unknown_parameter_has_no_value() {
        world::start();
        value(b"no_such_thing");
    }

    #[test]
    fun the_admin_role_moves_in_two_steps() {
        world::start();
        config::propose_admin(&world::admin(), @0xa1);
        assert!(config::admin() == @cactus, 1);
        config::propose_admin(&world::admin(), @0xa2);
        config::accept_admin(&world::sign_as(@0xa2));
        assert!(config::admin() == @0xa2, 2);
        config::propose_admin(&world::sign_as(@0xa2), @0xa3);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_proposes_an_admin() {
        world::start();
        config::propose_admin(&world::sign_as(@0x99), @0x99);
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::config)]
    fun only_the_proposed_admin_accepts() {
        world::start();
        config::propose_admin(&world::admin(), @0xa1);
        config::accept_admin(&world::sign_as(@0x99));
    }

    #[test]
    #[expected_failure(abort_code = 0x50002, location = cactus::config)]
    fun a_proposal_is_accepted_once() {
        world::start();
        config::propose_admin(&world::admin(), @0xa1);
        config::accept_admin(&world::sign_as(@0xa1));
        config::accept_admin(&world::sign_as(@0xa1));
    }

    #[test]
    fun validators_come_and_go() {
        world::start();
        config::set_validator(&world::admin(), @0xb1, true);
        config::set_validator(&world::admin(), @0xb1, true);
        assert!(config::is_validator(@0xb1), 1);
        config::set_validator(&world::admin(), @0xb1, false);
        assert!(!config::is_validator(@0xb1), 2);
        assert!(config::is_validator(@cactus), 3);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_sets_validators() {
        world::start();
        config::set_validator(&world::sign_as(@0x99), @0x99, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x90005, location = cactus::config)]
    fun there_are_at_most_64_validators() {
        world::start();
        let n: u8 = 0;
        while (n < 64) {
            let validator = aptos_std::from_bcs::to_address(world::id(n + 100));
            config::set_validator(&world::admin(), validator, true);
            n += 1;
        };
    }

    #[test]
    fun federators_come_and_go() {
        world::start();
        assert!(config::is_federator(@cactus), 1);
        config::set_federator(&world::admin(), @0xb1, true);
        config::set_federator(&world::admin(), @0xb1, true);
        assert!(config::is_federator(@0xb1) && !config::is_validator(@0xb1), 2);
        config::set_federator(&world::admin(), @0xb1, false);
        assert!(!config::is_federator(@0xb1) && config::is_federator(@cactus), 3);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_sets_federators() {
        world::start();
        config::set_federator(&world::sign_as(@0x99), @0x99, true);
    }

    #[test]
    #[expected_failure(abort_code = 0x90007, location = cactus::config)]
    fun there_are_at_most_64_federators() {
        world::start();
        let n: u8 = 0;
        while (n < 64) {
            let federator = aptos_std::from_bcs::to_address(world::id(n + 100));
            config::set_federator(&world::admin(), federator, true);
            n += 1;
        };
    }

    #[test]
    fun a_parameter_changes_after_its_delay_by_anyones_hand() {
        world::start();
        config::queue_param(&world::admin(), world::text(b"server_fee_bps"), 700);
        assert!(value(b"server_fee_bps") == 500, 1);
        world::wait(DAY);
        config::apply_param(world::text(b"server_fee_bps"));
        assert!(value(b"server_fee_bps") == 700, 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::parameters)]
    fun a_parameter_does_not_change_before_its_delay() {
        world::start();
        config::queue_param(&world::admin(), world::text(b"server_fee_bps"), 700);
        world::wait(DAY - 1);
        config::apply_param(world::text(b"server_fee_bps"));
    }

    #[test]
    #[expected_failure(abort_code = 0x30004, location = cactus::parameters)]
    fun queueing_again_starts_the_delay_anew() {
        world::start();
        config::queue_param(&world::admin(), world::text(b"server_fee_bps"), 700);
        world::wait(DAY);
        config::queue_param(&world::admin(), world::text(b"server_fee_bps"), 2000);
        config::apply_param(world::text(b"server_fee_bps"));
    }

    #[test]
    #[expected_failure(abort_code = 0x60003, location = cactus::parameters)]
    fun a_change_is_applied_once() {
        world::start();
        config::queue_param(&world::admin(), world::text(b"server_fee_bps"), 700);
        world::wait(DAY);
        config::apply_param(world::text(b"server_fee_bps"));
        config::apply_param(world::text(b"server_fee_bps"));
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_queues_a_change() {
        world::start();
        config::queue_param(&world::sign_as(@0x99), world::text(b"server_fee_bps"), 700);
    }

    #[test]
    #[expected_failure(abort_code = 0x20002, location = cactus::parameters)]
    fun fees_cannot_exceed_their_bound() {
        world::start();
        config::queue_param(&world::admin(), world::text(b"server_fee_bps"), 2001);
    }

    #[test]
    #[expected_failure(abort_code = 0x20002, location = cactus::parameters)]
    fun the_delay_cannot_be_taken_away() {
        world::start();
        config::queue_param(&world::admin(), world::text(b"parameter_delay_seconds"), 3599);
    }

    #[test]
    fun pausing_adds_bits_and_unpausing_clears_them() {
        world::start();
        config::pause(&world::admin(), 3);
        config::pause(&world::admin(), 8);
        assert!(config::paused() == 11, 1);
        config::unpause(&world::admin(), 2 | 4);
        assert!(config::paused() == 9, 2);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_pauses() {
        world::start();
        config::pause(&world::sign_as(@0x99), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x50001, location = cactus::config)]
    fun only_the_admin_unpauses() {
        world::start();
        config::unpause(&world::sign_as(@0x99), 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10003, location = cactus::config)]
    fun an_unknown_pause_bit_is_refused() {
        world::start();
        config::pause(&world::admin(), 1024);
    }
}
