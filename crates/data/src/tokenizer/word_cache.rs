//! A cache of the tokens of words.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::error::Result;

/// Cache of the tokens of words. Most words of a text were seen before, and a lookup is many times faster
/// than tokenization.
///
/// A full cache isn't changed any more. Results don't depend on the content of the cache.
#[derive(Debug, Default)]
pub(super) struct WordCache {
    shards: [RwLock<WordIds>; SHARDS],
}

type WordIds = HashMap<Box<str>, Box<[u32]>>;

/// Number of locks, so that threads that look up different words rarely wait for each other.
const SHARDS: usize = 32;
const WORDS_PER_SHARD: usize = 8192;

/// Size of the longest words that are cached. Longer ones are rare.
const WORD_BYTES: usize = 32;

impl WordCache {
    /// Appends the tokens of a word to `ids`. `encode` is called for a word that isn't in the cache.
    pub(super) fn encode(
        &self,
        word: &str,
        ids: &mut Vec<u32>,
        encode: impl FnOnce(&str) -> Result<Vec<u32>>,
    ) -> Result<()> {
        if word.len() > WORD_BYTES {
            ids.extend(encode(word)?);
            return Ok(());
        }
        let shard = word.bytes().fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let shard = &self.shards[shard % SHARDS];
        if let Some(known) = shard.read().unwrap_or_else(PoisonError::into_inner).get(word) {
            ids.extend_from_slice(known);
            return Ok(());
        }
        let new = encode(word)?;
        ids.extend_from_slice(&new);
        let mut words = shard.write().unwrap_or_else(PoisonError::into_inner);
        if words.len() < WORDS_PER_SHARD {
            words.insert(word.into(), new.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DataError;

    #[test]
    fn words_are_encoded_once_while_there_is_room() {
        let cache = WordCache::default();
        let mut calls = 0;
        let mut count = |word: &str| {
            let mut ids = Vec::new();
            cache
                .encode(word, &mut ids, |word| {
                    calls += 1;
                    Ok(vec![word.len() as u32])
                })
                .unwrap();
            ids
        };
        assert_eq!((count(" the"), count(" the")), (vec![4], vec![4]));
        let long = "x".repeat(WORD_BYTES + 1);
        assert_eq!((count(&long), count(&long)), (vec![33], vec![33]));
        assert_eq!(calls, 3);
        let failed =
            cache.encode("a", &mut Vec::new(), |_| Err(DataError::Tokenize { message: String::new() }));
        assert!(failed.is_err());
    }
}
