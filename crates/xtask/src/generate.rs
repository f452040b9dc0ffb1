//! `cargo xtask generate`: writes the reference pages that the program prints about itself.

use anyhow::{Result, bail};

use crate::shell::{self, Shell};
use crate::source::repository;

/// Pages of `docs/reference/`, and the arguments of `fineline` that print them.
const PAGES: [(&str, &[&str]); 3] = [
    ("docs/reference/cli.md", &["cli-reference"]),
    ("docs/reference/config.md", &["config", "reference"]),
    ("docs/reference/config.schema.json", &["config", "reference", "--schema"]),
];

/// Writes the generated reference pages.
#[derive(clap::Args)]
pub(crate) struct GenerateArgs {
    /// Write nothing; fail if a page differs from what the program prints.
    #[arg(long)]
    pub check: bool,
}

/// Builds `fineline` and writes, or compares, each page.
///
/// # Errors
///
/// If the build fails, a page cannot be read or written, or with `--check` a page is out of date.
pub(crate) fn generate(args: &GenerateArgs) -> Result<()> {
    let shell = Shell::new(repository::root());
    shell::run(&mut shell.cargo("build --release"))?;
    let mut stale = Vec::new();
    for (page, arguments) in PAGES {
        let text = shell::output(shell.command(shell.fineline()).args(arguments))?;
        let path = shell.root.join(page);
        if fs_err::read_to_string(&path).ok().as_ref() == Some(&text) {
            continue;
        }
        if args.check {
            println!(
                "{page}: {}",
                first_difference(&fs_err::read_to_string(&path).unwrap_or_default(), &text)
            );
            stale.push(page);
        } else {
            fs_err::write(&path, text)?;
            println!("{page}: written");
        }
    }
    if !stale.is_empty() {
        bail!("{}: out of date; run `cargo xtask generate` and commit the result", stale.join(", "));
    }
    Ok(())
}

/// The first line in which two texts differ.
fn first_difference(committed: &str, generated: &str) -> String {
    let mut lines = committed.lines().zip(generated.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((index, (a, b))) => format!("line {}:\n- {a}\n+ {b}", index + 1),
        None => format!("{} lines, expected {}", committed.lines().count(), generated.lines().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_different_line_is_shown() {
        assert_eq!(first_difference("a\nb\nc\n", "a\nx\ny\n"), "line 2:\n- b\n+ x");
        assert_eq!(first_difference("a\n", "a\nb\n"), "1 lines, expected 2");
    }
}
