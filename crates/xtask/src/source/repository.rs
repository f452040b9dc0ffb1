//! The text files of the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Extensions of the files that checks read.
const EXTENSIONS: [&str; 6] = ["rs", "toml", "md", "py", "sh", "json"];

/// All text files that git tracks or would track, by path relative to the root.
pub(crate) struct Repository {
    pub files: BTreeMap<String, String>,
    /// Every tracked path, text or not.
    pub paths: Vec<String>,
}

impl Repository {
    /// Reads the repository that contains this crate.
    pub(crate) fn open() -> Result<Self> {
        let root = root();
        let listing = Command::new("git")
            .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("git: cannot list the files of the repository; install git")?;
        ensure!(listing.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listing.stderr));
        let listing = String::from_utf8(listing.stdout).context("git ls-files: a path is not UTF-8")?;
        let mut paths: Vec<String> =
            listing.split('\0').filter(|path| root.join(path).is_file()).map(str::to_owned).collect();
        paths.sort();
        paths.dedup();
        let mut files = BTreeMap::new();
        for path in &paths {
            let extension = Path::new(path).extension().and_then(|e| e.to_str()).unwrap_or_default();
            if EXTENSIONS.contains(&extension)
                && let Ok(text) = fs_err::read_to_string(root.join(path))
            {
                files.insert(path.clone(), text);
            }
        }
        Ok(Self { files, paths })
    }

    /// Names of the directories under `crates/`.
    pub(crate) fn crates(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .paths
            .iter()
            .filter_map(|path| path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml"))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }
}

/// The root of the repository around the current directory, or else of the one this program was built in.
pub(crate) fn root() -> PathBuf {
    let current = std::env::current_dir().unwrap_or_default();
    let built_in =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/xtask is two levels deep");
    let around = current.ancestors().find(|directory| directory.join("crates/xtask/Cargo.toml").is_file());
    around.unwrap_or(built_in).to_owned()
}
