/// What transactions paid.
module aptos_framework::transaction_fee {
    use aptos_framework::event;

    friend aptos_framework::transaction_validation;

    #[event]
    /// Gas in units, storage in octas. This chain charges no storage.
    struct FeeStatement has drop, store {
        total_charge_gas_units: u64,
        execution_gas_units: u64,
        io_gas_units: u64,
        storage_fee_octas: u64,
        storage_fee_refund_octas: u64,
    }

    public(friend) fun emit_fee_statement(gas_units: u64) {
        event::emit(FeeStatement {
            total_charge_gas_units: gas_units,
            execution_gas_units: gas_units,
            io_gas_units: 0,
            storage_fee_octas: 0,
            storage_fee_refund_octas: 0,
        });
    }
}
