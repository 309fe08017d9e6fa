/// The record of one accusation: who said what, which phase it is in, and how it is decided. Moves no money but the bonds
/// in its own vault, and judges nothing but by the ballots.
module cactus::case {
    use std::signer;
    use aptos_framework::timestamp;
    use cactus::ballot::Ballot;
    use cactus::pricing;
    use cactus::treasury;
    use cactus::vault::Vault;

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

    const APPEAL_BOND_FACTOR: u64 = 2;
    const HALF_BPS: u64 = 5000;

    //
    // Structs
    //

    /// One accusation. For ever.
    enum Case has store {
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

    /// Who stands against whom, and about which task.
    struct Parties has drop {
        accuser: address,
        operator: address,
        client: address,
        task_id: vector<u8>,
    }

    enum Appeal has drop, store {
        None,
        Filed { appellant: address, bond: u64, ballot: Ballot },
    }

    /// What `dispute::case` answers, amounts in octas.
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
    // For the other modules
    //

    package fun parties(accuser: address, operator: address, client: address, task_id: vector<u8>): Parties {
        Parties { accuser, operator, client, task_id }
    }

    /// An open case.
    package fun new(
        vault: Vault, parties: Parties, evidence_hash: vector<u8>, bond: u64, quarantined: u64, ballot: Ballot,
        appeal_until_seconds: u64
    ): Case {
        let Parties { accuser, operator, client, task_id } = parties;
        Case::V1 {
            vault, accuser, operator, client, task_id, evidence_hash, response_hash: vector[], bond, quarantined,
            ballot, appeal_until_seconds, appeal: Appeal::None, outcome: 0,
        }
    }

    package fun accuser(self: &Case): address { self.accuser }
    package fun operator(self: &Case): address { self.operator }
    package fun client(self: &Case): address { self.client }
    package fun task_id(self: &Case): vector<u8> { self.task_id }
    package fun evidence_hash(self: &Case): vector<u8> { self.evidence_hash }
    package fun quarantined(self: &Case): u64 { self.quarantined }
    package fun is_open(self: &Case): bool { self.outcome == 0 }
    package fun is_due(self: &Case): bool { self.phase() == PHASE_DUE }
    package fun is_answered(self: &Case): bool { !self.response_hash.is_empty() }
    package fun is_appealed(self: &Case): bool { !(self.appeal is Appeal::None) }
    package fun vault_balance(self: &Case): u64 { self.vault.balance() }
    package fun is_upheld(outcome: u8): bool { outcome == OUTCOME_UPHELD }

    /// Whether the accused may still answer.
    package fun may_respond(self: &Case): bool {
        let (commit_from_seconds, _, _) = self.ballot.times();
        timestamp::now_seconds() < commit_from_seconds
    }

    /// Whether the first vote is over and the window to appeal against it is not.
    package fun may_appeal(self: &Case): bool {
        self.ballot.is_over() && timestamp::now_seconds() < self.appeal_until_seconds
    }

    /// Whether the first vote went against `who`. A vote that lapsed went against no one.
    package fun has_lost(self: &Case, who: address): bool {
        let outcome = self.ballot.outcome();
        (outcome == OUTCOME_UPHELD && who == self.operator) || (outcome == OUTCOME_REJECTED && who == self.accuser)
    }

    /// The ballot that decides now, and whether it is the appeal's.
    package fun current_ballot(self: &mut Case): (&mut Ballot, bool) {
        match (&mut self.appeal) {
            None => (&mut self.ballot, false),
            Filed { ballot, .. } => (ballot, true),
        }
    }

    /// Notes the hash of the operator's defence.
    package fun respond(self: &mut Case, response_hash: vector<u8>) {
        self.response_hash = response_hash;
    }

    /// Opens the second ballot, takes the appellant's bond and says how much it is.
    ///
    /// Aborts if the appellant holds less.
    package fun appeal(self: &mut Case, appellant: &signer, ballot: Ballot): u64 {
        let bond = self.bond * APPEAL_BOND_FACTOR;
        self.vault.take_from(appellant, bond);
        self.appeal = Appeal::Filed { appellant: signer::address_of(appellant), bond, ballot };
        bond
    }

    /// Closes the case, returns or divides the bonds, and says how it ended and what its accuser lost.
    package fun close(self: &mut Case): (u8, u64) {
        self.outcome = self.decide();
        let forfeited_octas = self.settle_bond();
        self.settle_appeal_bond();
        (self.outcome, forfeited_octas)
    }

    /// All about the case.
    package fun view(self: &Case): CaseView {
        let (appellant, appeal_bond, ballot) = match (&self.appeal) {
            None => (@0x0, 0, &self.ballot),
            Filed { appellant, bond, ballot } => (*appellant, *bond, ballot),
        };
        let (upholds, rejects) = ballot.tally();
        let (commit_from_seconds, commit_until_seconds, reveal_until_seconds) = ballot.times();
        CaseView {
            phase: self.phase(), outcome: self.outcome, accuser: self.accuser, operator: self.operator,
            client: self.client, task_id: self.task_id, evidence_hash: self.evidence_hash,
            response_hash: self.response_hash, bond: self.bond, quarantined: self.quarantined,
            appellant, appeal_bond, voters: ballot.voters(), upholds, rejects, commit_from_seconds,
            commit_until_seconds, reveal_until_seconds, appeal_until_seconds: self.appeal_until_seconds,
        }
    }

    //
    // Helpers
    //

    fun phase(self: &Case): u8 {
        if (self.outcome != 0) return PHASE_CLOSED;
        let now = timestamp::now_seconds();
        let (ballot, appealed) = match (&self.appeal) {
            None => (&self.ballot, false),
            Filed { ballot, .. } => (ballot, true),
        };
        let (commit_from_seconds, commit_until_seconds, reveal_until_seconds) = ballot.times();
        if (now < commit_from_seconds) PHASE_RESPONSE
        else if (now < commit_until_seconds) PHASE_COMMIT
        else if (now < reveal_until_seconds) PHASE_REVEAL
        // A vote that decided nothing has no loser who could appeal.
        else if (appealed || now >= self.appeal_until_seconds || ballot.outcome() == OUTCOME_LAPSED) PHASE_DUE
        else PHASE_APPEAL
    }

    // An appeal that decides nothing leaves the first decision as it is.
    fun decide(self: &Case): u8 {
        let first = self.ballot.outcome();
        match (&self.appeal) {
            None => first,
            Filed { ballot, .. } => if (ballot.outcome() == OUTCOME_LAPSED) first else ballot.outcome(),
        }
    }

    // Upheld, the accuser's bond returns. Rejected, half of it goes to the operator and half to the treasury. Lapsed,
    // half goes to the operator, whose stake was held back for nothing, and half returns.
    fun settle_bond(self: &Case): u64 {
        if (self.outcome == OUTCOME_UPHELD) {
            self.vault.pay(self.accuser, self.bond);
            return 0
        };
        let to_operator = pricing::share(self.bond, HALF_BPS);
        self.vault.pay(self.operator, to_operator);
        if (self.outcome == OUTCOME_LAPSED) {
            self.vault.pay(self.accuser, self.bond - to_operator);
            to_operator
        } else {
            treasury::confiscate(self.vault.take(self.bond - to_operator));
            self.bond
        }
    }

    fun settle_appeal_bond(self: &Case) {
        match (&self.appeal) {
            None => {},
            Filed { appellant, bond, ballot } => {
                let was_in_vain = ballot.outcome() == self.ballot.outcome();
                if (was_in_vain) treasury::confiscate(self.vault.take(*bond))
                else self.vault.pay(*appellant, *bond);
            },
        };
    }

    #[test_only]
    public fun unpack_for_test(self: CaseView): (u8, u8, u64, u64, u64, u64) {
        (self.phase, self.outcome, self.upholds, self.rejects, self.bond, self.appeal_bond)
    }
}
