/// Values out of their canonical bytes.
module aptos_std::from_bcs {
    use std::string::{Self, String};

    friend aptos_framework::code;

    /// The bytes are not valid UTF-8.
    const EINVALID_UTF8: u64 = 0x1;

    public fun to_bool(v: vector<u8>): bool { from_bytes<bool>(v) }
    public fun to_u8(v: vector<u8>): u8 { from_bytes<u8>(v) }
    public fun to_u16(v: vector<u8>): u16 { from_bytes<u16>(v) }
    public fun to_u32(v: vector<u8>): u32 { from_bytes<u32>(v) }
    public fun to_u64(v: vector<u8>): u64 { from_bytes<u64>(v) }
    public fun to_u128(v: vector<u8>): u128 { from_bytes<u128>(v) }
    public fun to_u256(v: vector<u8>): u256 { from_bytes<u256>(v) }
    public fun to_address(v: vector<u8>): address { from_bytes<address>(v) }
    public fun to_bytes(v: vector<u8>): vector<u8> { from_bytes<vector<u8>>(v) }

    public fun to_string(v: vector<u8>): String {
        // Decoding does not check UTF-8, so the bytes are checked here.
        let s = from_bytes<String>(v);
        assert!(string::try_utf8(*s.bytes()).is_some(), EINVALID_UTF8);
        s
    }

    // Any type could be forged with this, hence friends only.
    native public(friend) fun from_bytes<T>(bytes: vector<u8>): T;
}
