/// One vote of validators on one question: first every voter commits to an opinion, then all reveal. Moves no money and
/// decides nothing but what the votes add up to.
///
/// Who may vote is fixed when the ballot opens, so no one can be added to win it. Nobody sees an opinion before
/// committing, so none can be copied.
module cactus::ballot {
    use std::bcs;
    use std::error;
    use std::hash;
    use aptos_framework::chain_id;
    use aptos_framework::timestamp;

    //
    // Errors
    //

    /// The caller has no vote here.
    const ENOT_VOTER: u64 = 1;
    /// This is not the time to commit.
    const ENOT_COMMIT_TIME: u64 = 2;
    /// This is not the time to reveal.
    const ENOT_REVEAL_TIME: u64 = 3;
    /// A commitment must be 32 bytes.
    const EBAD_COMMITMENT: u64 = 4;
    /// The voter has committed already.
    const EALREADY_COMMITTED: u64 = 5;
    /// The voter has no commitment left to reveal.
    const ENOT_COMMITTED: u64 = 6;
    /// This is not what the voter committed to.
    const EWRONG_REVEAL: u64 = 7;
    /// A salt must be 32 bytes.
    const EBAD_SALT: u64 = 8;

    //
    // Constants
    //

    const OUTCOME_UPHELD: u8 = 1;
    const OUTCOME_REJECTED: u8 = 2;
    const OUTCOME_LAPSED: u8 = 3;

    const HASH_BYTES: u64 = 32;

    //
    // Structs
    //

    enum Ballot has drop, store {
        V1 {
            voters: vector<address>,
            /// By the voter's index.
            votes: vector<Vote>,
            commit_from_seconds: u64,
            /// The end of committing and the beginning of revealing.
            commit_until_seconds: u64,
            reveal_until_seconds: u64,
        }
    }

    enum Vote has copy, drop, store {
        None,
        Committed { commitment: vector<u8> },
        Uphold,
        Reject,
    }

    /// A commitment is the SHA3-256 of this in BCS. The salt is secret and random, else two guesses would open it.
    struct Opinion has drop {
        chain_id: u8,
        case: address,
        appeal: bool,
        validator: address,
        uphold: bool,
        salt: vector<u8>,
    }

    //
    // Views
    //

    #[view]
    /// What `validator` commits to before it reveals `uphold` and `salt`. To be computed in private: a public node that
    /// is asked learns the opinion.
    public fun commitment(case: address, appeal: bool, validator: address, uphold: bool, salt: vector<u8>): vector<u8> {
        hash::sha3_256(bcs::to_bytes(&Opinion { chain_id: chain_id::get(), case, appeal, validator, uphold, salt }))
    }

    //
    // For the other modules
    //

    /// A ballot of `voters`, with `vote_seconds` each to commit and to reveal.
    package fun open(voters: vector<address>, commit_from_seconds: u64, vote_seconds: u64): Ballot {
        let votes = vector[];
        while (votes.length() < voters.length()) votes.push_back(Vote::None);
        Ballot::V1 {
            voters, votes, commit_from_seconds,
            commit_until_seconds: commit_from_seconds + vote_seconds,
            reveal_until_seconds: commit_from_seconds + 2 * vote_seconds,
        }
    }

    package fun voters(self: &Ballot): vector<address> { self.voters }

    /// When committing begins, when revealing does, and when both are over.
    package fun times(self: &Ballot): (u64, u64, u64) {
        (self.commit_from_seconds, self.commit_until_seconds, self.reveal_until_seconds)
    }

    /// Whether all time to vote is over.
    package fun is_over(self: &Ballot): bool {
        timestamp::now_seconds() >= self.reveal_until_seconds
    }

    /// Records that `voter` committed.
    ///
    /// Aborts if it is not the time, it has no vote or committed already, or the commitment is not 32 bytes.
    package fun commit(self: &mut Ballot, voter: address, commitment: vector<u8>) {
        let now = timestamp::now_seconds();
        assert!(
            now >= self.commit_from_seconds && now < self.commit_until_seconds,
            error::invalid_state(ENOT_COMMIT_TIME)
        );
        assert!(commitment.length() == HASH_BYTES, error::invalid_argument(EBAD_COMMITMENT));
        let vote = self.borrow_vote(voter);
        assert!(*vote == Vote::None, error::invalid_state(EALREADY_COMMITTED));
        *vote = Vote::Committed { commitment };
    }

    /// Counts what `voter` committed to.
    ///
    /// Aborts if it is not the time, it has no vote, did not commit or revealed already, the salt is not 32 bytes, or
    /// opinion and salt are not what it committed to.
    package fun reveal(self: &mut Ballot, case: address, appeal: bool, voter: address, uphold: bool, salt: vector<u8>) {
        let now = timestamp::now_seconds();
        assert!(
            now >= self.commit_until_seconds && now < self.reveal_until_seconds,
            error::invalid_state(ENOT_REVEAL_TIME)
        );
        assert!(salt.length() == HASH_BYTES, error::invalid_argument(EBAD_SALT));
        let vote = self.borrow_vote(voter);
        let promised = match (vote) {
            Committed { commitment } => *commitment,
            _ => abort error::invalid_state(ENOT_COMMITTED),
        };
        assert!(
            promised == commitment(case, appeal, voter, uphold, salt),
            error::invalid_argument(EWRONG_REVEAL)
        );
        *vote = if (uphold) Vote::Uphold else Vote::Reject;
    }

    /// Revealed opinions for and against.
    package fun tally(self: &Ballot): (u64, u64) {
        let (upholds, rejects) = (0, 0);
        self.votes.for_each_ref(|vote| {
            if (*vote == Vote::Uphold) upholds += 1
            else if (*vote == Vote::Reject) rejects += 1;
        });
        (upholds, rejects)
    }

    /// What the votes add up to: upheld (1) by two thirds of all voters; else rejected (2) if two thirds voted; else
    /// lapsed (3).
    package fun outcome(self: &Ballot): u8 {
        let (upholds, rejects) = self.tally();
        let needed = 2 * self.voters.length();
        if (needed > 0 && 3 * upholds >= needed) OUTCOME_UPHELD
        else if (needed > 0 && 3 * (upholds + rejects) >= needed) OUTCOME_REJECTED
        else OUTCOME_LAPSED
    }

    //
    // Helpers
    //

    fun borrow_vote(self: &mut Ballot, voter: address): &mut Vote {
        let (found, index) = self.voters.index_of(&voter);
        assert!(found, error::permission_denied(ENOT_VOTER));
        &mut self.votes[index]
    }
}
