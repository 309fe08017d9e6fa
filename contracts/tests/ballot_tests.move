#[test_only]
/// The layout of commitments, which clients compute for themselves.
module cactus::ballot_tests {
    use std::vector;
    use aptos_std::from_bcs;
    use cactus::ballot;
    use cactus::world;

    // The test in the ledger's `case.rs` has the same numbers.
    #[test]
    fun a_commitment_is_laid_out_as_clients_compute_it() {
        world::start();
        let (case, validator) = (from_bcs::to_address(world::id(7)), from_bcs::to_address(world::id(8)));
        let commitment = ballot::commitment(case, false, validator, true, world::id(3));
        assert!(commitment == x"96b205d2bb3ae9073417cd02a296926e679f00b6f65a88b8db0b67930c581432", vector::length(&commitment));
    }
}
