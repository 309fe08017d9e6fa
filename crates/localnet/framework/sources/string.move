/// UTF-8 text.
module std::string {
    use std::option::{Self, Option};
    use std::vector;

    /// The bytes are not valid UTF-8.
    const EINVALID_UTF8: u64 = 1;
    /// The index is out of range or inside a character.
    const EINVALID_INDEX: u64 = 2;

    /// Bytes that are valid UTF-8.
    struct String has copy, drop, store {
        bytes: vector<u8>,
    }

    /// The text in `bytes`. Aborts if they are not valid UTF-8.
    public fun utf8(bytes: vector<u8>): String {
        assert!(internal_check_utf8(&bytes), EINVALID_UTF8);
        String { bytes }
    }

    /// The text in `bytes`, or none if they are not valid UTF-8.
    public fun try_utf8(bytes: vector<u8>): Option<String> {
        if (internal_check_utf8(&bytes)) option::some(String { bytes }) else option::none()
    }

    /// The bytes of the text.
    public fun bytes(self: &String): &vector<u8> {
        &self.bytes
    }

    /// Whether there is no text.
    public fun is_empty(self: &String): bool {
        vector::is_empty(&self.bytes)
    }

    /// The length in bytes.
    public fun length(self: &String): u64 {
        vector::length(&self.bytes)
    }

    /// Adds `r` at the end.
    public fun append(self: &mut String, r: String) {
        vector::append(&mut self.bytes, r.bytes)
    }

    /// Adds `bytes` at the end. Aborts if they are not valid UTF-8.
    public fun append_utf8(self: &mut String, bytes: vector<u8>) {
        self.append(utf8(bytes))
    }

    /// The bytes from `i` up to, not including, `j`. Aborts if an index is out of range or inside a character.
    public fun sub_string(self: &String, i: u64, j: u64): String {
        let bytes = &self.bytes;
        assert!(
            j <= vector::length(bytes) && i <= j
                && internal_is_char_boundary(bytes, i)
                && internal_is_char_boundary(bytes, j),
            EINVALID_INDEX
        );
        String { bytes: internal_sub_string(bytes, i, j) }
    }

    /// The byte index of the first occurrence of `r`, or the length if there is none.
    public fun index_of(self: &String, r: &String): u64 {
        internal_index_of(&self.bytes, &r.bytes)
    }

    native fun internal_check_utf8(v: &vector<u8>): bool;
    native fun internal_is_char_boundary(v: &vector<u8>, i: u64): bool;
    native fun internal_sub_string(v: &vector<u8>, i: u64, j: u64): vector<u8>;
    native fun internal_index_of(v: &vector<u8>, r: &vector<u8>): u64;
}
