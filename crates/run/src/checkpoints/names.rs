//! The position in training, as far as a checkpoint's name states it.

use fineline_train::TokenCount;

/// A position in training, as a checkpoint's name states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedPosition {
    /// Number of steps.
    Step(u64),
    /// Number of tokens, rounded as in the name.
    Tokens(u64),
    /// Number of the checkpoint, such as Amber's, which has one per chunk.
    Checkpoint(u64),
}

/// Parses the position in a name. If it has both a step and tokens, returns the step.
pub(crate) fn position_in_name(name: &str) -> Option<NamedPosition> {
    let step = number_after(name, &["step", "params", "state", "checkpoint"]).map(NamedPosition::Step);
    let tokens = || tokens_in(name).map(NamedPosition::Tokens);
    let number = || number_after(name, &["ckpt", "chunk"]).map(NamedPosition::Checkpoint);
    step.or_else(tokens).or_else(number)
}

/// Splits a name into words, in lower case.
fn words(name: &str) -> Vec<String> {
    name.split(['-', '_', '=', ' ']).map(str::to_lowercase).collect()
}

/// Returns the number that follows one of the markers or is appended to it: `step_2500`, `step1000`.
pub(crate) fn number_after(name: &str, markers: &[&str]) -> Option<u64> {
    let words = words(name);
    words.iter().enumerate().find_map(|(index, word)| {
        let rest = markers.iter().find_map(|marker| word.strip_prefix(marker))?;
        let digits = if rest.is_empty() { words.get(index + 1)? } else { rest };
        digits.parse().ok()
    })
}

/// Returns the number of tokens in a name: `tokens4B`, `200bt`, or, at its end and with a decimal point,
/// `100.66B`.
pub(crate) fn tokens_in(name: &str) -> Option<u64> {
    let words = words(name);
    let count = |text: &str| text.parse::<TokenCount>().ok().map(|count| count.0);
    let marked = words.iter().enumerate().find_map(|(index, word)| {
        if let Some(rest) = word.strip_prefix("tokens").or_else(|| word.strip_prefix("tok")) {
            return count(if rest.is_empty() { words.get(index + 1)? } else { rest });
        }
        let billions = word.strip_suffix('t')?;
        billions.ends_with('b').then(|| count(billions))?
    });
    marked.or_else(|| {
        words
            .last()
            .filter(|word| word.contains('.') && word.ends_with(['b', 't']))
            .and_then(|word| count(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_positions() {
        for (name, position) in [
            ("ckpt_100", Some(NamedPosition::Checkpoint(100))),
            ("open_llama_7b_step_2500", Some(NamedPosition::Step(2500))),
            ("step-00000200", Some(NamedPosition::Step(200))),
            ("streaming_params_10000", Some(NamedPosition::Step(10_000))),
            ("step1000-tokens4B", Some(NamedPosition::Step(1000))),
            ("checkpoint-500", Some(NamedPosition::Step(500))),
            ("OpenLLaMA-Reproduce-100.66B", Some(NamedPosition::Tokens(100_660_000_000))),
            ("open_llama_7b_700bt", Some(NamedPosition::Tokens(700_000_000_000))),
            ("main", None),
            ("open_llama_7b", None),
        ] {
            assert_eq!(position_in_name(name), position, "{name}");
        }
    }
}
