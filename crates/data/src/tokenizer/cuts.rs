//! Places where a text may be cut without changing its tokens.

use std::collections::BTreeSet;

use tokenizers::Tokenizer as Inner;

use crate::tokenizer::spelling::TokenSpelling;

/// Rules for cutting a text such that the tokens of its parts are the tokens of the whole.
///
/// The memory of a tokenizer and, without a pre-tokenizer (SentencePiece), its time grow faster than its
/// text. It uses one thread, and tokenizes the same words repeatedly. Parts of a few thousand bytes, and
/// words, avoid all of this. A cut is made before a line feed or a space if no token of the vocabulary
/// contains it together with the character before it, so that no token can cross the cut. Trials establish
/// that the tokenizer treats both alike at the start of a text and inside it, and how many tokens it puts
/// before each text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CutRules {
    /// Characters that some token contains before a line feed. `BEYOND_ASCII` stands for all those beyond
    /// ASCII.
    before_line_feed: BTreeSet<char>,
    /// The same for a space, if text may be cut there.
    before_space: Option<BTreeSet<char>>,
    /// Number of tokens that are put before each text (the `▁` of SentencePiece), to be removed from all
    /// parts but the first.
    prefix: usize,
}

/// Smallest size of a part in bytes, except for the last.
const PART_BYTES: usize = 8 << 10;

const BEYOND_ASCII: char = '\u{80}';

/// Texts that are tokenized together and separately.
const TRIALS: [(&str, &str); 4] =
    [("the quick fox", "Jumps over"), ("naïve 中文", "日本語 text"), ("x", "  y"), ("in 1999", "\n42 is it")];

impl CutRules {
    /// Returns the rules of a tokenizer, or `None` if its texts cannot be cut.
    pub(super) fn of(inner: &Inner) -> tokenizers::Result<Option<Self>> {
        let spelling = TokenSpelling::of(inner);
        if spelling == TokenSpelling::Decoded {
            return Ok(None);
        }
        let vocab = inner.get_vocab(true);
        let before = |mark| vocab.keys().flat_map(|token| joined_by(token, mark, spelling)).collect();
        let before_line_feed: BTreeSet<char> = before('\n');
        let Some(prefix) = prefix_at(inner, '\n')? else { return Ok(None) };
        if prefix > 0 && before_line_feed.contains(&' ') {
            return Ok(None);
        }
        let words = prefix == 0 && spelling == TokenSpelling::ByteLevel && prefix_at(inner, ' ')? == Some(0);
        Ok(Some(Self { before_line_feed, before_space: words.then(|| before(' ')), prefix }))
    }

    /// Returns the rules for text on which a byte-level tokenizer is trained, which splits before a line feed
    /// after visible text.
    pub(super) fn for_training() -> Self {
        Self { before_line_feed: [' ', '\t', '\r', '\n'].into(), before_space: None, prefix: 0 }
    }

    /// Returns the parts of a text in order. A short text is one part.
    pub(super) fn parts<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut parts = Vec::with_capacity(1 + text.len() / PART_BYTES);
        let mut rest = text;
        while let Some(at) = self.first_cut(rest) {
            let (part, behind) = rest.split_at(at);
            parts.push(part);
            rest = behind;
        }
        parts.push(rest);
        parts
    }

    /// Returns the number of leading tokens of a part that the tokenizer added.
    pub(super) fn prefix_of(&self, part: usize) -> usize {
        if part == 0 { 0 } else { self.prefix }
    }

    /// Returns the words of a text, each with the space or line feed before it, or `None` if it cannot be cut
    /// into words.
    pub(super) fn words<'t>(&self, text: &'t str) -> Option<impl Iterator<Item = &'t str>> {
        let before_space = self.before_space.as_ref()?;
        let mut rest = text;
        let next = move || {
            let end = rest.bytes().enumerate().skip(1).find_map(|(at, byte)| {
                let joined = match byte {
                    b' ' => before_space,
                    b'\n' => &self.before_line_feed,
                    _ => return None,
                };
                may_cut(&rest[..at], joined).then_some(at)
            });
            let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
            rest = behind;
            (!word.is_empty()).then_some(word)
        };
        Some(std::iter::from_fn(next))
    }

    fn first_cut(&self, text: &str) -> Option<usize> {
        let mut line_feeds = text.bytes().enumerate().skip(PART_BYTES).filter(|(_, byte)| *byte == b'\n');
        line_feeds.find_map(|(at, _)| may_cut(&text[..at], &self.before_line_feed).then_some(at))
    }
}

/// Returns the number of tokens that are put before a text, if texts joined by `mark` have the same tokens
/// together and separately.
fn prefix_at(inner: &Inner, mark: char) -> tokenizers::Result<Option<usize>> {
    let mut prefixes = vec![0, 1];
    for (first, second) in TRIALS {
        let whole = inner.encode_fast(format!("{first}{mark}{second}"), false)?;
        let (first, second) =
            (inner.encode_fast(first, false)?, inner.encode_fast(format!("{mark}{second}"), false)?);
        prefixes.retain(|&prefix| {
            let second = second.get_ids().get(prefix..).unwrap_or_default();
            whole.get_ids() == [first.get_ids(), second].concat()
        });
    }
    Ok(prefixes.first().copied())
}

fn may_cut(before: &str, joined: &BTreeSet<char>) -> bool {
    let last = before.chars().next_back().map(|c| if c.is_ascii() { c } else { BEYOND_ASCII });
    last.is_some_and(|last| !joined.contains(&last))
}

/// Returns the characters that a token contains before `mark`.
fn joined_by(token: &str, mark: char, spelling: TokenSpelling) -> impl Iterator<Item = char> + '_ {
    let plain = move |c: char| match (spelling, c) {
        (TokenSpelling::ByteLevel, 'Ċ') => '\n',
        (TokenSpelling::ByteLevel, 'č') => '\r',
        (TokenSpelling::ByteLevel, 'ĉ') => '\t',
        (TokenSpelling::ByteLevel, 'Ġ') | (TokenSpelling::Pieces, '▁') => ' ',
        (_, c) if c.is_ascii() => c,
        _ => BEYOND_ASCII,
    };
    let pairs = token.chars().map(plain).zip(token.chars().skip(1).map(plain));
    pairs.filter_map(move |(before, c)| (c == mark).then_some(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fineline_testing::materials;

    use crate::testing::tiny_tokenizer;
    use crate::tokenizer::Tokenizer;

    #[test]
    fn tokens_with_line_feeds_are_seen_however_they_are_spelled() {
        let joined = |token, spelling| joined_by(token, '\n', spelling).collect::<String>();
        assert_eq!(joined(".čĊ", TokenSpelling::ByteLevel), "\r");
        assert_eq!(joined("ĊĊĠĊa", TokenSpelling::ByteLevel), "\n ");
        assert_eq!(joined("âĊ", TokenSpelling::ByteLevel), BEYOND_ASCII.to_string());
        assert_eq!(joined("aĊ", TokenSpelling::Pieces), "");
        assert_eq!(joined("。\n▁\n", TokenSpelling::Pieces), format!("{BEYOND_ASCII} "));
        assert_eq!(joined("\nx", TokenSpelling::Pieces), "");
        assert_eq!(joined_by("ĠaĠĠ", ' ', TokenSpelling::ByteLevel).collect::<String>(), "a ");
    }

    #[test]
    fn cuts_stand_before_line_feeds_that_are_not_joined() {
        let cuts = |joined: &str| CutRules {
            before_line_feed: joined.chars().collect(),
            before_space: Some([' ', '\n'].into()),
            prefix: 0,
        };
        let line = "x".repeat(PART_BYTES);
        let text = format!("{line}.\n{line}。\n\n{line}");
        let parts = [format!("{line}."), format!("\n{line}。"), format!("\n\n{line}")];
        assert!(cuts("x\n").parts(&text) == parts);
        assert!(cuts(".\n").parts(&text) == [&parts[..2].concat(), &parts[2]]);
        assert!(cuts("\n\u{80}").parts(&text) == [&parts[0], &parts[1..].concat()]);
        for whole in ["", "short\ntext", &format!("{line} \n{line}")] {
            assert!(cuts(" ").parts(whole) == [whole]);
        }
        let words = |text| cuts(" \n").words(text).unwrap().collect::<Vec<_>>();
        assert_eq!(words("Ana  is\nin 金 市 \n\n x "), ["Ana", "  is", "\nin", " 金", " 市", " \n\n x", " "]);
        assert!(words("").is_empty());
    }

    #[test]
    fn parts_have_the_tokens_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let names = [
            ("llama2-spm/tokenizer.json", 1),
            ("mistral/tokenizer_v1.json", 1),
            ("gpt-neox/allenai_eleuther-ai-gpt-neox-20b-pii-special.json", 0),
            ("gpt2/tokenizer.json", 0),
        ];
        let files = names.into_iter().filter_map(|(name, prefix)| {
            Some((Tokenizer::from_file(materials(&format!("tokenizers/{name}"))?).unwrap(), prefix))
        });
        for (tokenizer, prefix) in files.chain([(tiny_tokenizer(dir.path()), 0)]) {
            let cuts = CutRules::of(&tokenizer.json().inner).unwrap().expect("its texts can be cut");
            assert_eq!(cuts.prefix, prefix, "{}", tokenizer.path().display());
            let mut texts = vec!["A line of text,\nanother: 12\n\nand «ünïcode»\n中文。\n  x\n".repeat(1000)];
            for corpus in ["tinyshakespeare.txt", "wagahaiwa_nekodearu.ja.txt", "war-and-peace.txt"] {
                let text =
                    materials(&format!("corpora/{corpus}")).map(|path| fs_err::read_to_string(path).unwrap());
                texts.extend(text.map(|text| text.chars().skip(5000).take(40_000).collect::<String>()));
            }
            for text in texts {
                let whole = tokenizer.json().inner.encode_fast(text.as_str(), false).unwrap();
                // Byte-level vocabularies have a token for "\r\n".
                assert!(cuts.parts(&text).len() > 2 || text.contains('\r'));
                assert!(tokenizer.encode(&text).unwrap() == whole.get_ids(), "other tokens in parts");
            }
        }
    }
}
