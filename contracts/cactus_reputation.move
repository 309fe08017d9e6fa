/// What each orchestrator did, counted by settlements. Takes no one's word: only `settlement`,
/// `channel`, `dispute` and `rewards` write here.
///
/// The record lives at the operator's address and outlives a deregistration, so a new registration does not
/// wash an old record clean.
module cactus::reputation {
    use std::signer;

    //
    // Constants
    //

    const BPS: u64 = 10000;
    const MAX_U64: u64 = 18446744073709551615;

    //
    // Structs
    //

    /// Counts of final tasks. At the operator's address.
    enum Reputation has key {
        V1 {
            served: u64,
            failed_by_user: u64,
            failed_by_provider: u64,
            volume: u64,
            output_tokens: u64,
            compute_ms: u64,
            idle: u64,
        }
    }

    /// What `of` answers; all zero for an unknown operator.
    struct ReputationView has copy, drop {
        /// Tasks settled.
        served: u64,
        /// Tasks that failed through the client.
        failed_by_user: u64,
        /// Tasks that failed through the orchestrator.
        failed_by_provider: u64,
        /// Octas earned, after fees.
        volume: u64,
        output_tokens: u64,
        compute_ms: u64,
        /// Tasks that nobody delivered or ended before their deadline; they are held against no one.
        idle: u64,
    }

    //
    // Views
    //

    #[view]
    /// The operator's record.
    public fun of(operator: address): ReputationView acquires Reputation {
        if (!exists<Reputation>(operator)) {
            return ReputationView {
                served: 0, failed_by_user: 0, failed_by_provider: 0,
                volume: 0, output_tokens: 0, compute_ms: 0, idle: 0,
            }
        };
        let record = &Reputation[operator];
        ReputationView {
            served: record.served,
            failed_by_user: record.failed_by_user,
            failed_by_provider: record.failed_by_provider,
            volume: record.volume,
            output_tokens: record.output_tokens,
            compute_ms: record.compute_ms,
            idle: record.idle,
        }
    }

    #[view]
    /// The share of the price that an orchestrator with this record earns, in basis points:
    /// `floor + (10000 - floor) * (served + 1) / (served + failed_by_provider + 1)`, rounded down.
    ///
    /// | served | failed | floor | quality |
    /// |-------:|-------:|------:|--------:|
    /// |      0 |      0 |  8000 |   10000 |
    /// |      0 |      1 |  8000 |    9000 |
    /// |      9 |      0 |  8000 |   10000 |
    /// |      9 |     10 |  8000 |    9000 |
    /// |     98 |      1 |  8000 |    9980 |
    /// |      0 |    999 |  8000 |    8002 |
    public fun quality_bps(served: u64, failed_by_provider: u64, floor_bps: u64): u64 {
        let good = (served as u128) + 1;
        let all = good + (failed_by_provider as u128);
        floor_bps + ((((BPS - floor_bps) as u128) * good / all) as u64)
    }

    //
    // For the other modules
    //

    /// Opens the operator's record if it has none.
    package fun open(operator: &signer) {
        if (!exists<Reputation>(signer::address_of(operator))) {
            move_to(operator, Reputation::V1 {
                served: 0, failed_by_user: 0, failed_by_provider: 0,
                volume: 0, output_tokens: 0, compute_ms: 0, idle: 0,
            });
        };
    }

    /// The quality that the operator's record stands for.
    package fun quality_of(operator: address, floor_bps: u64): u64 acquires Reputation {
        let record = &Reputation[operator];
        quality_bps(record.served, record.failed_by_provider, floor_bps)
    }

    /// Counts a settled task.
    package fun record_served(
        operator: address, octas: u64, output_tokens: u64, compute_ms: u64
    ) acquires Reputation {
        let record = &mut Reputation[operator];
        record.served += 1;
        record.volume = saturating_add(record.volume, octas);
        // What a server reports may be absurd; it must not stop settlements.
        record.output_tokens = saturating_add(record.output_tokens, output_tokens);
        record.compute_ms = saturating_add(record.compute_ms, compute_ms);
    }

    /// Counts octas that the operator earned outside of tasks; nothing happens if it has no record.
    package fun record_volume(operator: address, octas: u64) acquires Reputation {
        if (!exists<Reputation>(operator)) return;
        let record = &mut Reputation[operator];
        record.volume = saturating_add(record.volume, octas);
    }

    /// Counts a task that failed through the client.
    package fun record_failed_by_user(operator: address) acquires Reputation {
        Reputation[operator].failed_by_user += 1;
    }

    /// Counts a task that failed through the orchestrator, or a case that it lost; nothing happens if it has no record.
    package fun record_failed_by_provider(operator: address) acquires Reputation {
        if (exists<Reputation>(operator)) Reputation[operator].failed_by_provider += 1;
    }

    /// Counts a task that came to nothing without anyone's word on whose fault it was.
    package fun record_idle(operator: address) acquires Reputation {
        Reputation[operator].idle += 1;
    }

    //
    // Helpers
    //

    fun saturating_add(a: u64, b: u64): u64 {
        if (MAX_U64 - a < b) MAX_U64 else a + b
    }

    #[test_only]
    public fun unpack_for_test(self: ReputationView): (u64, u64, u64, u64, u64, u64) {
        (
            self.served, self.failed_by_user, self.failed_by_provider,
            self.volume, self.output_tokens, self.compute_ms
        )
    }

    #[test_only]
    public fun idle_for_test(self: ReputationView): u64 {
        self.idle
    }
}
