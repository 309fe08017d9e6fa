#[test_only]
/// A small world for tests: a started chain, people with money, servers, orchestrators and signed orders.
/// Everything that is particular to the offline test runner is in here.
module cactus::world {
    use std::bcs;
    use std::string;
    use aptos_std::ed25519;
    use aptos_std::from_bcs;
    use aptos_framework::account;
    use aptos_framework::coin;
    use aptos_framework::aptos_coin::AptosCoin;
    use aptos_framework::genesis;
    use aptos_framework::timestamp;
    use cactus::channel;
    use cactus::config;
    use cactus::domain;
    use cactus::penalty;
    use cactus::escrow;
    use cactus::parameters;
    use cactus::payment;
    use cactus::registry;
    use cactus::server_registry;
    use cactus::stake;
    use cactus::treasury;

    const CHAIN_ID: u8 = 4;
    const NOW: u64 = 1700000000;
    const APT: u64 = 100000000;
    const WITHDRAWAL_DELAY: u64 = 300;

    /// Someone with a key of its own.
    struct Person has copy, drop {
        address: address,
        public_key: vector<u8>,
        secret_key: vector<u8>,
    }

    public fun apt(): u64 { APT }
    public fun now(): u64 { NOW }
    public fun chain_id(): u8 { CHAIN_ID }
    public fun admin(): signer { sign_as(@cactus) }
    public fun server(): address { @0x5e1 }
    public fun operator(): address { @0x0c1 }
    public fun address_of(person: &Person): address { person.address }
    public fun public_key_of(person: &Person): vector<u8> { person.public_key }
    public fun sign_as(who: address): signer { account::create_signer_for_test(who) }
    public fun signer_of(person: &Person): signer { sign_as(person.address) }
    public fun coins(who: address): u64 { coin::balance<AptosCoin>(who) }
    public fun wait(seconds: u64) { timestamp::fast_forward_seconds(seconds) }
    public fun text(bytes: vector<u8>): string::String { string::utf8(bytes) }

    /// 32 bytes that are all `n`.
    public fun id(n: u8): vector<u8> {
        let bytes = vector[];
        while (bytes.length() < 32) bytes.push_back(n);
        bytes
    }

    /// A chain with the contracts initialised and a rich admin.
    public fun start() {
        genesis::initialize_for_test(CHAIN_ID);
        timestamp::update_global_time_for_test_secs(NOW);
        parameters::init_for_test(&admin());
        config::init_for_test(&admin());
        treasury::init_for_test(&admin());
        penalty::init_for_test(&admin());
        domain::init_for_test(&admin());
        fund(@cactus, 1000 * APT);
    }

    public fun fund(who: address, octas: u64) {
        genesis::mint_for_test(who, octas);
    }

    /// Takes all coins of an account away, into the admin's.
    public fun drain(who: address) {
        aptos_framework::aptos_account::transfer(&sign_as(who), @cactus, coins(who));
    }

    /// A person with a fresh key and `octas`.
    public fun person(octas: u64): Person {
        let (secret_key, public_key) = ed25519::generate_keys();
        let key = ed25519::new_unvalidated_public_key_from_bytes(public_key);
        let address = from_bcs::to_address(ed25519::unvalidated_public_key_to_authentication_key(&key));
        fund(address, octas);
        Person { address, public_key, secret_key }
    }

    public fun sign<T: drop>(signatory: &Person, message: T): vector<u8> {
        let signed = ed25519::new_signed_message(message);
        ed25519::sign(bcs::to_bytes(&signed), signatory.secret_key)
    }

    /// Gives an account another authentication key, as a key rotation does.
    public fun rotate_key(who: address, authentication_key: vector<u8>) {
        account::rotate_authentication_key_internal(&sign_as(who), authentication_key);
    }

    /// A client with `octas` in escrow and nothing else.
    public fun client(octas: u64): Person {
        let client = person(octas);
        payment::deposit(&signer_of(&client), octas);
        client
    }

    /// A client asks for `octas`, waits for as long as it must, and takes what is free of them.
    public fun withdraw(client: &Person, octas: u64) {
        payment::request_withdraw(&signer_of(client), octas);
        wait(WITHDRAWAL_DELAY);
        payment::withdraw(&signer_of(client));
    }

    /// What a closed case does to a stake, without the case.
    public fun slash(operator: address, octas: u64, accuser: address) {
        penalty::punish(operator, octas, accuser, @0x0, vector[]);
    }

    public fun registered_server(server: address) {
        fund(server, 10 * APT);
        server_registry::register_server(&sign_as(server), text(b"https://server.example"), id(7), APT);
    }

    public fun authorized_server(server: address) {
        registered_server(server);
        server_registry::authorize_server(&admin(), server);
    }

    /// A registered, bonded and whitelisted operator with one validated node, whose key is returned.
    public fun working_operator(operator: address): vector<u8> {
        let node = bonded_operator(operator);
        registry::whitelist(&admin(), operator, true);
        registry::validate_node(&admin(), operator, node);
        node
    }

    /// A registered operator with a bond of 2 APT and one node, neither whitelisted nor validated.
    public fun bonded_operator(operator: address): vector<u8> {
        fund(operator, 10 * APT);
        registry::register_orchestrator(&sign_as(operator), text(b"https://operator.example"));
        stake::bond(&sign_as(operator), 2 * APT);
        add_node(operator)
    }

    /// Adds a node with a fresh key and returns the key.
    public fun add_node(operator: address): vector<u8> {
        let node = person(0);
        add_known_node(operator, &node);
        node.public_key
    }

    /// Adds this node.
    public fun add_known_node(operator: address, node: &Person) {
        let key = node.public_key;
        let proof = sign(node, registry::new_proof_for_test(CHAIN_ID, operator, key));
        registry::add_node(&sign_as(operator), key, text(b"https://node.example"), proof);
    }

    /// A task of `server()` under order `id(1)`: at most 1 APT each and 5 APT in all, 500 octas per 1,000 prompt
    /// tokens and 1,500 per 1,000 output tokens, ten minutes to finish.
    public fun create_task(client: &Person, task: u8, operator: address, node: vector<u8>, lock: u64) {
        let order = payment::new_order_for_test(
            CHAIN_ID, client.address, server(), id(1), 5 * APT, APT, NOW + 86400
        );
        payment::create_task(
            &sign_as(server()), client.address, client.public_key, id(1), 5 * APT, APT, NOW + 86400,
            sign(client, order), id(task), operator, node, lock, 500, 1500, timestamp::now_seconds() + 600,
        );
    }

    /// No coin is missing or in two places: each vault holds what its buckets say, and all vaults and accounts of
    /// `everyone` together hold the supply.
    public fun assert_conserved(everyone: vector<address>) {
        assert_conserved_with(everyone, vector[]);
    }

    /// As `assert_conserved` where there are channels too.
    public fun assert_conserved_with(everyone: vector<address>, channels: vector<address>) {
        assert_supply(everyone, in_channels(&channels));
    }

    /// As `assert_conserved` where `elsewhere` octas are in vaults that the caller checked.
    public fun assert_supply(everyone: vector<address>, elsewhere: u64) {
        let total = elsewhere + of_accounts(everyone);
        assert!(coin::supply<AptosCoin>() == std::option::some((total as u128)), 9006);
    }

    fun in_channels(channels: &vector<address>): u64 {
        let total = 0;
        channels.for_each_ref(|address| {
            let (state, _, _, deposited, settled, _) =
                channel::unpack_for_test(channel::channel(*address));
            assert!(settled <= deposited, 9007);
            let held = if (state == 3) 0 else deposited - settled;
            assert!(channel::vault_balance(*address) == held, 9008);
            total += held;
        });
        total
    }

    fun of_accounts(everyone: vector<address>): u64 {
        everyone.push_back(@cactus);
        let total = treasury::balance();
        everyone.for_each_ref(|who| {
            let who = *who;
            let (available, locked) = escrow::unpack_for_test(payment::balance(who));
            assert!(payment::vault_balance(who) == available + locked, 9001);
            let (bonded, unbonding, withdrawable, _) = stake::unpack_for_test(stake::stake_of(who));
            assert!(stake::vault_balance(who) == bonded + unbonding, 9002);
            assert!(withdrawable <= unbonding, 9003);
            let (_, _, _, bond, _, _, due) = server_registry::unpack_for_test(server_registry::server(who));
            assert!(server_registry::vault_balance(who) == bond, 9004);
            assert!(treasury::due(who) == due, 9005);
            total += coins(who) + available + locked + bonded + unbonding + bond + due;
        });
        total
    }
}
