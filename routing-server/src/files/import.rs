//! Takes over files whose bytes lie in the data directory, where servers before the table
//! `file_parts` kept them. It leaves nothing there.

use super::parts::{PartWriter, part};
use anyhow::{Context, Result};
use sqlx::AnyPool;
use std::path::Path;
use tokio::{fs::File, io::AsyncReadExt};

const PIECE_BYTES: usize = 64 << 10;

/// Takes over what there is; does nothing where there is no such folder.
///
/// # Errors
/// When a file cannot be read or stored; what was not taken over stays where it is.
pub async fn import(pool: &AnyPool, data_dir: &Path) -> Result<()> {
    let folder = data_dir.join("files");
    let Ok(mut entries) = tokio::fs::read_dir(&folder).await else { return Ok(()) };
    while let Some(entry) = entries.next_entry().await? {
        let path = entry.path();
        if let Some(id) = entry.file_name().to_str()
            && is_missing(pool, id).await?
        {
            take_over(pool, id, &path).await.with_context(|| format!("take {id} over"))?;
        }
        tokio::fs::remove_file(&path).await.context("remove a file that was taken over")?;
    }
    tokio::fs::remove_dir(&folder).await.context("remove the folder of files")
}

/// Whether a file has a row and no bytes.
async fn is_missing(pool: &AnyPool, id: &str) -> Result<bool> {
    let query = sqlx::query("SELECT id FROM files WHERE id = $1");
    let is_known = query.bind(id).fetch_optional(pool).await?.is_some();
    Ok(is_known && part(pool, id, 0).await?.is_none())
}

async fn take_over(pool: &AnyPool, id: &str, path: &Path) -> Result<()> {
    let (mut file, mut piece) = (File::open(path).await?, vec![0; PIECE_BYTES]);
    let mut writer = PartWriter::new(pool.clone(), id.to_owned());
    loop {
        let length = file.read(&mut piece).await?;
        if length == 0 {
            writer.finish().await?;
            return Ok(());
        }
        writer.write(&piece[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::parts;
    use cactus_database::Scratch;

    #[tokio::test]
    async fn files_of_the_data_directory_move_into_the_database() {
        let (scratch, data_dir) = (Scratch::new(), tempfile::tempdir().unwrap());
        let pool = scratch.open().await;
        crate::database::migrate(&pool).await.unwrap();
        import(&pool, data_dir.path()).await.unwrap();
        let row = "INSERT INTO files VALUES ('file-1', 'c', 'batch', 'f', 5, 1, 2)";
        sqlx::query(row).execute(&pool).await.unwrap();
        let folder = data_dir.path().join("files");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("file-1"), "bytes").unwrap();
        std::fs::write(folder.join("upload-cut-off"), "x").unwrap();
        import(&pool, data_dir.path()).await.unwrap();
        let read = parts::read_range(&pool, "file-1", (0, 5)).await.unwrap();
        assert_eq!((read.as_slice(), folder.exists()), (b"bytes".as_slice(), false));
        assert!(parts::orphans(&pool).await.unwrap().is_empty());
    }
}
