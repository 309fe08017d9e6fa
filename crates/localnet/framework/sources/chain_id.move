/// The number that tells one chain from another; signed messages carry it.
module aptos_framework::chain_id {
    friend aptos_framework::genesis;

    struct ChainId has key {
        id: u8
    }

    public(friend) fun initialize(aptos_framework: &signer, id: u8) {
        move_to(aptos_framework, ChainId { id })
    }

    #[view]
    /// The id of this chain.
    public fun get(): u8 acquires ChainId {
        ChainId[@aptos_framework].id
    }

    #[test_only]
    public fun initialize_for_test(aptos_framework: &signer, id: u8) {
        initialize(aptos_framework, id)
    }
}
