#[test_only]
/// Signatures that were made outside of Move, by the well-known localnet key. They hold the layout of what is signed:
/// BCS of `SignedMessage<T>`, that is contract address, module and struct name, then the fields in order.
module cactus::signing_tests {
    use aptos_std::ed25519;
    use cactus::channel;
    use cactus::invite;
    use cactus::payment;
    use cactus::registry;
    use cactus::world;

    const SERVER: address = @0x5e1;
    const OPERATOR: address = @0x0c1;
    /// The well-known localnet key, whose account is `@cactus`.
    const PUBLIC_KEY: vector<u8> = x"2e19671986d0c76615b4778b07b9bc34ca6f5e6def4cf5c4354d89f46716e0a2";
    /// Over `Order { chain_id: 4, client: @cactus, server: @0x5e1, order_id: id(1), max_total: 600, max_per_task: 300,
    /// expires_seconds: 1700001000 }`.
    const ORDER_SIGNATURE: vector<u8> =
        x"0f03dad848aa5f19672d8ced5c8e12fbaeea586b9e8246364accd223e644d396e05b1b55d892aae388be212ae7a7ae51182477c908c81932309b862672000704";
    /// Over `NodeKeyProof { chain_id: 4, operator: @0x0c1, node_public_key: PUBLIC_KEY }`.
    const PROOF_SIGNATURE: vector<u8> =
        x"4c5c7e00e4b0f5bb75c63d3bed5d2010eadbdd63829430a2dbdd894a9432dc851a7521e0e2a0192d068ce5b2a9a822c4258cb982a19ce30ac8dcf1c227a80b01";

    /// Over `Voucher { chain_id: 4, channel: @0xc4a, payee: @0x5e1, cumulative: 700 }`.
    const VOUCHER_SIGNATURE: vector<u8> =
        x"73da2fe8f2a44d6f573941b3619dca06eb6c6444feaaa0b3632b0f67f38b670f74f203a0f8ac2ff4221659589daf09997bfa1803facf7a3c7060b9b3ebb6540c";

    /// Over `Invite { chain_id: 4, pool: @0xc4a, operator: @0x0c1, node_public_key: PUBLIC_KEY, nonce: id(1),
    /// expires_seconds: 1700001000 }`.
    const INVITE_SIGNATURE: vector<u8> =
        x"0a84fee450f0d3b2cc0de8b272b92c0638694d85770c602a7866864a9e09aed8025e42f7159166064be33860c09916405fc0b0e74e65b2281d86cb95d9435d05";

    // Verifies as the contracts do, without a contract around it.
    fun is_signed<T: drop>(signature: vector<u8>, message: T): bool {
        ed25519::signature_verify_strict_t(
            &ed25519::new_signature_from_bytes(signature),
            &ed25519::new_unvalidated_public_key_from_bytes(PUBLIC_KEY),
            message,
        )
    }

    #[test]
    fun a_voucher_signed_elsewhere_is_accepted() {
        assert!(is_signed(VOUCHER_SIGNATURE, channel::new_voucher_for_test(4, @0xc4a, SERVER, 700)), 1);
        assert!(!is_signed(VOUCHER_SIGNATURE, channel::new_voucher_for_test(4, @0xc4a, SERVER, 701)), 2);
    }

    #[test]
    fun an_invite_signed_elsewhere_is_accepted() {
        let invite = invite::new_for_test(4, @0xc4a, OPERATOR, PUBLIC_KEY, world::id(1), 1700001000);
        assert!(is_signed(INVITE_SIGNATURE, invite), 1);
        let longer = invite::new_for_test(4, @0xc4a, OPERATOR, PUBLIC_KEY, world::id(1), 1700001001);
        assert!(!is_signed(INVITE_SIGNATURE, longer), 2);
    }

    #[test]
    fun an_order_signed_elsewhere_is_accepted() {
        world::start();
        world::authorized_server(SERVER);
        let node = world::working_operator(OPERATOR);
        payment::deposit(&world::admin(), 1000);
        payment::create_task(
            &world::sign_as(SERVER), @cactus, PUBLIC_KEY, world::id(1), 600, 300, 1700001000, ORDER_SIGNATURE,
            world::id(1), OPERATOR, node, 300, 500, 1500, world::now() + 600
        );
        assert!(payment::order_used(@cactus, world::id(1)) == 300, 1);
    }

    #[test]
    fun a_node_key_proof_signed_elsewhere_is_accepted() {
        world::start();
        registry::register_orchestrator(&world::sign_as(OPERATOR), world::text(b"m"));
        registry::add_node(&world::sign_as(OPERATOR), PUBLIC_KEY, world::text(b"n"), PROOF_SIGNATURE);
    }
}
