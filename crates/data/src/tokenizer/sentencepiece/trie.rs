//! Tries of pieces and rules.

use yada::builder::DoubleArrayBuilder;

/// A double-array trie in the format of Darts-clone, which SentencePiece stores in its models.
///
/// It is built by `yada` and read by this module, because `yada` doesn't check what it reads, and a damaged
/// model must not cause a panic.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie {
    units: Vec<u32>,
}

impl Trie {
    /// Reads the units of a file. Bytes after the last complete unit are ignored.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let units =
            bytes.chunks_exact(4).map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]));
        Self { units: units.collect() }
    }

    /// Builds a trie of distinct keys without NUL. Returns `None` if they are too many for the format.
    pub(super) fn of(mut keys: Vec<(&str, u32)>) -> Option<Self> {
        if keys.is_empty() {
            return Some(Self::default());
        }
        keys.sort_unstable();
        Some(Self::from_bytes(&DoubleArrayBuilder::build(&keys).ok()?))
    }

    /// Returns the keys that are prefixes of `text` with their lengths in bytes and values, the shortest
    /// first.
    pub(super) fn prefixes<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = (usize, u32)> + 't {
        let mut at = self.units.first().map_or(0, |&root| offset(root));
        let nodes = text.iter().enumerate().map_while(move |(index, &byte)| {
            let unit = *self.units.get((at ^ u32::from(byte)) as usize)?;
            // The label of a node, with the bit that distinguishes values from nodes. A NUL would lead to the
            // value of the previous node, or out of range.
            if byte == 0 || unit & (1 << 31 | 0xFF) != u32::from(byte) {
                return None;
            }
            at ^= u32::from(byte) ^ offset(unit);
            let has_value = unit >> 8 & 1 == 1;
            Some(has_value.then_some((index + 1, at)))
        });
        nodes.flatten().filter_map(|(len, at)| Some((len, self.units.get(at as usize)? & !(1 << 31))))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    pub(super) fn longest_prefix(&self, text: &[u8]) -> Option<(usize, u32)> {
        self.prefixes(text).last()
    }
}

/// Returns the distance between a node and its children.
fn offset(unit: u32) -> u32 {
    (unit >> 10) << ((unit & 1 << 9) >> 6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prefixes_come_from_short_to_long() {
        let trie = Trie::of(vec![("a", 7), ("猫", 1), ("abc", 0), ("ab", 9)]).unwrap();
        assert_eq!(trie.prefixes(b"abcd").collect::<Vec<_>>(), [(1, 7), (2, 9), (3, 0)]);
        assert_eq!(trie.longest_prefix("猫a".as_bytes()), Some((3, 1)));
        assert_eq!(trie.longest_prefix(b"\0ba"), None);
        assert_eq!(trie.longest_prefix(b"a\0b"), Some((1, 7)));
        assert_eq!(Trie::default().longest_prefix(b"a"), None);
        assert_eq!(Trie::of(Vec::new()).unwrap().longest_prefix(b"a"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_searched(bytes: Vec<u8>, text: Vec<u8>) {
            let _ = Trie::from_bytes(&bytes).longest_prefix(&text);
        }

        #[test]
        fn inserted_keys_are_found(
            keys in proptest::collection::btree_set("[ab▁é]{1,4}", 0..40),
            text in "[ab▁é]{0,8}",
        ) {
            let pairs = keys.iter().zip(0..).map(|(key, value)| (key.as_str(), value)).collect::<Vec<_>>();
            let prefixes = pairs.iter().filter(|(key, _)| text.starts_with(key));
            let mut expected = prefixes.map(|(key, value)| (key.len(), *value)).collect::<Vec<_>>();
            expected.sort_unstable();
            let trie = Trie::of(pairs.clone()).unwrap();
            prop_assert_eq!(trie.prefixes(text.as_bytes()).collect::<Vec<_>>(), expected);
        }
    }
}
