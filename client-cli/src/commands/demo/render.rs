//! The demonstration for people: colours in a terminal, plain lines when piped.

use super::report::{AnswerReport, Candidate, Payment, Report};
use crate::commands::chat::shorten;
use cactus_devnet::{Balances, Network, Role};
use cactus_protocol::Octas;
use console::{Alignment, pad_str, style};
use std::collections::BTreeMap;

/// What people call the accounts of the network, by address.
pub type Names = BTreeMap<String, String>;

pub fn network(network: &Network, seconds: f64) {
    println!("{} in {seconds:.1} s", style("A network of your own, ready").bold());
    println!(
        "  chain     {} (contract {})",
        network.chain_url(),
        shorten(&network.contract().to_string())
    );
    println!("  router    {}", network.router_url());
    for operator in network.operators() {
        let plan = &operator.plan;
        let speed = match plan.tokens_per_second_limit {
            Some(limit) => format!("at most {limit:.0} tokens/s"),
            None => "no speed limit".to_owned(),
        };
        println!(
            "  {} {} · stake {} · {} + {} octas per 1,000 tokens in + out · {speed}",
            column(&plan.name, 9),
            shorten(&operator.address.to_string()),
            plan.stake,
            plan.price.prompt.0,
            plan.price.output.0,
        );
    }
}

pub fn question(index: usize, count: usize, prompt: &str) {
    println!("\n{} {}", style(format!("[{}/{count}]", index + 1)).dim(), style(prompt).bold());
    print!("  {} ", style("›").cyan());
}

pub fn answer(answer: &AnswerReport, names: &Names) {
    println!();
    candidates(&answer.candidates, &answer.operator, names);
    let speed = answer.tokens_per_s.map(|s| format!(" · {s:.0} tokens/s")).unwrap_or_default();
    let verdict = match answer.verdict.as_str() {
        "verified" => style("verified").green(),
        other => style(other).red(),
    };
    line(
        "answered",
        &format!(
            "{} · first token {} ms · {} tokens{speed}",
            name(names, &answer.operator),
            answer.ttft_ms,
            answer.output_tokens
        ),
    );
    line("verdict", &verdict.to_string());
    match &answer.payment {
        Some(paid) => payment(paid),
        None => line("payment", &style("not confirmed").red().to_string()),
    }
}

fn candidates(candidates: &[Candidate], chosen: &str, names: &Names) {
    let mut best_first: Vec<&Candidate> = candidates.iter().collect();
    best_first.sort_by(|a, b| b.score.total_cmp(&a.score));
    for (index, candidate) in best_first.into_iter().enumerate() {
        let terms: Vec<String> =
            candidate.terms.iter().map(|(term, value)| format!("{term} {value:.2}")).collect();
        let row = format!(
            "{} {:.3}  {}",
            column(&name(names, &candidate.operator), 9),
            candidate.score,
            terms.join("  ")
        );
        let row = if candidate.operator == chosen { style(row).green() } else { style(row).dim() };
        line(if index == 0 { "eligible" } else { "" }, &row.to_string());
    }
}

fn payment(paid: &Payment) {
    let moved = format!(
        "{} to the orchestrator, {} fee, {} back",
        octas(paid.orchestrator_octas),
        octas(paid.fee_octas),
        octas(paid.refund_octas),
    );
    line("paid", &format!("{moved} · {}", style(shorten(&paid.transaction)).dim()));
}

pub fn summary(report: &Report) {
    println!("\n{}", style("Where the coins are, in octas").bold());
    println!("  {} {} {}", column("", 22), right("before", 25), right("after", 25));
    let (before, after) = (&report.balances.before, &report.balances.after);
    for holder in &after.holders {
        let was = before.holders.iter().find(|b| b.name == holder.name);
        let parts = [
            ("", was.map(|b| b.coins), holder.coins),
            (in_contract(holder.role), was.map(|b| b.in_contract), holder.in_contract),
        ];
        for (what, was, is) in parts {
            let was = was.unwrap_or_default();
            if was != Octas::ZERO || is != Octas::ZERO {
                row(&format!("{}{what}", holder.name), was, is);
            }
        }
    }
    row("sum", before.total, after.total);
    row("supply on the chain", before.supply, after.supply);
    conservation(before, after, report.conserved);
    let verified = report.answers.iter().filter(|a| a.verdict == "verified").count();
    let paid = report.answers.iter().filter(|a| a.payment.is_some()).count();
    let count = report.answers.len();
    println!(
        "  {verified} of {count} answers verified, {paid} of {count} paid, in {:.1} s",
        report.seconds
    );
}

fn conservation(before: &Balances, after: &Balances, conserved: bool) {
    let burned = before.supply.saturating_sub(after.supply);
    if conserved {
        println!(
            "  {} every coin is accounted for; {} went to gas",
            style("✓").green(),
            octas(burned)
        );
    } else {
        println!("  {} sum and supply differ: coins were lost or made", style("✗").red());
    }
}

fn in_contract(role: Role) -> &'static str {
    match role {
        Role::Client => ", deposited",
        Role::Orchestrator => ", stake",
        Role::Server => ", bond",
        Role::Admin | Role::Faucet | Role::Treasury => "",
    }
}

fn row(name: &str, before: Octas, after: Octas) {
    println!(
        "  {} {} {}",
        column(name, 22),
        right(&grouped(before.0), 25),
        right(&grouped(after.0), 25)
    );
}

fn line(label: &str, text: &str) {
    println!("    {} {text}", style(column(label, 9)).dim());
}

fn name(names: &Names, address: &str) -> String {
    names.get(address).cloned().unwrap_or_else(|| shorten(address))
}

fn octas(amount: Octas) -> String {
    format!("{} octas", grouped(amount.0))
}

fn column(text: &str, width: usize) -> String {
    pad_str(text, width, Alignment::Left, None).into_owned()
}

fn right(text: &str, width: usize) -> String {
    pad_str(text, width, Alignment::Right, None).into_owned()
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
    }
}
