//! Commands and flags of `fineline` that pages name are in the command-line reference.

use std::collections::{BTreeMap, BTreeSet};

use super::markdown::Page;

/// Commands with their flags, from the headings of `docs/reference/cli.md`.
pub(super) struct Reference(BTreeMap<String, BTreeSet<String>>);

impl Reference {
    /// Reads the reference: a heading per command (`fineline data show`), its flags below.
    pub(super) fn parse(source: &str) -> Self {
        let mut commands: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut current = None;
        for line in source.lines() {
            if line.starts_with('#') {
                let heading = line.trim_start_matches('#').replace('`', "");
                let heading = heading.trim();
                current =
                    (heading == "fineline" || heading.starts_with("fineline ")).then(|| heading.to_owned());
                commands.extend(current.clone().map(|name| (name, BTreeSet::new())));
            } else if let Some(flags) = current.as_ref().and_then(|name| commands.get_mut(name)) {
                flags.extend(flags_of(line));
            }
        }
        Self(commands)
    }

    /// What is wrong with a command line that starts with `fineline`.
    fn problem(&self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = "fineline".to_owned();
        for word in words.iter().skip(1).take_while(|word| is_command_word(word)) {
            let longer = format!("{command} {word}");
            if self.0.contains_key(&longer) {
                command = longer;
            } else if command == "fineline" || self.has_subcommands(&command) {
                return Some(format!("`{longer}` is no command of docs/reference/cli.md"));
            } else {
                break;
            }
        }
        let known = |flag: &String| {
            ["--help", "--version"].contains(&flag.as_str())
                || self.0.get(&command).is_some_and(|flags| flags.contains(flag))
                || self.0.get("fineline").is_some_and(|flags| flags.contains(flag))
        };
        let flag = flags_of(line).into_iter().find(|flag| !known(flag))?;
        Some(format!("`{command}` has no flag `{flag}` in docs/reference/cli.md"))
    }

    fn has_subcommands(&self, command: &str) -> bool {
        self.0.keys().any(|other| other.strip_prefix(command).is_some_and(|rest| rest.starts_with(' ')))
    }
}

/// Commands of the page that do not exist, with a message each.
pub(super) fn unknown_commands(page: &Page, reference: &Reference) -> Vec<(usize, String)> {
    let spans = page.spans.iter().map(|(line, span)| (*line, span.clone()));
    let fences =
        page.fences.iter().filter(|fence| ["sh", "bash", "console"].contains(&fence.language.as_str()));
    let fences = fences.flat_map(|fence| {
        let text = fence.lines.join("\n").replace("\\\n", "  ");
        text.lines()
            .enumerate()
            .map(|(index, line)| (fence.line + index, line.to_owned()))
            .collect::<Vec<_>>()
    });
    spans
        .chain(fences)
        .filter_map(|(line, text)| Some((line, reference.problem(&fineline_command(&text)?)?)))
        .collect()
}

/// The part of a command line from `fineline` on, up to a pipe, redirection or comment.
fn fineline_command(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches("$ ");
    let arguments = match text.strip_prefix("cargo run ") {
        Some(rest) if !rest.contains("-p ") && !rest.contains("--package") => rest.split_once(" -- ")?.1,
        Some(_) => return None,
        None => {
            let program = text.split_whitespace().next()?;
            let is_program = program == "fineline" || program.ends_with("/fineline");
            text.strip_prefix(program).filter(|_| is_program)?
        }
    };
    let end = arguments.find(['|', '>', '#', ';', '&']).unwrap_or(arguments.len());
    let arguments = arguments[..end].split(" -- ").next().unwrap_or_default();
    Some(format!("fineline {arguments}"))
}

/// Whether a word can be the name of a command: lower-case letters and hyphens.
fn is_command_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
}

/// The long flags of a line: `--step` of `--step=3`.
fn flags_of(line: &str) -> Vec<String> {
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 3 && !word.starts_with("---"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = "# `fineline`\n--quiet\n## `fineline data`\n\
                             ### `fineline data show`\n* `--step <N>`\n\
                             ## `fineline train`\n--set\n";

    fn unknown(source: &str) -> Vec<String> {
        let found = unknown_commands(&Page::parse(source), &Reference::parse(REFERENCE));
        found.into_iter().map(|(_, message)| message).collect()
    }

    #[test]
    fn known_commands_pass() {
        assert!(
            unknown(
                "`fineline data show CONFIG --step 3 --quiet`, `fineline train a.toml | less --x`, `fineline`"
            )
            .is_empty()
        );
        assert!(unknown("```sh\ncargo run --release -- train \\\n  x.toml --set a=1\n```\n").is_empty());
    }

    #[test]
    fn unknown_commands_and_flags_are_found() {
        assert_eq!(
            unknown("`fineline launch`"),
            ["`fineline launch` is no command of docs/reference/cli.md"]
        );
        assert_eq!(
            unknown("`fineline data shows`"),
            ["`fineline data shows` is no command of docs/reference/cli.md"]
        );
        assert_eq!(
            unknown("```sh\ncargo run --release -- train --steps\n```\n"),
            ["`fineline train` has no flag `--steps` in docs/reference/cli.md"]
        );
    }
}
