//! Bad input gets a clear error with the right exit code, and loses nothing.

use crate::support::{Workplace, files_below, skip};

/// What a user reads on standard error.
fn message(place: &Workplace, arguments: &[&str], code: i32) -> String {
    let error = place.run(arguments).fails_with(code).stderr();
    error.replace(place.path("").to_str().unwrap(), "DIR/")
}

fn with(place: &Workplace, overrides: &[&str], code: i32) -> String {
    let mut arguments = vec!["train", "tiny.toml"];
    arguments.extend(overrides.iter().flat_map(|value| ["--set", value]));
    message(place, &arguments, code)
}

#[test]
fn a_wrong_configuration_is_told_by_line_and_key() {
    let place = Workplace::new();
    place.write("typo.toml", "extends = [\"tiny.toml\"]\n[optim]\nlearning_rte = 1\n[modle]\nx = 1\n");
    place.write("syntax.toml", "[run\nname = 1\n");
    place.write("type.toml", "extends = [\"tiny.toml\"]\n[train]\nsteps = \"many\"\n");
    place.write("cycle.toml", "extends = [\"cycle.toml\"]\n");
    let errors = ["typo.toml", "syntax.toml", "type.toml", "cycle.toml", "absent.toml"]
        .map(|file| message(&place, &["config", "show", file], 2));
    insta::assert_snapshot!(errors.join(""), @r#"
    error: typo.toml:3: unknown key `optim.learning_rte`; did you mean `lr`?
    typo.toml:4: unknown key `modle`; did you mean `model`?
    error: syntax.toml:1: unclosed table, expected `]`
    error: type.toml:3: `train.steps` can't be read: invalid type: string "many", expected u64
    error: cycle.toml: this file extends itself
    error: failed to open file `absent.toml`: No such file or directory (os error 2)
    "#);
}

#[test]
fn values_out_of_range_are_refused_before_any_work() {
    let place = Workplace::new();
    let errors = [
        "model.num_attention_heads=5",
        "model.num_key_value_heads=3",
        "train.micro_batch=3",
        "data.seq_len=4096",
        "run.device=tpu",
        "schedule.kind=cosin",
        "model.vocab_size=300",
        "data.validation_share=1.5",
        "probes[0].suite=tinywrold",
        "probes[0].items=0",
        "optim.lr=-1",
        "data.mix[1].weight=2",
    ]
    .map(|value| with(&place, &[value], 2));
    insta::assert_snapshot!(errors.join(""), @r#"
        error: --set: `model.num_attention_heads` can't be: 5 heads do not divide hidden_size 32: change one of them, or give head_dim
        error: --set: `model.num_key_value_heads` can't be: 3 key-value heads do not divide num_attention_heads 4
        error: --set: `train.micro_batch` (3) must divide train.global_batch (4)
        error: --set: `data.seq_len` (4096) must not exceed model.max_position_embeddings (256)
        error: --set: `run.device` is "tpu", which this build doesn't have; it has cpu
        error: --set: `schedule.kind` can't be read: unknown variant `cosin`, expected one of `cosine`, `linear`, `wsd`, `constant`
        error: tiny.toml:22: `tokenizer.train_vocab_size` (320) must be at least 259 and not above model.vocab_size (300)
        error: --set: `data.validation_share` is 1.5: expected a share from 0 up to but not including 1
        error: --set: `probes[0].suite` can't be: unknown probe suite `tinywrold` (did you mean `tinyworld`?); known are tinyworld
        error: --set: `probes[0].items` is wrong: expected at least 1; leave it out for all items
        error: --set: `optim.lr` must be above 0, got -1
        error: --set data.mix[1].weight=2: index 1 is past the end of a list of 1
        "#);
    assert!(!place.path("run/metrics.jsonl").exists());
}

#[test]
fn bad_text_is_told_by_file_and_line() {
    let place = Workplace::new();
    place.write("text/empty.txt", "");
    place.write("json/a.jsonl", "{\"text\": \"fine\"}\n{\"txt\": \"not\"}\n");
    place.write("broken/a.jsonl", "{\"text\": \"fine\"}\n{\"text\": \n");
    fs_err::create_dir(place.path("none")).unwrap();
    fs_err::create_dir(place.path("latin")).unwrap();
    fs_err::write(place.path("latin/a.txt"), b"caf\xe9").unwrap();
    let errors = ["missing", "none", "text", "json", "broken", "latin"]
        .map(|path| with(&place, &[&format!("data.mix[0].path={path}")], 1));
    insta::assert_snapshot!(errors.join(""), @r"
    error: data source `world`: nothing at `missing`: expected a text file, a folder, a glob, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
    error: data source `world`: no text in `none`: none of its files ends in .txt, .jsonl or .json (also with .gz or .zst), or in .idx
    error: data source `world`: `text` is empty: there is no text in its 1 file(s)
    error: data source `world`: `json/a.jsonl` line 2: no field `text`; the record has `txt`; did you mean `txt`?
    error: data source `world`: `broken/a.jsonl` line 2: not a JSON object: EOF while parsing a value (column 0)
    error: data source `world`: `latin/a.txt`: invalid UTF-8 at byte 3: convert the file to UTF-8
    ");
}

#[test]
fn a_torn_shard_is_refused() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let tokenizer = place.path("run/checkpoints/step-00000004/tokenizer.json");
    place.write("t.txt", &"some words to cut in two. ".repeat(400));
    let prepare =
        ["data", "prepare", "t.txt", "--output", "shard", "--tokenizer", tokenizer.to_str().unwrap()];
    place.run(&prepare).success();
    let bin = place.path("shard.bin");
    let bytes = fs_err::read(&bin).unwrap();
    fs_err::write(&bin, &bytes[..bytes.len() / 2]).unwrap();
    let tokenizer = format!("tokenizer.path={}", tokenizer.display());
    let error = with(&place, &["run.dir=other", "data.mix[0].path=shard", &tokenizer], 1);
    assert!(error.contains("shard.bin") && error.contains(&(bytes.len() / 2).to_string()), "{error}");
}

#[test]
fn a_changed_configuration_is_refused_unless_allowed() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let before = files_below(&place.path("run"));
    let error = with(&place, &["train.steps=4", "optim.lr=0.5", "log.every_steps=2"], 2);
    insta::assert_snapshot!(error, @r"
    error: run: this run was last started with another configuration:
      optim.lr: 0.01 -> 0.5
    Allow a change with `--allow-change KEY`, or give the new run a folder of its own (run.dir)
    ");
    assert_eq!(files_below(&place.path("run")), before, "a refused start changes nothing");
    let allowed = [
        "train",
        "tiny.toml",
        "--set",
        "train.steps=4",
        "--set",
        "optim.lr=0.5",
        "--allow-change",
        "optim.lr",
    ];
    place.run(&allowed).success();
    let events = place.log("run/events.jsonl");
    assert!(
        events.iter().any(|event| event["event"] == "config_changed" && event["key"] == "optim.lr"),
        "{events:?}"
    );
}

#[test]
fn a_second_trainer_is_kept_out() {
    let place = Workplace::new();
    let arguments =
        ["train", "tiny.toml", "--set", "train.steps=100000", "--set", "checkpoint.every_steps=100000"];
    let mut first = place.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !place.path("run/metrics.jsonl").exists() {
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let error = with(&place, &[], 1);
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(error.contains("another process trains in this folder"), "{error}");
}

#[test]
fn a_run_that_exists_is_not_begun_again() {
    let place = Workplace::new();
    place.train(&["train.steps=2"]);
    let before = files_below(&place.path("run"));
    let error = message(&place, &["train", "tiny.toml", "--set", "train.steps=2", "--resume", "never"], 2);
    assert!(error.contains("there is a run in this folder"), "{error}");
    assert_eq!(files_below(&place.path("run")), before);
}

#[test]
fn a_checkpoint_of_another_shape_is_refused() {
    let place = Workplace::new();
    place.train(&["train.steps=2"]);
    let error = message(
        &place,
        &[
            "train",
            "tiny.toml",
            "--set",
            "run.dir=other",
            "--set",
            "model.hidden_size=64",
            "--resume",
            "run/checkpoints/step-00000002",
        ],
        1,
    );
    assert!(error.contains("hidden_size"), "{error}");
}

/// A file system of a few hundred kilobytes: the run says what it could not write, and the last checkpoint stays whole.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_nothing() {
    let place = Workplace::new();
    fs_err::create_dir(place.path("small")).unwrap();
    let small = place.path("small");
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", small.to_str().unwrap()])
        .output()
        .unwrap();
    if !mount.status.success() {
        skip("mounting a small file system takes root");
        return;
    }
    let finished =
        place.run(&["train", "tiny.toml", "--set", "run.dir=small/run", "--set", "log.tensorboard=false"]);
    let error = finished.stderr();
    let steps: Vec<_> = fs_err::read_dir(small.join("run/checkpoints"))
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    std::process::Command::new("umount").arg(&small).status().unwrap();
    finished.fails_with(1);
    assert!(error.contains("full") || error.contains("No space"), "{error}");
    assert!(error.contains("small/run"), "the message names the path: {error}");
    assert!(steps.iter().all(|name| !name.starts_with(".writing")), "{steps:?}");
}

#[test]
fn a_folder_that_is_no_runs_is_left_alone() {
    let place = Workplace::new();
    place.write("run/items/mine.txt", "my own notes");
    let error = with(&place, &[], 2);
    assert!(error.contains("a run would write over"), "{error}");
    assert_eq!(fs_err::read_to_string(place.path("run/items/mine.txt")).unwrap(), "my own notes");
}

#[test]
fn a_run_whose_checkpoints_are_gone_is_not_begun_again() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    fs_err::remove_dir_all(place.path("run/checkpoints")).unwrap();
    let before = files_below(&place.path("run"));
    let error = with(&place, &["train.steps=4"], 1);
    assert!(error.contains("checkpoints are gone"), "{error}");
    assert_eq!(place.log("run/metrics.jsonl").len(), 4);
    assert_eq!(files_below(&place.path("run")), before);
}

#[test]
fn a_checkpoint_of_another_run_is_not_put_into_this_one() {
    let place = Workplace::new();
    place.train(&["train.steps=4", "run.dir=mine"]);
    place.train(&["train.steps=4", "run.dir=other", "run.seed=8"]);
    let before = files_below(&place.path("mine"));
    let arguments =
        ["train", "tiny.toml", "--set", "run.dir=mine", "--set", "train.steps=4", "--resume", "other"];
    let error = message(&place, &arguments, 2);
    assert!(error.contains("isn't of the run in run.dir"), "{error}");
    assert_eq!(files_below(&place.path("mine")), before);
}

#[test]
fn preparing_shards_leaves_the_text_alone() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    place.write("web.json", "{\"text\": \"some text\"}\n");
    let tokenizer = "run/checkpoints/step-00000004";
    place.run(&["data", "prepare", "web.json", "--output", "web", "--tokenizer", tokenizer]).success();
    assert_eq!(fs_err::read_to_string(place.path("web.json")).unwrap(), "{\"text\": \"some text\"}\n");
}

#[test]
fn a_tokenizer_with_more_ids_than_the_model_is_refused() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let checkpoint = place.path("run/checkpoints/step-00000004");
    fs_err::create_dir(place.path("small")).unwrap();
    for file in ["tokenizer.json", "model.safetensors"] {
        fs_err::copy(checkpoint.join(file), place.path("small").join(file)).unwrap();
    }
    let config = fs_err::read_to_string(checkpoint.join("config.json")).unwrap();
    place.write("small/config.json", &config.replace("\"vocab_size\": 320", "\"vocab_size\": 300"));
    let error = message(&place, &["probe", "small", "--suite", "tinyworld"], 1);
    assert!(error.contains("vocab_size") || error.contains("300"), "{error}");
}

#[test]
fn a_read_only_run_directory_is_named() {
    let place = Workplace::new();
    place.write("file", "");
    let error = with(&place, &["run.dir=file/run"], 1);
    assert!(error.contains("file/run"), "{error}");
}
