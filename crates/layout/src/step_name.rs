//! Names derived from a step or a chunk.

/// Returns the name of a step: `step-00000200`. Checkpoints, item files and branches are named by it.
#[must_use]
pub fn step_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// Returns the step of a name that [`step_name`] makes. `None` for any other name.
///
/// ```
/// assert_eq!(fineline_layout::parse_step_name("step-00000200"), Some(200));
/// assert_eq!(fineline_layout::parse_step_name("step-200"), None);
/// ```
#[must_use]
pub fn parse_step_name(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (step_name(step) == name).then_some(step)
}

/// Returns the name of the link to a checkpoint that a trigger keeps: `kept-00000200`.
#[must_use]
pub fn kept_name(step: u64) -> String {
    format!("kept-{step:08}")
}

/// Returns the name of the link to the checkpoint at the end of a chunk, as Amber's checkpoints are named:
/// `ckpt_100`.
#[must_use]
pub fn chunk_name(chunk: u64) -> String {
    format!("ckpt_{chunk:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_names_parse_back() {
        for step in [0, 200, 123_456_789] {
            assert_eq!(parse_step_name(&step_name(step)), Some(step));
        }
        for name in ["step-200", "step-0000020x", "latest", "abandoned-step-00000200", "step-+0000020"] {
            assert_eq!(parse_step_name(name), None, "{name}");
        }
    }
}
