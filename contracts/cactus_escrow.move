/// One client's money: what it may take back and what tasks lock. Knows nothing of tasks and orders.
///
/// The vault holds `available + locked` after every call. Callers check what they take against `available`.
module cactus::escrow {
    use aptos_framework::fungible_asset::FungibleAsset;
    use cactus::vault::{Self, Vault};

    //
    // Structs
    //

    enum Escrow has store {
        V1 {
            vault: Vault,
            available: u64,
            locked: u64,
        }
    }

    /// What `payment::balance` answers, in octas.
    struct BalanceView has copy, drop {
        available: u64,
        locked: u64,
    }

    //
    // For the other modules
    //

    /// An empty escrow.
    package fun create(): Escrow {
        Escrow::V1 { vault: vault::create(), available: 0, locked: 0 }
    }

    package fun available(self: &Escrow): u64 { self.available }
    package fun vault_balance(self: &Escrow): u64 { self.vault.balance() }
    package fun view(self: &Escrow): BalanceView { BalanceView { available: self.available, locked: self.locked } }

    /// What a view says of a client without an escrow.
    package fun empty(): BalanceView { BalanceView { available: 0, locked: 0 } }

    /// Takes `octas` of the payer's own.
    ///
    /// Aborts if the amount is zero or the payer holds less.
    package fun deposit(self: &mut Escrow, payer: &signer, octas: u64) {
        self.vault.take_from(payer, octas);
        self.available += octas;
    }

    /// Pays `octas` of what is available to `recipient`.
    package fun withdraw(self: &mut Escrow, recipient: address, octas: u64) {
        self.available -= octas;
        self.vault.pay(recipient, octas);
    }

    /// Locks `octas` of what is available.
    package fun lock(self: &mut Escrow, octas: u64) {
        self.available -= octas;
        self.locked += octas;
    }

    /// Undoes a lock of `octas`: `refund` of them become available again and the rest comes out.
    package fun release(self: &mut Escrow, octas: u64, refund: u64): FungibleAsset {
        self.locked -= octas;
        self.available += refund;
        self.vault.take(octas - refund)
    }

    #[test_only]
    public fun unpack_for_test(self: BalanceView): (u64, u64) {
        (self.available, self.locked)
    }
}
