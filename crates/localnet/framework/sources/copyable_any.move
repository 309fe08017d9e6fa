/// A value of any type, as its type's name and its bytes.
module aptos_std::copyable_any {
    use std::string::String;

    struct Any has copy, drop, store {
        type_name: String,
        data: vector<u8>,
    }

    public fun type_name(self: &Any): &String { &self.type_name }
}
