//! The dependency directions of ARCHITECTURE.md, held by `cargo metadata`.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::collections::BTreeSet;

/// Each crate of ours and the crates of ours that it may use. What is absent is forbidden.
const ALLOWED: &[(&str, &[&str])] = &[
    ("cactus-protocol", &[]),
    ("cactus-move-vm", &[]),
    ("cactus-database", &[]),
    ("cactus-ledger", &["cactus-protocol", "cactus-database"]),
    ("cactus-inference", &["cactus-protocol"]),
    ("cactus-verification", &["cactus-protocol"]),
    ("cactus-telemetry", &["cactus-protocol"]),
    ("cactus-dispatch", &["cactus-protocol"]),
    ("cactus-localnet", &["cactus-move-vm"]),
    ("cactus-truth", &["cactus-move-vm"]),
    ("cactus-simulator", &["cactus-protocol", "cactus-dispatch"]),
    (
        "cactus-routing-server",
        &[
            "cactus-protocol",
            "cactus-database",
            "cactus-dispatch",
            "cactus-ledger",
            "cactus-telemetry",
            "cactus-verification",
        ],
    ),
    (
        "cactus-orchestrator",
        &["cactus-protocol", "cactus-ledger", "cactus-telemetry", "cactus-inference"],
    ),
    (
        "cactus-devnet",
        &[
            "cactus-protocol",
            "cactus-database",
            "cactus-ledger",
            "cactus-inference",
            "cactus-localnet",
            "cactus-routing-server",
            "cactus-orchestrator",
        ],
    ),
    (
        "cactus-cli",
        &[
            "cactus-protocol",
            "cactus-ledger",
            "cactus-inference",
            "cactus-localnet",
            "cactus-telemetry",
            "cactus-devnet",
        ],
    ),
];

/// A family of crates from outside, by prefix, and the only crates of ours that may name it.
const CONFINED: &[(&str, &[&str])] = &[
    // xtask publishes packages, which no daemon ever does: calls that the ledger need not know.
    ("aptos-sdk", &["cactus-ledger", "xtask"]),
    ("candle-", &["cactus-inference"]),
    ("opentelemetry", &["cactus-telemetry"]),
    ("opentelemetry-", &["cactus-telemetry"]),
    ("tracing-opentelemetry", &["cactus-telemetry"]),
    ("tch", &["cactus-inference"]),
    ("actix-", &["cactus-routing-server", "cactus-localnet"]),
];

/// Licences under which we take code, as SPDX names.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn metadata() -> Metadata {
    MetadataCommand::new().exec().expect("cargo metadata runs in the workspace")
}

#[test]
fn our_crates_depend_only_downwards() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| package.name == *name) else {
            assert!(
                package.manifest_path.as_str().contains("xtask"),
                "{} has no rule",
                package.name
            );
            continue;
        };
        for dependency in &package.dependencies {
            if dependency.path.is_some() {
                let name = dependency.name.as_str();
                assert!(allowed.contains(&name), "{} must not use {name}", package.name);
            }
        }
    }
}

#[test]
fn only_their_owners_know_the_big_libraries() {
    for package in metadata().workspace_packages() {
        for dependency in package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal) {
            for (prefix, owners) in CONFINED {
                let confined = dependency.name == *prefix
                    || (prefix.ends_with('-') && dependency.name.starts_with(prefix));
                let owned = owners.iter().any(|owner| package.name == *owner);
                assert!(!confined || owned, "{} must not use {}", package.name, dependency.name);
            }
        }
    }
}

/// Whether an SPDX expression can be satisfied by [`LICENCES`] alone.
fn is_permissive(expression: &str) -> bool {
    spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX).is_ok_and(|licences| {
        licences.evaluate(|needed| LICENCES.contains(&needed.license.to_string().as_str()))
    })
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    let unknown: BTreeSet<String> = metadata()
        .packages
        .iter()
        .filter(|package| !is_permissive(package.license.as_deref().unwrap_or("none")))
        .map(|package| {
            format!("{} ({})", package.name, package.license.as_deref().unwrap_or("none"))
        })
        .collect();
    assert!(unknown.is_empty(), "licences to look at: {unknown:?}");
}

#[test]
fn every_dependency_has_its_reason_in_the_workspace_manifest() {
    let manifest = include_str!("../../Cargo.toml");
    let table = manifest.split("[workspace.dependencies]").nth(1).expect("the table is there");
    let table = table.split("\n[").next().expect("a table ends");
    for line in table.lines().filter(|line| line.contains('=') && !line.contains("path =")) {
        assert!(line.contains(" # "), "no reason given: {line}");
    }
}
