/// What the chain itself does around a transaction. Nothing here is reachable from one.
module aptos_framework::transaction_validation {
    use std::error;
    use aptos_framework::account;
    use aptos_framework::aptos_coin;
    use aptos_framework::transaction_fee;

    /// The charge does not fit into 64 bits.
    const EOUT_OF_GAS: u64 = 6;

    const MAX_U64: u128 = 18446744073709551615;

    // Charges the payer and, unless the transaction is orderless, uses up the sender's sequence number.
    fun epilogue(
        sender: address, gas_payer: address, gas_price: u64, gas_units: u64, uses_sequence_number: bool
    ) {
        let amount = (gas_price as u128) * (gas_units as u128);
        assert!(amount <= MAX_U64, error::out_of_range(EOUT_OF_GAS));
        aptos_coin::burn_fee(gas_payer, (amount as u64));
        transaction_fee::emit_fee_statement(gas_units);
        if (uses_sequence_number) account::increment_sequence_number(sender);
    }
}
