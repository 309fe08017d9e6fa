//! `cargo xtask contracts`: compiles and tests the Move package offline. Touches a network only
//! through `npm pack` and when told to publish, and never writes outside `target/` and the
//! committed bytecode.

mod attributes;
mod bytecode;
mod compiler;
mod conservation;
mod differential;
mod metadata;
mod publish;
mod sources;
mod stage;
mod toolchain;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;

use self::stage::Stage;

#[derive(Subcommand)]
pub enum Action {
    /// Compile the contracts and the small framework into the committed bytecode
    Build {
        /// Write nothing; fail if the committed bytecode differs from a rebuild
        #[arg(long)]
        check: bool,
    },
    /// Run the Move unit tests
    Test {
        /// Only tests whose `address::module::function` contains this
        filter: Option<String>,
        /// Also print a table of each test's time and gas
        #[arg(long)]
        gas: bool,
    },
    /// `build --check`, the rules of the sources, then `test`: what CI runs
    Check,
    /// Check after each of many random operations that every coin is in exactly one place
    Conservation(conservation::Options),
    /// Confirm by the reference runner what our Move machine answers to random operations
    Differential(differential::Options),
    /// Publish the contracts under your own address, or upgrade them there
    Publish(publish::Options),
    /// Show which places of the chain's state unrelated operations write
    Accesses,
    /// Run the compiler library in this process (used by the other commands)
    #[command(hide = true)]
    Compile(compiler::Job),
}

pub fn run(action: Action) -> anyhow::Result<()> {
    match action {
        Action::Build { check: false } => write(&bytecode_dir(), &compile()?),
        Action::Build { check: true } => compare(&bytecode_dir(), &compile()?),
        Action::Test { filter, gas } => test(filter.as_deref(), gas),
        Action::Check => {
            compare(&bytecode_dir(), &compile()?)?;
            sources::check(&root().join("contracts"))?;
            test(None, false)
        }
        Action::Accesses => conservation::print_accesses(),
        Action::Conservation(options) => conservation::run(options),
        Action::Differential(options) => differential::run(options),
        Action::Publish(options) => publish::run(&options),
        Action::Compile(job) => job.run_here(),
    }
}

fn root() -> PathBuf {
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest_dir.parent().unwrap_or(manifest_dir).to_path_buf()
}

fn bytecode_dir() -> PathBuf {
    root().join("crates/localnet/bytecode")
}

/// The committed files, by path below the bytecode directory.
type Files = BTreeMap<String, Vec<u8>>;

fn compile() -> anyhow::Result<Files> {
    compile_at(stage::CONTRACT_ADDRESS)
}

/// Compiles the framework, and the contracts for an address.
fn compile_at(address: &str) -> anyhow::Result<Files> {
    let library = toolchain::library(&root())?;
    let stage = Stage::new(&root(), address)?;
    let mut files = Files::new();
    let mut order = Vec::new();
    for package in stage.packages() {
        compiler::build(&library, &package.dir)?;
        let attributes = attributes::of_sources(&package.dir.join("sources"))?;
        let modules = package.built_modules()?;
        for name in bytecode::publication_order(&modules)? {
            let module = metadata::attach(&modules[&name], attributes.get(&name))
                .with_context(|| format!("module {name}"))?;
            let path = format!("{}/{name}", folder(package.name, &modules[&name])?);
            files.insert(format!("{path}.mv"), module);
            order.push(path);
        }
    }
    files.insert("order.txt".to_owned(), (order.join("\n") + "\n").into_bytes());
    Ok(files)
}

/// Where a module's bytecode lies: beside the framework's own lies what Aptos keeps at `0x7`.
fn folder(package: &'static str, module: &[u8]) -> anyhow::Result<&'static str> {
    let (address, _) = bytecode::Module::parse(module)?.own_handle()?;
    let at_seven = address
        .split_last()
        .is_some_and(|(last, rest)| *last == 7 && rest.iter().all(|byte| *byte == 0));
    Ok(if at_seven { "experimental" } else { package })
}

fn test(filter: Option<&str>, gas: bool) -> anyhow::Result<()> {
    let library = toolchain::library(&root())?;
    let stage = Stage::new(&root(), stage::CONTRACT_ADDRESS)?;
    for package in stage.packages() {
        compiler::test(&library, &package.dir, filter, gas)?;
    }
    Ok(())
}

fn write(dir: &Path, files: &Files) -> anyhow::Result<()> {
    for stale in committed(dir)?.keys().filter(|path| !files.contains_key(*path)) {
        std::fs::remove_file(dir.join(stale))?;
    }
    for (path, bytes) in files {
        let target = dir.join(path);
        std::fs::create_dir_all(target.parent().context("a file below the directory")?)?;
        std::fs::write(target, bytes)?;
    }
    println!("{} modules written to {}", files.len() - 1, dir.display());
    Ok(())
}

fn compare(dir: &Path, files: &Files) -> anyhow::Result<()> {
    let committed = committed(dir)?;
    let differing: Vec<&str> = files
        .keys()
        .chain(committed.keys())
        .filter(|path| committed.get(*path) != files.get(*path))
        .map(String::as_str)
        .collect();
    ensure!(
        differing.is_empty(),
        "the committed bytecode differs from the sources; run `cargo xtask contracts build`: {}",
        differing.join(", ")
    );
    println!("{} modules are as committed", files.len() - 1);
    Ok(())
}

fn committed(dir: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new();
    if !dir.exists() {
        bail!("{} does not exist", dir.display());
    }
    for folder in ["", "framework", "experimental", "cactus"] {
        let Ok(entries) = std::fs::read_dir(dir.join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                let relative = path.strip_prefix(dir)?.to_string_lossy().into_owned();
                files.insert(relative, std::fs::read(&path)?);
            }
        }
    }
    Ok(files)
}
