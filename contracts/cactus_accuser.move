/// What it costs to accuse: a bond that grows with what the case holds back, and a pause after a case that came to
/// nothing. So nobody holds back a stake for long at another's cost. Judges no case.
module cactus::accuser {
    use std::error;
    use std::signer;
    use aptos_framework::timestamp;
    use cactus::parameters;
    use cactus::pricing;

    //
    // Errors
    //

    /// A case of this accuser came to nothing lately; it has to wait.
    const ECOOLING_DOWN: u64 = 1;

    //
    // Structs
    //

    /// At the accuser's address, for ever.
    enum Accuser has key {
        V1 { barred_until_seconds: u64 }
    }

    //
    // Views
    //

    #[view]
    /// From when on `account` may accuse; 0 if it always might.
    public fun barred_until_seconds(account: address): u64 acquires Accuser {
        if (exists<Accuser>(account)) Accuser[account].barred_until_seconds else 0
    }

    #[view]
    /// What an accuser puts up, in octas, for a case that holds back `quarantined` octas:
    /// `max(accuser_bond, quarantined * accuser_bond_bps / 10000)`.
    public fun bond_for(quarantined: u64): u64 {
        let (least, share) = (parameters::accuser_bond(), pricing::share(quarantined, parameters::accuser_bond_bps()));
        if (share > least) share else least
    }

    //
    // For the other modules
    //

    /// Opens the accuser's record if it has none.
    ///
    /// Aborts if a case of it came to nothing less than `accuser_cooldown_seconds` ago.
    package fun admit(accuser: &signer) acquires Accuser {
        let address = signer::address_of(accuser);
        if (!exists<Accuser>(address)) move_to(accuser, Accuser::V1 { barred_until_seconds: 0 });
        assert!(
            timestamp::now_seconds() >= Accuser[address].barred_until_seconds,
            error::invalid_state(ECOOLING_DOWN)
        );
    }

    /// Notes that a case of the accuser came to nothing.
    package fun bar(accuser: address) acquires Accuser {
        Accuser[accuser].barred_until_seconds = timestamp::now_seconds() + parameters::accuser_cooldown_seconds();
    }
}
