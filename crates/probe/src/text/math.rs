//! Equivalence of formulas by the rules of the MATH benchmark (Hendrycks et al., 2021): comparison of texts
//! after normalization, as in lm-evaluation-harness 0.4.13 (`lm_eval/tasks/hendrycks_math/utils.py`).

use crate::text::whitespace::is_python_space;
/// Whether two formulas are equal after normalization.
///
/// If the rules don't apply to one of them (`\sqrt` of nothing, two units), the texts must be equal.
pub(crate) fn is_equivalent(a: &str, b: &str) -> bool {
    match (normalized(a), normalized(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The content of the last `\boxed{}` of a text, with balanced braces, or the text between `\boxed ` and a
/// dollar sign.
pub(crate) fn boxed(text: &str) -> Option<&str> {
    if let Some((_, last)) = text.rsplit_once(r"\boxed ") {
        return last.split('$').next();
    }
    let inside = text.rsplit_once(r"\boxed")?.1.strip_prefix('{')?;
    let mut open = 1;
    let end = inside.char_indices().find_map(|(at, c)| {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        (open == 0).then_some(at)
    })?;
    Some(&inside[..end])
}

/// The text between the first and the last dollar sign, or the whole text if there are fewer than two.
pub(crate) fn between_dollars(text: &str) -> &str {
    match (text.find('$'), text.rfind('$')) {
        (Some(first), Some(last)) if first < last => &text[first + 1..last],
        _ => text,
    }
}

/// The normalized formula. `None` if the rules fail.
fn normalized(formula: &str) -> Option<String> {
    let dropped = |text: String, parts: &[&str]| parts.iter().fold(text, |text, part| text.replace(part, ""));
    let text = dropped(formula.to_owned(), &["\n", r"\!"]);
    let text = text.replace(r"\\", r"\").replace("tfrac", "frac").replace("dfrac", "frac");
    let text = dropped(text, &[r"\left", r"\right", r"^{\circ}", r"^\circ", r"\$"]);
    let text = dropped(without_units(&text)?.to_owned(), &[r"\%"]);
    let mut text = text.replace(" .", " 0.").replace("{.", "{0.");
    if text.is_empty() {
        return Some(text);
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    let text = without_name(&text).to_owned();
    let text = with_braces_after_roots(&text)?.replace(' ', "");
    let mut text = with_braces_after_fractions(&text)?;
    if text == "0.5" {
        r"\frac{1}{2}".clone_into(&mut text);
    }
    with_slash_as_fraction(text)
}

/// Removes the unit on the right, which `\text{ ` introduces. `None` if there are several.
fn without_units(text: &str) -> Option<&str> {
    match text.split_once(r"\text{ ") {
        Some((_, rest)) if rest.contains(r"\text{ ") => None,
        Some((value, _)) => Some(value),
        None => Some(text),
    }
}

/// Removes `k = ` at the beginning, if there is one equals sign after a name of at most two characters.
fn without_name(text: &str) -> &str {
    match text.split_once('=') {
        Some((name, value)) if !value.contains('=') && name.chars().count() <= 2 => value,
        _ => text,
    }
}

/// `\sqrt3` as `\sqrt{3}`. `None` if nothing follows a root.
fn with_braces_after_roots(text: &str) -> Option<String> {
    let mut parts = text.split(r"\sqrt");
    let mut braced = parts.next()?.to_owned();
    for part in parts {
        let first = part.chars().next()?;
        braced.push_str(r"\sqrt");
        if first == '{' {
            braced.push_str(part);
        } else {
            braced.extend(['{', first, '}']);
            braced.push_str(&part[first.len_utf8()..]);
        }
    }
    Some(braced)
}

/// `\frac12` and `\frac1{2}` as `\frac{1}{2}`. The unchanged text if a fraction lacks its second part, `None`
/// if it lacks both.
fn with_braces_after_fractions(text: &str) -> Option<String> {
    let mut parts = text.split(r"\frac");
    let mut braced = parts.next()?.to_owned();
    for part in parts {
        braced.push_str(r"\frac");
        let mut chars = part.chars();
        let above = chars.next()?;
        if above == '{' {
            braced.push_str(part);
            continue;
        }
        let Some(below) = chars.next() else { return Some(text.to_owned()) };
        braced.extend(['{', above, '}']);
        if below == '{' {
            braced.push(below);
        } else {
            braced.extend(['{', below, '}']);
        }
        braced.push_str(chars.as_str());
    }
    Some(braced)
}

/// `1/2` as `\frac{1}{2}`, if both are whole numbers as Python prints them. `None` if there is one slash and
/// one side isn't a number that Python reads.
fn with_slash_as_fraction(text: String) -> Option<String> {
    match text.split_once('/') {
        Some((above, below)) if !below.contains('/') => {
            if !(is_whole_number(above) && is_whole_number(below)) {
                return None;
            }
            let is_plain = is_plainly_written(above) && is_plainly_written(below);
            Some(if is_plain { format!(r"\frac{{{above}}}{{{below}}}") } else { text })
        }
        _ => Some(text),
    }
}

/// Whether Python's `int` reads it, for ASCII texts.
fn is_whole_number(text: &str) -> bool {
    let text = text.trim_matches(is_python_space);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether Python prints a whole number this way: no plus sign, no leading zeros.
fn is_plainly_written(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !digits.starts_with('0'))
}
