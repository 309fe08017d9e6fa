/// What a task costs, and shares of an amount. Pure arithmetic: reads no state and moves no money.
module cactus::pricing {
    use std::error;

    //
    // Errors
    //

    /// The price is above 10,000 APT per 1,000 tokens.
    const EPRICE_TOO_HIGH: u64 = 1;
    /// No task has more than 1,000,000,000 tokens.
    const ETOO_MANY_TOKENS: u64 = 2;

    //
    // Constants
    //

    // With both limits a price in u128 cannot overflow: 2 * 10^9 * 10^12 * 10^4 < 2^85.
    const MAX_PRICE: u64 = 1000000000000;
    const MAX_TOKENS: u64 = 1000000000;
    /// Prices are per this many tokens.
    const PRICE_TOKENS: u128 = 1000;
    const BPS: u128 = 10000;

    //
    // Views
    //

    #[view]
    /// What a task costs its client, in octas, fees included:
    /// `min(lock, (prompt_tokens * prompt_price + output_tokens * output_price) * quality_bps / (1000 * 10000))`,
    /// rounded down once, at the end. Prices are octas per 1,000 tokens.
    ///
    /// | prompt | price | output | price | quality |     lock | charge |
    /// |-------:|------:|-------:|------:|--------:|---------:|-------:|
    /// |   1000 |   500 |   2000 |  1500 |   10000 |    10000 |   3500 |
    /// |   1000 |   500 |   2000 |  1500 |    9000 |    10000 |   3150 |
    /// |   1000 |   500 |   2000 |  1500 |   10000 |     3000 |   3000 |
    /// |      1 |   999 |      0 |     0 |   10000 |    10000 |      0 |
    /// |      1 |   500 |      1 |   500 |   10000 |    10000 |      1 |
    /// |    123 |  7000 |    457 | 21000 |    9980 |  1000000 |  10437 |
    /// |      0 |   500 |      0 |  1500 |   10000 |    10000 |      0 |
    ///
    /// Aborts if a price or number of tokens is above its limit.
    public fun charge(
        prompt_tokens: u64, output_tokens: u64, prompt_price: u64, output_price: u64, quality_bps: u64, lock: u64
    ): u64 {
        assert_tokens(prompt_tokens, output_tokens);
        assert_prices(prompt_price, output_price);
        let price = (prompt_tokens as u128) * (prompt_price as u128)
            + (output_tokens as u128) * (output_price as u128);
        let charge = price * (quality_bps as u128) / (PRICE_TOKENS * BPS);
        if (charge < (lock as u128)) (charge as u64) else lock
    }

    //
    // For the other modules
    //

    /// Whether so many tokens can be priced.
    package fun may_price(prompt_tokens: u64, output_tokens: u64): bool {
        prompt_tokens <= MAX_TOKENS && output_tokens <= MAX_TOKENS
    }

    /// Aborts if a number of tokens is above its limit.
    package fun assert_tokens(prompt_tokens: u64, output_tokens: u64) {
        assert!(may_price(prompt_tokens, output_tokens), error::invalid_argument(ETOO_MANY_TOKENS));
    }

    /// Aborts if a price is above its limit.
    package fun assert_prices(prompt_price: u64, output_price: u64) {
        assert!(
            prompt_price <= MAX_PRICE && output_price <= MAX_PRICE,
            error::invalid_argument(EPRICE_TOO_HIGH)
        );
    }

    /// `bps` ten-thousandths of `octas`, rounded down in favour of whoever the rest belongs to.
    package fun share(octas: u64, bps: u64): u64 {
        (((octas as u128) * (bps as u128) / BPS) as u64)
    }
}
