//! A temporary copy of the Move package whose manifest points at the small framework, because the
//! real framework is a git dependency that an offline build cannot fetch. Never changes the tree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

/// The well-known localnet address that the committed bytecode is built for.
pub const CONTRACT_ADDRESS: &str =
    "0x770eb1b3170bcdd27aab10aed54a73bf2b40f49c88ae430957992798c9cdfed8";

/// One staged Move package.
pub struct Package {
    /// Its folder among the committed bytecode.
    pub name: &'static str,
    /// Where it is staged.
    pub dir: PathBuf,
    /// Its name in the manifest, which names the compiler's output folder.
    manifest_name: String,
}

impl Package {
    /// The compiled modules by name.
    pub fn built_modules(&self) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        let dir = self.dir.join("build").join(&self.manifest_name).join("bytecode_modules");
        let entries = std::fs::read_dir(&dir).with_context(|| format!("no {}", dir.display()))?;
        let mut modules = BTreeMap::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "mv") {
                let name = path.file_stem().context("a module has a name")?;
                modules.insert(name.to_string_lossy().into_owned(), std::fs::read(&path)?);
            }
        }
        Ok(modules)
    }
}

/// The staged packages; removed when dropped.
pub struct Stage {
    packages: [Package; 2],
    _dir: TempDir,
}

impl Stage {
    /// Copies framework and contracts of the repository at `root`, the contracts for `address`.
    pub fn new(root: &Path, address: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let framework_source = root.join("crates/localnet/framework");
        let framework = dir.path().join("framework");
        copy_moves(&framework_source.join("sources"), &framework.join("sources"))?;
        let framework_manifest = read_manifest(&framework_source.join("Move.toml"))?;
        std::fs::write(framework.join("Move.toml"), framework_manifest.to_string())?;

        let contracts = dir.path().join("cactus");
        copy_moves(&root.join("contracts"), &contracts.join("sources"))?;
        let manifest = offline(read_manifest(&root.join("Move.toml"))?, address)?;
        std::fs::write(contracts.join("Move.toml"), manifest.to_string())?;

        let packages = [
            Package {
                name: "framework",
                manifest_name: package_name(&framework_manifest)?,
                dir: framework,
            },
            Package { name: "cactus", manifest_name: package_name(&manifest)?, dir: contracts },
        ];
        Ok(Self { packages, _dir: dir })
    }

    /// Dependencies first.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }
}

fn read_manifest(path: &Path) -> anyhow::Result<toml::Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("no {}", path.display()))?;
    text.parse().with_context(|| format!("{} is not valid TOML", path.display()))
}

fn package_name(manifest: &toml::Table) -> anyhow::Result<String> {
    let name = manifest.get("package").and_then(|package| package.get("name"));
    Ok(name.and_then(toml::Value::as_str).context("a package has a name")?.to_owned())
}

fn offline(mut manifest: toml::Table, address: &str) -> anyhow::Result<toml::Table> {
    let replacement: toml::Table = format!(
        "[addresses]\ncactus = \"{address}\"\n\
         [dependencies]\nAptosFramework = {{ local = \"../framework\" }}\n"
    )
    .parse()?;
    manifest.remove("dev-addresses");
    manifest.extend(replacement);
    // The compiler's own check knows no upgrade policy; only publishing does.
    if let Some(package) = manifest.get_mut("package").and_then(toml::Value::as_table_mut) {
        package.remove("upgrade_policy");
    }
    Ok(manifest)
}

fn copy_moves(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("no {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().context("an entry has a name")?);
        if path.is_dir() {
            copy_moves(&path, &target)?;
        } else if path.extension().is_some_and(|extension| extension == "move") {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offline_manifest_names_the_small_framework_and_the_localnet_address() {
        let manifest = "[package]\nname = \"cactus\"\nversion = \"1.0.0\"\nupgrade_policy = \"compatible\"\n\
            [addresses]\ncactus = \"_\"\n[dev-addresses]\ncactus = \"0xcac\"\n\
            [dependencies]\nAptosFramework = { git = \"elsewhere\", rev = \"abc\" }\n";
        let offline = offline(manifest.parse().unwrap(), CONTRACT_ADDRESS).unwrap();
        assert_eq!(offline["addresses"]["cactus"].as_str(), Some(CONTRACT_ADDRESS));
        let dependency = &offline["dependencies"]["AptosFramework"];
        assert_eq!(dependency["local"].as_str(), Some("../framework"));
        assert!(dependency.get("git").is_none());
        assert!(offline["package"].get("upgrade_policy").is_none());
    }
}
