//! The table `file_parts`: the bytes of files, in parts of one size, so that every server reads
//! every file and none is ever in memory as a whole.

use bytes::Bytes;
use cactus_database::to_sql;
use futures::{Stream, stream};
use sqlx::AnyPool;

/// Bytes of every part but a file's last one.
pub const PART_BYTES: usize = 256 << 10;
/// Parts removed by one statement: other writers get their turn in between.
const REMOVED_AT_ONCE: i64 = 64;

/// Writes a file from its beginning to its end.
#[derive(Debug)]
pub struct PartWriter {
    pool: AnyPool,
    file: String,
    buffer: Vec<u8>,
    parts: i64,
    bytes: u64,
}

impl PartWriter {
    /// Of a file that has no parts yet.
    pub fn new(pool: AnyPool, file: String) -> Self {
        Self { pool, file, buffer: Vec::new(), parts: 0, bytes: 0 }
    }

    /// How long the file is so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Those of the database; then the file is not whole.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), sqlx::Error> {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PART_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == PART_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Everything is on disk when this returns; gives the file's length.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn finish(mut self) -> Result<u64, sqlx::Error> {
        if !self.buffer.is_empty() {
            self.flush().await?;
        }
        Ok(self.bytes)
    }

    async fn flush(&mut self) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO file_parts (file, part, bytes) VALUES ($1, $2, $3)")
            .bind(&self.file)
            .bind(self.parts)
            .bind(std::mem::take(&mut self.buffer))
            .execute(&self.pool)
            .await?;
        self.parts += 1;
        Ok(())
    }
}

/// One part; `None` after the last one.
///
/// # Errors
/// Those of the database.
pub async fn part(pool: &AnyPool, file: &str, part: u64) -> Result<Option<Bytes>, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT bytes FROM file_parts WHERE file = $1 AND part = $2");
    let bytes: Option<Vec<u8>> = query.bind(file).bind(to_sql(part)?).fetch_optional(pool).await?;
    Ok(bytes.map(Bytes::from))
}

/// A file's bytes.
pub fn stream(pool: AnyPool, file: String) -> impl Stream<Item = Result<Bytes, sqlx::Error>> {
    stream::try_unfold((pool, file, 0), |(pool, file, place)| async move {
        let bytes = part(&pool, &file, place).await?;
        Ok(bytes.map(|bytes| (bytes, (pool, file, place + 1))))
    })
}

/// So many bytes from a place in a file.
///
/// # Errors
/// When the file is shorter, or cannot be read.
pub async fn read_range(
    pool: &AnyPool,
    file: &str,
    (start, length): (u64, usize),
) -> Result<Vec<u8>, sqlx::Error> {
    let too_short = || sqlx::Error::Decode("the file is shorter".into());
    let part_bytes = u64::try_from(PART_BYTES).map_err(cactus_database::broken)?;
    let (mut part, mut offset) = (start / part_bytes, start % part_bytes);
    let mut read = Vec::with_capacity(length);
    while read.len() < length {
        let wanted = length - read.len();
        // The database cuts: a line is short and a part is not. It counts from 1.
        let bytes: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT substr(bytes, $1, $2) FROM file_parts WHERE file = $3 AND part = $4",
        )
        .bind(i32::try_from(offset + 1).map_err(cactus_database::broken)?)
        .bind(i32::try_from(wanted.min(PART_BYTES)).map_err(cactus_database::broken)?)
        .bind(file)
        .bind(to_sql(part)?)
        .fetch_optional(pool)
        .await?;
        let bytes = bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(too_short)?;
        read.extend_from_slice(&bytes);
        (part, offset) = (part + 1, 0);
    }
    Ok(read)
}

/// Removes the bytes of a file whose row is gone.
///
/// # Errors
/// Those of the database; a later look for [`orphans`] finds the rest.
pub async fn remove(pool: &AnyPool, file: &str) -> Result<(), sqlx::Error> {
    let mut until = REMOVED_AT_ONCE;
    loop {
        let done = sqlx::query("DELETE FROM file_parts WHERE file = $1 AND part < $2")
            .bind(file)
            .bind(until)
            .execute(pool)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(());
        }
        until += REMOVED_AT_ONCE;
    }
}

/// Files without a row, which a crash left behind.
///
/// # Errors
/// Those of the database.
pub async fn orphans(pool: &AnyPool) -> Result<Vec<String>, sqlx::Error> {
    let query = "SELECT DISTINCT file FROM file_parts
        WHERE NOT EXISTS (SELECT 1 FROM files WHERE files.id = file_parts.file)";
    sqlx::query_scalar(query).fetch_all(pool).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use cactus_database::Scratch;
    use futures::TryStreamExt;

    #[tokio::test]
    async fn any_range_of_a_file_reads_as_it_was_written() {
        let scratch = Scratch::new();
        let pool = scratch.open().await;
        crate::database::migrate(&pool).await.unwrap();
        let whole: Vec<u8> = (0..251).cycle().take(2 * PART_BYTES + 1000).collect();
        let mut writer = PartWriter::new(pool.clone(), "file-1".into());
        for piece in whole.chunks(70_001) {
            writer.write(piece).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap(), whole.len() as u64);
        let streamed: Vec<Bytes> =
            stream(pool.clone(), "file-1".into()).try_collect().await.unwrap();
        assert_eq!(streamed.concat(), whole);
        let ends = [(0, 10), (PART_BYTES - 5, 10), (PART_BYTES, 1), (100, 2 * PART_BYTES)];
        for (start, length) in ends {
            let read = read_range(&pool, "file-1", (start as u64, length)).await.unwrap();
            assert_eq!(read, whole[start..start + length], "{start} {length}");
        }
        let beyond = (whole.len() as u64 - 1, 2);
        assert!(read_range(&pool, "file-1", beyond).await.is_err());
        assert_eq!(orphans(&pool).await.unwrap(), ["file-1"]);
        remove(&pool, "file-1").await.unwrap();
        assert_eq!(part(&pool, "file-1", 0).await.unwrap(), None);
    }
}
