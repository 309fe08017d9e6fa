#[test_only]
module cactus::reputation_tests {
    use cactus::reputation::{Self, quality_bps};
    use cactus::world;

    const OPERATOR: address = @0x0c1;
    const MAX_U64: u64 = 18446744073709551615;

    #[test]
    fun quality_follows_the_table_of_its_documentation() {
        assert!(quality_bps(0, 0, 8000) == 10000, 1);
        assert!(quality_bps(0, 1, 8000) == 9000, 2);
        assert!(quality_bps(9, 0, 8000) == 10000, 3);
        assert!(quality_bps(9, 10, 8000) == 9000, 4);
        assert!(quality_bps(98, 1, 8000) == 9980, 5);
        assert!(quality_bps(0, 999, 8000) == 8002, 6);
    }

    #[test]
    fun quality_stays_between_the_floor_and_one() {
        assert!(quality_bps(0, MAX_U64, 5000) == 5000, 1);
        assert!(quality_bps(MAX_U64, 0, 5000) == 10000, 2);
        assert!(quality_bps(MAX_U64, MAX_U64, 5000) == 7500, 3);
        assert!(quality_bps(3, 5, 10000) == 10000, 4);
    }

    #[test]
    fun an_unknown_operator_has_an_empty_record() {
        world::start();
        let (served, user, provider, volume, tokens, compute) =
            reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(served + user + provider + volume + tokens + compute == 0, 1);
    }

    #[test]
    fun records_add_up_and_absurd_reports_saturate() {
        world::start();
        reputation::open(&world::sign_as(OPERATOR));
        reputation::open(&world::sign_as(OPERATOR));
        reputation::record_served(OPERATOR, 10, 20, 30);
        reputation::record_served(OPERATOR, 1, MAX_U64, MAX_U64);
        reputation::record_failed_by_user(OPERATOR);
        reputation::record_failed_by_provider(OPERATOR);
        let (served, user, provider, volume, tokens, compute) =
            reputation::unpack_for_test(reputation::of(OPERATOR));
        assert!(served == 2 && user == 1 && provider == 1 && volume == 11, 1);
        assert!(tokens == MAX_U64 && compute == MAX_U64, 2);
        assert!(reputation::quality_of(OPERATOR, 8000) == 9500, 3);
    }
}
