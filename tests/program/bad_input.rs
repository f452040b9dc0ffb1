//! Bad input gets a clear error with the right exit code, and loses nothing.

#[cfg(target_os = "linux")]
use crate::support::Mounted;
use crate::support::{Workplace, files_below, wait_for};

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
    error: typo.toml:3: unknown key `optim.learning_rte`; did you mean `lr`?
    typo.toml:4: unknown key `modle`; did you mean `model`?
    error: syntax.toml:1: unclosed table, expected `]`
    error: type.toml:3: `train.steps` can't be read: invalid type: string "many", expected u64
    error: cycle.toml: this file extends itself
    error: failed to open file `absent.toml`: No such file or directory (os error 2)
    error: nothing.toml: section `[run]` is missing
    error: nameless.toml:2: `run.name` is missing
    error: default.toml: `tokenizer.train_vocab_size` (1024) must be at least 259 and not above model.vocab_size (300)
    "#);
}

#[test]
fn values_out_of_range_are_refused_before_any_work() {
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
        error: --set: `model.num_attention_heads` can't be: 5 heads do not divide hidden_size 32: change one of them, or give head_dim
        error: --set: `model.num_key_value_heads` can't be: 3 key-value heads do not divide num_attention_heads 4
        error: --set: `train.micro_batch_size` (3) must divide train.global_batch_size (4)
        error: --set: `data.seq_len` (4096) must not exceed model.max_position_embeddings (256)
        error: --set: `run.device` can't be read: unknown device "tpu": expected `cpu`, `wgpu`, `cuda` or `cuda:N`
        error: --set: `schedule.kind` can't be read: unknown variant `cosin`, expected one of `cosine`, `linear`, `wsd`, `constant`
        error: tiny.toml:22: `tokenizer.train_vocab_size` (320) must be at least 259 and not above model.vocab_size (300); --set gives model.vocab_size
        error: --set: `data.validation_share` is 1.5: expected a share from 0 up to but not including 1
        error: --set: `probes[0].suite` can't be: unknown probe suite `tinywrold` (did you mean `tinyworld`?); known are in_context, representation, tinyworld (files were looked for in configs/probes)
        error: --set: `probes[0].limit` is wrong: expected at least 1; leave it out for all items
        error: --set: `schedule.warmup_steps` (13) must not be above 12, the end of the run (train.steps)
        error: tiny.toml:38: `schedule.warmup_steps` (2) must not be above 1, the end of the run (train.steps); --set gives train.steps
        error: --set: `optim.lr` is a date that can't be represented
        error: --set: unknown key `optim.lrr`; did you mean `lr`?
        error: --set: unknown key `opt`; did you mean `optim`?
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
    error: data source `world`: `missing`: no such file or directory; expected a text file, a directory, a glob pattern, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
    error: data source `world`: `none`: no text files or token shards found; expected files that end in .txt, .jsonl or .json (also with .gz or .zst), or in .idx
    error: data source `world`: `text`: no text in 1 file(s); expected at least one document that isn't empty
    error: data source `world`: `json/a.jsonl` line 2: no field `text`; the record has `txt`; did you mean `txt`?
    error: data source `world`: `broken/a.jsonl` line 2: not a JSON object: EOF while parsing a value (column 0)
    error: data source `world`: `latin/a.txt`: invalid UTF-8 at byte 3; convert the file to UTF-8
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
    let first = place.start(&arguments);
    wait_for(|| place.path("run/metrics.jsonl").exists());
    let error = with(&place, &[], 1);
    first.kill();
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

/// A file system of a megabyte: the run says what it could not write, the last checkpoint stays whole, and with more room the run
/// goes on from it.
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
    assert!(last.starts_with("step-") && left[0] == "latest", "nothing half written is left: {left:?}");

    small.remount("size=64m");
    place.train(&overrides);
    place.train(&["run.dir=unbroken"]);
    let events = place.log("small/run/events.jsonl");
    let resumed = events.iter().find(|event| event["event"] == "resumed").unwrap();
    assert!(resumed["checkpoint"].as_str().unwrap().ends_with(&last), "{resumed}, not from {last}");
    assert!(events.iter().all(|event| event["event"] != "damaged_checkpoint"), "{events:?}");
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
fn a_start_that_comes_to_nothing_leaves_no_folder() {
    let place = Workplace::new();
    let suite = "probes=[{suite=\"nowhere\",every_steps=2}]";
    let error = with(&place, &[suite], 2);
    assert!(error.contains("nowhere"), "{error}");
    assert!(!place.path("run").exists());
    with(&place, &[suite, "distributed.ranks_per_process=2"], 2);
    assert!(!place.path("run").exists());
    // One that was there before stays, with what is in it.
    fs_err::create_dir(place.path("run")).unwrap();
    with(&place, &[suite], 2);
    assert!(place.path("run").exists());
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
fn a_tokenizer_with_more_ids_than_the_model_is_refused_before_training() {
    let place = Workplace::new();
    place.write("t.txt", &"the cat sat on the mat, and the dog ate. ".repeat(50));
    place
        .run(&["tokenizer", "train", "t.txt", "--vocab-size", "275", "--output", "tok/tokenizer.json"])
        .success();
    let error = with(&place, &["tokenizer.path=nowhere"], 2);
    assert!(error.contains("`tokenizer.path` is `nowhere`, but nothing is there"), "{error}");
    let error = with(&place, &["tokenizer.path=tok", "model.vocab_size=270"], 2);
    insta::assert_snapshot!(error, @r"
    error: --set: `model.vocab_size` (270) must not be smaller than the vocabulary of tok/tokenizer.json (275 ids)
    ");
    assert!(!place.path("run/run.json").exists());
}

/// The folder has no weights: the vocabulary is looked at before they would be.
#[test]
fn a_tokenizer_with_more_ids_than_a_checkpoint_is_refused_before_loading() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let checkpoint = place.path("run/checkpoints/step-00000004");
    fs_err::create_dir(place.path("small")).unwrap();
    fs_err::copy(checkpoint.join("tokenizer.json"), place.path("small/tokenizer.json")).unwrap();
    let config = fs_err::read_to_string(checkpoint.join("config.json")).unwrap();
    place.write("small/config.json", &config.replace("\"vocab_size\": 320", "\"vocab_size\": 300"));
    let error = message(&place, &["probe", "small", "--suite", "tinyworld"], 1);
    insta::assert_snapshot!(error, @"error: small: the tokenizer has 320 ids, but the model knows only 300");
}

/// A folder on a file system that is mounted for reading, where one can be: root writes past any mode.
#[test]
#[cfg(target_os = "linux")]
fn a_read_only_run_directory_is_named_and_left_alone() {
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

/// The same by the folder's mode, for whoever isn't root.
#[test]
#[cfg(unix)]
fn a_folder_without_write_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let place = Workplace::new();
    let folder = place.path("frozen");
    fs_err::create_dir(&folder).unwrap();
    fs_err::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    if fs_err::write(folder.join("probe"), "").is_ok() {
        crate::support::skip("root writes into folders of any mode");
        return;
    }
    let error = with(&place, &["run.dir=frozen/run"], 1);
    assert!(error.contains("frozen/run") && error.contains("Permission denied"), "{error}");
}

#[test]
fn a_users_own_config_is_not_taken_for_a_runs() {
    let place = Workplace::new();
    let own = fs_err::read_to_string(place.path("tiny.toml")).unwrap();
    place.write("run/config.toml", &own);
    let error = with(&place, &[], 2);
    insta::assert_snapshot!(error, @r"
    error: run: this isn't the folder of a run (it has no run.json), but it has a `config.toml`, which a run would write over; give the run another folder (run.dir)
    ");
    assert_eq!(fs_err::read_to_string(place.path("run/config.toml")).unwrap(), own);
}

#[test]
fn a_misspelled_task_is_told_by_line_before_any_work() {
    let place = Workplace::new();
    place.write(
        "typo.toml",
        "extends = [\"tiny.toml\"]\n[[probes]]\nsuite = \"tinyworld\"\ntasks = [\"word_ordr\"]\n",
    );
    let error = message(&place, &["train", "typo.toml"], 2);
    let start = "error: typo.toml:4: `probes[0].tasks` names no task of suite `tinyworld`: `word_ordr`; \
                 did you mean `word_order`? There are ";
    assert!(error.starts_with(start), "{error}");
    assert!(!place.path("cache").exists());
}

/// Rows are counted by batch and length: a change would leave rows out or repeat them, so that no leave helps.
#[test]
fn what_rows_are_counted_by_cannot_change_under_a_resume() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let before = files_below(&place.path("run"));
    let start = ["train", "tiny.toml", "--set", "train.steps=4", "--set"];
    let changed = |change: &str, rest: &[&str]| message(&place, &[&start[..], &[change], rest].concat(), 2);
    let batch = changed("train.global_batch_size=8", &["--allow-change", "train"]);
    let length = changed("data.seq_len=16", &["--allow-change", "data"]);
    let branch = changed("train.global_batch_size=8", &["--set", "run.dir=branch", "--resume", "run"]);
    insta::assert_snapshot!([batch, length, branch].concat(), @r"
    error: run/checkpoints: what is saved here was made with other values:
      train.global_batch_size: 4 -> 8
    The rows that a run has trained on are counted by these, so going on would leave rows out or repeat them: `--allow-change` can't allow it. Keep the values, or begin a run at step 0 in a folder of its own (run.dir)
    error: run/checkpoints: what is saved here was made with other values:
      data.seq_len: 32 -> 16
    The rows that a run has trained on are counted by these, so going on would leave rows out or repeat them: `--allow-change` can't allow it. Keep the values, or begin a run at step 0 in a folder of its own (run.dir)
    error: DIR/run/checkpoints/step-00000004: what is saved here was made with other values:
      train.global_batch_size: 4 -> 8
    The rows that a run has trained on are counted by these, so going on would leave rows out or repeat them: `--allow-change` can't allow it. Keep the values, or begin a run at step 0 in a folder of its own (run.dir)
    ");
    let shorter =
        message(&place, &["train", "tiny.toml", "--set", "train.steps=3", "--allow-change", "train"], 2);
    insta::assert_snapshot!(shorter, @"error: --set: `train.steps` makes a run of 3 steps, but this one has done 4 already: make it longer, or go back with `--resume CHECKPOINT`");
    assert!(files_below(&place.path("run")) == before, "a refused start changes nothing");
    assert!(!place.path("branch/run.json").exists());
}

#[test]
fn changed_data_and_another_tokenizer_are_events_once_allowed() {
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
fn arguments_out_of_range_are_told_by_flag() {
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
    // What follows depends on the tasks that there are, or is the usage.
    let errors = errors.map(|error| error.split([';', '\n']).next().unwrap().to_owned());
    insta::assert_snapshot!(errors.join("\n"), @r"
    error: invalid value '2' for '--top-p <TOP_P>': expected a number above 0 and at most 1
    error: invalid value '0' for '--top-k <TOP_K>': expected a whole number of at least 1
    error: invalid value '0' for '--temperature <TEMPERATURE>': expected a number above 0
    error: --suite: unknown probe suite `tinywrold` (did you mean `tinyworld`?)
    error: --tasks: suite `tinyworld` has no task `word_ordr` (did you mean `word_order`?)
    error: invalid value '100' for '--vocab-size <VOCAB_SIZE>': expected at least 259: the 256 bytes and 3 special tokens
    ");
}

#[test]
fn shards_with_other_marks_are_refused_by_key() {
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
