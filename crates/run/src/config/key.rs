//! The address of a value in the configuration, such as `data.mix[0].weight`.

use std::fmt;
use std::str::FromStr;

/// One step of a [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// A name in a table.
    Field(String),
    /// A place (0-based) in a list.
    Index(usize),
}

/// The address of a value: names joined by dots, places in lists in brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub(super) Vec<Segment>);

impl Key {
    /// The key of `name` in the table at this key.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        self.with(Segment::Field(name.to_owned()))
    }

    /// The key of item `index` of the list at this key.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The key without its last step.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }

    /// Whether `other` is this key or a table or list that holds it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if place == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
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
                return Err(format!("`{text}` is no key: expected names joined by dots"));
            }
            key = key.field(name);
            for index in indices.split_terminator(']') {
                let index = index.strip_prefix('[').and_then(|digits| digits.parse().ok());
                key = key
                    .index(index.ok_or_else(|| format!("`{indices}` is no place in a list, such as [0]"))?);
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
    fn nonsense_is_refused() {
        for text in ["", "a..b", ".a", "a[x]", "a[", "[0]"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
