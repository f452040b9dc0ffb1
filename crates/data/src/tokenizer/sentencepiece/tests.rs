//! SentencePiece models of the fixtures, and damaged ones.

use proptest::prelude::*;

use fineline_testing::materials;

use super::*;
use crate::tokenizer::Tokenizer;

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
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sentencepiece");
    fs_err::read(format!("{dir}/{name}")).unwrap()
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

/// The golden cases of OpenLLaMA's first tokenizer, which collapses runs of spaces but keeps line breaks, and
/// of its second, which keeps both.
#[test]
fn runs_of_spaces_collapse_as_the_model_says() {
    let (first, second) = (model("v1"), model("v2"));
    let same = |model: &SentencePiece, one: &str, other: &str| encode(model, one) == encode(model, other);
    assert!(same(&first, "hello world", "  hello     world "));
    assert!(same(&first, "a b", "a    b"));
    assert!(!same(&first, "hello\nworld", "hello\n world"));
    let breaks = |ids: &[u32]| ids.iter().filter(|&&id| first.token(id) == Some("<0x0A>")).count();
    assert_eq!(breaks(&encode(&first, "hello\n\nworld")), 2);
    for text in ["hello     world", "  a", "a  ", "\n\n a"] {
        assert_eq!(second.decode(&encode(&second, text)), text);
    }
    assert_eq!(first.decode(&encode(&first, " hello     world ")), "hello world");
}

#[test]
fn text_never_becomes_a_control_symbol() {
    for name in NAMES {
        let model = model(name);
        let text = "<s> a</s><pad> <mask> <unk><0x41>";
        let ids = encode(&model, text);
        assert!(!ids.iter().any(|&id| model.is_control(id)), "{name}");
    }
}

#[test]
fn boundary_tokens_are_those_of_the_model() {
    let found = ["v1", "bpe_bare"].map(|name| model(name).boundary_tokens()).map(|ids| (ids.bos, ids.eos));
    assert_eq!(found, [(Some(1), Some(2)), (None, Some(2))]);
}

#[test]
fn bytes_are_counted_where_none_are_lost() {
    for name in ["v2", "bpe_bare", "bpe_odd", "unigram_bytes"] {
        let model = model(name);
        let prefix = usize::from(model.normalizer.flags.add_dummy_prefix);
        for text in ["a  b\n\tc 猫🦀 2024", " The License, \n\n or", "é"] {
            let bytes: usize = encode(&model, text).iter().map(|&id| model.byte_len(id)).sum();
            assert_eq!(bytes, text.len() + prefix, "{name} on {text:?}");
        }
    }
}

#[test]
fn real_models_give_the_ids_of_their_conversions() {
    for (model, json) in [
        ("llama2-spm/tokenizer.model", "llama2-spm/tokenizer.json"),
        ("mistral/tokenizer.model.v1", "mistral/tokenizer_v1.json"),
    ] {
        let paths = (materials(&format!("tokenizers/{model}")), materials(&format!("tokenizers/{json}")));
        let (Some(model), Some(json)) = paths else { return };
        let (model, json) = (Tokenizer::from_file(model).unwrap(), Tokenizer::from_file(json).unwrap());
        assert_eq!(model.boundary_tokens(), json.boundary_tokens());
        assert_eq!(model.prefix_bytes(), json.prefix_bytes());
        assert!(
            (0..32_000)
                .all(|id| model.byte_len(id) == json.byte_len(id) && model.token(id) == json.token(id))
        );
        for corpus in ["tinyshakespeare.txt", "wagahaiwa_nekodearu.ja.txt", "war-and-peace.txt"] {
            let Some(path) = materials(&format!("corpora/{corpus}")) else { return };
            let text: String = fs_err::read_to_string(path).unwrap().chars().take(60_000).collect();
            let ids = model.encode(&text).unwrap();
            assert!(ids == json.encode(&text).unwrap(), "{corpus}");
            assert!(model.decode(&ids).unwrap() == text, "{corpus}");
            let bytes: usize = ids.iter().map(|&id| model.byte_len(id)).sum();
            assert_eq!(bytes - model.prefix_bytes(), text.len(), "{corpus}");
        }
    }
}

/// The ids of a text that is encoded as one part, without the cache.
fn encode_whole(model: &SentencePiece, text: &str) -> Vec<u32> {
    let PieceAlgorithm::Bpe { symbols, .. } = &model.algorithm else { panic!("no BPE") };
    let mut ids = model.encode_word(&model.normalizer.normalize(text), symbols);
    model.fuse_unknown(&mut ids, 0);
    ids
}

fn awkward_text() -> impl Strategy<Value = String> {
    let parts = [
        "a", "e", "th", "the ", "License", " ", "  ", "\n", "==>", "==>>", "<code>", "é", "猫", "で", "▁",
        "1", "\u{3000}", "™", "\0",
    ];
    let known =
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..40).prop_map(|parts| parts.concat());
    prop_oneof![4 => known, 1 => ".{0,40}"]
}

proptest! {
    #[test]
    fn parts_have_the_pieces_of_the_whole(text in awkward_text(), repeats in 1..400_usize) {
        for name in ["v1", "v2", "bpe_rules", "bpe_symbols", "bpe_suffix", "bpe_bare"] {
            let model = model(name);
            let has_boundaries = matches!(&model.algorithm, PieceAlgorithm::Bpe { boundaries: Some(_), .. });
            prop_assert!(has_boundaries, "{}", name);
            let text = text.repeat(repeats);
            prop_assert_eq!(encode(&model, &text), encode_whole(&model, &text), "{}", name);
        }
    }

    #[test]
    fn a_damaged_model_is_an_error_or_works(
        name in prop::sample::select(NAMES.to_vec()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        len in any::<prop::sample::Index>(),
        cut: bool,
        text in awkward_text(),
    ) {
        let mut bytes = bytes(&format!("{name}.model"));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut {
            bytes.truncate(len.index(bytes.len()));
        }
        if let Ok(model) = SentencePiece::from_bytes(&bytes) {
            let ids = encode(&model, &text);
            prop_assert!(ids.iter().all(|&id| (id as usize) < model.vocab_size()));
            model.decode(&ids);
        }
    }

    /// Damage of the rules of a model is the most likely to cause invalid offsets.
    #[test]
    fn damaged_rules_are_an_error_or_work(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        text in awkward_text(),
    ) {
        let mut proto = ModelProto::decode(&*bytes("unigram_rules.model")).unwrap();
        let charsmap = proto.normalizer.as_mut().unwrap().precompiled_charsmap.as_mut().unwrap();
        for (at, byte) in changes {
            let at = at.index(charsmap.len());
            charsmap[at] = byte;
        }
        if let Ok(model) = SentencePiece::from_bytes(&proto.encode_to_vec()) {
            encode(&model, &text);
        }
    }
}

#[test]
fn unusable_models_are_refused_by_name() {
    let change = |change: &dyn Fn(&mut ModelProto)| {
        let mut proto = ModelProto::decode(&*bytes("v1.model")).unwrap();
        change(&mut proto);
        SentencePiece::from_bytes(&proto.encode_to_vec()).unwrap_err()
    };
    let model_type = |number| change(&|proto| proto.trainer.as_mut().unwrap().model_type = Some(number));
    let truncated = &bytes("v1.model")[..5000];
    let errors = [
        SentencePiece::from_bytes(truncated).unwrap_err(),
        SentencePiece::from_bytes(b"not a model").unwrap_err(),
        SentencePiece::from_bytes(b"").unwrap_err(),
        model_type(3),
        model_type(4),
        model_type(9),
        change(&|proto| drop(proto.pieces.remove(10))),
        change(&|proto| proto.trainer.as_mut().unwrap().byte_fallback = Some(false)),
        change(&|proto| drop(proto.pieces.remove(0))),
        change(&|proto| proto.pieces[1].kind = Some(2)),
        change(&|proto| proto.pieces[400] = proto.pieces[300].clone()),
        change(&|proto| proto.pieces[400].score = Some(f32::NAN)),
        change(&|proto| proto.pieces[400].kind = Some(8)),
        change(&|proto| proto.pieces[400].kind = Some(6)),
        change(&|proto| proto.pieces[400].piece = None),
        change(&|proto| proto.normalizer.as_mut().unwrap().precompiled_charsmap = Some(vec![9, 0, 0, 0, 1])),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}
