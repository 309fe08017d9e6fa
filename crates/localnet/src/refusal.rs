//! Why a transaction never reached the chain, in Aptos' words and numbers.
//! Never describes a transaction that was committed: one that aborts has a status, not a refusal.

/// A reason to discard a transaction. Names and codes are those of Aptos' `StatusCode`
/// validation errors, because the official clients match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error("INVALID_SIGNATURE")]
    InvalidSignature,
    #[error("INVALID_AUTH_KEY")]
    InvalidAuthenticationKey,
    #[error("SEQUENCE_NUMBER_TOO_OLD")]
    SequenceNumberTooOld,
    #[error("SEQUENCE_NUMBER_TOO_NEW")]
    SequenceNumberTooNew,
    #[error("INSUFFICIENT_BALANCE_FOR_TRANSACTION_FEE")]
    InsufficientBalance,
    #[error("TRANSACTION_EXPIRED")]
    Expired,
    #[error("SENDING_ACCOUNT_DOES_NOT_EXIST")]
    SenderDoesNotExist,
    #[error("EXCEEDED_MAX_TRANSACTION_SIZE")]
    TooLarge,
    #[error("MAX_GAS_UNITS_EXCEEDS_MAX_GAS_UNITS_BOUND")]
    MaxGasAboveBound,
    #[error("MAX_GAS_UNITS_BELOW_MIN_TRANSACTION_GAS_UNITS")]
    MaxGasBelowMinimum,
    #[error("GAS_UNIT_PRICE_BELOW_MIN_BOUND")]
    GasPriceBelowBound,
    #[error("GAS_UNIT_PRICE_ABOVE_MAX_BOUND")]
    GasPriceAboveBound,
    #[error("BAD_CHAIN_ID")]
    BadChainId,
    #[error("SEQUENCE_NUMBER_TOO_BIG")]
    SequenceNumberTooBig,
    #[error("FEATURE_UNDER_GATING ({0})")]
    Unsupported(&'static str),
    #[error("SECONDARY_KEYS_ADDRESSES_COUNT_MISMATCH")]
    SecondarySignerCount,
    #[error("SIGNERS_CONTAIN_DUPLICATES")]
    DuplicateSigners,
    #[error("NONCE_ALREADY_USED")]
    NonceAlreadyUsed,
    #[error("TRANSACTION_EXPIRATION_TOO_FAR_IN_FUTURE")]
    ExpirationTooFar,
}

impl Refusal {
    /// Aptos' number for the reason.
    pub fn code(self) -> u64 {
        match self {
            Self::InvalidSignature => 1,
            Self::InvalidAuthenticationKey => 2,
            Self::SequenceNumberTooOld => 3,
            Self::SequenceNumberTooNew => 4,
            Self::InsufficientBalance => 5,
            Self::Expired => 6,
            Self::SenderDoesNotExist => 7,
            Self::TooLarge => 10,
            Self::MaxGasAboveBound => 13,
            Self::MaxGasBelowMinimum => 14,
            Self::GasPriceBelowBound => 15,
            Self::GasPriceAboveBound => 16,
            Self::BadChainId => 23,
            Self::SequenceNumberTooBig => 24,
            Self::Unsupported(_) => 26,
            Self::SecondarySignerCount => 27,
            Self::DuplicateSigners => 28,
            Self::NonceAlreadyUsed => 42,
            Self::ExpirationTooFar => 43,
        }
    }
}
