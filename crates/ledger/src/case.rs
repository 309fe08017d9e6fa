//! Cases against operators, as the contracts hold them, and what a validator commits to. It never
//! keeps an opinion: the salt that hides one is derived anew from the validator's key.

use crate::ledger::{Ledger, ViewError};
use cactus_protocol::{Address, Hash, Octas, SecretKey};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Sha3_256};

/// Which step a case has come to; an appeal goes through `Commit`, `Reveal` and `Due` anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", from = "u8")]
pub enum CasePhase {
    /// The accused may answer.
    Response,
    /// Validators commit.
    Commit,
    /// Validators reveal.
    Reveal,
    /// Who lost may appeal.
    Appeal,
    /// Anyone may end it.
    Due,
    /// It has ended.
    Closed,
    /// A later version of the contracts says something else.
    Other,
}

impl From<u8> for CasePhase {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Response,
            2 => Self::Commit,
            3 => Self::Reveal,
            4 => Self::Appeal,
            5 => Self::Due,
            6 => Self::Closed,
            _ => Self::Other,
        }
    }
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", from = "u8")]
pub enum CaseOutcome {
    /// It has not.
    Open,
    /// The operator was at fault.
    Upheld,
    /// It was not.
    Rejected,
    /// Too few voted.
    Lapsed,
}

impl From<u8> for CaseOutcome {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::Upheld,
            2 => Self::Rejected,
            3 => Self::Lapsed,
            _ => Self::Open,
        }
    }
}

/// A case. Times are Unix seconds; those of voting are of the current ballot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseInfo {
    /// Which step it has come to.
    pub phase: CasePhase,
    /// How it ended.
    pub outcome: CaseOutcome,
    /// Who accuses.
    pub accuser: Address,
    /// Who is accused.
    pub operator: Address,
    /// Whose task it is about; the zero address if none.
    pub client: Address,
    /// Which task; empty if none.
    #[serde(serialize_with = "as_hex")]
    pub task_id: Vec<u8>,
    /// Of the evidence.
    #[serde(deserialize_with = "hash_of_vector")]
    pub evidence_hash: Hash,
    /// Of the defence; empty until the operator answers.
    #[serde(serialize_with = "as_hex")]
    pub response_hash: Vec<u8>,
    /// What the accuser put up.
    pub bond: Octas,
    /// How much of the operator's stake is held back.
    pub quarantined: Octas,
    /// Who appealed; the zero address if nobody.
    pub appellant: Address,
    /// What it put up.
    pub appeal_bond: Octas,
    /// Who votes.
    pub voters: Vec<Address>,
    /// Revealed opinions for the accuser.
    pub upholds: u64,
    /// Revealed opinions for the operator.
    pub rejects: u64,
    /// When committing begins.
    pub commit_from_seconds: u64,
    /// When revealing begins.
    pub commit_until_seconds: u64,
    /// When voting is over.
    pub reveal_until_seconds: u64,
    /// When the first decision can no longer be appealed.
    pub appeal_until_seconds: u64,
}

/// Move has no arrays: a hash comes as a vector.
fn hash_of_vector<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let bytes = Vec::<u8>::deserialize(deserializer)?;
    let hash = <[u8; 32]>::try_from(bytes.as_slice());
    hash.map(Hash).map_err(|_| serde::de::Error::invalid_length(bytes.len(), &"32 bytes"))
}

fn as_hex<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("0x{}", hex::encode(bytes)))
}

/// A validator's opinion of a case, on one chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opinion {
    /// On which chain.
    pub chain_id: u8,
    /// Of which case.
    pub case: Address,
    /// Whether of its appeal.
    pub appeal: bool,
    /// Whether it is for the accuser.
    pub uphold: bool,
}

impl Opinion {
    /// The secret that hides the opinion until it is revealed. Nobody without the key can guess
    /// it, and nothing has to be kept to reveal.
    pub fn salt(&self, key: &SecretKey) -> Hash {
        let hash = Sha3_256::new()
            .chain_update(b"cactus::ballot::salt")
            .chain_update(key.seed().as_slice())
            .chain_update([self.chain_id, u8::from(self.appeal)])
            .chain_update(self.case.0);
        Hash(hash.finalize().into())
    }

    /// What the validator commits to: as the contract's view `ballot::commitment`, which must not
    /// be asked, because whoever answers would learn the opinion.
    pub fn commitment(&self, validator: Address, salt: Hash) -> Hash {
        let mut bytes = vec![self.chain_id];
        bytes.extend(self.case.0);
        bytes.push(u8::from(self.appeal));
        bytes.extend(validator.0);
        bytes.push(u8::from(self.uphold));
        // BCS writes the length of a vector before it.
        bytes.push(32);
        bytes.extend(salt.0);
        Hash::of(&bytes)
    }
}

impl Ledger {
    /// A case.
    ///
    /// # Errors
    /// See [`ViewError`]; [`ViewError::Incompatible`] if there is none at this address.
    pub async fn case(&self, case: Address) -> Result<CaseInfo, ViewError> {
        Ok(self.rest().view("dispute::case", vec![case.0.to_vec()]).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPINION: Opinion =
        Opinion { chain_id: 4, case: Address([7; 32]), appeal: false, uphold: true };

    /// `ballot_tests::a_commitment_is_laid_out_as_clients_compute_it` has the same numbers.
    #[test]
    fn a_commitment_is_what_the_contract_computes() {
        let commitment = OPINION.commitment(Address([8; 32]), Hash([3; 32]));
        assert_eq!(
            commitment.to_string(),
            "0x96b205d2bb3ae9073417cd02a296926e679f00b6f65a88b8db0b67930c581432"
        );
    }

    #[test]
    fn a_salt_is_of_one_key_case_and_ballot() {
        let (key, other) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let salt = OPINION.salt(&key);
        assert_eq!(salt, Opinion { uphold: false, ..OPINION }.salt(&key));
        assert_ne!(salt, OPINION.salt(&other));
        assert_ne!(salt, Opinion { appeal: true, ..OPINION }.salt(&key));
        assert_ne!(salt, Opinion { case: Address([9; 32]), ..OPINION }.salt(&key));
    }
}
