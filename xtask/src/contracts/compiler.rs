//! Runs the compiler library in a process of its own, so that a crash or a stray exit in it ends
//! that process only. Never runs it in the process that writes the results.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail, ensure};
use cactus_libcompiler::Compiler;
use clap::Args;
use serde::Serialize;

const BYTECODE_VERSION: u32 = 7;
const LANGUAGE: &str = "2.1";

/// What the library is asked for; field order is the library's BCS layout.
#[derive(Serialize)]
struct CompilerArguments {
    package_path: Option<String>,
    verbose: bool,
    build: BuildConfig,
}

#[derive(Serialize)]
struct BuildConfig {
    dev_mode: bool,
    test_mode: bool,
    generate_docs: bool,
    generate_abis: bool,
    install_dir: Option<String>,
    force_recompilation: bool,
    fetch_deps_only: bool,
    skip_fetch_latest_git_deps: bool,
    bytecode_version: u32,
    compiler_version: String,
    language_version: String,
    additional_named_addresses: Vec<(String, [u8; 32])>,
}

#[derive(Serialize)]
struct TestOptions {
    filter: Option<String>,
    report_statistics: bool,
    report_storage_on_error: bool,
    ignore_compile_warnings: bool,
    compute_coverage: bool,
}

fn arguments(package: &Path, test_mode: bool) -> anyhow::Result<Vec<u8>> {
    let package_path = package.to_str().context("the path is not valid text")?;
    let arguments = CompilerArguments {
        package_path: Some(package_path.to_owned()),
        verbose: false,
        build: BuildConfig {
            dev_mode: test_mode,
            test_mode,
            generate_docs: false,
            generate_abis: false,
            install_dir: None,
            force_recompilation: true,
            fetch_deps_only: false,
            skip_fetch_latest_git_deps: true,
            bytecode_version: BYTECODE_VERSION,
            compiler_version: LANGUAGE.to_owned(),
            language_version: LANGUAGE.to_owned(),
            additional_named_addresses: Vec::new(),
        },
    };
    Ok(aptos_bcs::to_bytes(&arguments)?)
}

/// One call of the library, as the child process gets it.
#[derive(Args)]
pub struct Job {
    library: PathBuf,
    package: PathBuf,
    /// Run the unit tests instead of building
    #[arg(long)]
    test: bool,
    #[arg(long)]
    filter: Option<String>,
    /// Report each test's time and gas
    #[arg(long)]
    gas: bool,
}

impl Job {
    /// Calls the library in this process.
    pub fn run_here(self) -> anyhow::Result<()> {
        let compiler = Compiler::load(&self.library)
            .map_err(|error| anyhow!("the Move compiler could not be loaded: {error}"))?;
        let arguments = arguments(&self.package, self.test)?;
        let outcome = if self.test {
            let options = TestOptions {
                filter: self.filter,
                report_statistics: self.gas,
                report_storage_on_error: false,
                ignore_compile_warnings: false,
                compute_coverage: false,
            };
            compiler.test(&arguments, &aptos_bcs::to_bytes(&options)?)
        } else {
            compiler.build(&arguments)
        };
        outcome.map_err(|error| anyhow!(error))
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["contracts", "compile"]).arg(&self.library).arg(&self.package);
        if self.test {
            command.arg("--test");
        }
        if self.gas {
            command.arg("--gas");
        }
        if let Some(filter) = &self.filter {
            command.args(["--filter", filter]);
        }
        Ok(command)
    }
}

/// Compiles the package at `package`; diagnostics are shown if it fails or warns.
pub fn build(library: &Path, package: &Path) -> anyhow::Result<()> {
    let job = Job {
        library: library.into(),
        package: package.into(),
        test: false,
        filter: None,
        gas: false,
    };
    let output = job.command()?.stdin(Stdio::null()).output()?;
    let diagnostics = [output.stdout, output.stderr].concat();
    let diagnostics = String::from_utf8_lossy(&diagnostics);
    if !output.status.success() {
        bail!("the contracts do not compile:\n{diagnostics}");
    }
    ensure!(
        !diagnostics.contains("warning"),
        "the contracts compile with warnings:\n{diagnostics}"
    );
    Ok(())
}

/// Runs the unit tests of the package at `package`, with the runner's own report on stdout.
pub fn test(library: &Path, package: &Path, filter: Option<&str>, gas: bool) -> anyhow::Result<()> {
    let filter = filter.map(str::to_owned);
    let job = Job { library: library.into(), package: package.into(), test: true, filter, gas };
    let status = job.command()?.stdin(Stdio::null()).status()?;
    ensure!(status.success(), "the Move unit tests failed");
    Ok(())
}

/// Runs the unit tests whose names contain `filter`, and returns the runner's report, whether they
/// passed or not.
pub fn test_report(library: &Path, package: &Path, filter: &str) -> anyhow::Result<(bool, String)> {
    let filter = Some(filter.to_owned());
    let job =
        Job { library: library.into(), package: package.into(), test: true, filter, gas: false };
    let output = job.command()?.stdin(Stdio::null()).output()?;
    let report = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&report).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_laid_out_as_the_library_reads_them() {
        let bytes = arguments(Path::new("p"), true).unwrap();
        let expected = [
            &[1, 1, b'p', 0, 1, 1, 0, 0, 0, 1, 0, 1, 7, 0, 0, 0][..],
            &[3, b'2', b'.', b'1', 3, b'2', b'.', b'1', 0],
        ];
        assert_eq!(bytes, expected.concat());
    }
}
