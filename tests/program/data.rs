//! Preparing, showing and counting data, and training on it.

use std::path::Path;

use crate::support::Workplace;

#[test]
fn show_prints_the_rows_that_a_step_used() {
    let place = Workplace::new();
    let one = place.run(&["data", "show", "tiny.toml", "--step", "3", "--row", "1"]).success().stdout();
    let all = place.run(&["data", "show", "tiny.toml", "--step", "3"]).success().stdout();
    assert!(all.contains(&one), "a row is the same alone and among others");
    assert!(one.starts_with("step 3 row 1: world epoch 0 row "), "{one}");
    assert!(one.contains("ids  [") && one.contains("text \""), "{one}");
    assert_eq!(all.matches("step 3 row ").count(), 4);
}

#[test]
fn stats_count_documents_and_tokens() {
    let place = Workplace::new();
    let stats = place.run(&["data", "stats", "tiny.toml", "--json"]).success().json();
    assert_eq!(stats["rows"], 12 * 4);
    assert_eq!(stats["sources"][0]["documents"], 400);
    assert!(stats["sources"][0]["validation_tokens"].as_u64().unwrap() > 0);
    let text = place.run(&["data", "stats", "tiny.toml"]).success().stdout();
    assert!(text.contains("world"), "{text}");
}

#[test]
fn own_text_is_trained_on_from_text_and_from_shards() {
    let place = Workplace::new();
    let line = |i: usize| {
        format!("{{\"body\": \"Line {i} tells of rivers, 河流, and of the number {}.\"}}\n", i * 7)
    };
    place.write("mine/a.jsonl", &(0..300).map(line).collect::<String>());
    place.write("mine/deep/b.jsonl", &(300..500).map(line).collect::<String>());
    place.write("notes.txt", &"A note about the sea. ".repeat(300));
    let mix = "data.mix=[{name=\"mine\", path=\"mine\", field=\"body\", weight=3.0}, {name=\"notes\", \
              path=\"notes.txt\"}]";
    place.train(&["run.dir=text", mix, "probes=[]"]);
    let validated: Vec<String> = place
        .log("text/probes.jsonl")
        .iter()
        .map(|record| record["task"].as_str().unwrap().to_owned())
        .collect();
    assert!(validated.contains(&"validation/mine".into()) && validated.contains(&"validation/notes".into()));

    let tokenizer = "text/checkpoints/step-00000012/tokenizer.json";
    let prepare =
        ["data", "prepare", "mine", "--field", "body", "--output", "shards/mine", "--tokenizer", tokenizer];
    let made = place.run(&prepare).success().stdout();
    assert!(made.contains("500 documents"), "{made}");
    for (dir, path) in [("by-prefix", "shards/mine"), ("by-dir", "shards"), ("by-glob", "shards/m*")] {
        let from_shards = mix.replace("path=\"mine\"", &format!("path=\"{path}\""));
        let dir_of = format!("run.dir={dir}");
        place.train(&[&dir_of, &from_shards, "probes=[]", &format!("tokenizer.path={tokenizer}")]);
        assert_eq!(place.log("text/metrics.jsonl"), place.log(&format!("{dir}/metrics.jsonl")), "{path}");
    }
}

#[test]
fn the_real_corpora_train() {
    let Some(corpora) = fineline_testing::materials("corpora") else { return };
    let place = Workplace::new();
    let shakespeare = corpora.join("tinyshakespeare.txt");
    let novel = corpora.join("wagahaiwa_nekodearu.ja.txt");
    let arxiv = corpora.join("arxiv_sample.jsonl");
    let docs = corpora.join("python-docs-rst.txt.gz");
    let sources: Vec<String> = [("play", shakespeare), ("novel", novel), ("papers", arxiv), ("docs", docs)]
        .iter()
        .map(|(name, path)| format!("{{name=\"{name}\", path=\"{}\"}}", path.display()))
        .collect();
    place.train(&[&format!("data.mix=[{}]", sources.join(", ")), "probes=[]"]);
    let losses = place.log("run/metrics.jsonl");
    assert!(losses.last().unwrap()["loss"].as_f64() < losses[0]["loss"].as_f64());
}

#[test]
fn a_tokenizer_is_trained_and_inspected() {
    let place = Workplace::new();
    place.write("t.txt", &"the cat sat on the mat. ".repeat(50));
    place
        .run(&["tokenizer", "train", "t.txt", "--vocab-size", "280", "--output", "tok/tokenizer.json"])
        .success();
    let shown = place.run(&["tokenizer", "inspect", "tok", "--text", "the cat"]).success().stdout();
    assert!(shown.contains("BOS          <s>"), "{shown}");
    assert!(shown.contains("the"), "{shown}");
}

#[test]
fn a_sentencepiece_model_is_used_by_a_run_and_kept_in_its_checkpoint() {
    let place = Workplace::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tests/fixtures/sentencepiece");
    fs_err::create_dir(place.path("spm")).unwrap();
    fs_err::copy(fixtures.join("v1.model"), place.path("spm/tokenizer.model")).unwrap();
    place.train(&["tokenizer.path=spm", "model.vocab_size=600", "probes=[]", "train.steps=4"]);

    let checkpoint = "run/checkpoints/step-00000004";
    let [used, kept] = ["spm", checkpoint].map(|dir| {
        assert!(!place.path(dir).join("tokenizer.json").exists());
        fs_err::read(place.path(dir).join("tokenizer.model")).unwrap()
    });
    assert!(used == kept, "the checkpoint contains another tokenizer");
    let config = fs_err::read_to_string(place.path(checkpoint).join("tokenizer_config.json")).unwrap();
    assert!(config.contains("LlamaTokenizer"), "{config}");
    let arguments =
        ["generate", checkpoint, "--prompt", "The", "--greedy", "--max-new-tokens", "3", "--json"];
    let ids = place.run(&arguments).success().json()["ids"].clone();
    assert_eq!(ids.as_array().unwrap().len(), 3, "{ids}");

    let shown = place.run(&["tokenizer", "inspect", checkpoint, "--text", "a    b"]).success().stdout();
    let shown = shown.lines().filter(|line| !line.starts_with("fingerprint")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(shown, @r#"
    run/checkpoints/step-00000004/tokenizer.model
    kind         SentencePiece BPE
    settings     byte_fallback=true add_dummy_prefix=true remove_extra_whitespaces=true escape_whitespaces=true rules=identity
    vocabulary   600
    BOS          <s> (1)
    EOS          </s> (2)
    special      <unk> (0), <s> (1), </s> (2)
        261  "▁a"
        306  "▁b"
    "#);
}

#[test]
fn a_tokenizer_json_that_disagrees_with_its_model_causes_a_warning() {
    let place = Workplace::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/tests/fixtures/sentencepiece");
    place.write("t.txt", &"the cat sat on the mat. ".repeat(50));
    place
        .run(&["tokenizer", "train", "t.txt", "--vocab-size", "280", "--output", "tok/tokenizer.json"])
        .success();
    fs_err::copy(fixtures.join("v1.model"), place.path("tok/tokenizer.model")).unwrap();
    let run = place.run(&["tokenizer", "inspect", "tok", "--text", ""]).success();
    assert!(run.stderr().contains("tokenizer.model is used"), "{}", run.stderr());
    assert!(run.stdout().contains("files        tokenizer.json and tokenizer.model give different ids"));
}
