//! `cactus withdraw`: asks for coins back out of the contract and takes them when their delay is
//! over. It never takes more than was asked for.

use super::coins::{Moved, report, submit};
use crate::{args::WithdrawArgs, helpful::Helpful, session::Session};
use anyhow::Result;
use cactus_ledger::{Call, ClientBalance, Ledger};
use cactus_protocol::{Octas, SecretKey};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Between two looks at the clock while waiting.
const LOOK: Duration = Duration::from_secs(1);
/// The chain's clock may lag behind this machine's.
const LAG_SECONDS: u64 = 2;

/// What of it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask for an amount, and say when it can be taken.
    Request(Octas),
    /// Ask for an amount, wait for as long as it takes, and take it.
    RequestAndClaim(Octas),
    /// Take what was asked for.
    Claim,
    /// Forget what was asked for.
    Cancel,
}

impl From<WithdrawArgs> for Step {
    fn from(args: WithdrawArgs) -> Self {
        match args.amount {
            Some(amount) if args.wait => Self::RequestAndClaim(amount),
            Some(amount) => Self::Request(amount),
            None if args.cancel => Self::Cancel,
            None => Self::Claim,
        }
    }
}

/// Why a claim cannot succeed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotYet {
    NothingRequested,
    Early { seconds: u64 },
    AllLocked,
}

pub async fn run(session: &Session, step: Step) -> Result<()> {
    let (key, ledger) = (session.wallet()?, session.ledger().await?);
    let moved = match step {
        Step::Request(amount) => request(&ledger, &key, amount).await?,
        Step::RequestAndClaim(amount) => {
            let asked = request(&ledger, &key, amount).await?;
            if !session.network.json {
                say_when(&asked.balance, "; waiting");
            }
            wait(&asked.balance).await;
            claim(&ledger, &key).await?
        }
        Step::Claim => claim(&ledger, &key).await?,
        Step::Cancel => {
            let help = "`cactus balance` shows whether anything was asked for";
            submit(&ledger, &key, Call::CancelWithdraw {}, help).await?
        }
    };
    report(session, &moved);
    if matches!(step, Step::Request(_)) && !session.network.json {
        say_when(&moved.balance, ": run `cactus withdraw --claim` then");
    }
    Ok(())
}

fn say_when(balance: &ClientBalance, what_then: &str) {
    let left = balance.withdraw_from_seconds.saturating_sub(now_seconds());
    println!("{} can be taken in {}{what_then}", balance.requested, in_words(left));
}

async fn request(ledger: &Ledger, key: &SecretKey, amount: Octas) -> Result<Moved> {
    let help = "`cactus balance` shows what you have in the contract";
    submit(ledger, key, Call::RequestWithdraw { amount }, help).await
}

async fn claim(ledger: &Ledger, key: &SecretKey) -> Result<Moved> {
    let balance = ledger.client_balance(key.address()).await?;
    if let Some(reason) = not_yet(&balance, now_seconds()) {
        return Err(explain(reason));
    }
    let help = "the chain's clock may be behind yours: try again in some seconds";
    submit(ledger, key, Call::Withdraw {}, help).await
}

async fn wait(balance: &ClientBalance) {
    while now_seconds() < balance.withdraw_from_seconds.saturating_add(LAG_SECONDS) {
        tokio::time::sleep(LOOK).await;
    }
}

fn not_yet(balance: &ClientBalance, now: u64) -> Option<NotYet> {
    if balance.requested == Octas::ZERO {
        return Some(NotYet::NothingRequested);
    }
    if now < balance.withdraw_from_seconds {
        return Some(NotYet::Early { seconds: balance.withdraw_from_seconds - now });
    }
    (balance.available == Octas::ZERO).then_some(NotYet::AllLocked)
}

fn explain(reason: NotYet) -> anyhow::Error {
    match reason {
        NotYet::NothingRequested => Helpful::error(
            "nothing was asked back".to_owned(),
            "ask for it first, for example with `cactus withdraw 1.5`",
        ),
        NotYet::Early { seconds } => Helpful::error(
            format!("what you asked back can be taken in {}", in_words(seconds)),
            "routing servers begin to work before their locks are on the chain; the delay keeps \
             that safe",
        ),
        NotYet::AllLocked => Helpful::error(
            "running tasks lock everything that you have in the contract".to_owned(),
            "what they leave comes free when they end; your request stands until then",
        ),
    }
}

/// For people: whole seconds below two minutes, else minutes, rounded up.
fn in_words(seconds: u64) -> String {
    match seconds {
        1 => "1 second".to_owned(),
        0..120 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// The announcement of a balance for people; nothing if there is none.
pub fn announcement(balance: &ClientBalance) -> Option<String> {
    let left = balance.withdraw_from_seconds.saturating_sub(now_seconds());
    let when = if left == 0 { "now".to_owned() } else { format!("in {}", in_words(left)) };
    (balance.requested > Octas::ZERO)
        .then(|| format!("{} asked back, can be taken {when}", balance.requested))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(available: u64, requested: u64) -> ClientBalance {
        ClientBalance {
            available: Octas(available),
            requested: Octas(requested),
            withdraw_from_seconds: 1_000,
            ..ClientBalance::EMPTY
        }
    }

    #[test]
    fn a_claim_that_cannot_succeed_is_explained_before_it_costs_gas() {
        assert_eq!(not_yet(&balance(5, 0), 2_000), Some(NotYet::NothingRequested));
        assert_eq!(not_yet(&balance(5, 5), 700), Some(NotYet::Early { seconds: 300 }));
        assert_eq!(not_yet(&balance(0, 5), 1_000), Some(NotYet::AllLocked));
        assert_eq!(not_yet(&balance(1, 5), 1_000), None);
        let text = explain(NotYet::Early { seconds: 300 }).to_string();
        assert!(text.contains("5 minutes"), "{text}");
    }

    #[test]
    fn times_are_said_in_words() {
        let said = [0, 1, 119, 120, 299, 3_600].map(in_words);
        assert_eq!(
            said,
            ["0 seconds", "1 second", "119 seconds", "2 minutes", "5 minutes", "60 minutes"]
        );
    }

    #[test]
    fn an_announcement_is_shown_only_if_there_is_one() {
        assert_eq!(announcement(&balance(5, 0)), None);
        assert!(announcement(&balance(5, 5)).unwrap().contains("can be taken now"));
    }
}
