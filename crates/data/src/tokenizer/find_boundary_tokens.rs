//! BOS and EOS of a tokenizer file.

use std::path::Path;

use serde_json::Value;

use crate::boundary_tokens::BoundaryTokens;
use crate::error::{DataError, Result};
use crate::tokenizer::engine::TokenizerEngine;

/// Usual names of BOS, the most specific first.
const BOS_NAMES: [&str; 8] =
    ["<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "[BOS]", "<BOS>", "<|bos|>", "<|endoftext|>"];

/// Usual names of EOS, the most specific first.
const EOS_NAMES: [&str; 7] =
    ["</s>", "<|end_of_text|>", "<eos>", "[EOS]", "<EOS>", "<|eos|>", "<|endoftext|>"];

/// Finds BOS and EOS of a tokenizer file.
///
/// A `tokenizer_config.json` next to it takes precedence, in which null means none. Then come the definitions
/// of a SentencePiece model, then the usual names.
pub(super) fn find_boundary_tokens(path: &Path, engine: &TokenizerEngine) -> Result<BoundaryTokens> {
    let config_path = path.with_file_name("tokenizer_config.json");
    let config = if config_path.is_file() {
        let bad = |error: serde_json::Error| DataError::BadTokenizer {
            path: config_path.clone(),
            message: error.to_string(),
        };
        serde_json::from_str::<Value>(&fs_err::read_to_string(&config_path)?).map_err(bad)?
    } else {
        Value::Null
    };
    let own = engine.defined_boundary_tokens();
    let find = |key: &str, own: Option<u32>, names: &[&str]| match config.get(key) {
        Some(Value::Null) => None,
        Some(Value::String(name)) => engine.id_of(name),
        Some(token) => engine.id_of(token["content"].as_str()?),
        None => own.or_else(|| names.iter().find_map(|name| engine.id_of_special(name))),
    };
    Ok(BoundaryTokens {
        bos: find("bos_token", own.bos, &BOS_NAMES),
        eos: find("eos_token", own.eos, &EOS_NAMES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::json::JsonTokenizer;
    use tokenizers::{AddedToken, Tokenizer as Inner};

    fn ids(config: Option<&str>) -> (Option<u32>, Option<u32>) {
        let mut inner = Inner::new(tokenizers::models::bpe::BPE::default());
        let tokens = ["<|endoftext|>", "<odd>", "</s>"].map(|name| AddedToken::from(name, true));
        inner.add_special_tokens(tokens).unwrap();
        let engine = TokenizerEngine::Json(Box::new(
            JsonTokenizer::from_bytes(inner.to_string(false).unwrap().as_bytes()).unwrap(),
        ));
        let dir = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            fs_err::write(dir.path().join("tokenizer_config.json"), config).unwrap();
        }
        let found = find_boundary_tokens(&dir.path().join("tokenizer.json"), &engine).unwrap();
        (found.bos, found.eos)
    }

    #[test]
    fn tokenizer_config_json_takes_precedence_over_the_usual_names() {
        assert_eq!(ids(None), (Some(0), Some(2)));
        assert_eq!(ids(Some("{}")), (Some(0), Some(2)));
        assert_eq!(ids(Some(r#"{"bos_token": null, "eos_token": "<odd>"}"#)), (None, Some(1)));
        assert_eq!(ids(Some(r#"{"bos_token": {"content": "<odd>"}, "eos_token": "gone"}"#)), (Some(1), None));
    }
}
