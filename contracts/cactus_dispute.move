/// Accusations of orchestrators, and what they cost whom. Neither a validator nor anyone who ends a case is ever paid,
/// and no single person's word takes a stake: only a closed case does.
///
/// Anyone may accuse, with a bond. The accused may answer, validators vote, the loser may appeal once, and anyone ends
/// the case when its time is over. While a case is open, as much of the operator's stake as it may cost stays put, and
/// so does the lock of a delivered task that its client or server asked the case to hold.
/// Each case is an object of its own, which `@0x0` owns and whose vault holds the bonds.
module cactus::dispute {
    use std::error;
    use std::signer;
    use aptos_framework::event;
    use aptos_framework::timestamp;
    use cactus::accuser;
    use cactus::ballot;
    use cactus::case::{Self, Case, CaseView};
    use cactus::client_account;
    use cactus::config;
    use cactus::parameters;
    use cactus::payment;
    use cactus::penalty::{Self, Division};
    use cactus::pricing;
    use cactus::reputation;
    use cactus::stake;
    use cactus::vault;

    //
    // Errors
    //

    /// The caller is neither the client nor the server of a task of this case that is under review.
    const EMAY_NOT_HOLD: u64 = 1;
    /// Hashes must be 32 bytes.
    const EBAD_EVIDENCE_HASH: u64 = 2;
    /// This evidence against the operator was punished already, or an open case is about it.
    const EEVIDENCE_USED: u64 = 3;
    /// Nobody accuses itself.
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

    const HASH_BYTES: u64 = 32;

    //
    // Structs
    //

    /// At an address of its own, for ever.
    enum Record has key {
        V1 { case: Case }
    }

    //
    // Events
    //

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
    /// `forfeited_octas` is what the accuser lost of its bond.
    enum CaseClosed has drop, store {
        V1 {
            case: address, accuser: address, operator: address, client: address, outcome: u8, slashed_octas: u64,
            bounty_octas: u64, compensation_octas: u64, treasury_octas: u64, forfeited_octas: u64,
        }
    }

    //
    // Views
    //

    #[view]
    /// All about a case.
    ///
    /// Aborts if there is none.
    public fun case(case: address): CaseView acquires Record { borrow_case(case).view() }

    #[view]
    /// What the case's vault really holds, in octas: the bonds while it is open.
    public fun vault_balance(case: address): u64 acquires Record {
        if (exists<Record>(case)) Record[case].case.vault_balance() else 0
    }

    //
    // Entry functions
    //

    /// Anyone accuses an operator, with the bond that `accuser::bond_for` asks for. If it is about a task, it names the
    /// client and the task, and the client gets back what the task cost if the case is upheld; else they are `@0x0` and
    /// empty. A delivered task that is under review is held until the case is closed if its client or its server
    /// accuses. The case's address is in the event `CaseOpened`.
    ///
    /// Aborts if the accuser is the operator, had a case come to nothing lately or cannot pay the bond, the evidence
    /// hash is not 32 bytes or was used, the task is not one of this client and operator, the operator has nothing at
    /// stake, or no validator could vote.
    public entry fun accuse(
        accuser: &signer, operator: address, client: address, task_id: vector<u8>, evidence_hash: vector<u8>
    ) {
        open(accuser, operator, client, task_id, evidence_hash);
    }

    /// The client or the server of a delivered task that is under review has an open case about that task, which
    /// someone else brought, hold it until the case is closed. Moves nothing.
    ///
    /// Aborts if there is no such case, it is closed, or the caller may not have its task held.
    public entry fun hold_task(party: &signer, case: address) acquires Record {
        let record = borrow_case(case);
        assert!(record.is_open(), error::invalid_state(ECLOSED));
        let (party, client, task_id) = (signer::address_of(party), record.client(), record.task_id());
        assert!(payment::may_hold(party, client, task_id), error::permission_denied(EMAY_NOT_HOLD));
        payment::hold_task(party, client, task_id, case);
    }

    /// The accused operator answers with the hash of its defence. It need not: silence proves nothing. Moves nothing.
    ///
    /// Aborts if there is no such case, the caller is not its operator, the hash is not 32 bytes, there is an answer,
    /// or voting has begun.
    public entry fun respond(operator: &signer, case: address, response_hash: vector<u8>) acquires Record {
        let record = borrow_case(case);
        let operator = signer::address_of(operator);
        assert!(operator == record.operator(), error::permission_denied(ENOT_ACCUSED));
        assert!(response_hash.length() == HASH_BYTES, error::invalid_argument(EBAD_EVIDENCE_HASH));
        assert!(record.may_respond(), error::invalid_state(ETOO_LATE_TO_RESPOND));
        assert!(!record.is_answered(), error::invalid_state(EALREADY_RESPONDED));
        record.respond(response_hash);
        event::emit(CaseAnswered::V1 { case, operator, response_hash });
    }

    /// A validator commits to its opinion by the hash that `ballot::commitment` defines. Moves nothing.
    ///
    /// Aborts if there is no such case, the caller is not or no longer a validator or has no vote in it, it is not the
    /// time, the commitment is not 32 bytes, or it committed already.
    public entry fun commit_vote(validator: &signer, case: address, commitment: vector<u8>) acquires Record {
        config::assert_validator(validator);
        let validator = signer::address_of(validator);
        let (ballot, appeal) = borrow_case(case).current_ballot();
        ballot.commit(validator, commitment);
        event::emit(VoteCommitted::V1 { case, appeal, validator });
    }

    /// A validator reveals the opinion that it committed to. Moves nothing.
    ///
    /// Aborts if there is no such case, the caller is not or no longer a validator or has no vote in it, it is not the
    /// time, it did not commit or revealed already, or opinion and salt are not what it committed to.
    public entry fun reveal_vote(validator: &signer, case: address, uphold: bool, salt: vector<u8>) acquires Record {
        config::assert_validator(validator);
        let validator = signer::address_of(validator);
        let (ballot, appeal) = borrow_case(case).current_ballot();
        ballot.reveal(case, appeal, validator, uphold, salt);
        event::emit(VoteRevealed::V1 { case, appeal, validator, uphold });
    }

    /// The one who lost the first vote asks for a second one, with twice the accuser's bond. The bond returns if the
    /// second vote decides otherwise, or nothing.
    ///
    /// Aborts if there is no such case, it is not the time, there was an appeal, the caller did not lose, or it holds
    /// less than the bond.
    public entry fun appeal(appellant: &signer, case: address) acquires Record {
        let record = borrow_case(case);
        let address = signer::address_of(appellant);
        assert!(!record.is_appealed(), error::invalid_state(EALREADY_APPEALED));
        assert!(record.may_appeal(), error::invalid_state(ENOT_APPEAL_TIME));
        assert!(record.has_lost(address), error::permission_denied(ENOT_LOSER));
        let (_, vote_seconds, _) = parameters::case_seconds();
        let voters = voters(record.accuser(), record.operator(), record.client());
        let ballot = ballot::open(voters, timestamp::now_seconds(), vote_seconds);
        let (commit_from_seconds, commit_until_seconds, reveal_until_seconds) = ballot.times();
        let bond = record.appeal(appellant, ballot);
        event::emit(CaseAppealed::V1 {
            case, appellant: address, bond, commit_from_seconds, commit_until_seconds, reveal_until_seconds,
        });
    }

    /// Anyone ends a case whose time is over. Upheld, the operator is slashed: a capped bounty goes to the accuser,
    /// what the task cost to its client, the rest to the treasury, and the accuser's bond returns. Rejected, half of
    /// the accuser's bond goes to the operator and half to the treasury. Lapsed, half goes to the operator and half
    /// returns. An accuser whose case came to nothing accuses no one for a while. A task that the case held is refunded
    /// if it was upheld, and else paid as it was delivered. Never paused.
    ///
    /// Aborts if there is no such case, it is closed, or it still has time left.
    public entry fun finalize(_anyone: &signer, case: address) acquires Record {
        let record = borrow_case(case);
        assert!(record.is_open(), error::invalid_state(ECLOSED));
        assert!(record.is_due(), error::invalid_state(ETOO_EARLY));
        let (accuser, operator, client) = (record.accuser(), record.operator(), record.client());
        stake::release(operator, record.quarantined());
        let (outcome, forfeited_octas) = record.close();
        let upheld = case::is_upheld(outcome);
        payment::resolve_task(client, record.task_id(), case, upheld);
        let division = if (upheld) punish(record) else {
            penalty::free_evidence(operator, record.evidence_hash());
            accuser::bar(accuser);
            penalty::nothing()
        };
        let (slashed_octas, bounty_octas, compensation_octas, treasury_octas) = division.unpack();
        event::emit(CaseClosed::V1 {
            case, accuser, operator, client, outcome, slashed_octas, bounty_octas, compensation_octas, treasury_octas,
            forfeited_octas,
        });
    }

    //
    // Helpers
    //

    inline fun borrow_case(case: address): &mut Case {
        assert!(exists<Record>(case), error::not_found(ENO_CASE));
        &mut Record[case].case
    }

    fun open(
        accuser: &signer, operator: address, client: address, task_id: vector<u8>, evidence_hash: vector<u8>
    ): address {
        let address = signer::address_of(accuser);
        assert!(address != operator, error::invalid_argument(EBAD_ACCUSER));
        accuser::admit(accuser);
        assert_its_task(operator, client, task_id);
        use_evidence(operator, evidence_hash);
        let quarantined = pricing::share(stake::total(operator), parameters::case_slash_bps());
        assert!(quarantined > 0, error::invalid_state(ENOTHING_AT_STAKE));
        stake::quarantine(operator, quarantined);

        let (response_seconds, vote_seconds, appeal_seconds) = parameters::case_seconds();
        let commit_from_seconds = timestamp::now_seconds() + response_seconds;
        let voters = voters(address, operator, client);
        assert!(!voters.is_empty(), error::invalid_state(ENO_VOTERS));
        let ballot = ballot::open(voters, commit_from_seconds, vote_seconds);
        let (_, commit_until_seconds, reveal_until_seconds) = ballot.times();
        let appeal_until_seconds = reveal_until_seconds + appeal_seconds;
        let bond = accuser::bond_for(quarantined);
        let (vault, object) = vault::create_with_signer(vault::apt());
        vault.take_from(accuser, bond);
        let parties = case::parties(address, operator, client, task_id);
        let record = case::new(vault, parties, evidence_hash, bond, quarantined, ballot, appeal_until_seconds);
        move_to(&object, Record::V1 { case: record });
        let case = signer::address_of(&object);
        event::emit(CaseOpened::V1 {
            case, accuser: address, operator, client, task_id, evidence_hash, bond, quarantined,
            commit_from_seconds, commit_until_seconds, reveal_until_seconds, appeal_until_seconds,
        });
        if (payment::may_hold(address, client, task_id)) payment::hold_task(address, client, task_id, case);
        case
    }

    // A case is about a task of this client and operator, or about none.
    fun assert_its_task(operator: address, client: address, task_id: vector<u8>) {
        let is_its = client_account::has_task(client, task_id)
            && client_account::task(client, task_id).orchestrator() == operator;
        assert!(is_its || (client == @0x0 && task_id.is_empty()), error::invalid_argument(ENOT_ITS_TASK));
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

    fun punish(record: &Case): Division {
        let operator = record.operator();
        reputation::record_failed_by_provider(operator);
        // Another case may have taken everything in the meantime; that must not keep this one open.
        if (stake::total(operator) == 0) return penalty::nothing();
        penalty::punish(operator, record.quarantined(), record.accuser(), record.client(), record.task_id())
    }

    #[test_only]
    public fun accuse_for_test(
        accuser: &signer, operator: address, client: address, task_id: vector<u8>, evidence_hash: vector<u8>
    ): address {
        open(accuser, operator, client, task_id, evidence_hash)
    }
}
