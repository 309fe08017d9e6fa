//! Which of several processes on one database carries the outbox: the one whose lease runs. A
//! lease is taken when nobody's runs, and each taking has a number that is higher than the last;
//! what is signed is stored only under the highest number, so a leader that was paused past its
//! lease's end stores nothing. It never looks at an intent.

use cactus_database::{number, to_sql};
use sqlx::{AnyConnection, AnyPool};
use std::time::{Duration, Instant};

/// How long a leader may be silent before another one takes over.
const LEASE_MS: u64 = 15_000;
/// How often it says that it goes on, and others look whether it does.
const RENEWAL: Duration = Duration::from_secs(3);

/// This process' claim to lead.
#[derive(Debug)]
pub(crate) struct Leader {
    pool: AnyPool,
    /// The number of the taking, while it is believed to stand.
    epoch: Option<u64>,
    looked_at: Option<Instant>,
}

impl Leader {
    pub(crate) fn new(pool: AnyPool) -> Self {
        Self { pool, epoch: None, looked_at: None }
    }

    /// The number under which this process led when it last looked.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// Goes on leading, or takes the lead if nobody has it; `None` while another one does.
    pub(crate) async fn hold(&mut self) -> Result<Option<u64>, sqlx::Error> {
        if self.looked_at.is_some_and(|at| at.elapsed() < RENEWAL) {
            return Ok(self.epoch);
        }
        let now_ms = cactus_database::now_ms(&self.pool).await?;
        self.epoch = match self.epoch {
            Some(epoch) if self.extend(epoch, now_ms).await? => Some(epoch),
            _ => self.take(now_ms).await?,
        };
        self.looked_at = Some(Instant::now());
        Ok(self.epoch)
    }

    async fn extend(&self, epoch: u64, now_ms: u64) -> Result<bool, sqlx::Error> {
        let done = sqlx::query("UPDATE outbox_leader SET until_ms = $1 WHERE epoch = $2")
            .bind(to_sql(now_ms.saturating_add(LEASE_MS))?)
            .bind(to_sql(epoch)?)
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn take(&self, now_ms: u64) -> Result<Option<u64>, sqlx::Error> {
        let row = sqlx::query("SELECT epoch, until_ms FROM outbox_leader");
        let row = row.fetch_one(&self.pool).await?;
        let (last, until_ms) = (number(&row, "epoch")?, number(&row, "until_ms")?);
        if until_ms >= now_ms {
            return Ok(None);
        }
        let epoch = last.saturating_add(1);
        let done =
            sqlx::query("UPDATE outbox_leader SET epoch = $1, until_ms = $2 WHERE epoch = $3")
                .bind(to_sql(epoch)?)
                .bind(to_sql(now_ms.saturating_add(LEASE_MS))?)
                .bind(to_sql(last)?)
                .execute(&self.pool)
                .await?;
        let is_taken = done.rows_affected() == 1;
        if is_taken {
            tracing::info!(epoch, "this process carries the outbox from now on");
        }
        Ok(is_taken.then_some(epoch))
    }

    /// Lets another process lead at once.
    pub(crate) async fn leave(self) -> Result<(), sqlx::Error> {
        let Some(epoch) = self.epoch else { return Ok(()) };
        let leave = sqlx::query("UPDATE outbox_leader SET until_ms = 0 WHERE epoch = $1");
        leave.bind(to_sql(epoch)?).execute(&self.pool).await.map(drop)
    }
}

/// Whether this is still the highest number. It stays so until the transaction ends: whoever takes
/// the lead waits for that.
pub(crate) async fn still_leads(
    transaction: &mut AnyConnection,
    epoch: u64,
) -> Result<bool, sqlx::Error> {
    let touch = sqlx::query("UPDATE outbox_leader SET epoch = epoch WHERE epoch = $1");
    Ok(touch.bind(to_sql(epoch)?).execute(transaction).await?.rows_affected() == 1)
}
