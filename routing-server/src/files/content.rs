//! Reads files in parts.

use bytes::Bytes;
use futures::{Stream, stream};
use std::{
    io::{self, SeekFrom},
    path::Path,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

const PART_BYTES: usize = 64 << 10;

/// The bytes of an open file.
pub fn stream(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async move {
        let mut part = vec![0; PART_BYTES];
        let length = file.read(&mut part).await?;
        part.truncate(length);
        Ok((length > 0).then(|| (Bytes::from(part), file)))
    })
}

/// So many bytes from a place in a file.
///
/// # Errors
/// When the file is shorter, or cannot be read.
pub async fn read_part(path: &Path, (start, length): (u64, usize)) -> io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    file.seek(SeekFrom::Start(start)).await?;
    let mut part = vec![0; length];
    file.read_exact(&mut part).await?;
    Ok(part)
}
