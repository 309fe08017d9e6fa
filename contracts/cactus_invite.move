/// Invites into one pool: signed by the pool's invite key, each for one node of one operator, each used once. Decides
/// nothing else about who may join.
module cactus::invite {
    use std::error;
    use aptos_std::ed25519;
    use aptos_std::table::{Self, Table};
    use aptos_framework::chain_id;
    use aptos_framework::timestamp;

    //
    // Errors
    //

    /// A nonce must be 32 bytes.
    const EBAD_NONCE: u64 = 1;
    /// The invite has expired.
    const EEXPIRED: u64 = 2;
    /// The invite was used.
    const EUSED: u64 = 3;
    /// The pool's invite key did not sign this invite.
    const EBAD_SIGNATURE: u64 = 4;

    //
    // Constants
    //

    const NONCE_BYTES: u64 = 32;

    //
    // Structs
    //

    enum Invites has store {
        V1 {
            key: vector<u8>,
            /// By nonce; never removed.
            used: Table<vector<u8>, bool>,
        }
    }

    /// What the invite key signs, to let one node in once.
    struct Invite has drop {
        chain_id: u8,
        pool: address,
        operator: address,
        node_public_key: vector<u8>,
        nonce: vector<u8>,
        expires_seconds: u64,
    }

    //
    // For the other modules
    //

    /// Invites that `key` signs, none used.
    package fun new(key: vector<u8>): Invites {
        Invites::V1 { key, used: table::new() }
    }

    /// Uses an invite up.
    ///
    /// Aborts if the nonce is not 32 bytes or was used, the invite has expired, or the key did not sign it.
    package fun redeem(
        self: &mut Invites, pool: address, operator: address, node_public_key: vector<u8>, nonce: vector<u8>,
        expires_seconds: u64, signature: vector<u8>
    ) {
        assert!(nonce.length() == NONCE_BYTES, error::invalid_argument(EBAD_NONCE));
        assert!(timestamp::now_seconds() < expires_seconds, error::invalid_state(EEXPIRED));
        assert!(!self.used.contains(nonce), error::already_exists(EUSED));
        let invite = Invite { chain_id: chain_id::get(), pool, operator, node_public_key, nonce, expires_seconds };
        assert!(
            ed25519::signature_verify_strict_t(
                &ed25519::new_signature_from_bytes(signature),
                &ed25519::new_unvalidated_public_key_from_bytes(self.key),
                invite,
            ),
            error::unauthenticated(EBAD_SIGNATURE)
        );
        self.used.add(nonce, true);
    }

    #[test_only]
    public fun new_for_test(
        chain_id: u8, pool: address, operator: address, node_public_key: vector<u8>, nonce: vector<u8>,
        expires_seconds: u64
    ): Invite {
        Invite { chain_id, pool, operator, node_public_key, nonce, expires_seconds }
    }
}
