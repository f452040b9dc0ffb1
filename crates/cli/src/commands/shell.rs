//! `fineline completions`, `fineline man` and `fineline cli-reference`.

use std::path::Path;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::cli_reference::cli_reference;
use crate::output::print;

/// `fineline completions`
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fineline", &mut script);
    print(&String::from_utf8(script)?)
}

/// `fineline man`
pub(crate) fn man(dir: &Path) -> Result<()> {
    fs_err::create_dir_all(dir)?;
    Ok(clap_mangen::generate_to(Cli::command(), dir)?)
}

/// `fineline cli-reference`
pub(crate) fn reference() -> Result<()> {
    print(&cli_reference(Cli::command()))
}
