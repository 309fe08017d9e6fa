//! `cactus case`: accusations of operators, from opening one to ending it. It signs with the
//! wallet and never votes without being told how.

use crate::{
    args::{CaseArgs, CaseCommand, Evidence, Verdict},
    helpful::Helpful,
    session::Session,
};
use anyhow::{Context, Result, ensure};
use cactus_ledger::{Call, ChainEvent, Ledger, Opinion, SubmitError, key_file};
use cactus_protocol::{Address, Hash, SecretKey};
use serde_json::json;
use std::fs;

/// No evidence is longer, in bytes.
const MAX_EVIDENCE_BYTES: u64 = 64 << 20;

pub async fn run(session: &Session, args: CaseArgs) -> Result<()> {
    let ledger = session.ledger().await?;
    if let CaseCommand::Show { case } = args.command {
        return show(session, &ledger, (case, None)).await;
    }
    let key = match &args.key_file {
        Some(path) => key_file::load(path)?,
        None => session.wallet()?,
    };
    let call = call(&ledger, &key, &args.command).await?;
    let committed = ledger.submit_and_wait(&key, call).await.map_err(explain)?;
    let opened = committed.events.iter().find_map(address_of_opened);
    let case = match args.command.case().or(opened) {
        Some(case) => case,
        None => anyhow::bail!("{} opened no case", committed.hash),
    };
    show(session, &ledger, (case, Some(committed.hash))).await
}

async fn call(ledger: &Ledger, key: &SecretKey, command: &CaseCommand) -> Result<Call> {
    Ok(match command {
        CaseCommand::Open { operator, evidence, client, task } => Call::Accuse {
            operator: *operator,
            client: client.unwrap_or_default(),
            task_id: *task,
            evidence_hash: hash_of(evidence)?,
        },
        CaseCommand::Hold { case } => Call::HoldTask { case: *case },
        CaseCommand::Answer { case, defence } => {
            Call::Respond { case: *case, response_hash: hash_of(defence)? }
        }
        CaseCommand::Vote { case, verdict } => {
            let opinion = opinion(ledger, *case, *verdict).await?;
            let commitment = opinion.commitment(key.address(), opinion.salt(key));
            Call::CommitVote { case: *case, commitment }
        }
        CaseCommand::Reveal { case, verdict } => {
            let opinion = opinion(ledger, *case, *verdict).await?;
            Call::RevealVote { case: *case, uphold: opinion.uphold, salt: opinion.salt(key) }
        }
        CaseCommand::Appeal { case } => Call::Appeal { case: *case },
        CaseCommand::Finalize { case } | CaseCommand::Show { case } => {
            Call::FinalizeCase { case: *case }
        }
    })
}

async fn opinion(ledger: &Ledger, case: Address, verdict: Verdict) -> Result<Opinion> {
    let appeal = ledger.case(case).await?.appellant != Address::default();
    let uphold = verdict == Verdict::Uphold;
    Ok(Opinion { chain_id: ledger.chain_id(), case, appeal, uphold })
}

fn address_of_opened(event: &ChainEvent) -> Option<Address> {
    let opened = event.module == "dispute" && event.name == "CaseOpened";
    opened.then(|| event.data.get("case")?.as_str()?.parse().ok()).flatten()
}

fn hash_of(evidence: &Evidence) -> Result<Hash> {
    let path = match evidence {
        Evidence::Hash(hash) => return Ok(*hash),
        Evidence::Document(path) => path,
    };
    let read = || -> Result<Vec<u8>> {
        let length = fs::metadata(path)?.len();
        ensure!(length <= MAX_EVIDENCE_BYTES, "it has {length} bytes; give its SHA3-256 instead");
        Ok(fs::read(path)?)
    };
    Ok(Hash::of(&read().with_context(|| format!("cannot read the document {}", path.display()))?))
}

fn explain(error: SubmitError) -> anyhow::Error {
    match error {
        SubmitError::Aborted { .. } => Helpful::error(
            error.to_string(),
            "`cactus case show` says which step the case has come to; the name of the refusal is \
             explained at the top of that contract",
        ),
        SubmitError::Unfunded { .. } => {
            Helpful::error(error.to_string(), "send some APT to the account that signs")
        }
        other => other.into(),
    }
}

async fn show(
    session: &Session,
    ledger: &Ledger,
    (case, transaction): (Address, Option<String>),
) -> Result<()> {
    let info = ledger.case(case).await.map_err(|error| {
        Helpful::error(error.to_string(), "`cactus case open` prints the address of a case")
    })?;
    let mut document = serde_json::to_value(info)?;
    document["case"] = json!(case);
    document["transaction"] = json!(transaction);
    super::admin::print(session, &document);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_a_document_or_its_hash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("receipts.json");
        fs::write(&path, b"two receipts for one task").unwrap();
        let of_text = |text: &str| hash_of(&text.parse().unwrap());
        let hash = of_text(path.to_str().unwrap()).unwrap();
        assert_eq!(hash, Hash::of(b"two receipts for one task"));
        assert_eq!(of_text(&hash.to_string()).unwrap(), hash);
        let error = of_text("0x12").unwrap_err();
        assert!(format!("{error:#}").contains("0x12"), "half a hash is no hash");
    }
}
