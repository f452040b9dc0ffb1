//! Training of a byte-level BPE.

use std::path::Path;

use fineline_diagnostics::{Key, Problem};
use fineline_files::{create_parent_directory, write_atomically};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer as Inner};

use crate::error::{DataError, Result};
use crate::tokenizer::cuts::CutRules;

/// Version of the training. Changed when the same text would result in a different tokenizer.
pub(super) const VERSION: &[u8] = b"byte-level bpe 1";

/// Special tokens, with the same ids as in LLaMA's vocabulary.
const SPECIAL: [&str; 3] = ["<unk>", "<s>", "</s>"];

/// Size of the smallest vocabulary that can be trained: the 256 bytes and the special tokens.
pub const MIN_VOCAB_SIZE: usize = 256 + SPECIAL.len();

/// Trains a byte-level BPE on documents and saves it. See [`train_bpe`](super::train_bpe).
pub(super) fn train_and_save(
    documents: impl Iterator<Item = Result<String>> + Send,
    vocab_size: usize,
    save: &Path,
) -> Result<()> {
    if vocab_size < MIN_VOCAB_SIZE {
        let key = Key::default().field("tokenizer").field("train_vocab_size");
        let message =
            format!("must be at least {MIN_VOCAB_SIZE}: the 256 bytes and {} special tokens", SPECIAL.len());
        return Err(DataError::Config(Problem::new(key, message).with_value(vocab_size).into()));
    }
    let trained = train(documents, vocab_size)?;
    let json = trained.to_string(false).map_err(failed)?;
    create_parent_directory(save)?;
    write_atomically(&save.with_file_name("tokenizer_config.json"), tokenizer_config().as_bytes())?;
    Ok(write_atomically(save, json.as_bytes())?)
}

fn train(documents: impl Iterator<Item = Result<String>> + Send, vocab_size: usize) -> Result<Inner> {
    let mut tokenizer = Inner::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
        Digits::new(true).into(),
        ByteLevel::new(false, true, true).into(),
    ])));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(SPECIAL.iter().map(|&name| AddedToken::from(name, true)).collect())
        .build();
    // The iterator of the trainer cannot fail. The first error ends it and is returned after the training.
    let mut error = None;
    let texts = documents.map_while(|document| document.map_err(|e| error = Some(e)).ok());
    let cuts = CutRules::for_training();
    let parts = texts.flat_map(|text| cuts.parts(&text).into_iter().map(str::to_owned).collect::<Vec<_>>());
    let trained = tokenizer.train(&mut TrainerWrapper::from(trainer), parts).map(|_| ());
    if let Some(error) = error {
        return Err(error);
    }
    trained.map_err(failed)?;
    tokenizer.with_post_processor(Some(bos_template()));
    Ok(tokenizer)
}

/// Template by which `transformers` puts BOS before a text, as LLaMA's tokenizers do. This crate doesn't use
/// it.
fn bos_template() -> TemplateProcessing {
    TemplateProcessing::builder()
        .try_single("<s> $A")
        .and_then(|builder| builder.try_pair("<s> $A <s> $B:1"))
        .expect("the templates are constants")
        .special_tokens(vec![("<s>", 1)])
        .build()
        .expect("the only special token of the templates is defined")
}

fn tokenizer_config() -> String {
    let config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": SPECIAL[0],
        "bos_token": SPECIAL[1],
        "eos_token": SPECIAL[2],
        "clean_up_tokenization_spaces": false,
    });
    format!("{config:#}\n")
}

#[allow(clippy::needless_pass_by_value, reason = "as `map_err` passes it")]
fn failed(error: tokenizers::Error) -> DataError {
    DataError::Tokenize { message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::train_bpe;

    fn documents() -> impl Iterator<Item = Result<String>> + Send {
        (0..400).map(|i| Ok(format!("Ana gave {i} red stones to Bo.\nWhat did Bo get? 金 {}\n", i * i)))
    }

    fn bytes(threads: usize) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/tokenizer.json");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train_bpe(documents(), 400, &path)).unwrap();
        fs_err::read(&path).unwrap()
    }

    #[test]
    fn training_gives_the_same_bytes_on_any_number_of_threads() {
        let one = bytes(1);
        assert_eq!(one, bytes(1));
        assert_eq!(one, bytes(2));
        assert_eq!(one, bytes(7));
    }

    #[test]
    fn a_trained_tokenizer_round_trips_and_keeps_llama_ids() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = train_bpe(documents(), 280, &dir.path().join("tokenizer.json")).unwrap();
        assert_eq!(tokenizer.vocab_size(), 280);
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(1), Some(2)));
        for text in ["Ana gave 17 stones", "unseen Ünïcode 🦀\t ", " <s> </s>", ""] {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text);
            assert_eq!(ids.iter().map(|&id| tokenizer.byte_len(id)).sum::<usize>(), text.len());
            assert!(ids.iter().all(|&id| id > 2), "text never makes special tokens");
        }
        let words = tokenizer.encode("7 12").unwrap();
        let words: Vec<String> = words.iter().map(|&id| tokenizer.token(id).unwrap()).collect();
        assert_eq!(words, ["7", "Ġ", "1", "2"]);
    }

    #[test]
    fn errors_of_the_text_come_through() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        let broken = documents().chain([Err(DataError::PathNotFound { path: "x".to_owned() })]);
        assert!(matches!(train_bpe(broken, 400, &path), Err(DataError::PathNotFound { .. })));
        assert!(matches!(train_bpe(documents(), 258, &path), Err(DataError::Config(_))));
        assert!(!path.exists());
    }
}
