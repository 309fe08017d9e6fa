/// Orchestrators and their nodes: who may be given tasks. Holds no money.
module cactus::registry {
    use std::error;
    use std::signer;
    use std::string::String;
    use aptos_std::ed25519;
    use aptos_framework::chain_id;
    use aptos_framework::event;
    use cactus::config;
    use cactus::reputation;
    use cactus::stake;

    //
    // Errors
    //

    /// The operator is registered already.
    const EALREADY_REGISTERED: u64 = 1;
    /// The operator is not registered.
    const ENOT_REGISTERED: u64 = 2;
    /// The URI is empty or longer than 512 bytes.
    const EBAD_URI: u64 = 3;
    /// The node's key is registered already.
    const ENODE_EXISTS: u64 = 4;
    /// There is no node with this key.
    const ENODE_NOT_FOUND: u64 = 5;
    /// The operator has 64 nodes already.
    const ETOO_MANY_NODES: u64 = 6;
    /// The node's key did not sign this registration.
    const EBAD_PROOF: u64 = 7;
    /// There is no such status.
    const EBAD_STATUS: u64 = 8;
    /// A bond or unbonding amount is left.
    const ESTAKE_LEFT: u64 = 9;
    /// The operator is not whitelisted.
    const ENOT_WHITELISTED: u64 = 10;
    /// The node is not validated.
    const ENODE_NOT_VALIDATED: u64 = 11;

    //
    // Constants
    //

    const STATUS_ONLINE: u8 = 1;
    const STATUS_OFFLINE: u8 = 3;

    const MAX_URI_BYTES: u64 = 512;
    const MAX_NODES: u64 = 64;

    //
    // Structs
    //

    /// One orchestrator. At the operator's address while registered.
    enum Orchestrator has key {
        V1 {
            metadata_uri: String,
            /// 1 online, 2 draining, 3 offline: the operator's word, for display.
            status: u8,
            whitelisted: bool,
            nodes: vector<Node>,
        }
    }

    enum Node has copy, drop, store {
        V1 {
            public_key: vector<u8>,
            specs_uri: String,
            validated: bool,
        }
    }

    /// What a node's key signs to join an operator on one chain.
    struct NodeKeyProof has drop {
        chain_id: u8,
        operator: address,
        node_public_key: vector<u8>,
    }

    /// What `orchestrator` answers.
    struct OrchestratorView has copy, drop {
        registered: bool,
        metadata_uri: String,
        status: u8,
        whitelisted: bool,
        nodes: vector<NodeView>,
    }

    struct NodeView has copy, drop {
        public_key: vector<u8>,
        specs_uri: String,
        validated: bool,
    }

    //
    // Events
    //

    #[event]
    enum OrchestratorRegistered has drop, store {
        V1 { operator: address, metadata_uri: String }
    }

    #[event]
    enum OrchestratorDeregistered has drop, store {
        V1 { operator: address }
    }

    #[event]
    enum NodeAdded has drop, store {
        V1 { operator: address, node_public_key: vector<u8>, specs_uri: String }
    }

    #[event]
    enum NodeRemoved has drop, store {
        V1 { operator: address, node_public_key: vector<u8> }
    }

    #[event]
    enum StatusChanged has drop, store {
        V1 { operator: address, status: u8 }
    }

    #[event]
    enum WhitelistChanged has drop, store {
        V1 { validator: address, operator: address, allowed: bool }
    }

    #[event]
    enum NodeValidationChanged has drop, store {
        V1 { validator: address, operator: address, node_public_key: vector<u8>, validated: bool }
    }

    //
    // Views
    //

    #[view]
    /// All about an operator; `registered` is false and the rest empty if it is not registered.
    public fun orchestrator(operator: address): OrchestratorView acquires Orchestrator {
        let view = OrchestratorView {
            registered: false, metadata_uri: std::string::utf8(b""), status: 0, whitelisted: false, nodes: vector[],
        };
        if (!exists<Orchestrator>(operator)) return view;
        let record = &Orchestrator[operator];
        view.registered = true;
        view.metadata_uri = record.metadata_uri;
        view.status = record.status;
        view.whitelisted = record.whitelisted;
        record.nodes.for_each_ref(|node| view.nodes.push_back(NodeView {
            public_key: node.public_key, specs_uri: node.specs_uri, validated: node.validated,
        }));
        view
    }

    //
    // Entry functions
    //

    /// Anyone registers itself as an operator of an orchestrator, offline and without nodes.
    ///
    /// Aborts if registrations are paused, the caller is registered already, or the URI is empty or longer than
    /// 512 bytes.
    public entry fun register_orchestrator(operator: &signer, metadata_uri: String) {
        config::assert_may_register();
        assert_uri(&metadata_uri);
        let address = signer::address_of(operator);
        assert!(!exists<Orchestrator>(address), error::already_exists(EALREADY_REGISTERED));
        reputation::open(operator);
        move_to(operator, Orchestrator::V1 {
            metadata_uri, status: STATUS_OFFLINE, whitelisted: false, nodes: vector[],
        });
        event::emit(OrchestratorRegistered::V1 { operator: address, metadata_uri });
    }

    /// An operator adds a node, whose key must have signed `NodeKeyProof` for this chain and operator.
    ///
    /// Aborts if registrations are paused, the caller is not registered, the URI is empty or too long, there are 64
    /// nodes, the node is there already, the key is not 32 or the proof not 64 bytes, or the proof is wrong.
    public entry fun add_node(
        operator: &signer, node_public_key: vector<u8>, specs_uri: String, proof: vector<u8>
    ) acquires Orchestrator {
        config::assert_may_register();
        assert_uri(&specs_uri);
        let operator = signer::address_of(operator);
        let nodes = &mut borrow_orchestrator(operator).nodes;
        assert!(nodes.length() < MAX_NODES, error::resource_exhausted(ETOO_MANY_NODES));
        let (found, _) = find_node(nodes, &node_public_key);
        assert!(!found, error::already_exists(ENODE_EXISTS));
        assert!(
            ed25519::signature_verify_strict_t(
                &ed25519::new_signature_from_bytes(proof),
                &ed25519::new_unvalidated_public_key_from_bytes(node_public_key),
                NodeKeyProof { chain_id: chain_id::get(), operator, node_public_key },
            ),
            error::unauthenticated(EBAD_PROOF)
        );
        nodes.push_back(Node::V1 { public_key: node_public_key, specs_uri, validated: false });
        event::emit(NodeAdded::V1 { operator, node_public_key, specs_uri });
    }

    /// An operator removes a node. Tasks that the node has go on.
    ///
    /// Aborts if the caller is not registered or has no such node.
    public entry fun remove_node(operator: &signer, node_public_key: vector<u8>) acquires Orchestrator {
        let operator = signer::address_of(operator);
        let nodes = &mut borrow_orchestrator(operator).nodes;
        let index = index_of_node(nodes, &node_public_key);
        nodes.remove(index);
        event::emit(NodeRemoved::V1 { operator, node_public_key });
    }

    /// An operator says whether it is online (1), draining (2) or offline (3).
    ///
    /// Aborts if the caller is not registered or there is no such status.
    public entry fun set_status(operator: &signer, status: u8) acquires Orchestrator {
        assert!(
            status >= STATUS_ONLINE && status <= STATUS_OFFLINE,
            error::invalid_argument(EBAD_STATUS)
        );
        let operator = signer::address_of(operator);
        borrow_orchestrator(operator).status = status;
        event::emit(StatusChanged::V1 { operator, status });
    }

    /// A validator lets an operator have tasks, or no more.
    ///
    /// Aborts if the caller is not a validator or the operator is not registered.
    public entry fun whitelist(validator: &signer, operator: address, allowed: bool) acquires Orchestrator {
        config::assert_validator(validator);
        borrow_orchestrator(operator).whitelisted = allowed;
        event::emit(WhitelistChanged::V1 { validator: signer::address_of(validator), operator, allowed });
    }

    /// A validator confirms what an operator says about a node.
    ///
    /// Aborts if the caller is not a validator, the operator is not registered, or it has no such node.
    public entry fun validate_node(
        validator: &signer, operator: address, node_public_key: vector<u8>
    ) acquires Orchestrator {
        set_validated(validator, operator, node_public_key, true);
    }

    /// A validator takes its confirmation of a node back.
    ///
    /// Aborts as `validate_node` does.
    public entry fun invalidate_node(
        validator: &signer, operator: address, node_public_key: vector<u8>
    ) acquires Orchestrator {
        set_validated(validator, operator, node_public_key, false);
    }

    /// An operator leaves. Its reputation stays.
    ///
    /// Aborts if the caller is not registered or still has a bond or something unbonding.
    public entry fun deregister(operator: &signer) acquires Orchestrator {
        let operator = signer::address_of(operator);
        assert!(exists<Orchestrator>(operator), error::not_found(ENOT_REGISTERED));
        assert!(stake::is_empty(operator), error::invalid_state(ESTAKE_LEFT));
        let Orchestrator::V1 { metadata_uri: _, status: _, whitelisted: _, nodes: _ } =
            move_from<Orchestrator>(operator);
        event::emit(OrchestratorDeregistered::V1 { operator });
    }

    //
    // For the other modules
    //

    /// Aborts unless the operator is registered.
    package fun assert_registered(operator: address) {
        assert!(exists<Orchestrator>(operator), error::not_found(ENOT_REGISTERED));
    }

    /// Aborts unless the operator is registered and whitelisted.
    package fun assert_whitelisted(operator: address) acquires Orchestrator {
        assert!(borrow_orchestrator(operator).whitelisted, error::permission_denied(ENOT_WHITELISTED));
    }

    /// Aborts unless the operator is registered and the node is its own and validated.
    package fun assert_validated(operator: address, node_public_key: &vector<u8>) acquires Orchestrator {
        let nodes = &borrow_orchestrator(operator).nodes;
        let index = index_of_node(nodes, node_public_key);
        assert!(nodes[index].validated, error::permission_denied(ENODE_NOT_VALIDATED));
    }

    /// Whether the operator is registered with this node.
    package fun has_node(operator: address, node_public_key: &vector<u8>): bool acquires Orchestrator {
        if (!exists<Orchestrator>(operator)) return false;
        let (found, _) = find_node(&Orchestrator[operator].nodes, node_public_key);
        found
    }

    //
    // Helpers
    //

    inline fun borrow_orchestrator(operator: address): &mut Orchestrator {
        assert!(exists<Orchestrator>(operator), error::not_found(ENOT_REGISTERED));
        &mut Orchestrator[operator]
    }

    fun set_validated(
        validator: &signer, operator: address, node_public_key: vector<u8>, validated: bool
    ) acquires Orchestrator {
        config::assert_validator(validator);
        let nodes = &mut borrow_orchestrator(operator).nodes;
        let index = index_of_node(nodes, &node_public_key);
        nodes[index].validated = validated;
        event::emit(NodeValidationChanged::V1 {
            validator: signer::address_of(validator), operator, node_public_key, validated,
        });
    }

    fun find_node(nodes: &vector<Node>, public_key: &vector<u8>): (bool, u64) {
        let i = 0;
        while (i < nodes.length()) {
            if (&nodes[i].public_key == public_key) return (true, i);
            i += 1;
        };
        (false, 0)
    }

    fun index_of_node(nodes: &vector<Node>, public_key: &vector<u8>): u64 {
        let (found, index) = find_node(nodes, public_key);
        assert!(found, error::not_found(ENODE_NOT_FOUND));
        index
    }

    fun assert_uri(uri: &String) {
        let length = uri.length();
        assert!(length > 0 && length <= MAX_URI_BYTES, error::invalid_argument(EBAD_URI));
    }

    #[test_only]
    public fun new_proof_for_test(chain_id: u8, operator: address, node_public_key: vector<u8>): NodeKeyProof {
        NodeKeyProof { chain_id, operator, node_public_key }
    }

    #[test_only]
    public fun unpack_for_test(self: OrchestratorView): (bool, String, u8, bool, vector<NodeView>) {
        (self.registered, self.metadata_uri, self.status, self.whitelisted, self.nodes)
    }

    #[test_only]
    public fun unpack_node_for_test(self: NodeView): (vector<u8>, String, bool) {
        (self.public_key, self.specs_uri, self.validated)
    }
}
