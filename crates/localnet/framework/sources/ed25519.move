/// Ed25519 signatures with strict verification, and messages that name their type.
module aptos_std::ed25519 {
    use std::bcs;
    use std::error;
    use std::hash;
    use aptos_std::type_info::{Self, TypeInfo};

    /// A public key must be 32 bytes.
    const E_WRONG_PUBKEY_SIZE: u64 = 1;
    /// A signature must be 64 bytes.
    const E_WRONG_SIGNATURE_SIZE: u64 = 2;

    const SIGNATURE_SCHEME_ID: u8 = 0;
    const PUBLIC_KEY_NUM_BYTES: u64 = 32;
    const SIGNATURE_NUM_BYTES: u64 = 64;

    /// What is signed: the message with the name of its type in front, so that no two types share signatures.
    struct SignedMessage<MessageType> has drop {
        type_info: TypeInfo,
        inner: MessageType,
    }

    /// 32 bytes that need not be a point of the curve.
    struct UnvalidatedPublicKey has copy, drop, store {
        bytes: vector<u8>
    }

    /// 64 bytes that claim to be a signature.
    struct Signature has copy, drop, store {
        bytes: vector<u8>
    }

    /// Aborts if `bytes` are not 32.
    public fun new_unvalidated_public_key_from_bytes(bytes: vector<u8>): UnvalidatedPublicKey {
        assert!(bytes.length() == PUBLIC_KEY_NUM_BYTES, error::invalid_argument(E_WRONG_PUBKEY_SIZE));
        UnvalidatedPublicKey { bytes }
    }

    /// Aborts if `bytes` are not 64.
    public fun new_signature_from_bytes(bytes: vector<u8>): Signature {
        assert!(bytes.length() == SIGNATURE_NUM_BYTES, error::invalid_argument(E_WRONG_SIGNATURE_SIZE));
        Signature { bytes }
    }

    public fun unvalidated_public_key_to_bytes(pk: &UnvalidatedPublicKey): vector<u8> { pk.bytes }
    public fun signature_to_bytes(sig: &Signature): vector<u8> { sig.bytes }

    /// Whether `signature` by `public_key` is on `message`; keys of small order never verify.
    public fun signature_verify_strict(
        signature: &Signature, public_key: &UnvalidatedPublicKey, message: vector<u8>
    ): bool {
        verify_internal(message, public_key.bytes, signature.bytes)
    }

    /// Whether `signature` by `public_key` is on the signed message that holds `data`.
    public fun signature_verify_strict_t<T: drop>(
        signature: &Signature, public_key: &UnvalidatedPublicKey, data: T
    ): bool {
        let message = new_signed_message(data);
        verify_internal(bcs::to_bytes(&message), public_key.bytes, signature.bytes)
    }

    /// The signed message that holds `data`.
    public fun new_signed_message<T: drop>(data: T): SignedMessage<T> {
        SignedMessage { type_info: type_info::type_of<T>(), inner: data }
    }

    /// The authentication key of an account that this key alone controls.
    public fun unvalidated_public_key_to_authentication_key(pk: &UnvalidatedPublicKey): vector<u8> {
        let bytes = pk.bytes;
        bytes.push_back(SIGNATURE_SCHEME_ID);
        hash::sha3_256(bytes)
    }

    native fun verify_internal(message: vector<u8>, public_key: vector<u8>, signature: vector<u8>): bool;

    #[test_only]
    native public fun generate_keys(): (vector<u8>, vector<u8>);

    #[test_only]
    native public fun sign(message: vector<u8>, secret_key: vector<u8>): vector<u8>;
}
