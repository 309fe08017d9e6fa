/// The time of the current block.
module aptos_framework::timestamp {
    use std::error;

    friend aptos_framework::genesis;

    /// Time runs forward only.
    const EINVALID_TIMESTAMP: u64 = 2;

    const MICRO_CONVERSION_FACTOR: u64 = 1000000;

    /// Unix time in microseconds.
    struct CurrentTimeMicroseconds has key {
        microseconds: u64
    }

    public(friend) fun set_time_has_started(aptos_framework: &signer) {
        move_to(aptos_framework, CurrentTimeMicroseconds { microseconds: 0 });
    }

    // Called by the chain itself at the start of each block; not reachable from a transaction.
    fun update_global_time(microseconds: u64) acquires CurrentTimeMicroseconds {
        let now = &mut CurrentTimeMicroseconds[@aptos_framework].microseconds;
        assert!(microseconds >= *now, error::invalid_argument(EINVALID_TIMESTAMP));
        *now = microseconds;
    }

    #[view]
    /// Unix time in microseconds.
    public fun now_microseconds(): u64 acquires CurrentTimeMicroseconds {
        CurrentTimeMicroseconds[@aptos_framework].microseconds
    }

    #[view]
    /// Unix time in seconds.
    public fun now_seconds(): u64 acquires CurrentTimeMicroseconds {
        now_microseconds() / MICRO_CONVERSION_FACTOR
    }

    #[test_only]
    public fun set_time_has_started_for_testing(account: &signer) {
        if (!exists<CurrentTimeMicroseconds>(@aptos_framework)) set_time_has_started(account);
    }

    #[test_only]
    public fun update_global_time_for_test(timestamp_microsecs: u64) acquires CurrentTimeMicroseconds {
        update_global_time(timestamp_microsecs)
    }

    #[test_only]
    public fun update_global_time_for_test_secs(timestamp_seconds: u64) acquires CurrentTimeMicroseconds {
        update_global_time(timestamp_seconds * MICRO_CONVERSION_FACTOR)
    }

    #[test_only]
    public fun fast_forward_seconds(timestamp_seconds: u64) acquires CurrentTimeMicroseconds {
        update_global_time(now_microseconds() + timestamp_seconds * MICRO_CONVERSION_FACTOR)
    }
}
