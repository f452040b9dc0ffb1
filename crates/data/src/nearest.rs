/// How much a name must be like another one (1: equal) for the one to be a slip of the other.
const LIKENESS: f64 = 0.7;

/// The one of the `known` names that `name` was probably meant to be, if any is like it (by Jaro and Winkler's measure).
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_find_their_name_and_other_names_none() {
        let known = ["text", "title", "url"];
        for (name, meant) in [("txt", Some("text")), ("tilte", Some("title")), ("body", None), ("", None)] {
            assert_eq!(nearest(name, known), meant, "{name}");
        }
    }
}
