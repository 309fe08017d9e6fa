/// One client's money: what it may use, what tasks lock, and what it has asked to take back. Knows nothing of tasks and
/// orders.
///
/// The vault holds `available + locked` after every call. A request to withdraw moves nothing: the amount stays
/// available to tasks until it is paid out. Callers check what they take against `available`.
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
            /// What the client asked to take back; 0 if nothing.
            requested: u64,
            /// From when on it may take that; 0 if nothing is requested.
            withdraw_from_seconds: u64,
        }
    }

    /// What `payment::balance` answers, amounts in octas.
    struct BalanceView has copy, drop {
        /// Not locked; includes what is requested.
        available: u64,
        locked: u64,
        /// What the client asked to take back; 0 if nothing. Whoever works on credit counts it as gone.
        requested: u64,
        /// From when on it may be taken; 0 if nothing is requested.
        withdraw_from_seconds: u64,
    }

    //
    // For the other modules
    //

    /// An empty escrow.
    package fun create(): Escrow {
        Escrow::V1 { vault: vault::create(), available: 0, locked: 0, requested: 0, withdraw_from_seconds: 0 }
    }

    package fun available(self: &Escrow): u64 { self.available }
    package fun total(self: &Escrow): u64 { self.available + self.locked }
    package fun requested(self: &Escrow): u64 { self.requested }
    package fun withdraw_from_seconds(self: &Escrow): u64 { self.withdraw_from_seconds }
    package fun vault_balance(self: &Escrow): u64 { self.vault.balance() }

    package fun view(self: &Escrow): BalanceView {
        BalanceView {
            available: self.available, locked: self.locked, requested: self.requested,
            withdraw_from_seconds: self.withdraw_from_seconds,
        }
    }

    /// What a view says of a client without an escrow.
    package fun empty(): BalanceView {
        BalanceView { available: 0, locked: 0, requested: 0, withdraw_from_seconds: 0 }
    }

    /// Takes `octas` of the payer's own.
    ///
    /// Aborts if the amount is zero or the payer holds less.
    package fun deposit(self: &mut Escrow, payer: &signer, octas: u64) {
        self.vault.take_from(payer, octas);
        self.available += octas;
    }

    /// Notes that the client wants `octas` back at `from_seconds`, in place of what it wanted before.
    package fun request(self: &mut Escrow, octas: u64, from_seconds: u64) {
        self.requested = octas;
        self.withdraw_from_seconds = from_seconds;
    }

    /// Pays `recipient` what is requested, as far as it is available, ends the request and says how much was paid.
    package fun withdraw(self: &mut Escrow, recipient: address): u64 {
        let octas = if (self.requested < self.available) self.requested else self.available;
        self.request(0, 0);
        self.available -= octas;
        self.vault.pay(recipient, octas);
        octas
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

    #[test_only]
    public fun request_for_test(self: BalanceView): (u64, u64) {
        (self.requested, self.withdraw_from_seconds)
    }
}
