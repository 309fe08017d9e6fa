//! Reads `#[view]`, `#[event]` and documented error constants out of Move sources, one item per
//! line as our own style has it. No general Move parser.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

/// What one module declares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Names of view functions.
    pub views: Vec<String>,
    /// Names of event structs and enums.
    pub events: Vec<String>,
    /// Error constants by value.
    pub errors: BTreeMap<u64, ErrorConstant>,
}

/// An `E…` constant and its doc comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorConstant {
    /// Such as `EPAUSED`.
    pub name: String,
    /// The doc comment on one line.
    pub description: String,
}

/// The attributes of the modules in `dir`'s Move files, by module name. One module per file.
pub fn of_sources(dir: &Path) -> anyhow::Result<BTreeMap<String, Attributes>> {
    let mut modules = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "move") {
            let text = std::fs::read_to_string(&path)?;
            let (name, attributes) =
                scan(&text).with_context(|| format!("in {}", path.display()))?;
            modules.insert(name, attributes);
        }
    }
    Ok(modules)
}

fn scan(text: &str) -> anyhow::Result<(String, Attributes)> {
    let mut module = None;
    let mut found = Attributes::default();
    let mut pending = Pending::default();
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            pending.doc.push(doc.trim());
        } else if line.starts_with("#[") {
            pending.view |= line.contains("#[view]");
            pending.event |= line.contains("#[event]");
            pending.test |= line.contains("test");
        } else {
            if let Some(path) = line.strip_prefix("module ") {
                module = path
                    .split("::")
                    .nth(1)
                    .map(|name| name.trim_end_matches([' ', '{']).to_owned());
            } else if !pending.test {
                record(line, &pending, &mut found)?;
            }
            pending = Pending::default();
        }
    }
    Ok((module.context("the file declares no module")?, found))
}

/// Doc comments and attributes seen above the current item.
#[derive(Default)]
struct Pending<'a> {
    doc: Vec<&'a str>,
    view: bool,
    event: bool,
    test: bool,
}

fn record(line: &str, pending: &Pending<'_>, found: &mut Attributes) -> anyhow::Result<()> {
    if pending.view {
        found.views.extend(name_after(line, "fun "));
    }
    if pending.event {
        found.events.extend(name_after(line, "struct ").or_else(|| name_after(line, "enum ")));
    }
    let constant =
        line.strip_prefix("const E").filter(|rest| !rest.starts_with(char::is_lowercase));
    if let Some((name, value)) = constant.and_then(|rest| rest.split_once(": u64 = ")) {
        let value = value.trim_end_matches(';');
        let value = match value.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16)?,
            None => value.parse()?,
        };
        let description = pending.doc.join(" ");
        found.errors.insert(value, ErrorConstant { name: format!("E{name}"), description });
    }
    Ok(())
}

fn name_after(line: &str, keyword: &str) -> Option<String> {
    let (_, rest) = line.split_once(keyword)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_events_and_documented_errors_are_found_and_test_items_are_not() {
        let text = "/// A module.\nmodule cactus::vault {\n\
            /// Too little\n/// money.\nconst EPOOR: u64 = 1;\nconst EBIG: u64 = 0x40001;\nconst LIMIT: u64 = 9;\n\
            #[event]\nenum Paid has drop, store {\n}\n\
            #[view]\n/// The balance.\npublic fun balance(owner: address): u64 {\n}\n\
            #[test_only]\n#[view]\npublic fun secret(): u64 {\n}\npublic fun plain() {}\n}\n";
        let (name, found) = scan(text).unwrap();
        assert_eq!(name, "vault");
        assert_eq!(found.views, ["balance"]);
        assert_eq!(found.events, ["Paid"]);
        let poor = ErrorConstant { name: "EPOOR".into(), description: "Too little money.".into() };
        assert_eq!(found.errors[&1], poor);
        assert_eq!(found.errors[&0x40001].name, "EBIG");
        assert_eq!(found.errors.len(), 2);
    }

    /// Cannot happen with APT, which takes no fee on transfer; the check guards against another asset.
    const UNREACHABLE: &[(&str, &str)] = &[("vault", "EINEXACT")];

    #[test]
    fn every_error_code_of_the_contracts_is_documented_and_reached_by_a_test() {
        let contracts = super::super::root().join("contracts");
        let mut tests = String::new();
        for entry in std::fs::read_dir(contracts.join("tests")).unwrap() {
            tests += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
        }
        let reached = |module: &str, code: u64| {
            let location = format!(", location = cactus::{module})");
            tests.lines().any(|line| {
                line.trim()
                    .strip_prefix("#[expected_failure(abort_code = 0x")
                    .and_then(|rest| rest.strip_suffix("]"))
                    .and_then(|rest| rest.strip_suffix(&location))
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    // The low sixteen bits are the module's own code, the rest is the category.
                    .is_some_and(|canonical| canonical & 0xffff == code)
            })
        };
        for (module, attributes) in of_sources(&contracts).unwrap() {
            for (code, error) in attributes.errors {
                let name = &error.name;
                assert!(!error.description.is_empty(), "{module}::{name} is not documented");
                let exempt = UNREACHABLE.contains(&(module.as_str(), name.as_str()));
                assert!(exempt || reached(&module, code), "no test reaches {module}::{name}");
            }
        }
    }
}
