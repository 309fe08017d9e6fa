/// Access to the address inside a signer.
module std::signer {
    /// The address that `s` speaks for.
    public fun address_of(s: &signer): address {
        *borrow_address(s)
    }

    /// A reference to the address that `s` speaks for.
    native public fun borrow_address(s: &signer): &address;
}
