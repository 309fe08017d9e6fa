/// Binary Canonical Serialisation of Move values.
module std::bcs {
    /// The canonical bytes of `v`.
    native public fun to_bytes<MoveValue>(v: &MoveValue): vector<u8>;
}
