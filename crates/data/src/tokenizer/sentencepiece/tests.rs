use proptest::prelude::*;

use super::*;
use crate::Tokenizer;
use crate::testing::material;

const NAMES: [&str; 12] = [
    "v1",
    "v2",
    "bpe_rules",
    "bpe_symbols",
    "bpe_suffix",
    "bpe_bare",
    "bpe_odd",
    "unigram_rules",
    "unigram_bytes",
    "unigram_odd",
    "denormalized",
    "unescaped",
];

fn bytes(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sentencepiece");
    fs_err::read(format!("{folder}/{name}")).unwrap()
}

fn model(name: &str) -> SentencePiece {
    SentencePiece::from_bytes(&bytes(&format!("{name}.model"))).unwrap()
}

fn encode(model: &SentencePiece, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    model.encode_into(text, &mut ids).unwrap();
    ids
}

#[test]
fn ids_and_text_are_those_of_the_package() {
    for name in NAMES {
        let model = model(name);
        let cases: Vec<(String, Vec<u32>, String)> =
            serde_json::from_slice(&bytes(&format!("{name}.json"))).unwrap();
        for (text, ids, decoded) in cases {
            assert_eq!(encode(&model, &text), ids, "{name} on {text:?}");
            assert_eq!(model.decode(&ids), decoded, "{name} on {text:?}");
        }
    }
}
