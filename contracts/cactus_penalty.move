/// What a proven fault costs an operator and who gets it. Judges nothing: a closed case of `dispute` says who is at fault.
///
/// Slashed funds go to the accuser up to a cap, to the client of the task up to what it paid, and else to the treasury;
/// never to whoever slashes. The same evidence punishes once, and the same task is compensated once.
module cactus::penalty {
    use std::bcs;
    use aptos_std::table::{Self, Table};
    use aptos_framework::fungible_asset::{Self, FungibleAsset};
    use cactus::client_account;
    use cactus::parameters;
    use cactus::pricing;
    use cactus::stake;
    use cactus::treasury;
    use cactus::vault;

    //
    // Structs
    //

    /// What was used up. At the contract's address.
    enum Penalties has key {
        V1 {
            /// Operator and evidence hash of what was punished or is under an open case.
            evidence: Table<vector<u8>, bool>,
            /// Client and id of tasks whose client was compensated.
            compensated: Table<vector<u8>, bool>,
        }
    }

    /// Where slashed funds went, in octas.
    struct Division has copy, drop {
        slashed_octas: u64,
        bounty_octas: u64,
        compensation_octas: u64,
        treasury_octas: u64,
    }

    //
    // For the other modules
    //

    fun init_module(publisher: &signer) {
        move_to(publisher, Penalties::V1 { evidence: table::new(), compensated: table::new() });
    }

    /// Whether this evidence against the operator was punished, or an open case is about it.
    package fun is_evidence_used(operator: address, evidence_hash: vector<u8>): bool acquires Penalties {
        Penalties[@cactus].evidence.contains(key(operator, evidence_hash))
    }

    /// Marks evidence as used.
    package fun use_evidence(operator: address, evidence_hash: vector<u8>) acquires Penalties {
        let evidence = &mut Penalties[@cactus].evidence;
        evidence.add(key(operator, evidence_hash), true);
    }

    /// Takes the mark back, when a case about it came to nothing.
    package fun free_evidence(operator: address, evidence_hash: vector<u8>) acquires Penalties {
        let evidence = &mut Penalties[@cactus].evidence;
        evidence.remove(key(operator, evidence_hash));
    }

    /// Slashes up to `octas` of an operator and divides them. The accuser `@0x0` gets no bounty, the client `@0x0` no
    /// compensation.
    ///
    /// Aborts if the operator has nothing to slash.
    package fun punish(
        operator: address, octas: u64, accuser: address, client: address, task_id: vector<u8>
    ): Division acquires Penalties {
        let funds = stake::slash(operator, octas);
        let slashed_octas = fungible_asset::amount(&funds);
        let bounty_octas = pay_bounty(&mut funds, accuser);
        let compensation_octas = compensate(&mut funds, client, task_id);
        let treasury_octas = fungible_asset::amount(&funds);
        treasury::confiscate(funds);
        Division { slashed_octas, bounty_octas, compensation_octas, treasury_octas }
    }

    /// A division of nothing.
    package fun nothing(): Division {
        Division { slashed_octas: 0, bounty_octas: 0, compensation_octas: 0, treasury_octas: 0 }
    }

    /// Octas slashed, and of them the bounty, the compensation and the treasury's part.
    package fun unpack(self: Division): (u64, u64, u64, u64) {
        (self.slashed_octas, self.bounty_octas, self.compensation_octas, self.treasury_octas)
    }

    //
    // Helpers
    //

    fun key(who: address, what: vector<u8>): vector<u8> {
        let key = bcs::to_bytes(&who);
        key.append(what);
        key
    }

    fun pay_bounty(funds: &mut FungibleAsset, accuser: address): u64 {
        if (accuser == @0x0) return 0;
        let octas = pricing::share(fungible_asset::amount(funds), parameters::slash_bounty_cap_bps());
        vault::give(accuser, fungible_asset::extract(funds, octas));
        octas
    }

    fun compensate(funds: &mut FungibleAsset, client: address, task_id: vector<u8>): u64 acquires Penalties {
        if (client == @0x0) return 0;
        let key = key(client, task_id);
        let compensated = &mut Penalties[@cactus].compensated;
        if (compensated.contains(key)) return 0;
        let charge = if (client_account::has_task(client, task_id)) client_account::task(client, task_id).charged() else 0;
        let left = fungible_asset::amount(funds);
        let octas = if (charge < left) charge else left;
        if (octas > 0) compensated.add(key, true);
        vault::give(client, fungible_asset::extract(funds, octas));
        octas
    }

    #[test_only]
    public fun init_for_test(publisher: &signer) {
        init_module(publisher)
    }
}
