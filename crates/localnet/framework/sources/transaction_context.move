/// What a transaction may know about itself.
module aptos_framework::transaction_context {
    /// The hash of the transaction in execution.
    native public fun get_transaction_hash(): vector<u8>;

    /// An address that no other call ever returned.
    public fun generate_auid_address(): address {
        generate_unique_address()
    }

    native fun generate_unique_address(): address;
}
