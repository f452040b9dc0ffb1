//! Attributes of items: conditional compilation and paths of modules.

use syn::{Attribute, Expr, Lit, Meta};

/// Whether an item is compiled for tests only.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || conditions(std::slice::from_ref(attribute)).iter().any(|condition| requires_test(condition))
    })
}

/// Whether a `cfg` condition, without spaces, can only hold in tests.
fn requires_test(condition: &str) -> bool {
    condition == "test"
        || condition
            .strip_prefix("all(")
            .and_then(|inner| inner.strip_suffix(')'))
            .is_some_and(|inner| inner.split(',').any(|part| part == "test"))
}

/// The conditions of all `cfg` attributes, without spaces.
pub(crate) fn conditions(attributes: &[Attribute]) -> Vec<String> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .filter_map(|attribute| Some(attribute.meta.require_list().ok()?.tokens.to_string()))
        .map(|condition| condition.replace(' ', ""))
        .collect()
}

/// The value of a `#[path = "…"]` attribute.
pub(crate) fn explicit_path(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// Whether a `cfg_attr` sets a module's path.
pub(crate) fn has_conditional_path(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg_attr")).any(|attribute| {
        attribute
            .meta
            .require_list()
            .is_ok_and(|list| list.tokens.to_string().replace(' ', "").contains(",path="))
    })
}
