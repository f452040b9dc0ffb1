use std::path::Path;

use super::Engine;
use crate::{DataError, Result};
use serde_json::Value;

/// Names of BOS among the families of tokenizers, the most telling first.
const BOS_NAMES: [&str; 8] =
    ["<s>", "<|begin_of_text|>", "<bos>", "<|startoftext|>", "[BOS]", "<BOS>", "<|bos|>", "<|endoftext|>"];

const EOS_NAMES: [&str; 7] =
    ["</s>", "<|end_of_text|>", "<eos>", "[EOS]", "<EOS>", "<|eos|>", "<|endoftext|>"];

#[derive(Clone, Copy, Debug)]
pub(super) struct SpecialIds {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
}

/// BOS and EOS as `tokenizer_config.json` beside the tokenizer names them (null means none), otherwise as a SentencePiece model has
/// them, otherwise by their usual names.
pub(super) fn find_special_ids(path: &Path, engine: &Engine) -> Result<SpecialIds> {
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
    let own = match engine {
        Engine::Json(_) => SpecialIds { bos: None, eos: None },
        Engine::SentencePiece(model) => model.special_ids(),
    };
    let find = |key: &str, own: Option<u32>, names: &[&str]| match config.get(key) {
        Some(Value::Null) => None,
        Some(Value::String(name)) => engine.id_of(name),
        Some(token) => engine.id_of(token["content"].as_str()?),
        None => own.or_else(|| names.iter().find_map(|name| engine.id_of_special(name))),
    };
    Ok(SpecialIds {
        bos: find("bos_token", own.bos, &BOS_NAMES),
        eos: find("eos_token", own.eos, &EOS_NAMES),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::json::Json;
    use tokenizers::{AddedToken, Tokenizer as Inner};

    fn ids(config: Option<&str>) -> (Option<u32>, Option<u32>) {
        let mut inner = Inner::new(tokenizers::models::bpe::BPE::default());
        let tokens = ["<|endoftext|>", "<odd>", "</s>"].map(|name| AddedToken::from(name, true));
        inner.add_special_tokens(tokens).unwrap();
        let engine =
            Engine::Json(Box::new(Json::from_bytes(inner.to_string(false).unwrap().as_bytes()).unwrap()));
        let folder = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            fs_err::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        }
        let found = find_special_ids(&folder.path().join("tokenizer.json"), &engine).unwrap();
        (found.bos, found.eos)
    }

    #[test]
    fn the_config_beside_goes_before_the_usual_names() {
        assert_eq!(ids(None), (Some(0), Some(2)));
        assert_eq!(ids(Some("{}")), (Some(0), Some(2)));
        assert_eq!(ids(Some(r#"{"bos_token": null, "eos_token": "<odd>"}"#)), (None, Some(1)));
        assert_eq!(ids(Some(r#"{"bos_token": {"content": "<odd>"}, "eos_token": "gone"}"#)), (Some(1), None));
    }
}
