//! The rules notice what they are for: each kind of theft or loss, done by hand, is found.

use std::collections::{BTreeMap, BTreeSet};

use cactus_move_vm::{AccountAddress, CompiledModule, Effects, StateKey, VmStatus};

use crate::argument::bcs;
use crate::books::{Violation, primary_store};
use crate::chain::framework_tag;
use crate::generate::Generator;
use crate::operation::{Operation, Step};
use crate::random::Random;
use crate::records::{ClientAccount, Escrow, FungibleStore};
use crate::rules;
use crate::run::Trial;
use crate::shrink;

/// A sequence of `count` steps under way, and its steps.
fn under_way(count: usize) -> (Trial, Generator, Vec<Step>) {
    let mut trial = Trial::new().unwrap();
    let mut generator = Generator::new(Random::new(5));
    let mut steps = Vec::new();
    for _ in 0..count {
        let step = generator.next(&trial.books, trial.chain.seconds());
        trial.signed.clone_from(&generator.signed);
        trial.step(&step).unwrap();
        steps.push(step);
    }
    (trial, generator, steps)
}

/// The write that sets a store's balance.
fn balance(store: AccountAddress, balance: u64) -> (StateKey, Option<Vec<u8>>) {
    let key = StateKey::Resource(store, framework_tag("fungible_asset", "FungibleStore"));
    (key, Some(bcs(&(AccountAddress::small(10), balance, false))))
}

fn enter(trial: &mut Trial, writes: Vec<(StateKey, Option<Vec<u8>>)>) -> Violation {
    let effects = Effects { writes: BTreeMap::from_iter(writes), ..Effects::default() };
    trial.books.enter(&effects).unwrap_err()
}

#[test]
fn a_coin_from_nowhere_is_noticed() {
    let (mut trial, generator, _) = under_way(100);
    let thief = primary_store(&generator.cast.strangers[0].address);
    let violation = enter(&mut trial, vec![balance(thief, 1)]);
    assert!(violation.0.contains("in stores"), "{violation}");
}

#[test]
fn a_coin_that_leaves_a_vault_without_its_record_is_noticed() {
    let (mut trial, generator, _) = under_way(100);
    let thief = generator.cast.strangers[0].address;
    let account = trial.books.clients.values().next().unwrap();
    let ClientAccount::V1 { escrow: Escrow::V1 { vault, .. }, .. } = account;
    let store = vault.store();
    let held = trial.books.stores[&store];
    let wallet = trial.books.wallet(&thief);
    let theft = vec![balance(store, held - 1), balance(primary_store(&thief), wallet + 1)];
    let violation = enter(&mut trial, theft);
    assert!(violation.0.contains("its record says"), "{violation}");
}

#[test]
fn a_deleted_store_is_noticed() {
    let (mut trial, generator, _) = under_way(50);
    let (key, _) = balance(primary_store(&generator.cast.admin.address), 0);
    assert!(enter(&mut trial, vec![(key, None)]).0.contains("deleted"));
}

#[test]
fn a_wallet_that_shrinks_without_its_owner_is_noticed() {
    let mut trial = Trial::new().unwrap();
    let cast = crate::cast::Cast::default();
    let (victim, thief) = (cast.clients[0].address, cast.strangers[0].address);
    let before = rules::Before::of(&trial.books);
    let octas = |delta: i64| trial.books.wallet(&victim).checked_add_signed(delta).unwrap();
    let writes =
        vec![balance(primary_store(&victim), octas(-1)), balance(primary_store(&thief), octas(1))];
    let effects = Effects { writes: BTreeMap::from_iter(writes), ..Effects::default() };
    let touched = trial.books.enter(&effects).unwrap();
    let operation =
        Operation { nonce: 1, function: "stake::bond", signer: Some(thief), arguments: vec![] };
    let violation = rules::check_success(
        (&before, &trial.books),
        (&operation, &effects, &touched),
        (&cast, &trial.signed),
    );
    assert!(violation.is_err());
}

#[test]
fn an_order_that_nobody_signed_is_noticed_and_the_sequence_shortened() {
    let (_, _, steps) = under_way(400);
    let start = Trial::new().unwrap();
    // With nothing noted as signed, the first task that is created breaks the rule.
    let short = shrink::shorten(&start, &rules::Signed::default(), steps.clone());
    assert!(short.len() <= 10, "{} of {} steps", short.len(), steps.len());
    let Some(Step::Call(last)) = short.last() else { panic!("no call at the end") };
    let needs_a_signature =
        ["payment::create_task", "channel::redeem", "channel::redeem_batch", "pool::join_pool"];
    assert!(needs_a_signature.contains(&last.function), "{last}");
}

#[test]
fn a_pause_that_blocks_an_exit_is_noticed() {
    let (mut trial, generator, _) = under_way(60);
    let admin = trial.books.admin();
    let pause = crate::argument::Argument::U64(63);
    let pause = Operation {
        nonce: 10_000,
        function: "config::pause",
        signer: Some(admin),
        arguments: vec![pause],
    };
    assert_eq!(trial.step(&Step::Call(pause)).unwrap(), None);
    let amount = crate::argument::Argument::U64(1);
    let deposit = Operation {
        nonce: 10_001,
        function: "payment::deposit",
        signer: Some(generator.cast.clients[0].address),
        arguments: vec![amount],
    };
    let status = trial.step(&Step::Call(deposit.clone())).unwrap().unwrap();
    // The same answer from an exit would be a breach.
    let exit = Operation { function: "payment::withdraw", ..deposit };
    assert!(rules::check_failure(&exit, &status).is_err());
    assert!(rules::check_failure(&exit, &VmStatus::OutOfGas).is_err());
}

#[test]
fn a_store_is_read_as_the_framework_lays_it_out() {
    let bytes = bcs(&(AccountAddress::small(10), 7_u64, false));
    let store: FungibleStore = crate::books::read(&bytes).unwrap();
    assert_eq!(store.balance, 7);
}

#[test]
fn every_entry_function_of_the_committed_bytecode_is_tried() {
    let tried: BTreeSet<String> = Generator::kinds().map(|kind| kind.function.to_owned()).collect();
    let mut there = BTreeSet::new();
    for bytes in crate::chain::bytecode("cactus") {
        let module = CompiledModule::deserialize(&bytes).unwrap();
        let name = &module.id().name;
        let entries = module.functions().into_iter().filter(|function| function.is_entry);
        there.extend(entries.map(|function| format!("{name}::{}", function.name)));
    }
    assert!(!there.is_empty());
    assert_eq!(tried, there, "each entry function needs a generator, and each generator one");
}
