//! Numbers as both databases keep them: signed, of 64 bits. It cuts none short.

use sqlx::{Row, any::AnyRow};

/// An amount, a time or a count, to be stored.
///
/// # Errors
/// When it has 64 bits.
pub fn to_sql(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

/// Reads an amount, a time or a count.
///
/// # Errors
/// When there is none, or it is negative.
pub fn number(row: &AnyRow, column: &str) -> Result<u64, sqlx::Error> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(broken)
}

/// Reads one that may be missing.
///
/// # Errors
/// When it is negative.
pub fn optional_number(row: &AnyRow, column: &str) -> Result<Option<u64>, sqlx::Error> {
    let number: Option<i64> = row.try_get(column)?;
    number.map(|number| u64::try_from(number).map_err(broken)).transpose()
}

/// What is stored does not read as what it should be.
pub fn broken<E: std::error::Error + Send + Sync + 'static>(error: E) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}
