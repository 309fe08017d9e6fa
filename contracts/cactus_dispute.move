/// Accusations of orchestrators, and what they cost whom. Neither a validator nor anyone who ends a case is ever paid.
///
/// Anyone may accuse, with a bond. The accused may answer, validators vote, the loser may appeal once, and anyone ends
/// the case when its time is over. While a case is open, as much of the operator's stake as it may cost stays put.
/// Each case is an object of its own, which `@0x0` owns and whose vault holds the bonds.
module cactus::dispute {
    use std::error;
    use std::signer;
    use aptos_framework::event;
    use aptos_framework::timestamp;
    use cactus::ballot::{Self, Ballot};
    use cactus::config;
    use cactus::payment;
    use cactus::penalty::{Self, Division};
    use cactus::pricing;
    use cactus::reputation;
    use cactus::stake;
    use cactus::treasury;
    use cactus::vault::{Self, Vault};

    //
    // Errors
    //

    /// The amount must not be zero.
    const EZERO_AMOUNT: u64 = 1;
    /// Hashes must be 32 bytes.
    const EBAD_EVIDENCE_HASH: u64 = 2;
    /// This evidence against the operator was punished already, or an open case is about it.
    const EEVIDENCE_USED: u64 = 3;
    /// The accuser must be neither the validator nor the operator.
    const EBAD_ACCUSER: u64 = 4;
    /// The client has no such task of this operator, or a task is named without a client.
    const ENOT_ITS_TASK: u64 = 5;
    /// The operator has nothing at stake.
    const ENOTHING_AT_STAKE: u64 = 6;
    /// No validator could vote on this.
    const ENO_VOTERS: u64 = 7;
    /// There is no case at this address.
    const ENO_CASE: u64 = 8;
    /// The case is closed.
    const ECLOSED: u64 = 9;
    /// The caller is not the accused operator.
    const ENOT_ACCUSED: u64 = 10;
    /// The time to answer is over.
    const ETOO_LATE_TO_RESPOND: u64 = 11;
    /// The operator has answered already.
    const EALREADY_RESPONDED: u64 = 12;
    /// This is not the time to appeal.
    const ENOT_APPEAL_TIME: u64 = 13;
    /// There was an appeal already.
    const EALREADY_APPEALED: u64 = 14;
    /// Only the one who lost may appeal.
    const ENOT_LOSER: u64 = 15;
    /// The case still has time left.
    const ETOO_EARLY: u64 = 16;

    //
    // Constants
    //

    const OUTCOME_UPHELD: u8 = 1;
    const OUTCOME_REJECTED: u8 = 2;
    const OUTCOME_LAPSED: u8 = 3;

    const PHASE_RESPONSE: u8 = 1;
    const PHASE_COMMIT: u8 = 2;
    const PHASE_REVEAL: u8 = 3;
    const PHASE_APPEAL: u8 = 4;
    const PHASE_DUE: u8 = 5;
    const PHASE_CLOSED: u8 = 6;

    const HASH_BYTES: u64 = 32;
    const APPEAL_BOND_FACTOR: u64 = 2;
    const HALF_BPS: u64 = 5000;

    //
    // Structs
    //

    /// One accusation. At an address of its own, for ever.
    enum Case has key {
        V1 {
            vault: Vault,
            accuser: address,
            operator: address,
            /// Whose task it is about; `@0x0` if none.
            client: address,
            task_id: vector<u8>,
            evidence_hash: vector<u8>,
            /// Empty until the operator answers.
            response_hash: vector<u8>,
            bond: u64,
            /// What the operator may lose; held back in `stake` while the case is open.
            quarantined: u64,
            ballot: Ballot,
            appeal_until_seconds: u64,
            appeal: Appeal,
            /// 0 while the case is open.
            outcome: u8,
        }
    }

    enum Appeal has drop, store {
        None,
        Filed { appellant: address, bond: u64, ballot: Ballot },
    }

    /// What `case` answers, amounts in octas.
    struct CaseView has copy, drop {
        /// 0 unknown, 1 response, 2 commit, 3 reveal, 4 appeal window, 5 due, 6 closed. An appeal has 2, 3 and 5 anew.
        phase: u8,
        /// 0 open, 1 upheld, 2 rejected, 3 lapsed.
        outcome: u8,
        accuser: address,
        operator: address,
        client: address,
        task_id: vector<u8>,
        evidence_hash: vector<u8>,
        response_hash: vector<u8>,
        bond: u64,
        quarantined: u64,
        appellant: address,
        appeal_bond: u64,
        /// Of the current ballot.
        voters: vector<address>,
        upholds: u64,
        rejects: u64,
        commit_from_seconds: u64,
        commit_until_seconds: u64,
        reveal_until_seconds: u64,
        appeal_until_seconds: u64,
    }

    //
    // Events
    //

    #[event]
    enum OperatorSlashed has drop, store {
        V1 {
            validator: address, operator: address, accuser: address, evidence_hash: vector<u8>,
            slashed_octas: u64, bounty_octas: u64, treasury_octas: u64,
        }
    }

    #[event]
    enum CaseOpened has drop, store {
        V1 {
            case: address, accuser: address, operator: address, client: address, task_id: vector<u8>,
            evidence_hash: vector<u8>, bond: u64, quarantined: u64, commit_from_seconds: u64,
            commit_until_seconds: u64, reveal_until_seconds: u64, appeal_until_seconds: u64,
        }
    }

    #[event]
    enum CaseAnswered has drop, store {
        V1 { case: address, operator: address, response_hash: vector<u8> }
    }

    #[event]
    enum VoteCommitted has drop, store {
        V1 { case: address, appeal: bool, validator: address }
    }

    #[event]
    enum VoteRevealed has drop, store {
        V1 { case: address, appeal: bool, validator: address, uphold: bool }
    }

    #[event]
    enum CaseAppealed has drop, store {
        V1 {
            case: address, appellant: address, bond: u64, commit_from_seconds: u64, commit_until_seconds: u64,
            reveal_until_seconds: u64,
        }
    }

    #[event]
    enum CaseClosed has drop, store {
        V1 {
            case: address, accuser: address, operator: address, client: address, outcome: u8, slashed_octas: u64,
            bounty_octas: u64, compensation_octas: u64, treasury_octas: u64,
        }
    }

    //
    // Views
    //

    #[view]
    /// All about a case.
    ///
    /// Aborts if there is none.
    public fun case(case: address): CaseView acquires Case {
        let record = borrow_case(case);
        let (appellant, appeal_bond, ballot) = match (&record.appeal) {
            None => (@0x0, 0, &record.ballot),
            Filed { appellant, bond, ballot } => (*appellant, *bond, ballot),
        };
        let (upholds, rejects) = ballot.tally();
        let (commit_from_seconds, commit_until_seconds, reveal_until_seconds) = ballot.times();
        CaseView {
            phase: phase(record), outcome: record.outcome, accuser: record.accuser, operator: record.operator,
            client: record.client, task_id: record.task_id, evidence_hash: record.evidence_hash,
            response_hash: record.response_hash, bond: record.bond, quarantined: record.quarantined,
            appellant, appeal_bond, voters: ballot.voters(), upholds, rejects, commit_from_seconds,
            commit_until_seconds, reveal_until_seconds, appeal_until_seconds: record.appeal_until_seconds,
        }
    }

    #[view]
    /// What the case's vault really holds, in octas: the bonds while it is open.
    public fun vault_balance(case: address): u64 acquires Case {
        if (exists<Case>(case)) Case[case].vault.balance() else 0
    }

    //
    // Entry functions
    //

    /// A validator takes up to `amount` octas of an operator's stake, what unbonds included, for a fault that anyone
    /// can check, such as two receipts for one task: the evidence behind the hash must be public. The accuser gets at
    /// most the share that the parameter `slash_bounty_cap_bps` allows; the rest, rounding included, goes to the
    /// treasury. The accuser `@0x0` stands for nobody: then all of it does.
    ///
    /// Aborts if the caller is not a validator, the amount is zero, the evidence hash is not 32 bytes or was used, the
    /// accuser is the validator or the operator, or the operator has nothing to slash.
    public entry fun slash(
        validator: &signer, operator: address, amount: u64, accuser: address, evidence_hash: vector<u8>
    ) {
        config::assert_validator(validator);
        let validator = signer::address_of(validator);
        assert!(amount > 0, error::invalid_argument(EZERO_AMOUNT));
        assert!(accuser != validator && accuser != operator, error::invalid_argument(EBAD_ACCUSER));
        use_evidence(operator, evidence_hash);
        let (slashed_octas, bounty_octas, _, treasury_octas) =
            penalty::punish(operator, amount, accuser, @0x0, vector[]).unpack();
        event::emit(OperatorSlashed::V1 {
            validator, operator, accuser, evidence_hash, slashed_octas, bounty_octas, treasury_octas,
        });
    }

    /// Anyone accuses an operator, with the bond that the parameter `accuser_bond` asks for. If it is about a task, it
    /// names the client and the task, and the client gets back what the task cost if the case is upheld; else they are
    /// `@0x0` and empty. The case's address is in the event `CaseOpened`.
    ///
    /// Aborts if the accuser is the operator or cannot pay the bond, the evidence hash is not 32 bytes or was used, the
    /// task is not one of this client and operator, the operator has nothing at stake, or no validator could vote.
    public entry fun accuse(
        accuser: &signer, operator: address, client: address, task_id: vector<u8>, evidence_hash: vector<u8>
    ) {
        open(accuser, operator, client, task_id, evidence_hash);
    }

    /// The accused operator answers with the hash of its defence. It need not: silence proves nothing.
    ///
    /// Aborts if there is no such case, the caller is not its operator, the hash is not 32 bytes, there is an answer,
    /// or voting has begun.
    public entry fun respond(operator: &signer, case: address, response_hash: vector<u8>) acquires Case {
        let record = borrow_case(case);
        let operator = signer::address_of(operator);
        assert!(operator == record.operator, error::permission_denied(ENOT_ACCUSED));
        assert!(response_hash.length() == HASH_BYTES, error::invalid_argument(EBAD_EVIDENCE_HASH));
        let (commit_from_seconds, _, _) = record.ballot.times();
        assert!(timestamp::now_seconds() < commit_from_seconds, error::invalid_state(ETOO_LATE_TO_RESPOND));
        assert!(record.response_hash.is_empty(), error::invalid_state(EALREADY_RESPONDED));
        record.response_hash = response_hash;
        event::emit(CaseAnswered::V1 { case, operator, response_hash });
    }

    /// A validator commits to its opinion by the hash that `ballot::commitment` defines.
    ///
    /// Aborts if there is no such case, the caller is not or no longer a validator or has no vote in it, it is not the
    /// time, the commitment is not 32 bytes, or it committed already.
    public entry fun commit_vote(validator: &signer, case: address, commitment: vector<u8>) acquires Case {
        config::assert_validator(validator);
        let validator = signer::address_of(validator);
        let (ballot, appeal) = current_ballot(borrow_case(case));
        ballot.commit(validator, commitment);
        event::emit(VoteCommitted::V1 { case, appeal, validator });
    }

    /// A validator reveals the opinion that it committed to.
    ///
    /// Aborts if there is no such case, the caller is not or no longer a validator or has no vote in it, it is not the
    /// time, it did not commit or revealed already, or opinion and salt are not what it committed to.
    public entry fun reveal_vote(validator: &signer, case: address, uphold: bool, salt: vector<u8>) acquires Case {
        config::assert_validator(validator);
        let validator = signer::address_of(validator);
        let (ballot, appeal) = current_ballot(borrow_case(case));
        ballot.reveal(case, appeal, validator, uphold, salt);
        event::emit(VoteRevealed::V1 { case, appeal, validator, uphold });
    }

    /// The one who lost the first vote asks for a second one, with twice the accuser's bond. The bond returns if the
    /// second vote decides otherwise, or nothing.
    ///
    /// Aborts if there is no such case, it is not the time, there was an appeal, the caller did not lose, or it holds
    /// less than the bond.
    public entry fun appeal(appellant: &signer, case: address) acquires Case {
        let record = borrow_case(case);
        let address = signer::address_of(appellant);
        assert!(record.appeal is Appeal::None, error::invalid_state(EALREADY_APPEALED));
        let now = timestamp::now_seconds();
        assert!(
            record.ballot.is_over() && now < record.appeal_until_seconds,
            error::invalid_state(ENOT_APPEAL_TIME)
        );
        let outcome = record.ballot.outcome();
        assert!(
            (outcome == OUTCOME_UPHELD && address == record.operator)
                || (outcome == OUTCOME_REJECTED && address == record.accuser),
            error::permission_denied(ENOT_LOSER)
        );
        let bond = record.bond * APPEAL_BOND_FACTOR;
        record.vault.take_from(appellant, bond);
        let (_, vote_seconds, _) = config::case_seconds();
        let ballot = ballot::open(voters(record.accuser, record.operator, record.client), now, vote_seconds);
        let (commit_from_seconds, commit_until_seconds, reveal_until_seconds) = ballot.times();
        record.appeal = Appeal::Filed { appellant: address, bond, ballot };
        event::emit(CaseAppealed::V1 {
            case, appellant: address, bond, commit_from_seconds, commit_until_seconds, reveal_until_seconds,
        });
    }

    /// Anyone ends a case whose time is over. Upheld, the operator is slashed: a capped bounty goes to the accuser,
    /// what the task cost to its client, the rest to the treasury, and the accuser's bond returns. Rejected, half of
    /// the accuser's bond goes to the operator and half to the treasury. Lapsed, the bond returns. Never paused.
    ///
    /// Aborts if there is no such case, it is closed, or it still has time left.
    public entry fun finalize(_anyone: &signer, case: address) acquires Case {
        let record = borrow_case(case);
        assert!(record.outcome == 0, error::invalid_state(ECLOSED));
        assert!(phase(record) == PHASE_DUE, error::invalid_state(ETOO_EARLY));
        let outcome = decide(record);
        record.outcome = outcome;
        let (accuser, operator, client) = (record.accuser, record.operator, record.client);
        stake::release(operator, record.quarantined);
        return_bonds(record, outcome);
        let division = if (outcome == OUTCOME_UPHELD) punish(record) else {
            penalty::free_evidence(operator, record.evidence_hash);
            penalty::nothing()
        };
        let (slashed_octas, bounty_octas, compensation_octas, treasury_octas) = division.unpack();
        event::emit(CaseClosed::V1 {
            case, accuser, operator, client, outcome, slashed_octas, bounty_octas, compensation_octas, treasury_octas,
        });
    }

    //
    // Helpers
    //

    inline fun borrow_case(case: address): &mut Case {
        assert!(exists<Case>(case), error::not_found(ENO_CASE));
        &mut Case[case]
    }

    fun open(
        accuser: &signer, operator: address, client: address, task_id: vector<u8>, evidence_hash: vector<u8>
    ): address {
        let accuser_address = signer::address_of(accuser);
        assert!(accuser_address != operator, error::invalid_argument(EBAD_ACCUSER));
        let (orchestrator, _) = payment::orchestrator_and_charge(client, task_id);
        assert!(
            orchestrator == operator || (client == @0x0 && task_id.is_empty()),
            error::invalid_argument(ENOT_ITS_TASK)
        );
        use_evidence(operator, evidence_hash);
        let quarantined = pricing::share(stake::total(operator), config::case_slash_bps());
        assert!(quarantined > 0, error::invalid_state(ENOTHING_AT_STAKE));
        stake::quarantine(operator, quarantined);

        let (response_seconds, vote_seconds, appeal_seconds) = config::case_seconds();
        let commit_from_seconds = timestamp::now_seconds() + response_seconds;
        let voters = voters(accuser_address, operator, client);
        assert!(!voters.is_empty(), error::invalid_state(ENO_VOTERS));
        let ballot = ballot::open(voters, commit_from_seconds, vote_seconds);
        let (_, commit_until_seconds, reveal_until_seconds) = ballot.times();
        let appeal_until_seconds = reveal_until_seconds + appeal_seconds;
        let bond = config::accuser_bond();
        let (vault, object) = vault::create_with_signer();
        vault.take_from(accuser, bond);
        move_to(&object, Case::V1 {
            vault, accuser: accuser_address, operator, client, task_id, evidence_hash, response_hash: vector[], bond,
            quarantined, ballot, appeal_until_seconds, appeal: Appeal::None, outcome: 0,
        });
        let case = signer::address_of(&object);
        event::emit(CaseOpened::V1 {
            case, accuser: accuser_address, operator, client, task_id, evidence_hash, bond, quarantined,
            commit_from_seconds, commit_until_seconds, reveal_until_seconds, appeal_until_seconds,
        });
        case
    }

    fun use_evidence(operator: address, evidence_hash: vector<u8>) {
        assert!(evidence_hash.length() == HASH_BYTES, error::invalid_argument(EBAD_EVIDENCE_HASH));
        assert!(!penalty::is_evidence_used(operator, evidence_hash), error::already_exists(EEVIDENCE_USED));
        penalty::use_evidence(operator, evidence_hash);
    }

    // All validators but those with an interest in the case.
    fun voters(accuser: address, operator: address, client: address): vector<address> {
        let voters = vector[];
        config::validators().for_each_ref(|validator| {
            let validator = *validator;
            if (validator != accuser && validator != operator && validator != client) voters.push_back(validator);
        });
        voters
    }

    // The ballot that decides now, and whether it is the appeal's.
    fun current_ballot(record: &mut Case): (&mut Ballot, bool) {
        match (&mut record.appeal) {
            None => (&mut record.ballot, false),
            Filed { ballot, .. } => (ballot, true),
        }
    }

    fun phase(record: &Case): u8 {
        if (record.outcome != 0) return PHASE_CLOSED;
        let now = timestamp::now_seconds();
        let (ballot, appealed) = match (&record.appeal) {
            None => (&record.ballot, false),
            Filed { ballot, .. } => (ballot, true),
        };
        let (commit_from_seconds, commit_until_seconds, reveal_until_seconds) = ballot.times();
        if (now < commit_from_seconds) PHASE_RESPONSE
        else if (now < commit_until_seconds) PHASE_COMMIT
        else if (now < reveal_until_seconds) PHASE_REVEAL
        // A vote that decided nothing has no loser who could appeal.
        else if (appealed || now >= record.appeal_until_seconds || ballot.outcome() == OUTCOME_LAPSED) PHASE_DUE
        else PHASE_APPEAL
    }

    // An appeal that decides nothing leaves the first decision as it is.
    fun decide(record: &Case): u8 {
        let first = record.ballot.outcome();
        match (&record.appeal) {
            None => first,
            Filed { ballot, .. } => if (ballot.outcome() == OUTCOME_LAPSED) first else ballot.outcome(),
        }
    }

    fun return_bonds(record: &Case, outcome: u8) {
        if (outcome == OUTCOME_REJECTED) {
            let to_operator = pricing::share(record.bond, HALF_BPS);
            record.vault.pay(record.operator, to_operator);
            treasury::confiscate(record.vault.take(record.bond - to_operator));
        } else record.vault.pay(record.accuser, record.bond);
        match (&record.appeal) {
            None => {},
            Filed { appellant, bond, ballot } => {
                let was_in_vain = ballot.outcome() == record.ballot.outcome();
                if (was_in_vain) treasury::confiscate(record.vault.take(*bond))
                else record.vault.pay(*appellant, *bond);
            },
        };
    }

    fun punish(record: &Case): Division {
        reputation::record_failed_by_provider(record.operator);
        // Another case may have taken everything in the meantime; that must not keep this one open.
        if (stake::total(record.operator) == 0) return penalty::nothing();
        penalty::punish(record.operator, record.quarantined, record.accuser, record.client, record.task_id)
    }

    #[test_only]
    public fun accuse_for_test(
        accuser: &signer, operator: address, client: address, task_id: vector<u8>, evidence_hash: vector<u8>
    ): address {
        open(accuser, operator, client, task_id, evidence_hash)
    }

    #[test_only]
    public fun unpack_for_test(self: CaseView): (u8, u8, u64, u64, u64, u64) {
        (self.phase, self.outcome, self.upholds, self.rejects, self.bond, self.appeal_bond)
    }
}
