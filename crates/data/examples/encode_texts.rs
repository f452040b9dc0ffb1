//! Encodes texts, for scripts that compare and time tokenizers: `encode_texts TOKENIZER TEXTS`, where TEXTS
//! is a JSON array of strings.
//!
//! Prints one JSON object: `seconds` spent on encoding, and `texts` as pairs of ids and the text that they
//! decode to.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::time::Instant;

use fineline_data::Tokenizer;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, texts] = &arguments[..] else {
        return Err("expected TOKENIZER TEXTS".into());
    };
    let tokenizer = Tokenizer::from_file(tokenizer)?;
    let texts: Vec<String> = serde_json::from_str(&fs_err::read_to_string(texts)?)?;
    let begin = Instant::now();
    let encoded = texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<Vec<_>, _>>()?;
    let seconds = begin.elapsed().as_secs_f64();
    let pairs = encoded.into_iter().map(|ids| Ok((tokenizer.decode(&ids)?, ids)));
    let pairs = pairs.map(|pair| pair.map(|(decoded, ids)| (ids, decoded)));
    println!("{}", json!({ "seconds": seconds, "texts": pairs.collect::<fineline_data::Result<Vec<_>>>()? }));
    Ok(())
}
