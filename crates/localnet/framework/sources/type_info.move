/// Names of types at run time.
module aptos_std::type_info {
    use std::string::String;

    /// Where a struct type is declared and what it is called.
    struct TypeInfo has copy, drop, store {
        account_address: address,
        module_name: vector<u8>,
        struct_name: vector<u8>,
    }

    public fun account_address(self: &TypeInfo): address { self.account_address }
    public fun module_name(self: &TypeInfo): vector<u8> { self.module_name }
    public fun struct_name(self: &TypeInfo): vector<u8> { self.struct_name }

    /// The declaration of the struct type `T`. Aborts if `T` is not a struct.
    native public fun type_of<T>(): TypeInfo;

    /// The full name of `T`.
    native public fun type_name<T>(): String;
}
