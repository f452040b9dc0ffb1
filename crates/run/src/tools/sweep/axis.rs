//! Positions of checkpoints in their training.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fineline_train::TokenCount;
use fs_err as fs;

use super::error::SweepError;

use crate::checkpoints::find::position;
use crate::checkpoints::names::{number_after, tokens_in};

/// Sources of the steps and tokens of checkpoints: a table, otherwise their own `state.json`, otherwise their
/// names.
///
/// Names are parsed as their publishers meant them: `step1000-tokens4B` (`OLMo`), `step-00000200` and
/// `open_llama_7b_step_2500` with `tokens_per_step`, `200bt` (OpenLLaMA's previews) and
/// `OpenLLaMA-Reproduce-100.66B`, `ckpt_100` with `tokens_per_checkpoint`.
#[derive(Clone, Debug, Default)]
pub struct CheckpointAxis {
    /// Tokens between two numbered checkpoints. The one with number `k` was trained on `k + 1` times as many:
    /// Amber's `ckpt_000` is the one after the first chunk.
    pub tokens_per_checkpoint: Option<TokenCount>,
    /// Tokens per step.
    pub tokens_per_step: Option<TokenCount>,
    /// A CSV file with the columns `revision`, `step` and `tokens`.
    pub table: Option<PathBuf>,
}

/// A [`CheckpointAxis`] whose table has been read.
pub(super) struct AxisTable<'a> {
    axis: &'a CheckpointAxis,
    table: BTreeMap<String, (u64, u64)>,
}

impl CheckpointAxis {
    pub(super) fn read(&self) -> Result<AxisTable<'_>, SweepError> {
        let table = match &self.table {
            Some(path) => read_table(path)?,
            None => BTreeMap::new(),
        };
        Ok(AxisTable { axis: self, table })
    }

    /// Returns the step and tokens that a name states. If it states no step, its number is used: that of the
    /// checkpoint, or millions of tokens.
    fn by_name(&self, name: &str) -> Option<(u64, u64)> {
        let per_step = self.tokens_per_step.map(|count| count.0);
        let (step, tokens) = (number_after(name, &["step"]), tokens_in(name));
        let number = number_after(name, &["ckpt", "checkpoint", "chunk"]);
        match (step, tokens) {
            (Some(step), Some(tokens)) => Some((step, tokens)),
            (Some(step), None) => Some((step, step.checked_mul(per_step?)?)),
            (None, Some(tokens)) => Some((tokens / per_step.unwrap_or(1_000_000), tokens)),
            (None, None) => {
                let (number, per_checkpoint) = (number?, self.tokens_per_checkpoint?.0);
                let tokens = per_checkpoint.checked_mul(number + 1)?;
                Some((per_step.map_or(number, |per_step| tokens / per_step), tokens))
            }
        }
    }
}

impl AxisTable<'_> {
    /// Returns the step and tokens of a checkpoint.
    ///
    /// # Errors
    /// [`SweepError::NoPosition`] if no source states them.
    pub(super) fn position(&self, revision: &str, dir: &Path) -> Result<(u64, u64), SweepError> {
        if let Some(position) = self.table.get(revision) {
            return Ok(*position);
        }
        if let Some(position) = position(dir)? {
            return Ok(position);
        }
        let found = self.axis.by_name(revision);
        found.ok_or_else(|| SweepError::NoPosition { revision: revision.to_owned() })
    }
}

fn read_table(path: &Path) -> Result<BTreeMap<String, (u64, u64)>, SweepError> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let wrong =
        |line: usize, message: String| SweepError::Axis { path: path.to_owned(), line: line + 1, message };
    let cells = |line: &str| -> Vec<String> {
        line.split(',').map(|cell| cell.trim().trim_matches('"').to_owned()).collect()
    };
    let expected = "expected the columns revision, step, tokens";
    let (_, header) = lines.next().ok_or_else(|| wrong(0, expected.to_owned()))?;
    let header = cells(header);
    let column = |name: &str| {
        header.iter().position(|column| column == name).ok_or_else(|| wrong(0, expected.to_owned()))
    };
    let columns = [column("revision")?, column("step")?, column("tokens")?];
    let mut table = BTreeMap::new();
    for (number, line) in lines {
        let cells = cells(line);
        let cell = |column: usize| {
            let missing =
                || wrong(number, format!("{} cells, but the first line names {}", cells.len(), header.len()));
            cells.get(columns[column]).ok_or_else(missing)
        };
        let count = |text: &String| {
            text.parse::<TokenCount>().map(|count| count.0).map_err(|error| wrong(number, error.to_string()))
        };
        let (revision, position) = (cell(0)?.clone(), (count(cell(1)?)?, count(cell(2)?)?));
        if table.insert(revision.clone(), position).is_some() {
            return Err(wrong(number, format!("`{revision}` occurs twice")));
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(per_checkpoint: Option<&str>, per_step: Option<&str>) -> CheckpointAxis {
        let count = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        CheckpointAxis {
            tokens_per_checkpoint: count(per_checkpoint),
            tokens_per_step: count(per_step),
            table: None,
        }
    }

    #[test]
    fn names_are_read_as_they_were_meant() {
        let plain = axis(None, None);
        for (name, position) in [
            ("step1000-tokens4B", Some((1000, 4_000_000_000))),
            ("stage1-step10000-tokens41B", Some((10_000, 41_000_000_000))),
            ("open_llama_7b_700bt", Some((700_000, 700_000_000_000))),
            ("OpenLLaMA-Reproduce-100.66B", Some((100_660, 100_660_000_000))),
            ("open_llama_7b", None),
            ("step-00000200", None),
            ("ckpt_100", None),
            ("main", None),
        ] {
            assert_eq!(plain.by_name(name), position, "{name}");
        }
        let per_step = axis(None, Some("4194304"));
        assert_eq!(per_step.by_name("step-00000200"), Some((200, 838_860_800)));
        assert_eq!(per_step.by_name("open_llama_7b_step_2500"), Some((2500, 10_485_760_000)));
        assert_eq!(per_step.by_name("x-41.94304B"), Some((10_000, 41_943_040_000)));
        let amber = axis(Some("3.5B"), None);
        assert_eq!(amber.by_name("ckpt_000"), Some((0, 3_500_000_000)));
        assert_eq!(amber.by_name("ckpt_100"), Some((100, 353_500_000_000)));
    }

    #[test]
    fn a_table_goes_before_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("axis.csv");
        let axis = CheckpointAxis { table: Some(path.clone()), ..axis(Some("1B"), None) };
        fs::write(&path, "tokens,revision,step\n\n3.5B,ckpt_000,762\n").unwrap();
        let positions = axis.read().unwrap();
        assert_eq!(positions.position("ckpt_000", dir.path()).unwrap(), (762, 3_500_000_000));
        assert_eq!(positions.position("ckpt_001", dir.path()).unwrap(), (1, 2_000_000_000));
        let error = positions.position("main", dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("main: the steps and tokens of this checkpoint are unknown"), "{error}");
        for (text, expected) in [
            ("", "axis.csv:1: expected the columns revision, step, tokens"),
            ("revision,step\na,1", "axis.csv:1: expected the columns"),
            ("revision,step,tokens\na,1", "axis.csv:2: 2 cells, but the first line names 3"),
            ("revision,step,tokens\na,one,2", "axis.csv:2: \"one\" is not a number"),
            ("revision,step,tokens\na,1,2\na,2,3", "axis.csv:3: `a` occurs twice"),
        ] {
            fs::write(&path, text).unwrap();
            let error = axis.read().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected), "{error}");
        }
    }
}
