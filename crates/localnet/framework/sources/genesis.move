/// The first state of the chain, and the faucet of a development chain.
module aptos_framework::genesis {
    use aptos_framework::account;
    use aptos_framework::aptos_coin;
    use aptos_framework::chain_id;
    use aptos_framework::object;
    use aptos_framework::timestamp;

    // Called once by the chain, before the first block.
    fun initialize(chain_id: u8) {
        let framework = account::create_signer(@aptos_framework);
        account::initialize(&framework);
        chain_id::initialize(&framework, chain_id);
        timestamp::set_time_has_started(&framework);
        let apt = object::create_sticky_object_at_address(@aptos_framework, @0xa);
        aptos_coin::initialize(&framework, &apt);
    }

    // The faucet: creates the account if need be and mints `amount` octas for it.
    fun mint(to: address, amount: u64) {
        account::create_account_if_does_not_exist(to);
        aptos_coin::mint_to(to, amount);
    }

    #[test_only]
    public fun initialize_for_test(chain_id: u8) {
        initialize(chain_id)
    }

    #[test_only]
    public fun mint_for_test(to: address, amount: u64) {
        mint(to, amount)
    }
}
