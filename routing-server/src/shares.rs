//! What each server may spend of what all of them share: a payer's free balance, and what an order
//! has left. A server takes a grant from the database and spends from it in memory; all grants of
//! a pot together never exceed what is in it. It asks nobody for a single request's money.
//!
//! What is free is read after the pot's version, and the grant is taken only under that version:
//! so nobody's grant changed between the chain's answer and its use, and no clock is compared.

use crate::{app::App, budget::Grant, chain::ChainAway, settlement::StoredTask};
use cactus_database::{begin, number, to_sql};
use cactus_protocol::{Address, Octas, Order, OrderId};
use sqlx::{AnyConnection, AnyPool};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, MutexGuard};

/// Payers of one stripe take turns in asking; those of others do not wait.
const STRIPES: usize = 64;
/// How often another server may come first before a request is told to come again.
const ATTEMPTS: usize = 8;

/// How long a wish counts.
const WANTED_MS: u64 = 1_500;

/// When a pot that has no end expires.
const NEVER_MS: u64 = u64::MAX >> 1;

/// Keeps this process from asking twice at once for the same payer.
#[derive(Debug)]
pub struct Shares {
    stripes: Vec<Mutex<Verdict>>,
}

/// Whose balance was too small when it was last asked, and whether others held what was missing.
type Verdict = Option<(Address, bool)>;

impl Default for Shares {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }
}

impl Shares {
    async fn hold(&self, client: &Address) -> MutexGuard<'_, Verdict> {
        self.stripes[usize::from(client.0[31]) % STRIPES].lock().await
    }

    /// Nobody asks while this is held.
    pub async fn hold_all(&self) -> Vec<MutexGuard<'_, Verdict>> {
        let mut held = Vec::with_capacity(STRIPES);
        // Always in the same order: nobody who holds one of them asks for another.
        for stripe in &self.stripes {
            held.push(stripe.lock().await);
        }
        held
    }
}

/// A balance younger than this is not asked for again because it is too small.
const FRESH: Duration = Duration::from_millis(25);

/// Why no grant was taken.
#[derive(Debug, thiserror::Error)]
pub enum NotGranted {
    /// The chain does not say what is free.
    #[error(transparent)]
    Chain(#[from] ChainAway),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Others changed the pot each time.
    #[error("too many servers ask for the same money")]
    Crowded,
}

/// A pot as it stands.
#[derive(Debug, Clone, Copy)]
struct Pot {
    version: u64,
    mine: Octas,
    others: Octas,
    /// What of theirs was not spent when it last changed.
    others_free: Octas,
}

impl Pot {
    /// Whether others have free what is missing, so that waiting for it is worth it.
    fn others_hold(&self, room: Octas, wanted: Octas) -> bool {
        room < wanted && room.0.saturating_add(self.others_free.0) >= wanted.0
    }
}

/// The pot of a payer's balance.
pub fn balance_of(client: &Address) -> String {
    format!("balance:{client}")
}

fn rest_of(client: &Address, order: &OrderId) -> String {
    format!("order:{client}:{order}")
}

/// The payer whose balance a pot is.
fn balance_owner(pot: &str) -> Option<Address> {
    pot.strip_prefix("balance:")?.parse().ok()
}

async fn look(pool: &AnyPool, pot: (&str, u64), me: &str) -> Result<Pot, sqlx::Error> {
    let (name, expires_ms) = pot;
    loop {
        let row = sqlx::query(
            "SELECT pots.version AS version,
                 CAST(coalesce(sum(CASE WHEN grants.instance = $2 THEN octas END), 0) AS BIGINT)
                     AS mine,
                 CAST(coalesce(sum(CASE WHEN grants.instance <> $2 THEN octas END), 0) AS BIGINT)
                     AS others,
                 CAST(coalesce(sum(CASE WHEN grants.instance <> $2 THEN free END), 0) AS BIGINT)
                     AS others_free
             FROM pots LEFT JOIN grants ON grants.pot = pots.name
             WHERE pots.name = $1 GROUP BY pots.version",
        );
        if let Some(row) = row.bind(name).bind(me).fetch_optional(pool).await? {
            let octas = |column| number(&row, column).map(Octas);
            return Ok(Pot {
                version: number(&row, "version")?,
                mine: octas("mine")?,
                others: octas("others")?,
                others_free: octas("others_free")?,
            });
        }
        sqlx::query(
            "INSERT INTO pots (name, version, expires_ms) VALUES ($1, 0, $2)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(to_sql(expires_ms)?)
        .execute(pool)
        .await?;
    }
}

/// Sets this server's grant, unless the pot has changed since it was looked at.
async fn grant(
    pool: &AnyPool,
    (pot, version, me): (&str, u64, &str),
    grant: Grant,
) -> Result<bool, sqlx::Error> {
    let mut transaction = begin(pool).await?;
    let done =
        sqlx::query("UPDATE pots SET version = version + 1 WHERE name = $1 AND version = $2")
            .bind(pot)
            .bind(to_sql(version)?)
            .execute(&mut *transaction)
            .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(
        "INSERT INTO grants (pot, instance, octas, free) VALUES ($1, $2, $3, $4)
         ON CONFLICT (pot, instance) DO UPDATE SET octas = excluded.octas, free = excluded.free",
    )
    .bind(pot)
    .bind(me)
    .bind(to_sql(grant.octas.0)?)
    .bind(to_sql(grant.free.0)?)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(true)
}

/// As much as is asked for at least, and half of what is left over: the others need some too.
fn headroom(app: &App, (room, wanted): (Octas, Octas)) -> Octas {
    if app.instance.is_alone() { room } else { Octas(room.0 / 2).max(wanted).min(room) }
}

/// Brings this server's grant of a payer's balance up to date, so that what is wanted is free of it
/// if there is so much. Says whether others hold what is missing.
///
/// # Errors
/// [`NotGranted`]; then what was granted before stands.
pub async fn take_balance(
    app: &App,
    client: Address,
    wanted: Option<Octas>,
) -> Result<bool, NotGranted> {
    let mut turn = app.shares.hold(&client).await;
    if let Some(wanted) = wanted {
        let budget = app.budget.lock();
        if budget.has_free(&client, wanted) {
            return Ok(false);
        }
        // Somebody has just asked.
        if let Some((_, others_hold_it)) = turn.filter(|(of, _)| *of == client)
            && budget.is_fresh(&client, FRESH, Instant::now())
        {
            return Ok(others_hold_it);
        }
    }
    let wanted = wanted.unwrap_or_default();
    let name = balance_of(&client);
    for _ in 0..ATTEMPTS {
        let pot = look(&app.pool, (&name, NEVER_MS), &app.instance.id).await?;
        let asked_at = Instant::now();
        let shown = app.chain.balance(client).await?.uncommitted();
        let (mine, free, room) = {
            let mut budget = app.budget.lock();
            let outside = budget.outside(&client, asked_at);
            let room = shown.saturating_sub(pot.others).saturating_sub(outside);
            let free = headroom(app, (room, wanted));
            let mine = Octas(outside.0.saturating_add(free.0));
            // What is given back is no longer spent before others may take it.
            if mine < pot.mine {
                budget.learn_balance(client, mine, asked_at);
            }
            (mine, free, room)
        };
        let taken = Grant { octas: mine, free };
        if grant(&app.pool, (&name, pot.version, &app.instance.id), taken).await? {
            app.budget.lock().learn_balance(client, mine, asked_at);
            let others_hold_it = pot.others_hold(room, wanted);
            if others_hold_it {
                want(&app.pool, &name).await?;
            }
            *turn = (room < wanted).then_some((client, others_hold_it));
            return Ok(others_hold_it);
        }
    }
    Err(NotGranted::Crowded)
}

/// Brings this server's grant of what an order has left up to date. Says whether others hold what
/// is missing.
///
/// # Errors
/// [`NotGranted`].
pub async fn take_order(app: &App, order: &Order, wanted: Octas) -> Result<bool, NotGranted> {
    let (client, id, me) = (order.client, order.order_id, app.instance.id.as_str());
    let _turn = app.shares.hold(&client).await;
    let name = rest_of(&client, &id);
    for _ in 0..ATTEMPTS {
        let expires_ms = order.expires_seconds.saturating_mul(1000).min(NEVER_MS);
        let pot = look(&app.pool, (&name, expires_ms), me).await?;
        let (facts, stored) = spent(&app.pool, (&name, me), (&client, &id)).await?;
        let (allowed, free, room) = {
            let mut budget = app.budget.lock();
            let used = budget.order_used(&client, &id).unwrap_or(stored);
            let taken = facts.0.saturating_add(pot.others.0).saturating_add(used.0);
            let room = order.max_total.saturating_sub(Octas(taken));
            let free = headroom(app, (room, wanted));
            let allowed = Octas(used.0.saturating_add(free.0));
            if allowed < pot.mine {
                budget.allow(client, id, (stored, allowed));
            }
            (allowed, free, room)
        };
        let taken = Grant { octas: allowed, free };
        if grant(&app.pool, (&name, pot.version, me), taken).await? {
            app.budget.lock().allow(client, id, (stored, allowed));
            let others_hold_it = pot.others_hold(room, wanted);
            if others_hold_it {
                want(&app.pool, &name).await?;
            }
            return Ok(others_hold_it);
        }
    }
    Err(NotGranted::Crowded)
}

/// What was spent under an order by servers that hold no grant of it any more, and by this one.
async fn spent(
    pool: &AnyPool,
    (pot, me): (&str, &str),
    (client, order): (&Address, &OrderId),
) -> Result<(Octas, Octas), sqlx::Error> {
    let row = sqlx::query(
        "SELECT CAST(coalesce(sum(CASE WHEN instance = $1 THEN spent END), 0) AS BIGINT) AS mine,
             CAST(coalesce(sum(CASE WHEN instance <> $1 AND instance NOT IN
                 (SELECT grants.instance FROM grants WHERE grants.pot = $2) THEN spent END), 0)
                 AS BIGINT) AS facts
         FROM (SELECT instance, lock - coalesce(refund_octas, 0) AS spent FROM tasks
             WHERE client = $3 AND order_id = $4) AS of_order",
    )
    .bind(me)
    .bind(pot)
    .bind(client.to_string())
    .bind(order.to_string())
    .fetch_one(pool)
    .await?;
    Ok((Octas(number(&row, "facts")?), Octas(number(&row, "mine")?)))
}

/// Asks the others to give some back.
async fn want(pool: &AnyPool, pot: &str) -> Result<(), sqlx::Error> {
    let now_ms = to_sql(cactus_database::now_ms(pool).await?)?;
    let want = sqlx::query("UPDATE pots SET wanted_ms = $1 WHERE name = $2");
    want.bind(now_ms).bind(pot).execute(pool).await.map(drop)
}

/// The pots that somebody lately wanted more of than there was, and of which this server has some.
///
/// # Errors
/// Those of the database.
pub async fn wanted(pool: &AnyPool, me: &str) -> Result<Vec<String>, sqlx::Error> {
    let since_ms = cactus_database::now_ms(pool).await?.saturating_sub(WANTED_MS);
    let query = sqlx::query_scalar(
        "SELECT name FROM pots JOIN grants ON grants.pot = pots.name
         WHERE instance = $1 AND octas > 0 AND wanted_ms >= $2",
    );
    query.bind(me).bind(to_sql(since_ms)?).fetch_all(pool).await
}

/// Gives back what this server has free of a pot.
///
/// # Errors
/// Those of the database; nothing more is spent of it even so.
pub async fn give_back(app: &App, pot: &str) -> Result<(), sqlx::Error> {
    let me = app.instance.id.as_str();
    if let Some(client) = balance_owner(pot) {
        let _turn = app.shares.hold(&client).await;
        let seen = look(&app.pool, (pot, NEVER_MS), me).await?;
        let kept = app.budget.lock().give_balance(&client, Instant::now());
        if kept.octas <= seen.mine {
            grant(&app.pool, (pot, seen.version, me), kept).await?;
        }
    } else if let Some((client, order)) = order_owner(pot) {
        let _turn = app.shares.hold(&client).await;
        let seen = look(&app.pool, (pot, NEVER_MS), me).await?;
        let kept = app.budget.lock().give_order(&client, &order);
        if let Some(kept) = kept.filter(|kept| kept.octas <= seen.mine) {
            grant(&app.pool, (pot, seen.version, me), kept).await?;
        }
    }
    Ok(())
}

/// The order whose rest a pot is.
fn order_owner(pot: &str) -> Option<(Address, OrderId)> {
    let (client, order) = pot.strip_prefix("order:")?.split_once(':')?;
    Some((client.parse().ok()?, order.parse().ok()?))
}

/// Forgets orders that have expired and their grants.
///
/// # Errors
/// Those of the database.
pub async fn sweep(pool: &AnyPool, now_ms: u64) -> Result<(), sqlx::Error> {
    let mut transaction = begin(pool).await?;
    for statement in [
        "DELETE FROM grants WHERE pot IN (SELECT name FROM pots WHERE expires_ms < $1)",
        "DELETE FROM pots WHERE expires_ms < $1",
    ] {
        let sweep = sqlx::query(statement).bind(to_sql(now_ms)?);
        sweep.execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// Moves the grants of a silent server: what its live tasks need goes to whoever takes them over,
/// the rest goes back.
///
/// # Errors
/// Those of the database.
pub async fn inherit(
    transaction: &mut AnyConnection,
    (silent, heir): (&str, &str),
    tasks: &[StoredTask],
) -> Result<(), sqlx::Error> {
    let mut needed: BTreeMap<String, u64> = BTreeMap::new();
    for task in tasks {
        for pot in [balance_of(&task.client), rest_of(&task.client, &task.order_id)] {
            let sum = needed.entry(pot).or_default();
            *sum = sum.saturating_add(task.lock.0);
        }
    }
    let query = sqlx::query_scalar("SELECT pot FROM grants WHERE instance = $1 ORDER BY pot");
    let held: Vec<String> = query.bind(silent).fetch_all(&mut *transaction).await?;
    for pot in held {
        let raise = sqlx::query("UPDATE pots SET version = version + 1 WHERE name = $1");
        raise.bind(&pot).execute(&mut *transaction).await?;
        let needed = needed.get(&pot).copied().unwrap_or(0);
        sqlx::query(
            "INSERT INTO grants (pot, instance, octas, free) VALUES ($1, $2, $3, 0)
             ON CONFLICT (pot, instance) DO UPDATE SET octas = grants.octas + excluded.octas",
        )
        .bind(&pot)
        .bind(heir)
        .bind(to_sql(needed)?)
        .execute(&mut *transaction)
        .await?;
    }
    let forget = sqlx::query("DELETE FROM grants WHERE instance = $1");
    forget.bind(silent).execute(transaction).await.map(drop)
}
