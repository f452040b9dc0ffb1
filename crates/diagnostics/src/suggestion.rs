//! Suggestions for misspelled names.

/// Jaro-Winkler similarity (1: equal) above which a name is suggested in place of another.
const MIN_SIMILARITY: f64 = 0.7;

/// Returns the one of the `known` names that is most similar to `name`, if any is similar enough to have been
/// meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > MIN_SIMILARITY)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// Returns `; did you mean X?` for the name most similar to `name`, or nothing if none is.
pub fn nearest_hint<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"))
}

/// Returns ` (did you mean X?)`, for the middle of a sentence, or nothing if no name is similar.
pub fn nearest_in_parentheses<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, known).map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"))
}

/// Returns `; did you mean X? There are X, Y, Z`.
#[must_use]
pub fn choice_hint(name: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("; did you mean `{meant}`? There are {all}"),
        None => format!("; there are {all}"),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_similar_names_are_suggested() {
        let known = ["text", "title", "url"];
        for (name, meant) in [("txt", Some("text")), ("tilte", Some("title")), ("body", None), ("", None)] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
