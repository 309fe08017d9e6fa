//! The servers of one account that share a database: each says every few seconds that it lives,
//! and takes over what one that fell silent was looking after. It answers no request.
//!
//! A file has one server, so there nobody speaks and whatever is found at the start is taken over.

mod tend;

pub use tend::tend;

use crate::{app::App, settlement, shares};
use cactus_database::{Dialect, begin, dialect, now_ms, to_sql};
use parking_lot::Mutex;
use sqlx::{AnyConnection, AnyPool};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// How long an instance may be silent before another one takes over from it.
pub const LEASE: Duration = Duration::from_secs(15);

/// This process among the servers of its database.
#[derive(Debug)]
pub struct Instance {
    /// Names it; drawn at its start.
    pub id: String,
    /// Whether others may run on its database.
    pub is_shared: bool,
    /// By this process' clock, and no later than the database has it.
    alive_until: Mutex<Instant>,
    alone: AtomicBool,
}

impl Instance {
    /// Joins the servers on a database.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn join(pool: &AnyPool) -> Result<Self, sqlx::Error> {
        let instance = Self {
            id: format!("{:016x}", rand::random::<u64>()),
            is_shared: dialect(pool) == Dialect::Postgres,
            alive_until: Mutex::new(Instant::now()),
            alone: AtomicBool::new(false),
        };
        if instance.is_shared {
            instance.enter(pool).await?;
        } else {
            take_everything(pool, &instance.id).await?;
        }
        Ok(instance)
    }

    /// Whether it may act for what it looks after: others have not counted it as dead.
    pub fn is_alive(&self) -> bool {
        !self.is_shared || Instant::now() < *self.alive_until.lock()
    }

    /// Whether it spoke lately enough to judge others.
    fn is_heard(&self) -> bool {
        Instant::now() + LEASE / 2 < *self.alive_until.lock()
    }

    /// Whether no other one lived when it last looked.
    pub fn is_alone(&self) -> bool {
        !self.is_shared || self.alone.load(Ordering::Relaxed)
    }

    async fn enter(&self, pool: &AnyPool) -> Result<(), sqlx::Error> {
        let (said_at, until_ms) = (Instant::now(), lease_end(pool).await?);
        sqlx::query("INSERT INTO instances (id, alive_until_ms) VALUES ($1, $2)")
            .bind(&self.id)
            .bind(until_ms)
            .execute(pool)
            .await?;
        *self.alive_until.lock() = said_at + LEASE;
        Ok(())
    }

    /// Says that it lives; `false` when others have counted it as dead meanwhile.
    async fn beat(&self, pool: &AnyPool) -> Result<bool, sqlx::Error> {
        let (said_at, until_ms) = (Instant::now(), lease_end(pool).await?);
        let done = sqlx::query("UPDATE instances SET alive_until_ms = $1 WHERE id = $2")
            .bind(until_ms)
            .bind(&self.id)
            .execute(pool)
            .await?;
        let lives = done.rows_affected() == 1;
        if lives {
            *self.alive_until.lock() = said_at + LEASE;
        }
        Ok(lives)
    }

    /// Leaves at the end of the process: others take over at once.
    pub async fn leave(&self, pool: &AnyPool) -> Result<(), sqlx::Error> {
        let query = sqlx::query("UPDATE instances SET alive_until_ms = 0 WHERE id = $1");
        query.bind(&self.id).execute(pool).await.map(drop)
    }
}

async fn lease_end(pool: &AnyPool) -> Result<i64, sqlx::Error> {
    let lease_ms = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
    to_sql(now_ms(pool).await?.saturating_add(lease_ms))
}

async fn take_everything(pool: &AnyPool, me: &str) -> Result<(), sqlx::Error> {
    let mut transaction = begin(pool).await?;
    for statement in [
        "UPDATE tasks SET instance = $1 WHERE is_final = 0",
        "UPDATE batches SET instance = $1 WHERE is_final = 0",
    ] {
        sqlx::query(statement).bind(me).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// One look: says that this instance lives and takes over from those that do not.
///
/// # Errors
/// Those of the database; the next look does the rest.
pub async fn look(app: &App) -> anyhow::Result<()> {
    let (pool, me) = (&app.pool, &app.instance);
    let was_heard = me.is_heard();
    if !me.beat(pool).await? {
        tracing::error!("this server was silent for too long: others took its work over");
        app.batches.stop_all();
        app.taken_over.cancel();
        return Ok(());
    }
    let now_ms = to_sql(now_ms(pool).await?)?;
    let others = sqlx::query_scalar::<_, i64>(
        "SELECT count(*) FROM instances WHERE id <> $1 AND alive_until_ms >= $2",
    );
    let others = others.bind(&me.id).bind(now_ms).fetch_one(pool).await?;
    me.alone.store(others == 0, Ordering::Relaxed);
    if !was_heard {
        // The database was away, so others could not speak either: they come first.
        return Ok(());
    }
    let silent = sqlx::query_scalar::<_, String>(
        "SELECT id FROM instances WHERE id <> $1 AND alive_until_ms < $2",
    );
    for id in silent.bind(&me.id).bind(now_ms).fetch_all(pool).await? {
        take_over(app, &id, now_ms).await?;
    }
    Ok(())
}

/// Takes everything over from a silent instance, unless another one does or it speaks again: all in
/// one transaction, so that it is done once and wholly.
async fn take_over(app: &App, silent: &str, now_ms: i64) -> anyhow::Result<()> {
    let me = app.instance.id.as_str();
    // Nobody here may count shares between what the table says and what the memory knows.
    let _shares = app.shares.hold_all().await;
    let mut transaction = begin(&app.pool).await?;
    let gone = sqlx::query("DELETE FROM instances WHERE id = $1 AND alive_until_ms < $2");
    let gone = gone.bind(silent).bind(now_ms).execute(&mut *transaction).await?;
    if gone.rows_affected() == 0 {
        return Ok(());
    }
    let tasks = settlement::store::live(&mut transaction, silent).await?;
    shares::inherit(&mut transaction, (silent, me), &tasks).await?;
    move_work(&mut transaction, (silent, me)).await?;
    transaction.commit().await?;
    tracing::warn!(silent, tasks = tasks.len(), "took over from a server that fell silent");
    settlement::take_up(app, &tasks).await?;
    app.batches.wake();
    Ok(())
}

async fn move_work(
    transaction: &mut AnyConnection,
    (from, to): (&str, &str),
) -> Result<(), sqlx::Error> {
    for statement in [
        "UPDATE tasks SET instance = $1 WHERE instance = $2 AND is_final = 0",
        "UPDATE batches SET instance = $1 WHERE instance = $2 AND is_final = 0",
    ] {
        sqlx::query(statement).bind(to).bind(from).execute(&mut *transaction).await?;
    }
    Ok(())
}
