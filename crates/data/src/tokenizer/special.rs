use std::path::Path;

use serde_json::Value;
use tokenizers::Tokenizer as Inner;

use crate::{DataError, Result};

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

/// BOS and EOS as `tokenizer_config.json` beside the tokenizer names them (null means none), otherwise by their usual names.
pub(super) fn find_special_ids(path: &Path, inner: &Inner) -> Result<SpecialIds> {
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
    let find = |key: &str, names: &[&str]| match config.get(key) {
        Some(Value::Null) => None,
        Some(Value::String(name)) => inner.token_to_id(name),
        Some(token) => inner.token_to_id(token["content"].as_str()?),
        None => names.iter().find_map(|name| inner.token_to_id(name)),
    };
    Ok(SpecialIds { bos: find("bos_token", &BOS_NAMES), eos: find("eos_token", &EOS_NAMES) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::AddedToken;

    fn ids(config: Option<&str>) -> (Option<u32>, Option<u32>) {
        let mut inner = Inner::new(tokenizers::models::bpe::BPE::default());
        let tokens = ["<|endoftext|>", "<odd>", "</s>"].map(|name| AddedToken::from(name, true));
        inner.add_special_tokens(tokens).unwrap();
        let folder = tempfile::tempdir().unwrap();
        if let Some(config) = config {
            fs_err::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        }
        let found = find_special_ids(&folder.path().join("tokenizer.json"), &inner).unwrap();
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
