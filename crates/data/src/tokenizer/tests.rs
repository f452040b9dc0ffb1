//! Tokenizers of both kinds, and directories that hold both.

use super::*;

/// One of the tokenizers among the materials; where it is missing, the test is recorded as skipped.
fn material(name: &str) -> Option<Tokenizer> {
    let path = fineline_testing::materials(&format!("tokenizers/{name}"))?;
    Some(Tokenizer::from_file(path).unwrap())
}

const NAMES: [&str; 4] = [
    "llama2-spm/tokenizer.json",
    "mistral/tokenizer_v1.json",
    "gpt-neox/allenai_eleuther-ai-gpt-neox-20b-pii-special.json",
    "gpt2/tokenizer.json",
];

#[test]
fn real_text_round_trips_and_its_bytes_are_counted() {
    for (name, tokenizer) in NAMES.iter().filter_map(|name| Some((name, material(name)?))) {
        for corpus in ["tinyshakespeare.txt", "wagahaiwa_nekodearu.ja.txt", "war-and-peace.txt"] {
            let Some(path) = fineline_testing::materials(&format!("corpora/{corpus}")) else { return };
            let text: String = fs_err::read_to_string(path).unwrap().chars().take(60_000).collect();
            let ids = tokenizer.encode(&text).unwrap();
            assert!(tokenizer.decode(&ids).unwrap() == text, "{name} on {corpus}");
            let bytes: usize = ids.iter().map(|&id| tokenizer.byte_len(id)).sum();
            assert_eq!(bytes - tokenizer.prefix_bytes(), text.len(), "{name} on {corpus}");
        }
    }
}

#[test]
fn awkward_texts_round_trip() {
    for (name, tokenizer) in NAMES.iter().filter_map(|name| Some((name, material(name)?))) {
        for text in
            ["", " ", "\n\n  x", "a </s> <s> <|endoftext|> b", "🦀🦀 naïve\t\u{0}end ", "  two  spaces  "]
        {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{name} on {text:?}");
        }
    }
}

#[test]
fn marks_are_found_by_name() {
    let found =
        NAMES.map(|name| material(name).map(|t| (t.bos_id(), t.eos_id(), t.vocab_size(), t.prefix_bytes())));
    let expected = [(1, 2, 32000, 1), (1, 2, 32000, 1), (0, 0, 50280, 0), (50256, 50256, 50257, 0)];
    for (found, (bos, eos, size, prefix)) in found.into_iter().zip(expected) {
        assert!(found.is_none_or(|found| found == (Some(bos), Some(eos), size, prefix)), "{found:?}");
    }
}

#[test]
fn unusable_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("tokenizer.model", "spm"), ("a.json", "{\"x\": 1}"), ("b.json", "no")] {
        fs_err::write(dir.path().join(name), text).unwrap();
    }
    let errors = ["tokenizer.model", "a.json", "b.json", "none.json"]
        .map(|name| Tokenizer::from_file(dir.path().join(name)).unwrap_err().to_string())
        .join("\n")
        .replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(errors, @r"
    `DIR/tokenizer.model`: not a usable tokenizer: it is no SentencePiece model, or damaged (failed to decode Protobuf message: invalid varint)
    `DIR/a.json`: not a usable tokenizer: expected `,` or `}` at line 1 column 5
    `DIR/b.json`: not a usable tokenizer: expected ident at line 1 column 2
    failed to open file `DIR/none.json`: No such file or directory (os error 2)
    ");
}

/// A directory with a SentencePiece model of the fixtures, and a `tokenizer.json` with the same pieces and a
/// merge for each, which keeps all spaces.
fn dir_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sentencepiece");
    fs_err::copy(format!("{fixtures}/{name}.model"), dir.path().join("tokenizer.model")).unwrap();
    let model = Tokenizer::from_file(dir.path()).unwrap();
    fs_err::write(dir.path().join("tokenizer.json"), converted(&model).to_string()).unwrap();
    dir
}

/// A conversion that ignores the flags of a model whose pieces are in the order of their scores.
fn converted(model: &Tokenizer) -> serde_json::Value {
    let tokens = (0..model.vocab_size() as u32).map(|id| (model.token(id).unwrap(), id));
    let tokens = tokens.collect::<Vec<_>>();
    let vocab: std::collections::HashMap<_, _> = tokens.iter().cloned().collect();
    let merges = tokens.iter().filter(|(token, _)| !token.starts_with('<')).flat_map(|(token, _)| {
        let halves = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let halves = halves.filter(|(left, right)| vocab.contains_key(*left) && vocab.contains_key(*right));
        halves.map(|(left, right)| [left.to_owned(), right.to_owned()]).collect::<Vec<_>>()
    });
    let merges = merges.collect::<Vec<_>>();
    serde_json::json!({
        "added_tokens": [],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        ] },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" }, { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ] },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": true,
            "byte_fallback": true,
            "vocab": vocab,
            "merges": merges,
        },
    })
}

#[test]
fn of_two_files_that_agree_the_json_is_read() {
    let dir = dir_of("v2");
    let tokenizer = Tokenizer::from_file(dir.path()).unwrap();
    assert_eq!(tokenizer.path(), dir.path().join("tokenizer.json"));
    assert_eq!((tokenizer.warning(), tokenizer.compare_files().unwrap()), (None, TokenizerComparison::Same));
    assert_eq!(tokenizer.kind(), "tokenizer.json (BPE)");
}

#[test]
fn of_two_files_that_differ_the_model_is_read_and_a_doubt_kept() {
    let dir = dir_of("v1");
    let tokenizer = Tokenizer::from_file(dir.path()).unwrap();
    assert_eq!(tokenizer.path(), dir.path().join("tokenizer.model"));
    let TokenizerComparison::Different { text } = tokenizer.compare_files().unwrap() else {
        panic!("the files differ")
    };
    assert!(text.contains("  "));
    let json = Tokenizer::from_file(dir.path().join("tokenizer.json")).unwrap();
    fs_err::remove_file(dir.path().join("tokenizer.model")).unwrap();
    assert_eq!(Tokenizer::from_file(dir.path()).unwrap().warning(), None, "its vocabulary is small");
    let mut large: serde_json::Value =
        serde_json::from_str(&fs_err::read_to_string(json.path()).unwrap()).unwrap();
    let vocab = large["model"]["vocab"].as_object_mut().unwrap();
    (vocab.len()..4096).for_each(|id| drop(vocab.insert(format!("unused {id}"), id.into())));
    fs_err::write(json.path(), large.to_string()).unwrap();
    let alone = Tokenizer::from_file(dir.path()).unwrap();
    let doubts =
        [&tokenizer, &json, &alone].map(|tokenizer| tokenizer.warning().unwrap_or("none").to_owned());
    let doubts = doubts.join("\n").replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(doubts, @r#"
    `DIR/tokenizer.json` and tokenizer.model in the same directory give different ids for "hello     world"; tokenizer.model is used, because a conversion to tokenizer.json may be wrong; to use tokenizer.json, give the path of that file
    `DIR/tokenizer.json` gives other ids than tokenizer.model in the same directory for "hello     world"; a conversion may be wrong; to use tokenizer.model, give the path of that file or of the directory
    `DIR/tokenizer.json` may be a wrong conversion of a SentencePiece model: it keeps runs of spaces, for which its vocabulary has no token, so the original model probably collapses them (remove_extra_whitespaces); use its tokenizer.model
    "#);
}

#[test]
fn a_json_with_wrong_merges_is_doubted() {
    let dir = dir_of("v2");
    let path = dir.path().join("tokenizer.json");
    fs_err::remove_file(dir.path().join("tokenizer.model")).unwrap();
    assert_eq!(Tokenizer::from_file(&path).unwrap().warning(), None);
    let mut json: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
    json["model"]["merges"].as_array_mut().unwrap().retain(|merge| merge[0].as_str().unwrap().len() > 3);
    fs_err::write(&path, json.to_string()).unwrap();
    let warning = Tokenizer::from_file(&path).unwrap().warning().unwrap().to_owned();
    assert!(warning.contains("are split into several tokens"), "{warning}");
}

#[test]
fn real_conversions_are_not_doubted() {
    for tokenizer in NAMES.iter().filter_map(|name| material(name)) {
        assert_eq!(tokenizer.warning(), None);
    }
    if let Some(dir) = fineline_testing::materials("tokenizers/llama2-spm") {
        assert_eq!(Tokenizer::from_file(dir).unwrap().compare_files().unwrap(), TokenizerComparison::Same);
    }
}

#[test]
fn a_model_of_another_format_leaves_the_json() {
    let dir = dir_of("v2");
    fs_err::write(dir.path().join("tokenizer.model"), "IQ== 0\nIg== 1\n").unwrap();
    let tokenizer = Tokenizer::from_file(dir.path()).unwrap();
    assert_eq!(tokenizer.path(), dir.path().join("tokenizer.json"));
    assert!(tokenizer.warning().unwrap().starts_with("only tokenizer.json is used"));
}

#[test]
fn the_files_of_a_model_make_a_dir_of_it() {
    let dir = dir_of("v1");
    let tokenizer = Tokenizer::from_file(dir.path().join("tokenizer.model")).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for (name, bytes) in tokenizer.files().unwrap() {
        fs_err::write(copy.path().join(name), bytes).unwrap();
    }
    let again = Tokenizer::from_file(copy.path()).unwrap();
    assert_eq!(
        (again.fingerprint(), again.boundary_tokens()),
        (tokenizer.fingerprint(), tokenizer.boundary_tokens())
    );
    let settings = fs_err::read_to_string(copy.path().join("tokenizer_config.json")).unwrap();
    assert!(
        settings.contains(r#""tokenizer_class":"LlamaTokenizer","bos_token":"<s>","eos_token":"</s>""#),
        "{settings}"
    );
    // A class that cannot read SentencePiece models is replaced.
    let config = dir.path().join("tokenizer_config.json");
    fs_err::write(config, r#"{"eos_token": "<s>", "tokenizer_class": "PreTrainedTokenizerFast"}"#).unwrap();
    let files = Tokenizer::from_file(dir.path().join("tokenizer.model")).unwrap().files().unwrap();
    let settings = String::from_utf8_lossy(&files["tokenizer_config.json"]);
    assert_eq!(settings, r#"{"eos_token":"<s>","tokenizer_class":"LlamaTokenizer"}"#);
}
