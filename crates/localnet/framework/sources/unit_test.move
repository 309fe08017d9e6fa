#[test_only]
/// What the compiler asks for in test mode.
module std::unit_test {
    native public fun create_signers_for_testing(num_signers: u64): vector<signer>;
}
