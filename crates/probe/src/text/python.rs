//! Values as Python prints and parses them: `str`, `repr` and `ast.literal_eval`, which lm-evaluation-harness
//! applies to lists and numbers.

use serde_json::{Map, Number, Value};

/// `str(value)`.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// `repr(value)`.
pub(crate) fn repr(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(real) if number.is_f64() => real_repr(real),
            _ => number.to_string(),
        },
        Value::String(text) => quoted(text),
        Value::Array(list) => format!("[{}]", joined(list.iter().map(repr).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{}: {}", quoted(name), repr(value));
            format!("{{{}}}", joined(fields.iter().map(field).collect()))
        }
    }
}

/// The shortest digits that represent the number. With an exponent of at least two digits below 1e-4 and from
/// 1e16 on.
fn real_repr(real: f64) -> String {
    let size = real.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{real:?}");
    }
    let scientific = format!("{real:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) =
                exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
            format!("{digits}e{sign}{exponent:0>2}")
        }
        None => scientific,
    }
}

/// A text in single quotes, or in double quotes if it contains only single quotes.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => quoted.push_str(r"\\"),
            '\n' => quoted.push_str(r"\n"),
            '\r' => quoted.push_str(r"\r"),
            '\t' => quoted.push_str(r"\t"),
            c if c == quote => quoted.extend(['\\', c]),
            '\0'..'\u{20}' | '\u{7f}'..'\u{a1}' | '\u{ad}' => {
                quoted.push_str(&by_code('x', 2, c));
            }
            '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{205f}'..='\u{206f}'
            | '\u{3000}'
            | '\u{feff}' => {
                quoted.push_str(&by_code('u', 4, c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push(quote);
    quoted
}

/// A character as an escape: a backslash, `kind`, and its code in this many hexadecimal digits.
fn by_code(kind: char, digits: usize, c: char) -> String {
    format!("\\{kind}{:0digits$x}", u32::from(c))
}

/// `ast.literal_eval(source)`: strings, numbers, `True`, `False`, `None`, and lists, tuples (as lists) and
/// dictionaries of these. `None` for anything else.
pub(crate) fn literal(source: &str) -> Option<Value> {
    let mut reader = LiteralReader { rest: source.trim_start_matches([' ', '\t']) };
    let value = reader.value()?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

struct LiteralReader<'a> {
    rest: &'a str,
}

impl LiteralReader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
    }

    /// Consumes `expected` if it comes next.
    fn takes(&mut self, expected: &str) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.chars().next()? {
            '[' => self.list("[", "]"),
            '(' => self.list("(", ")"),
            '{' => self.dictionary(),
            '\'' | '"' => self.strings(),
            c if c.is_ascii_digit() || "+-.".contains(c) => self.number(),
            _ => self.name(),
        }
    }

    fn list(&mut self, open: &str, close: &str) -> Option<Value> {
        self.takes(open);
        let mut list = Vec::new();
        let mut has_comma = false;
        while !self.takes(close) {
            if !list.is_empty() && !has_comma {
                return None;
            }
            list.push(self.value()?);
            has_comma = self.takes(",");
        }
        let is_in_parentheses = open == "(" && list.len() == 1 && !has_comma;
        if is_in_parentheses { list.pop() } else { Some(Value::Array(list)) }
    }

    fn dictionary(&mut self) -> Option<Value> {
        self.takes("{");
        let mut fields = Map::new();
        let mut has_comma = true;
        while !self.takes("}") {
            if !has_comma {
                return None;
            }
            let name = self.value()?;
            if !self.takes(":") {
                return None;
            }
            fields.insert(text(&name), self.value()?);
            has_comma = self.takes(",");
        }
        Some(Value::Object(fields))
    }

    /// String literals. Adjacent literals are concatenated.
    fn strings(&mut self) -> Option<Value> {
        let mut joined = String::new();
        while self.rest.starts_with(['\'', '"']) {
            joined.push_str(&self.string()?);
            self.skip_space();
        }
        Some(Value::String(joined))
    }

    fn string(&mut self) -> Option<String> {
        let quote = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quote| self.rest.starts_with(quote))?;
        self.rest = &self.rest[quote.len()..];
        let mut text = String::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                self.rest = rest;
                return Some(text);
            }
            let c = self.next_char()?;
            match c {
                '\\' => self.escape(&mut text)?,
                '\n' if quote.len() == 1 => return None,
                c => text.push(c),
            }
        }
    }

    fn next_char(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        Some(c)
    }

    /// An escape sequence after its backslash.
    fn escape(&mut self, text: &mut String) -> Option<()> {
        let c = self.next_char()?;
        let digits = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let code = self.rest.get(..digits)?;
            self.rest = &self.rest[digits..];
            text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
            return Some(());
        }
        match c {
            '\n' => {}
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'a' => text.push('\u{7}'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'v' => text.push('\u{b}'),
            '\\' | '\'' | '"' => text.push(c),
            '0'..='7' => {
                let more = self.rest.chars().take(2).take_while(|c| ('0'..='7').contains(c)).count();
                let code = format!("{c}{}", &self.rest[..more]);
                self.rest = &self.rest[more..];
                text.push(char::from_u32(u32::from_str_radix(&code, 8).ok()?)?);
            }
            other => text.extend(['\\', other]),
        }
        Some(())
    }

    fn number(&mut self) -> Option<Value> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number = number.strip_prefix('+').unwrap_or(number).replace('_', "");
        let whole = number.parse::<i64>().ok().map(Value::from);
        whole.or_else(|| Number::from_f64(number.parse().ok()?).map(Value::Number))
    }

    fn name(&mut self) -> Option<Value> {
        let names = [("True", Value::Bool(true)), ("False", Value::Bool(false)), ("None", Value::Null)];
        let (name, value) = names.into_iter().find(|(name, _)| self.rest.starts_with(name))?;
        self.rest = &self.rest[name.len()..];
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Results of `CPython` 3.11's `repr`.
    #[test]
    fn values_are_written_as_python_writes_them() {
        let cases = [
            (json!(["a", 1, 2.0, true, null, {"b": ["c"]}]), "['a', 1, 2.0, True, None, {'b': ['c']}]"),
            (json!(["it's", "say \"a\"", "'\""]), r#"["it's", 'say "a"', '\'"']"#),
            (json!("a\n\t\\\u{a0}é猫"), r"'a\n\t\\\xa0é猫'"),
            (json!([1e16, 1e-5, 0.0001, 1.5e300, -0.0]), "[1e+16, 1e-05, 0.0001, 1.5e+300, -0.0]"),
        ];
        for (value, expected) in cases {
            assert_eq!(repr(&value), expected);
            assert_eq!(literal(expected).as_ref(), Some(&value));
        }
        assert_eq!(text(&json!("a")), "a");
    }

    #[test]
    fn literals_are_read_as_python_reads_them() {
        for (source, expected) in [
            ("['''it\nis''', 'a' \"b\",]", json!(["it\nis", "ab"])),
            (
                r"'\x41\u732b\101\q\
'",
                json!("A猫A\\q"),
            ),
            ("(1, -2)", json!([1, -2])),
            ("(1)", json!(1)),
            ("{'a': [], 1: None}", json!({"a": [], "1": null})),
        ] {
            assert_eq!(literal(source), Some(expected), "{source}");
        }
        for source in ["", "a", "[1", "[1 2]", "'a", "'a\nb'", "1 2", "{1}", "[,]", "1+1"] {
            assert_eq!(literal(source), None, "{source}");
        }
    }
}
