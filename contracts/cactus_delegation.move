/// Which orchestrators may run another's tasks. Moves neither money nor responsibility: the orchestrator that took a
/// task is paid for it, is judged by it and answers for it with its stake, whoever ran it.
module cactus::delegation {
    use std::error;
    use std::signer;
    use aptos_framework::event;
    use cactus::config;
    use cactus::registry;

    //
    // Errors
    //

    /// Nobody is its own delegate.
    const ESELF: u64 = 1;
    /// The delegate is one already.
    const EALREADY_DELEGATE: u64 = 2;
    /// There is no such delegate.
    const ENOT_DELEGATE: u64 = 3;
    /// The operator has 32 delegates already.
    const ETOO_MANY_DELEGATES: u64 = 4;

    //
    // Constants
    //

    const MAX_DELEGATES: u64 = 32;

    //
    // Structs
    //

    /// Who may run an operator's tasks. At the operator's address, for ever.
    enum Delegates has key {
        V1 { operators: vector<address> }
    }

    //
    // Events
    //

    #[event]
    enum DelegateAdded has drop, store {
        V1 { operator: address, delegate: address }
    }

    #[event]
    enum DelegateRemoved has drop, store {
        V1 { operator: address, delegate: address }
    }

    //
    // Views
    //

    #[view]
    /// The operator's delegates, in the order in which they were added.
    public fun delegates(operator: address): vector<address> acquires Delegates {
        if (exists<Delegates>(operator)) Delegates[operator].operators else vector[]
    }

    //
    // Entry functions
    //

    /// An operator lets another registered operator run its tasks.
    ///
    /// Aborts if registrations are paused, either is not registered, both are the same, the delegate is one already,
    /// or there are 32.
    public entry fun add_delegate(operator: &signer, delegate: address) acquires Delegates {
        config::assert_may_register();
        let address = signer::address_of(operator);
        registry::assert_registered(address);
        registry::assert_registered(delegate);
        assert!(delegate != address, error::invalid_argument(ESELF));
        if (!exists<Delegates>(address)) move_to(operator, Delegates::V1 { operators: vector[] });
        let operators = &mut Delegates[address].operators;
        assert!(!operators.contains(&delegate), error::already_exists(EALREADY_DELEGATE));
        assert!(operators.length() < MAX_DELEGATES, error::resource_exhausted(ETOO_MANY_DELEGATES));
        operators.push_back(delegate);
        event::emit(DelegateAdded::V1 { operator: address, delegate });
    }

    /// An operator takes that back. Tasks that the delegate runs go on. Never paused.
    ///
    /// Aborts if there is no such delegate.
    public entry fun remove_delegate(operator: &signer, delegate: address) acquires Delegates {
        let operator = signer::address_of(operator);
        assert!(exists<Delegates>(operator), error::not_found(ENOT_DELEGATE));
        let operators = &mut Delegates[operator].operators;
        let (found, index) = operators.index_of(&delegate);
        assert!(found, error::not_found(ENOT_DELEGATE));
        operators.remove(index);
        event::emit(DelegateRemoved::V1 { operator, delegate });
    }

    //
    // For the other modules
    //

    /// Aborts unless the operator is whitelisted and the node is a validated one of its own or of a whitelisted
    /// delegate.
    package fun assert_may_work(operator: address, node_public_key: &vector<u8>) acquires Delegates {
        registry::assert_whitelisted(operator);
        let runner = runner_of(operator, node_public_key);
        registry::assert_whitelisted(runner);
        registry::assert_validated(runner, node_public_key);
    }

    //
    // Helpers
    //

    // Whose node it is: the operator's own or a delegate's. The operator if it is neither's.
    fun runner_of(operator: address, node_public_key: &vector<u8>): address acquires Delegates {
        if (registry::has_node(operator, node_public_key) || !exists<Delegates>(operator)) return operator;
        let operators = &Delegates[operator].operators;
        let i = 0;
        while (i < operators.length()) {
            if (registry::has_node(operators[i], node_public_key)) return operators[i];
            i += 1;
        };
        operator
    }
}
