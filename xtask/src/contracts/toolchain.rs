//! Gets the offline Move compiler: a pinned npm package, checked before anything in it is used.
//! It never runs the package's scripts; only the compiler library is taken out.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha512};

const PACKAGE: &str = "@initia/builder.js";
const VERSION: &str = "0.2.12";
const ARCHIVE: &str = "initia-builder.js-0.2.12.tgz";
/// The registry's integrity value of that version, in hex.
const SHA512: &str = "8eebd5e481163623cccc52d6e77861ddefb01dac786bdcada31fc3c207a996b4\
    d02665acd58f3e8108167a78cfc1e3ed0c6fe57c65da02e5d98a98d07aaf4bac";

/// The path of the compiler library for this machine, fetched on first use into `target/`.
pub fn library(root: &Path) -> anyhow::Result<PathBuf> {
    let cache = root.join("target/contracts-toolchain").join(VERSION);
    let name = library_name()?;
    let library = cache.join(name);
    if library.exists() {
        return Ok(library);
    }
    std::fs::create_dir_all(&cache)?;
    let archive = fetch(&cache)?;
    verify(&archive)?;
    extract(&archive, name, &library)?;
    std::fs::remove_file(&archive)?;
    Ok(library)
}

fn library_name() -> anyhow::Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("libcompiler.x86_64.so"),
        ("linux", "aarch64") => Ok("libcompiler.aarch64.so"),
        ("macos", _) => Ok("libcompiler.dylib"),
        (os, arch) => bail!(
            "there is no offline Move compiler for {os} on {arch}; use the aptos CLI: aptos move compile"
        ),
    }
}

fn fetch(cache: &Path) -> anyhow::Result<PathBuf> {
    println!("fetching the offline Move compiler ({PACKAGE} {VERSION}, once)");
    let output = Command::new("npm")
        .args(["pack", "--silent", "--pack-destination"])
        .arg(cache)
        .arg(format!("{PACKAGE}@{VERSION}"))
        .output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "npm is missing: install Node.js with npm, or use the aptos CLI: aptos move compile"
            )
        }
        other => other.context("npm did not start")?,
    };
    ensure!(
        output.status.success(),
        "npm pack failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(cache.join(ARCHIVE))
}

fn verify(archive: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(archive)
        .with_context(|| format!("npm pack left no {}", archive.display()))?;
    let found = hex::encode(Sha512::digest(&bytes));
    ensure!(
        found == SHA512,
        "{} does not have the pinned content: expected sha512 {SHA512}, found {found}",
        archive.display()
    );
    Ok(())
}

fn extract(archive: &Path, name: &str, target: &Path) -> anyhow::Result<()> {
    let wanted = Path::new("package/library").join(name);
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(archive)?));
    for entry in tar.entries()? {
        let mut entry = entry?;
        if *entry.path()? == *wanted {
            // Renamed when whole, so that an interrupted run leaves no half library.
            let partial = target.with_extension("partial");
            std::io::copy(&mut entry, &mut File::create(&partial)?)?;
            std::fs::rename(&partial, target)?;
            return Ok(());
        }
    }
    bail!("{ARCHIVE} holds no {}", wanted.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_with_other_content_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join(ARCHIVE);
        std::fs::write(&archive, b"something else").unwrap();
        let error = verify(&archive).unwrap_err().to_string();
        assert!(error.contains("does not have the pinned content"), "{error}");
    }

    #[test]
    fn an_archive_without_the_library_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join(ARCHIVE);
        let encoder = flate2::write::GzEncoder::new(
            File::create(&archive).unwrap(),
            flate2::Compression::fast(),
        );
        tar::Builder::new(encoder).into_inner().unwrap().finish().unwrap();
        let target = dir.path().join("library");
        let error = extract(&archive, "libcompiler.so", &target).unwrap_err().to_string();
        assert!(error.contains("holds no"), "{error}");
        assert!(!target.exists());
    }
}
