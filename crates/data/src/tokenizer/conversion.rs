//! Which of two files is right, where a directory holds a `tokenizer.json` and a SentencePiece model, and whether a `tokenizer.json`
//! that stands alone is a bad copy of one.
//!
//! OpenLLaMA's models come with (or get, from `transformers`) a converted `tokenizer.json` that gives other ids than the
//! `tokenizer.model` they were trained with: it keeps runs of spaces that the model collapses, and spells whole words in pieces. Who
//! trains on with these ids, trains on noise.

use std::path::Path;

use crate::error::{DataError, Result};
use crate::tokenizer::file::TokenizerFile;

/// Texts on which a conversion that is wrong shows: spaces in runs, at both ends and of other kinds, line breaks, digits, capitals,
/// words that are one token in most vocabularies, characters that are in few.
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

/// The tokenizer of a directory, and what is to be doubted about it.
///
/// The `tokenizer.json` where both files give the same ids for the probes, since others read it too; otherwise the SentencePiece
/// model, which is what a LLaMA was trained with.
pub(super) fn open_directory(dir: &Path) -> Result<(TokenizerFile, Option<String>)> {
    let (json, model) = (dir.join("tokenizer.json"), dir.join("tokenizer.model"));
    if !model.is_file() && !json.is_file() {
        let message = "the folder holds neither tokenizer.json nor tokenizer.model; a file under another name can be given itself";
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
        // Other formats have the name too: that of `tiktoken`, say.
        Err(error) => return Ok((json, Some(format!("only tokenizer.json is used: {error}")))),
    };
    match first_difference(&json, &model)? {
        None => Ok((json, None)),
        Some(text) => {
            let doubt = format!(
                "`{}` and tokenizer.model beside it give different ids for {text:?}: tokenizer.model is used, which a conversion to \
                 tokenizer.json may have got wrong; to use the other, name the file itself",
                json.path.display()
            );
            Ok((model, Some(doubt)))
        }
    }
}

/// The tokenizer of a file, and what is to be doubted about it.
pub(super) fn open_file(path: &Path) -> Result<(TokenizerFile, Option<String>)> {
    let tokenizer = TokenizerFile::read(path)?;
    let doubt = match compare_with_other_file(&tokenizer)? {
        TokenizerComparison::Different { text } => Some(format!(
            "`{}` gives other ids than tokenizer.model beside it for {text:?}: a conversion may have got it wrong; to use \
             tokenizer.model, name that file or the dir",
            path.display()
        )),
        TokenizerComparison::Same => None,
        TokenizerComparison::SingleFile => doubt_of_pieces(&tokenizer)?.map(|doubt| {
            format!("`{}` may be a wrong conversion of a SentencePiece model: {doubt}", path.display())
        }),
    };
    Ok((tokenizer, doubt))
}

/// Whether a `tokenizer.json` and the `tokenizer.model` beside it agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenizerComparison {
    /// There is one file only, or the other can't be read.
    SingleFile,
    /// They give the same ids for all texts that were tried.
    Same,
    /// They don't.
    Different {
        /// A text for which they differ.
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

/// Pieces of words that are tried.
const TRIED: usize = 512;

/// Fewer words than this say nothing.
const FEWEST: usize = 32;

/// With fewer pieces than this, none need be left for runs of spaces.
const LARGE: usize = 4096;

/// What speaks against a `tokenizer.json` of pieces whose SentencePiece model isn't there to compare with.
fn doubt_of_pieces(tokenizer: &TokenizerFile) -> Result<Option<String>> {
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
            "{pieces} of {count} words that are tokens of their own come out in parts ({word:?})"
        )));
    }
    if tokens.len() < LARGE {
        return Ok(None);
    }
    let has_runs = tokens.iter().any(|(_, token)| token.contains("▁▁"));
    if !has_runs && tried.len() >= FEWEST && tokenizer.encode("a  b")? != tokenizer.encode("a b")? {
        let doubt = "it keeps runs of spaces, for which its vocabulary has no token, so that the model probably collapsed them \
                     (remove_extra_whitespaces); get its tokenizer.model";
        return Ok(Some(doubt.to_owned()));
    }
    Ok(None)
}
