use std::collections::BTreeSet;

use tokenizers::Tokenizer as Inner;

use super::spelling::Spelling;

/// Where a text may be cut so that the tokens of its parts are the tokens of the whole.
///
/// A tokenizer takes memory and, without a pre-tokenizer (SentencePiece), time that grow faster than its text, and it uses one thread.
/// Parts of a few thousand bytes avoid all three. A cut is made before a line feed, where no token of the vocabulary has it
/// beside the character before: so none could have crossed the cut. That a tokenizer treats a line feed alike at the beginning
/// of a text and inside it, and how many tokens it puts before each text, is found by trying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cuts {
    /// Characters that some token has before a line feed; `BEYOND_ASCII` stands for all those.
    joined: BTreeSet<char>,
    /// Tokens put before each text (the `▁` of SentencePiece), to be left out of later parts.
    prefix: usize,
}

/// A part ends at the first place behind this many bytes where it may.
const PART_BYTES: usize = 8 << 10;

const BEYOND_ASCII: char = '\u{80}';

/// Pairs of lines that are tokenized together and apart.
const TRIALS: [(&str, &str); 4] =
    [("the quick fox", "Jumps over"), ("naïve 中文", "日本語 text"), ("x", "  y"), ("in 1999", "\n42 is it")];

impl Cuts {
    /// `None` for a tokenizer whose texts cannot be cut.
    pub(super) fn of(inner: &Inner) -> tokenizers::Result<Option<Self>> {
        let spelling = Spelling::of(inner);
        if spelling == Spelling::Decoded {
            return Ok(None);
        }
        let joined: BTreeSet<_> =
            inner.get_vocab(true).keys().flat_map(|token| joined_by(token, spelling)).collect();
        for prefix in [0, 1] {
            if prefix > 0 && joined.contains(&' ') {
                break;
            }
            let cuts = Self { joined: joined.clone(), prefix };
            let mut same = TRIALS.iter().map(|(a, b)| cuts.hold(inner, a, b));
            if same.try_fold(true, |all, same| Ok::<_, tokenizers::Error>(all && same?))? {
                return Ok(Some(cuts));
            }
        }
        Ok(None)
    }

    /// Whether two lines give the same tokens together and apart.
    fn hold(&self, inner: &Inner, first: &str, second: &str) -> tokenizers::Result<bool> {
        let whole = inner.encode_fast(format!("{first}\n{second}"), false)?;
        let (first, second) =
            (inner.encode_fast(first, false)?, inner.encode_fast(format!("\n{second}"), false)?);
        let second = second.get_ids().get(self.prefix..).unwrap_or_default();
        Ok(whole.get_ids() == [first.get_ids(), second].concat())
    }

    /// The parts of a text, in order; a short text is one part.
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

    /// How many leading tokens of a part are the tokenizer's own.
    pub(super) fn prefix_of(&self, part: usize) -> usize {
        if part == 0 { 0 } else { self.prefix }
    }

    fn first_cut(&self, text: &str) -> Option<usize> {
        let mut line_feeds = text.bytes().enumerate().skip(PART_BYTES).filter(|(_, byte)| *byte == b'\n');
        line_feeds.find_map(|(at, _)| {
            let before = text[..at].chars().next_back()?;
            let before = if before.is_ascii() { before } else { BEYOND_ASCII };
            (!self.joined.contains(&before)).then_some(at)
        })
    }
}

/// The characters that a token has before line feeds.
fn joined_by(token: &str, spelling: Spelling) -> impl Iterator<Item = char> + '_ {
    let plain = move |c: char| match (spelling, c) {
        (Spelling::ByteLevel, 'Ċ') => '\n',
        (Spelling::ByteLevel, 'č') => '\r',
        (Spelling::ByteLevel, 'ĉ') => '\t',
        (Spelling::ByteLevel, 'Ġ') | (Spelling::Pieces, '▁') => ' ',
        (_, c) if c.is_ascii() => c,
        _ => BEYOND_ASCII,
    };
    let pairs = token.chars().map(plain).zip(token.chars().skip(1).map(plain));
    pairs.filter_map(|(before, c)| (c == '\n').then_some(before))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;
    use crate::testing::{material, tiny_tokenizer};

    #[test]
    fn tokens_with_line_feeds_are_seen_however_they_are_spelled() {
        let joined = |token, spelling| joined_by(token, spelling).collect::<String>();
        assert_eq!(joined(".čĊ", Spelling::ByteLevel), "\r");
        assert_eq!(joined("ĊĊĠĊa", Spelling::ByteLevel), "\n ");
        assert_eq!(joined("âĊ", Spelling::ByteLevel), BEYOND_ASCII.to_string());
        assert_eq!(joined("aĊ", Spelling::Pieces), "");
        assert_eq!(joined("。\n▁\n", Spelling::Pieces), format!("{BEYOND_ASCII} "));
        assert_eq!(joined("\nx", Spelling::Pieces), "");
    }

    #[test]
    fn cuts_stand_before_line_feeds_that_are_not_joined() {
        let cuts = |joined: &str| Cuts { joined: joined.chars().collect(), prefix: 0 };
        let line = "x".repeat(PART_BYTES);
        let text = format!("{line}.\n{line}。\n\n{line}");
        let parts = [format!("{line}."), format!("\n{line}。"), format!("\n\n{line}")];
        assert!(cuts("x\n").parts(&text) == parts);
        assert!(cuts(".\n").parts(&text) == [&parts[..2].concat(), &parts[2]]);
        assert!(cuts("\n\u{80}").parts(&text) == [&parts[0], &parts[1..].concat()]);
        for whole in ["", "short\ntext", &format!("{line} \n{line}")] {
            assert!(cuts(" ").parts(whole) == [whole]);
        }
    }

    #[test]
    fn parts_have_the_tokens_of_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            ("llama2-spm/tokenizer.json", 1),
            ("mistral/tokenizer_v1.json", 1),
            ("gpt-neox/allenai_eleuther-ai-gpt-neox-20b-pii-special.json", 0),
            ("gpt2/tokenizer.json", 0),
        ];
        let files = names.into_iter().filter_map(|(name, prefix)| {
            Some((Tokenizer::from_file(material(&format!("tokenizers/{name}"))?).unwrap(), prefix))
        });
        for (tokenizer, prefix) in files.chain([(tiny_tokenizer(folder.path()), 0)]) {
            let cuts = Cuts::of(&tokenizer.0.inner).unwrap().expect("its texts can be cut");
            assert_eq!(cuts.prefix, prefix, "{}", tokenizer.path().display());
            let mut texts = vec!["A line of text,\nanother: 12\n\nand «ünïcode»\n中文。\n  x\n".repeat(1000)];
            for corpus in ["tinyshakespeare.txt", "wagahaiwa_nekodearu.ja.txt", "war-and-peace.txt"] {
                let text =
                    material(&format!("corpora/{corpus}")).map(|path| fs_err::read_to_string(path).unwrap());
                texts.extend(text.map(|text| text.chars().skip(5000).take(40_000).collect::<String>()));
            }
            for text in texts {
                let whole = tokenizer.0.inner.encode_fast(text.as_str(), false).unwrap();
                // Byte-level vocabularies have a token for "\r\n".
                assert!(cuts.parts(&text).len() > 2 || text.contains('\r'));
                assert!(tokenizer.encode(&text).unwrap() == whole.get_ids(), "other tokens in parts");
            }
        }
    }
}
