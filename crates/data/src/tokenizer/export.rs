//! The files of a tokenizer for `transformers`.

use std::collections::BTreeMap;

use crate::boundary_tokens::BoundaryTokens;
use crate::error::{DataError, Result};
use crate::tokenizer::engine::TokenizerEngine;
use crate::tokenizer::file::TokenizerFile;

/// Returns the files that make up a directory from which this crate and `transformers` read the tokenizer, by
/// name.
pub(super) fn exported_files(
    file: &TokenizerFile,
    boundary: BoundaryTokens,
) -> Result<BTreeMap<String, Vec<u8>>> {
    let (name, class) = match &file.engine {
        TokenizerEngine::Json(_) => ("tokenizer.json", "PreTrainedTokenizerFast"),
        TokenizerEngine::SentencePiece(_) => ("tokenizer.model", "LlamaTokenizer"),
    };
    Ok(BTreeMap::from([
        (name.to_owned(), fs_err::read(&file.path)?),
        ("tokenizer_config.json".to_owned(), settings_for_transformers(file, boundary, class)?),
    ]))
}

/// Returns the content of a `tokenizer_config.json` for the exported directory.
///
/// This is the file next to the tokenizer, if it exists, with its class replaced by `class` if that class
/// cannot read the tokenizer. Otherwise it is a new one with `class`.
fn settings_for_transformers(file: &TokenizerFile, boundary: BoundaryTokens, class: &str) -> Result<Vec<u8>> {
    let is_model = matches!(&file.engine, TokenizerEngine::SentencePiece(_));
    let path = file.path.with_file_name("tokenizer_config.json");
    if path.is_file() {
        let bytes = fs_err::read(&path)?;
        let bad = |error: serde_json::Error| DataError::BadTokenizer { path, message: error.to_string() };
        let mut settings: serde_json::Value = serde_json::from_slice(&bytes).map_err(bad)?;
        let reads_json = settings["tokenizer_class"].as_str().is_none_or(|class| class.ends_with("Fast"));
        return match settings.as_object_mut() {
            Some(settings) if is_model && reads_json => {
                settings.insert("tokenizer_class".to_owned(), class.into());
                Ok(serde_json::json!(settings).to_string().into_bytes())
            }
            _ => Ok(bytes),
        };
    }
    let mut settings = serde_json::json!({ "tokenizer_class": class });
    if is_model {
        // The settings of OpenLLaMA's own file. `legacy` keeps the pieces after special tokens as
        // SentencePiece produces them.
        let name = |id: Option<u32>| id.and_then(|id| file.engine.token(id));
        settings["bos_token"] = name(file.special.bos).into();
        settings["eos_token"] = name(file.special.eos).into();
        settings["add_bos_token"] = boundary.bos.is_some().into();
        settings["add_eos_token"] = false.into();
        settings["legacy"] = true.into();
        settings["clean_up_tokenization_spaces"] = false.into();
    }
    Ok(settings.to_string().into_bytes())
}
