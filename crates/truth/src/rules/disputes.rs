//! What a case may do: take a part of one stake, reward its accuser within bounds, and end the task
//! that it holds. Never counts votes; whether a case is upheld is what its record says.

use std::collections::BTreeSet;

use cactus_move_vm::{AccountAddress as Address, Effects};

use super::{BPS, Before, payees, settlements};
use crate::argument::Argument;
use crate::books::{Books, Touched, Violation, hold, primary_store, total_stake};
use crate::operation::Operation;
use crate::records::{Appeal, Case, TaskState};

const BOUNTY_CAP_BPS: usize = 7;
/// A case's outcome.
const UPHELD: u8 = 1;

/// The case that an operation ends.
fn ended<'a>(books: &'a Books, operation: &Operation) -> Option<(Address, &'a Case)> {
    match (operation.function, operation.arguments.first()) {
        ("dispute::finalize", Some(Argument::Address(at))) => Some((*at, books.cases.get(at)?)),
        _ => None,
    }
}

/// A stake shrinks only by its operator's withdrawal or by a case against it that was upheld, and
/// then by what the case held back at most.
pub fn check_stakes(
    before: &Before,
    books: &Books,
    operation: &Operation,
) -> Result<(), Violation> {
    for (operator, old) in &before.stakes {
        let new = books.stakes.get(operator).map_or(0, total_stake);
        let lost = total_stake(old).saturating_sub(new);
        if lost == 0 {
            continue;
        }
        let own = operation.signer == Some(*operator);
        let withdrawn = operation.function == "stake::withdraw" && own;
        let slashed = ended(books, operation).is_some_and(|(_, case)| {
            case.outcome == UPHELD && case.operator == *operator && lost <= case.quarantined
        });
        hold!(withdrawn || slashed, "{operator} lost {lost} of its stake by {operation}");
    }
    Ok(())
}

/// A case gives its accuser no more than the bonds and the capped share of what was slashed.
pub fn check_bounty(
    before: &Before,
    books: &Books,
    (operation, effects, touched): (&Operation, &Effects, &Touched),
) -> Result<(), Violation> {
    let Some((_, case)) = ended(books, operation) else { return Ok(()) };
    // Who is paid for other reasons too has no bound of this kind.
    let others: BTreeSet<Address> = payees(effects).chain([case.client, case.operator]).collect();
    if others.contains(&case.accuser) {
        return Ok(());
    }
    let total = |stake| before.stakes.get(stake).map_or(0, total_stake);
    let left = books.stakes.get(&case.operator).map_or(0, total_stake);
    let slashed = u128::from(total(&case.operator).saturating_sub(left));
    let appeal_bond = match case.appeal {
        Appeal::Filed { appellant, bond, .. } if appellant == case.accuser => bond,
        _ => 0,
    };
    let cap = slashed * u128::from(books.parameter(BOUNTY_CAP_BPS)) / BPS;
    let most = u128::from(case.bond) + u128::from(appeal_bond) + cap;
    let store = primary_store(&case.accuser);
    let after = books.stores.get(&store).copied().unwrap_or(0);
    let won = after.saturating_sub(touched.stores.get(&store).copied().unwrap_or(after));
    hold!(u128::from(won) <= most, "an accuser won {won} where {most} is the most");
    Ok(())
}

/// A held task ends with its case and as that says; a delivered one is not taken for idle; and
/// whoever ends a delivered task without its server's word pays what was delivered.
pub fn check_tasks(
    books: &Books,
    (operation, effects, touched): (&Operation, &Effects, &Touched),
) -> Result<(), Violation> {
    for (id, old) in &touched.ended_tasks {
        let Some(task) = books.tasks.get(id) else { continue };
        match old {
            TaskState::Disputed { case: holder, .. } => {
                let case = ended(books, operation).filter(|(at, _)| at == holder);
                let Some((_, case)) = case else {
                    return Err(Violation(format!("a held task ended by {operation}")));
                };
                let refunded = task.state == TaskState::Refunded;
                let upheld = case.outcome == UPHELD;
                hold!(refunded == upheld, "a case that ended as {} left {task:?}", case.outcome);
            }
            TaskState::Delivered { .. } => {
                let idle = operation.function == "payment::refund_expired";
                hold!(!idle, "a delivered task was taken for idle");
            }
            _ => {}
        }
    }
    if !["payment::release_expired", "dispute::finalize"].contains(&operation.function) {
        return Ok(());
    }
    for settled in settlements(effects) {
        let id = (settled.client, settled.task_id.clone());
        let work = books.deliveries.get(&id);
        let same = work.is_some_and(|work| {
            (work.prompt_tokens, work.output_tokens)
                == (settled.prompt_tokens, settled.output_tokens)
        });
        hold!(same, "paid for {settled:?}, delivered was {work:?}");
    }
    Ok(())
}
