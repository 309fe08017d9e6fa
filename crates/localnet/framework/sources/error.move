/// Canonical error codes: a category in bits 16 to 23, the module's own reason in the low 16 bits.
module std::error {
    /// The caller gave an argument that is wrong whatever the state is.
    const INVALID_ARGUMENT: u64 = 0x1;
    /// An index or amount lies outside of what exists.
    const OUT_OF_RANGE: u64 = 0x2;
    /// The state does not allow this operation now.
    const INVALID_STATE: u64 = 0x3;
    /// Credentials are missing or wrong.
    const UNAUTHENTICATED: u64 = 0x4;
    /// The caller may not do this.
    const PERMISSION_DENIED: u64 = 0x5;
    /// What was named does not exist.
    const NOT_FOUND: u64 = 0x6;
    /// A concurrent change won.
    const ABORTED: u64 = 0x7;
    /// What was to be created exists already.
    const ALREADY_EXISTS: u64 = 0x8;
    /// A quota or limit is used up.
    const RESOURCE_EXHAUSTED: u64 = 0x9;
    /// An invariant is broken.
    const INTERNAL: u64 = 0xB;
    /// The feature does not exist.
    const NOT_IMPLEMENTED: u64 = 0xC;
    /// The service cannot answer now.
    const UNAVAILABLE: u64 = 0xD;

    /// The code for `reason` in `category`.
    public fun canonical(category: u64, reason: u64): u64 {
        (category << 16) + reason
    }

    public fun invalid_argument(r: u64): u64 { canonical(INVALID_ARGUMENT, r) }
    public fun out_of_range(r: u64): u64 { canonical(OUT_OF_RANGE, r) }
    public fun invalid_state(r: u64): u64 { canonical(INVALID_STATE, r) }
    public fun unauthenticated(r: u64): u64 { canonical(UNAUTHENTICATED, r) }
    public fun permission_denied(r: u64): u64 { canonical(PERMISSION_DENIED, r) }
    public fun not_found(r: u64): u64 { canonical(NOT_FOUND, r) }
    public fun aborted(r: u64): u64 { canonical(ABORTED, r) }
    public fun already_exists(r: u64): u64 { canonical(ALREADY_EXISTS, r) }
    public fun resource_exhausted(r: u64): u64 { canonical(RESOURCE_EXHAUSTED, r) }
    public fun internal(r: u64): u64 { canonical(INTERNAL, r) }
    public fun not_implemented(r: u64): u64 { canonical(NOT_IMPLEMENTED, r) }
    public fun unavailable(r: u64): u64 { canonical(UNAVAILABLE, r) }
}
