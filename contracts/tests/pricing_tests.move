#[test_only]
module cactus::pricing_tests {
    use cactus::pricing::{charge, share};

    const MAX_U64: u64 = 18446744073709551615;

    #[test]
    fun a_charge_follows_the_table_of_its_documentation() {
        assert!(charge(1000, 2000, 500, 1500, 10000, 10000) == 3500, 1);
        assert!(charge(1000, 2000, 500, 1500, 9000, 10000) == 3150, 2);
        assert!(charge(1000, 2000, 500, 1500, 10000, 3000) == 3000, 3);
        assert!(charge(1, 0, 999, 0, 10000, 10000) == 0, 4);
        assert!(charge(1, 1, 500, 500, 10000, 10000) == 1, 5);
        assert!(charge(123, 457, 7000, 21000, 9980, 1000000) == 10437, 6);
        assert!(charge(0, 0, 500, 1500, 10000, 10000) == 0, 7);
    }

    #[test]
    fun the_largest_charge_does_not_overflow() {
        let (tokens, price) = (1000000000, 1000000000000);
        assert!(charge(tokens, tokens, price, price, 10000, MAX_U64) == 2000000000000000000, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10002, location = cactus::pricing)]
    fun too_many_tokens_have_no_price() {
        charge(1000000001, 0, 1, 1, 10000, 1);
    }

    #[test]
    #[expected_failure(abort_code = 0x10001, location = cactus::pricing)]
    fun too_high_a_price_is_refused() {
        charge(1, 1, 1, 1000000000001, 10000, 1);
    }

    #[test]
    fun shares_round_down_and_do_not_overflow() {
        assert!(share(19, 500) == 0 && share(20, 500) == 1, 1);
        assert!(share(MAX_U64, 10000) == MAX_U64 && share(MAX_U64, 0) == 0, 2);
    }
}
