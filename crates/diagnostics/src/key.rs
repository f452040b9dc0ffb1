//! Addresses of values in the configuration, such as `data.mix[0].weight`.

use std::fmt;
use std::str::FromStr;

/// One step of a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeySegment {
    /// A name in a table.
    Field(String),
    /// An index in a list, from 0.
    Index(usize),
}

/// The address of a value: names joined by dots, indices of lists in brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(Vec<KeySegment>);

impl Key {
    /// The key of `name` in the table at this key.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(KeySegment::Field(name.to_owned()))
    }

    /// The key of item `index` of the list at this key.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(KeySegment::Index(index))
    }

    /// The key without its last step.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }

    /// The steps of the key, outermost first.
    #[must_use]
    pub fn segments(&self) -> &[KeySegment] {
        &self.0
    }

    /// Whether `other` is this key, or a table or list that contains it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    fn with(&self, segment: KeySegment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for KeySegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                KeySegment::Field(name) if depth == 0 => f.write_str(name)?,
                KeySegment::Field(name) => write!(f, ".{name}")?,
                KeySegment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut key = Self::default();
        for part in text.split('.') {
            let (name, indices) = part.split_at(part.find('[').unwrap_or(part.len()));
            if name.is_empty() {
                return Err(format!("`{text}` is not a key; expected names joined by dots"));
            }
            key = key.field(name);
            for index in indices.split_terminator(']') {
                let index = index.strip_prefix('[').and_then(|digits| digits.parse().ok());
                key = key.index(
                    index.ok_or_else(|| format!("`{indices}` is not an index of a list, such as [0]"))?,
                );
            }
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_print() {
        for text in ["run.name", "data.mix[0].weight", "a[1][2].b"] {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in ["", "a..b", ".a", "a[x]", "a[", "[0]"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
