//! Bad input results in a clear error with the right exit code, and no data is lost.

#[cfg(target_os = "linux")]
use crate::support::Mounted;
use crate::support::{Workplace, files_below, wait_for};

/// Runs a command that must fail, and returns its standard error, with `DIR/` for the test directory.
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
fn configuration_errors_name_the_line_and_key() {
    let place = Workplace::new();
    place.write("typo.toml", "extends = [\"tiny.toml\"]\n[optim]\nlearning_rte = 1\n[modle]\nx = 1\n");
    place.write("syntax.toml", "[run\nname = 1\n");
    place.write("type.toml", "extends = [\"tiny.toml\"]\n[train]\nsteps = \"many\"\n");
    place.write("cycle.toml", "extends = [\"cycle.toml\"]\n");
    place.write("nothing.toml", "[optim]\nlr = 1\n");
    place.write("nameless.toml", "extends = [\"nothing.toml\"]\n[run]\ndir = \"run\"\n");
    let data = "[data]\nseq_len = 8\n[[data.mix]]\nname = \"a\"\npath = \"a\"\n";
    place.write(
        "default.toml",
        &format!("[run]\nname = \"a\"\ndir = \"a\"\n[model]\nvocab_size = 300\n[train]\nsteps = 9\n{data}"),
    );
    let files = [
        "typo.toml",
        "syntax.toml",
        "type.toml",
        "cycle.toml",
        "absent.toml",
        "nothing.toml",
        "nameless.toml",
        "default.toml",
    ];
    let errors = files.map(|file| message(&place, &["config", "show", file], 2));
    insta::assert_snapshot!(errors.join(""), @r#"
    error: typo.toml has 2 problems
      optim.learning_rte (typo.toml:3): unknown key; did you mean `lr`?
      modle (typo.toml:4): unknown key; did you mean `model`?
    error: syntax.toml:1: unclosed table, expected `]`
    error: train.steps = "many" (type.toml:3): invalid type: string "many", expected a whole number of at least 0
    error: cycle.toml: this file extends itself
    error: failed to open file `absent.toml`: No such file or directory (os error 2)
    error: nothing.toml has 4 problems
      run (nothing.toml): is missing
      model (nothing.toml): is missing
      data (nothing.toml): is missing
      train (nothing.toml): is missing
    error: nameless.toml has 4 problems
      run.name (nameless.toml:2): is missing
      model (nameless.toml): is missing
      data (nameless.toml): is missing
      train (nameless.toml): is missing
    error: tokenizer.train_vocab_size = 1024 (default.toml): must be from 259 to model.vocab_size = 300
    "#);
}

#[test]
fn values_out_of_range_are_rejected_before_any_work() {
    let place = Workplace::new();
    let errors = [
        "model.num_attention_heads=5",
        "model.num_key_value_heads=3",
        "train.micro_batch_size=3",
        "data.seq_len=4096",
        "run.device=tpu",
        "schedule.kind=cosin",
        "model.vocab_size=300",
        "data.validation_share=1.5",
        "probes[0].suite=tinywrold",
        "probes[0].limit=0",
        "schedule.warmup_steps=13",
        "train.steps=1",
        "optim.lr=2020-01-01",
        "optim.lrr=1",
        "opt.lr=1",
        "optim.lr=-1",
        "data.mix[1].weight=2",
    ]
    .map(|value| with(&place, &[value], 2));
    insta::assert_snapshot!(errors.join(""), @r#"
        error: model.num_attention_heads = 5 (--set): must divide hidden_size = 32; change one of them, or set head_dim
        error: model.num_key_value_heads = 3 (--set): must divide num_attention_heads = 4
        error: train.micro_batch_size = 3 (--set): must divide train.global_batch_size = 4; use 2 or 4
        error: data.seq_len = 4096 (--set): must not be above model.max_position_embeddings = 256
        error: run.device = "tpu" (--set): unknown device "tpu": expected `cpu`, `wgpu`, `cuda` or `cuda:N`
        error: schedule.kind = "cosin" (--set): unknown variant `cosin`, expected one of `cosine`, `linear`, `wsd`, `constant`
        error: tokenizer.train_vocab_size = 320 (tiny.toml:22): must be from 259 to model.vocab_size = 300; --set gives model.vocab_size
        error: data.validation_share = 1.5 (--set): must be at least 0 and below 1
        error: probes[0].suite = "tinywrold" (--set): unknown probe suite `tinywrold` (did you mean `tinyworld`?): expected one of in_context, representation, tinyworld (searched configs/probes)
        error: probes[0].limit = 0 (--set): must be at least 1, or absent for all items
        error: schedule.warmup_steps = 13 (--set): must not be above 12, the length of the run (train.steps or train.tokens)
        error: schedule.warmup_steps = 2 (tiny.toml:38): must not be above 1, the length of the run (train.steps or train.tokens); --set gives train.steps
        error: optim.lr (--set): is a date that can't be represented
        error: optim.lrr (--set): unknown key; did you mean `lr`?
        error: opt (--set): unknown key; did you mean `optim`?
        error: optim.lr = -1.0 (--set): must be above 0
        error: --set data.mix[1].weight=2: index 1 is past the end of a list of 1
        "#);
    assert!(!place.path("run/metrics.jsonl").exists());
}

#[test]
fn all_problems_are_reported_together() {
    let place = Workplace::new();
    place.write(
        "many.toml",
        "extends = [\"tiny.toml\"]\n[optim]\nlearning_rte = 1\nlr = \"fast\"\n[train]\nmicro_batch_size = 3\n\
         [guard.loss_spike]\nz = 0\n[checkpoint]\nkeep_last = 0\nevery_steps = -1\n\
         [model]\npreset = \"llama-7\"\n",
    );
    let arguments =
        ["config", "check", "many.toml", "--set", "data.seq_len=0", "--set", "probes[0].budget=2"];
    insta::assert_snapshot!(message(&place, &arguments, 2), @r#"
    error: many.toml has 8 problems
      model.preset = "llama-7" (many.toml:13): no preset has this name; did you mean `llama-7b`? There are tiny-260k, tiny-1m, tiny-7m, tiny-58m, llama-7b, llama-13b, llama-33b, llama-65b, openllama-3b, openllama-7b, openllama-13b, openllama-3b-v2, openllama-7b-v2, amber-7b, fineline-openllama-7b, fineline-amber
      optim.learning_rte (many.toml:3): unknown key; did you mean `lr`?
      checkpoint.every_steps = -1 (many.toml:11): invalid value: integer `-1`, expected a whole number of at least 0
      optim.lr = "fast" (many.toml:4): invalid type: string "fast", expected a number
      data.seq_len = 0 (--set): must be at least 1
      train.micro_batch_size = 3 (many.toml:6): must divide train.global_batch_size = 4; use 2 or 4
      guard.loss_spike.z = 0.0 (many.toml:8): must be above 0
      probes[0].budget = 2.0 (--set): must be above 0 and below 1, or absent for no limit
    "#);
}

#[test]
fn text_errors_name_the_file_and_line() {
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
    error: data source `world`: `missing`: no such file or directory; expected a text file, a directory, a glob pattern, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
    error: data source `world`: `none`: no text files or token shards found; expected files that end in .txt, .jsonl or .json (also with .gz or .zst), or in .idx
    error: data source `world`: `text`: no text in 1 file(s); expected at least one document that isn't empty
    error: data source `world`: `json/a.jsonl` line 2: no field `text`; the record has `txt`; did you mean `txt`?
    error: data source `world`: `broken/a.jsonl` line 2: not a JSON object: EOF while parsing a value (column 0)
    error: data source `world`: `latin/a.txt`: invalid UTF-8 at byte 3; convert the file to UTF-8
    ");
}

#[test]
fn a_truncated_shard_is_rejected() {
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
fn a_changed_configuration_is_rejected_unless_allowed() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let before = files_below(&place.path("run"));
    let error = with(&place, &["train.steps=4", "optim.lr=0.5", "log.every_steps=2"], 2);
    insta::assert_snapshot!(error, @r"
    error: run: the configuration differs from that of the last start:
      optim.lr: 0.01 -> 0.5
    Allow a change with `--allow-change KEY`, or set run.dir to another directory
    ");
    assert_eq!(files_below(&place.path("run")), before, "a rejected start changes nothing");
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
fn a_second_trainer_in_the_same_directory_is_rejected() {
    let place = Workplace::new();
    let arguments =
        ["train", "tiny.toml", "--set", "train.steps=100000", "--set", "checkpoint.every_steps=100000"];
    let first = place.start(&arguments);
    wait_for(|| place.path("run/metrics.jsonl").exists());
    let error = with(&place, &[], 1);
    first.kill();
    assert!(error.contains("another process trains in this directory"), "{error}");
}

#[test]
fn resume_never_rejects_an_existing_run() {
    let place = Workplace::new();
    place.train(&["train.steps=2"]);
    let before = files_below(&place.path("run"));
    let error = message(&place, &["train", "tiny.toml", "--set", "train.steps=2", "--resume", "never"], 2);
    assert!(error.contains("there already is a run in this directory"), "{error}");
    assert_eq!(files_below(&place.path("run")), before);
}

#[test]
fn a_checkpoint_with_other_shapes_is_rejected() {
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

/// A file system of a megabyte: the run says what it could not write, the last checkpoint stays whole, and
/// with more space the run resumes from it.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_loses_nothing() {
    let place = Workplace::new();
    let Some(small) = Mounted::new(place.path("small"), "size=1m") else { return };
    let overrides = ["run.dir=small/run", "log.tensorboard=false"];
    let error = with(&place, &overrides, 1);
    assert!(error.contains("full") || error.contains("No space"), "{error}");
    assert!(error.contains("small/run"), "the message names the path: {error}");
    let mut left: Vec<String> = fs_err::read_dir(place.path("small/run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let last = left.last().unwrap().clone();
    assert!(last.starts_with("step-") && left[0] == "latest", "no partial checkpoint remains: {left:?}");

    small.remount("size=64m");
    place.train(&overrides);
    place.train(&["run.dir=unbroken"]);
    let events = place.log("small/run/events.jsonl");
    let resumed = events.iter().find(|event| event["event"] == "resumed").unwrap();
    assert!(resumed["checkpoint"].as_str().unwrap().ends_with(&last), "{resumed}, not from {last}");
    assert!(events.iter().all(|event| event["event"] != "checkpoint_damaged"), "{events:?}");
    assert_eq!(place.log("small/run/metrics.jsonl"), place.log("unbroken/metrics.jsonl"));
    let checkpoint = |run: &str| files_below(&place.path(&format!("{run}/checkpoints/step-00000012")));
    let weights = |run: &str| {
        checkpoint(run)
            .into_iter()
            .filter(|(name, _)| name.ends_with("model.safetensors"))
            .collect::<Vec<_>>()
    };
    assert_eq!(weights("small/run"), weights("unbroken"));
}

#[test]
fn a_failed_start_leaves_no_directory() {
    let place = Workplace::new();
    let suite = "probes=[{suite=\"nowhere\",every_steps=2}]";
    let error = with(&place, &[suite], 2);
    assert!(error.contains("nowhere"), "{error}");
    assert!(!place.path("run").exists());
    with(&place, &[suite, "distributed.ranks_per_process=2"], 2);
    assert!(!place.path("run").exists());
    // An existing directory is kept with its content.
    fs_err::create_dir(place.path("run")).unwrap();
    with(&place, &[suite], 2);
    assert!(place.path("run").exists());
}

#[test]
fn a_directory_with_foreign_files_is_not_changed() {
    let place = Workplace::new();
    place.write("run/items/mine.txt", "my own notes");
    let error = with(&place, &[], 2);
    assert!(error.contains("a run would overwrite"), "{error}");
    assert_eq!(fs_err::read_to_string(place.path("run/items/mine.txt")).unwrap(), "my own notes");
}

#[test]
fn a_run_without_its_checkpoints_is_not_restarted() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    fs_err::remove_dir_all(place.path("run/checkpoints")).unwrap();
    let before = files_below(&place.path("run"));
    let error = with(&place, &["train.steps=4"], 1);
    assert!(error.contains("checkpoints of this run are missing"), "{error}");
    assert_eq!(place.log("run/metrics.jsonl").len(), 4);
    assert_eq!(files_below(&place.path("run")), before);
}

#[test]
fn a_checkpoint_of_another_run_is_rejected() {
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
fn preparing_shards_does_not_change_the_text() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    place.write("web.json", "{\"text\": \"some text\"}\n");
    let tokenizer = "run/checkpoints/step-00000004";
    place.run(&["data", "prepare", "web.json", "--output", "web", "--tokenizer", tokenizer]).success();
    assert_eq!(fs_err::read_to_string(place.path("web.json")).unwrap(), "{\"text\": \"some text\"}\n");
}

#[test]
fn a_tokenizer_larger_than_the_model_is_rejected_before_training() {
    let place = Workplace::new();
    place.write("t.txt", &"the cat sat on the mat, and the dog ate. ".repeat(50));
    place
        .run(&["tokenizer", "train", "t.txt", "--vocab-size", "275", "--output", "tok/tokenizer.json"])
        .success();
    let error = with(&place, &["tokenizer.path=nowhere"], 2);
    assert!(error.contains("tokenizer.path = \"nowhere\" (--set): no such file or directory"), "{error}");
    let error = with(&place, &["tokenizer.path=tok", "model.vocab_size=270"], 2);
    insta::assert_snapshot!(error, @r"
    error: model.vocab_size = 270 (--set): must be at least 275, the number of ids of tok/tokenizer.json
    ");
    assert!(!place.path("run/run.json").exists());
}

/// The directory has no weights: the vocabulary is checked before weights are read.
#[test]
fn a_tokenizer_larger_than_the_checkpoint_is_rejected_before_loading() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let checkpoint = place.path("run/checkpoints/step-00000004");
    fs_err::create_dir(place.path("small")).unwrap();
    fs_err::copy(checkpoint.join("tokenizer.json"), place.path("small/tokenizer.json")).unwrap();
    let config = fs_err::read_to_string(checkpoint.join("config.json")).unwrap();
    place.write("small/config.json", &config.replace("\"vocab_size\": 320", "\"vocab_size\": 300"));
    let error = message(&place, &["probe", "small", "--suite", "tinyworld"], 1);
    insta::assert_snapshot!(error, @"error: small: the tokenizer has 320 ids, but the model's embedding has only 300 rows");
}

/// A directory on a file system that is mounted read-only, where mounting is possible: root ignores modes.
#[test]
#[cfg(target_os = "linux")]
fn a_read_only_run_directory_is_reported_and_not_changed() {
    let place = Workplace::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=64m") else { return };
    place.train(&["run.dir=disk/run", "train.steps=4"]);
    let before = files_below(&place.path("disk"));
    disk.remount("ro");
    for dir in ["disk/run", "disk/new"] {
        let error = with(&place, &[&format!("run.dir={dir}")], 1);
        assert!(error.contains(dir) && error.contains("Read-only"), "{error}");
    }
    assert!(files_below(&place.path("disk")) == before);
}

/// The same with the mode of the directory, for users other than root.
#[test]
#[cfg(unix)]
fn a_directory_without_write_permission_is_reported() {
    use std::os::unix::fs::PermissionsExt;

    let place = Workplace::new();
    let dir = place.path("frozen");
    fs_err::create_dir(&dir).unwrap();
    fs_err::set_permissions(&dir, std::fs::Permissions::from_mode(0o555)).unwrap();
    if fs_err::write(dir.join("probe"), "").is_ok() {
        fineline_testing::skip("a user other than root, who may write to any directory");
        return;
    }
    let error = with(&place, &["run.dir=frozen/run"], 1);
    assert!(error.contains("frozen/run") && error.contains("Permission denied"), "{error}");
}

#[test]
fn a_user_config_does_not_make_a_run_directory() {
    let place = Workplace::new();
    let own = fs_err::read_to_string(place.path("tiny.toml")).unwrap();
    place.write("run/config.toml", &own);
    let error = with(&place, &[], 2);
    insta::assert_snapshot!(error, @r"
    error: run: this isn't the directory of a run (it has no run.json), but it has a `config.toml`, which a run would overwrite; set run.dir to another directory
    ");
    assert_eq!(fs_err::read_to_string(place.path("run/config.toml")).unwrap(), own);
}

#[test]
fn a_misspelled_task_is_reported_with_its_line_before_any_work() {
    let place = Workplace::new();
    place.write(
        "typo.toml",
        "extends = [\"tiny.toml\"]\n[[probes]]\nsuite = \"tinyworld\"\ntasks = [\"word_ordr\"]\n",
    );
    let error = message(&place, &["train", "typo.toml"], 2);
    let start = "error: probes[0].tasks (typo.toml:4): suite `tinyworld` has no task `word_ordr`; \
                 did you mean `word_order`? There are ";
    assert!(error.starts_with(start), "{error}");
    assert!(!place.path("cache").exists());
}

/// The numbers of rows depend on batch size and length. A change would skip or repeat rows, so
/// `--allow-change` can't allow it.
#[test]
fn row_numbering_cannot_change_on_resume() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let before = files_below(&place.path("run"));
    let start = ["train", "tiny.toml", "--set", "train.steps=4", "--set"];
    let changed = |change: &str, rest: &[&str]| message(&place, &[&start[..], &[change], rest].concat(), 2);
    let batch = changed("train.global_batch_size=8", &["--allow-change", "train"]);
    let length = changed("data.seq_len=16", &["--allow-change", "data"]);
    let branch = changed("train.global_batch_size=8", &["--set", "run.dir=branch", "--resume", "run"]);
    insta::assert_snapshot!([batch, length, branch].concat(), @r"
    error: run/checkpoints: made with other values:
      train.global_batch_size: 4 -> 8
    They determine the numbering of rows, so rows would be skipped or repeated, and `--allow-change` can't allow it. Keep the values, or start a run at step 0 in another directory (run.dir)
    error: run/checkpoints: made with other values:
      data.seq_len: 32 -> 16
    They determine the numbering of rows, so rows would be skipped or repeated, and `--allow-change` can't allow it. Keep the values, or start a run at step 0 in another directory (run.dir)
    error: DIR/run/checkpoints/step-00000004: made with other values:
      train.global_batch_size: 4 -> 8
    They determine the numbering of rows, so rows would be skipped or repeated, and `--allow-change` can't allow it. Keep the values, or start a run at step 0 in another directory (run.dir)
    ");
    let shorter =
        message(&place, &["train", "tiny.toml", "--set", "train.steps=3", "--allow-change", "train"], 2);
    insta::assert_snapshot!(shorter, @"error: train.steps = 3 (--set): is 3 steps, but this run has already done 4; increase it, or go back with `--resume CHECKPOINT`");
    assert!(files_below(&place.path("run")) == before, "a rejected start changes nothing");
    assert!(!place.path("branch/run.json").exists());
}

#[test]
fn allowed_changes_of_data_and_tokenizer_are_events() {
    let place = Workplace::new();
    place.write("text.txt", &"some text to train on, and some more. ".repeat(200));
    let settings = ["train", "tiny.toml", "--set", "data.mix[0].path=text.txt", "--set", "probes=[]"];
    place.run(&settings).success();
    place.write("text.txt", &"another text to train on, and some more. ".repeat(200));
    let error = message(&place, &settings, 1);
    assert!(error.contains("--allow-change tokenizer") && error.contains("--allow-change data"), "{error}");
    let allowed = [&settings[..], &["--allow-change", "data", "--allow-change", "tokenizer"]].concat();
    place.run(&allowed).success();
    let events = place.log("run/events.jsonl");
    for key in ["data", "tokenizer"] {
        let changed = events.iter().find(|event| event["key"] == key).unwrap();
        let [before, after] = ["before", "after"].map(|side| changed[side].as_str().unwrap());
        assert!(before.len() == 64 && after.len() == 64 && before != after, "{changed}");
    }
    place.run(&settings).success();
}

#[test]
fn arguments_out_of_range_are_reported_by_flag() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    place.write("t.txt", "the cat sat");
    let generate = ["generate", "run", "--prompt", "The"];
    let probe = ["probe", "run", "--suite"];
    let errors = [
        [&generate[..], &["--top-p", "2"]].concat(),
        [&generate[..], &["--top-k", "0"]].concat(),
        [&generate[..], &["--temperature", "0"]].concat(),
        [&probe[..], &["tinywrold"]].concat(),
        [&probe[..], &["tinyworld", "--tasks", "word_ordr"]].concat(),
        ["tokenizer", "train", "t.txt", "--output", "tok.json", "--vocab-size", "100"].to_vec(),
    ]
    .map(|arguments| message(&place, &arguments, 2));
    // The rest of each message lists the existing tasks, or is the usage.
    let errors = errors.map(|error| error.split([';', '\n']).next().unwrap().to_owned());
    insta::assert_snapshot!(errors.join("\n"), @r"
    error: invalid value '2' for '--top-p <TOP_P>': expected a number above 0 and at most 1
    error: invalid value '0' for '--top-k <TOP_K>': expected a whole number of at least 1
    error: invalid value '0' for '--temperature <TEMPERATURE>': expected a number above 0
    error: --suite: unknown probe suite `tinywrold` (did you mean `tinyworld`?): expected one of in_context, representation, tinyworld (searched configs/probes)
    error: --tasks: suite `tinyworld` has no task `word_ordr` (did you mean `word_order`?): expected one of agreement, word_order, pronouns, stories, tools, errands, sizes, residence, occupation, where_is, two_hop, last_word, sequence, addition, transitivity, exam, copying, translation
    error: invalid value '100' for '--vocab-size <VOCAB_SIZE>': expected at least 259: the 256 bytes and 3 special tokens
    ");
}

#[test]
fn shards_with_other_boundary_tokens_are_rejected_by_key() {
    let place = Workplace::new();
    place.train(&["train.steps=4", "probes=[]"]);
    place.write("t.txt", &"some words to train on. ".repeat(400));
    let tokenizer = "run/checkpoints/step-00000004";
    place
        .run(&["data", "prepare", "t.txt", "--output", "shards/t", "--tokenizer", tokenizer, "--no-eos"])
        .success();
    let overrides = [
        "run.dir=other",
        "probes=[]",
        "data.mix[0].path=shards",
        "tokenizer.path=run/checkpoints/step-00000004",
    ];
    let error = with(&place, &overrides, 2);
    assert!(error.contains("EOS none") && error.contains("set tokenizer.add_eos to false"), "{error}");
    place.train(&[&overrides[..], &["tokenizer.add_eos=false"]].concat());
}
