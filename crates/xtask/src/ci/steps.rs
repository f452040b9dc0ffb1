//! The steps of continuous integration.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::generate::{self, GenerateArgs};
use crate::shell::{self, Shell};
use crate::source::repository;
use crate::tidy::{self, TidyArgs};

/// A step, in the order in which all of them run: what is fast and fails often comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum CiStep {
    /// Formatting of Rust code (rustfmt).
    Format,
    /// Structure and text of the repository (`cargo xtask tidy`).
    Tidy,
    /// Python environment that tests compare with.
    ReferencePython,
    /// Spelling (typos).
    Spelling,
    /// Licences, duplicate versions and sources of dependencies (cargo-deny).
    Licences,
    /// Clippy, with and without remote storage.
    Lint,
    /// API documentation (rustdoc), warnings as errors.
    Docs,
    /// Generated reference pages are up to date.
    Generated,
    /// All tests.
    Tests,
    /// Lints and tests on several processes (MPI).
    Ranks,
    /// Kernels and whole runs on a software Vulkan device (wgpu).
    SoftwareGpu,
    /// Type check of the CUDA and NCCL code.
    CudaTypes,
}

impl CiStep {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// One line about the step.
    pub(crate) fn summary(self) -> String {
        self.to_possible_value().and_then(|value| Some(value.get_help()?.to_string())).unwrap_or_default()
    }
}

/// Runs steps with the tools and caches that they share.
pub(crate) struct StepRunner {
    shell: Shell,
    /// Directory of the tools that steps install.
    cache: PathBuf,
    /// Directory of the Python environment.
    reference: PathBuf,
}

impl StepRunner {
    /// # Errors
    ///
    /// If neither `XDG_CACHE_HOME` nor `HOME` says where caches are.
    pub(crate) fn new() -> Result<Self> {
        let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| {
            let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"))?;
            Some(PathBuf::from(home).join(".cache"))
        });
        let cache = caches.context("HOME is not set: it says where tools are kept")?.join("fineline");
        Ok(Self { shell: Shell::new(repository::root()), reference: cache.join("reference"), cache })
    }

    /// # Errors
    ///
    /// If a program of the step cannot be started or fails.
    pub(crate) fn run(&self, step: CiStep) -> Result<()> {
        match step {
            CiStep::Format => self.cargo("fmt --all --check"),
            CiStep::Tidy => tidy::run(&TidyArgs::default()),
            CiStep::ReferencePython => self.reference_python(),
            CiStep::Spelling => self.spelling(),
            CiStep::Licences => self.licences(),
            CiStep::Lint => self.lint(),
            CiStep::Docs => self.docs(),
            CiStep::Generated => generate::generate(&GenerateArgs { check: true }),
            CiStep::Tests => self.tests(),
            CiStep::Ranks => self.ranks(),
            CiStep::SoftwareGpu => self.software_gpu(),
            CiStep::CudaTypes => self.cuda_types(),
        }
    }

    fn cargo(&self, arguments: &str) -> Result<()> {
        shell::run(&mut self.shell.cargo(arguments))
    }

    /// Sets up the Python that tests compare with. Without it, they are skipped.
    fn reference_python(&self) -> Result<()> {
        shell::run(self.shell.command("scripts/setup-reference.sh").arg(&self.reference))
    }

    /// Checks spelling. `typos` comes from the Python package index, as a binary.
    fn spelling(&self) -> Result<()> {
        let programs = self.reference.join("bin");
        let mut install = self.shell.command(programs.join("pip"));
        shell::run(install.args(["install", "--quiet", "typos==1.52.0"]))?;
        shell::run(&mut self.shell.command(programs.join("typos")))
    }

    fn licences(&self) -> Result<()> {
        let installed = self.cache.join("bin");
        let search = std::env::var_os("PATH").unwrap_or_default();
        let search = std::env::join_paths(std::iter::once(installed).chain(std::env::split_paths(&search)))?;
        if !shell::succeeds(self.shell.cargo("deny --version").env("PATH", &search)) {
            let mut install = self.shell.cargo("install --quiet --locked cargo-deny@0.20.2 --root");
            shell::run(install.arg(&self.cache))?;
        }
        let mut deny = self.shell.cargo("deny --log-level error check bans licenses sources");
        shell::run(deny.env("PATH", &search))
    }

    fn lint(&self) -> Result<()> {
        self.cargo("clippy --release --workspace --all-targets -- -D warnings")?;
        self.cargo("clippy --release --workspace --all-targets --features fineline/storage -- -D warnings")
    }

    fn docs(&self) -> Result<()> {
        let mut doc = self.shell.cargo("doc --release --workspace --no-deps");
        shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    }

    /// Runs all tests in the release profile, so that tests and runs share one build.
    fn tests(&self) -> Result<()> {
        let mut test = self.shell.cargo("test --release --workspace --features fineline/storage");
        let python = self.reference.join("bin/python");
        if python.is_file() {
            test.env("FINELINE_REFERENCE_PYTHON", python);
        }
        shell::run(&mut test)
    }

    /// Runs tests on several processes under Open MPI. Only what differs from earlier steps is built and run.
    fn ranks(&self) -> Result<()> {
        self.setup_mpi()?;
        let features = "--features fineline/mpi,fineline/storage";
        self.cargo(&format!("clippy --release --workspace --all-targets {features} -- -D warnings"))?;
        self.cargo(&format!("test --release --workspace {features} --lib --test program -- ranks"))?;
        self.network_cut()
    }

    /// Cuts the network between two "hosts" of one machine, where network namespaces can be created.
    fn network_cut(&self) -> Result<()> {
        let namespace = |action: &str| {
            shell::succeeds(self.shell.command("ip").args(["netns", action, "fineline-probe"]))
        };
        if !namespace("add") {
            println!(
                "skipped: scripts/faults/network_cut.sh (no network namespaces: not root, or no iproute2)"
            );
            return Ok(());
        }
        namespace("delete");
        shell::run(self.shell.command("scripts/faults/network_cut.sh").arg(self.shell.fineline()))
    }

    /// Runs kernels and whole runs on the backend for GPUs, on Mesa's software Vulkan where there is no GPU.
    fn software_gpu(&self) -> Result<()> {
        let has_driver =
            fs_err::read_dir("/usr/share/vulkan/icd.d").is_ok_and(|mut files| files.next().is_some());
        if !has_driver {
            self.apt_get(&["update"])?;
            self.apt_get(&["install", "-y", "--no-install-recommends", "libvulkan1", "mesa-vulkan-drivers"])?;
        }
        self.cargo("test --release -p fineline -p fineline-kernels --features wgpu --test wgpu")
    }

    /// Type-checks the CUDA code, which can be neither linked nor run here. `DOCS_RS` lets a dependency do
    /// without its LLVM.
    fn cuda_types(&self) -> Result<()> {
        self.setup_mpi()?;
        shell::run(self.shell.cargo("check --release -p fineline --features cuda,mpi").env("DOCS_RS", "1"))
    }

    fn setup_mpi(&self) -> Result<()> {
        shell::run(&mut self.shell.command("scripts/setup-mpi.sh"))
    }

    fn apt_get(&self, arguments: &[&str]) -> Result<()> {
        let user = shell::output(self.shell.command("id").arg("-u"))?;
        let mut command = self.shell.command(if user.trim() == "0" { "env" } else { "sudo" });
        shell::run(command.args(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_name_and_a_summary() {
        assert_eq!(CiStep::ReferencePython.name(), "reference_python");
        assert!(CiStep::value_variants().iter().all(|step| !step.summary().is_empty()));
    }
}
