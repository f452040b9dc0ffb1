//! Detection of wrong conversions of SentencePiece models to `tokenizer.json`.
//!
//! OpenLLaMA's models come with (or get from `transformers`) a converted `tokenizer.json` that gives other
//! ids than the `tokenizer.model` with which they were trained: it keeps runs of spaces that the model
//! collapses, and splits complete words into pieces. Training with these ids is training on noise.

use std::path::Path;

use crate::error::{DataError, Result};
use crate::tokenizer::file::TokenizerFile;

/// Texts on which wrong conversions differ: runs of spaces, spaces at both ends and of other kinds, line
/// breaks, digits, capitals, words that are one token in most vocabularies, and characters that are in few
/// vocabularies.
const PROBES: [&str; 14] = [
    "thermal",
    "hello world",
    "hello     world",
    " a    b ",
    "hello\nworld",
    "hello\n world\n\n",
    "The quick brown fox jumps over the lazy dog; international government information about development.",
    "def f(x):\n    if x > 10:\n\treturn  x  # 2024\n",
    "naïve façade, Größe, el niño, déjà vu",
    "吾輩は猫である。名前はまだ無い。",
    "Привет, мир! Γειά σου",
    "\u{3000}a\u{a0}b\u{2009}ﬁne Ａ１ ½ e\u{301}",
    "🦀 👩\u{200d}👩\u{200d}👧 \u{0}",
    "1234567890 3.14159 1e-6 (x_1, x_2) https://example.org/a?b=c&d",
];

/// Opens the tokenizer of a directory, with a warning if there is something suspicious.
///
/// This is the `tokenizer.json` if both files give the same ids for the probe texts, because other programs
/// read it too. Otherwise it is the SentencePiece model, because that is what a LLaMA was trained with.
pub(super) fn open_directory(dir: &Path) -> Result<(TokenizerFile, Option<String>)> {
    let (json, model) = (dir.join("tokenizer.json"), dir.join("tokenizer.model"));
    if !model.is_file() && !json.is_file() {
        let message = "the directory contains neither tokenizer.json nor tokenizer.model; give the path of \
                       the file if it has another name";
        return Err(DataError::BadTokenizer { path: dir.to_owned(), message: message.to_owned() });
    }
    if !model.is_file() {
        return open_file(&json);
    }
    if !json.is_file() {
        return open_file(&model);
    }
    let json = TokenizerFile::read(&json)?;
    let model = match TokenizerFile::read(&model) {
        Ok(model) => model,
        // Other formats use this name too, for example `tiktoken`.
        Err(error) => {
            return Ok((
                json,
                Some(format!("only tokenizer.json is used, because tokenizer.model cannot be read: {error}")),
            ));
        }
    };
    match first_difference(&json, &model)? {
        None => Ok((json, None)),
        Some(text) => {
            let warning = format!(
                "`{}` and tokenizer.model in the same directory give different ids for {text:?}; \
                 tokenizer.model is used, because a conversion to tokenizer.json may be wrong; to use \
                 tokenizer.json, give the path of that file",
                json.path.display()
            );
            Ok((model, Some(warning)))
        }
    }
}

/// Opens the tokenizer of a file, with a warning if there is something suspicious.
pub(super) fn open_file(path: &Path) -> Result<(TokenizerFile, Option<String>)> {
    let tokenizer = TokenizerFile::read(path)?;
    let warning = match compare_with_other_file(&tokenizer)? {
        TokenizerComparison::Different { text } => Some(format!(
            "`{}` gives other ids than tokenizer.model in the same directory for {text:?}; a conversion may \
             be wrong; to use tokenizer.model, give the path of that file or of the directory",
            path.display()
        )),
        TokenizerComparison::Same => None,
        TokenizerComparison::SingleFile => find_suspicious_pieces(&tokenizer)?.map(|reason| {
            format!("`{}` may be a wrong conversion of a SentencePiece model: {reason}", path.display())
        }),
    };
    Ok((tokenizer, warning))
}

/// Comparison of a `tokenizer.json` with the `tokenizer.model` of the same directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerComparison {
    /// There is only one file, or the other cannot be read.
    SingleFile,
    /// Both give the same ids for all texts that were tried.
    Same,
    /// They give different ids.
    Different {
        /// A text with different ids.
        text: String,
    },
}

/// Compares a tokenizer with the other file of its directory.
pub(super) fn compare_with_other_file(tokenizer: &TokenizerFile) -> Result<TokenizerComparison> {
    let path = &tokenizer.path;
    let other = match path.file_name().and_then(|name| name.to_str()) {
        Some("tokenizer.json") => path.with_file_name("tokenizer.model"),
        Some("tokenizer.model") => path.with_file_name("tokenizer.json"),
        _ => return Ok(TokenizerComparison::SingleFile),
    };
    let Some(other) =
        Some(other).filter(|other| other.is_file()).and_then(|other| TokenizerFile::read(&other).ok())
    else {
        return Ok(TokenizerComparison::SingleFile);
    };
    Ok(match first_difference(tokenizer, &other)? {
        None => TokenizerComparison::Same,
        Some(text) => TokenizerComparison::Different { text: text.to_owned() },
    })
}

fn first_difference(one: &TokenizerFile, other: &TokenizerFile) -> Result<Option<&'static str>> {
    for text in PROBES {
        if one.encode(text)? != other.encode(text)? {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Largest number of words that are tried.
const TRIED: usize = 512;

/// Smallest number of words that allows a conclusion.
const FEWEST: usize = 32;

/// Smallest vocabulary that is expected to have tokens for runs of spaces.
const LARGE: usize = 4096;

/// Returns what is suspicious about a `tokenizer.json` of SentencePiece pieces whose model isn't available
/// for comparison.
fn find_suspicious_pieces(tokenizer: &TokenizerFile) -> Result<Option<String>> {
    if !tokenizer.is_converted_from_pieces() {
        return Ok(None);
    }
    let tokens =
        (0..tokenizer.engine.vocab_size() as u32).filter_map(|id| Some((id, tokenizer.engine.token(id)?)));
    let tokens = tokens.collect::<Vec<_>>();
    let words = tokens.iter().filter_map(|(id, token)| Some((*id, token.strip_prefix('▁')?)));
    let words =
        words.filter(|(_, word)| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let words = words.collect::<Vec<_>>();
    let tried = words.iter().step_by(words.len().div_ceil(TRIED).max(1)).collect::<Vec<_>>();
    let mut broken = None;
    let mut whole = 0;
    for &&(id, word) in &tried {
        if tokenizer.encode(word)? == [id] {
            whole += 1;
        } else {
            broken = broken.or(Some(word));
        }
    }
    if let Some(word) = broken.filter(|_| tried.len() >= FEWEST && whole * 10 < tried.len() * 9) {
        let (pieces, count) = (tried.len() - whole, tried.len());
        return Ok(Some(format!(
            "{pieces} of {count} words that are tokens of the vocabulary are split into several tokens \
             ({word:?})"
        )));
    }
    if tokens.len() < LARGE {
        return Ok(None);
    }
    let has_runs = tokens.iter().any(|(_, token)| token.contains("▁▁"));
    if !has_runs && tried.len() >= FEWEST && tokenizer.encode("a  b")? != tokenizer.encode("a b")? {
        let warning = "it keeps runs of spaces, for which its vocabulary has no token, so the original model \
                       probably collapses them (remove_extra_whitespaces); use its tokenizer.model";
        return Ok(Some(warning.to_owned()));
    }
    Ok(None)
}
