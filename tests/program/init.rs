//! Runs that start from released weights.

use serde_json::{Value, json};

use crate::server::Server;
use crate::support::{Finished, Workplace, files_below};

/// Trains a run of 12 steps with checkpoints at 4, 8 and 12, and exports that of step 4 as released weights:
/// only weights and tokenizer.
fn released() -> Workplace {
    let place = Workplace::new();
    place.train(&["probes=[]"]);
    place
        .run(&[
            "weights",
            "export",
            "run/checkpoints/step-00000004",
            "--to",
            "safetensors",
            "--out",
            "released/step_4",
        ])
        .success();
    place
}

fn metrics(place: &Workplace, run: &str) -> Vec<Value> {
    place.log(&format!("{run}/metrics.jsonl"))
}

fn identity(place: &Workplace, run: &str) -> Value {
    serde_json::from_str(&fs_err::read_to_string(place.path(&format!("{run}/run.json"))).unwrap()).unwrap()
}

const OTHER: [&str; 2] = ["probes=[]", "run.dir=other"];

fn train_from(place: &Workplace, init: &str, more: &[&str]) -> Finished {
    let init = format!("init={init}");
    let mut arguments = vec!["train", "tiny.toml"];
    let overrides = OTHER.iter().copied().chain([init.as_str()]).chain(more.iter().copied());
    arguments.extend(overrides.flat_map(|value| ["--set", value]));
    place.run(&arguments)
}

#[test]
fn released_weights_continue_at_their_step_and_report_what_is_not_exact() {
    let place = released();
    let shown = train_from(&place, "{from=\"released/step_4\"}", &[]).success().stderr();
    assert!(
        shown.contains(
            "starting from released/step_4 at step 4 (512 tokens; by the name `step_4`); not exact: \
             optimizer state"
        ),
        "{shown}"
    );
    let (unbroken, other) = (metrics(&place, "run"), metrics(&place, "other"));
    assert_eq!(other.len(), 8);
    // The same weights, rows and learning rate. Later losses differ, because the optimizer state is reset.
    assert_eq!(other[0], unbroken[4]);
    assert_eq!(
        (&other[1]["step"], &other[1]["tokens"], &other[1]["lr"]),
        (&unbroken[5]["step"], &unbroken[5]["tokens"], &unbroken[5]["lr"])
    );
    assert_ne!(other[1]["loss"], unbroken[5]["loss"]);
    let record = &identity(&place, "other")["init"];
    assert_eq!(
        (&record["step"], &record["tokens"], &record["rewarm_steps"]),
        (&json!(4), &json!(512), &json!(0))
    );
    assert_eq!(record["exact"][0], "weights, as they were saved (safetensors, F32)");
    assert_eq!(record["not_exact"][0], "optimizer state, which starts at zero");
    let events = place.log("other/events.jsonl");
    assert_eq!(
        (&events[0]["event"], &events[0]["init"]["from"], &events[0]["step"]),
        (&json!("initialized"), &json!("released/step_4"), &json!(4))
    );
}

#[test]
fn a_checkpoint_with_optimizer_state_continues_like_its_own_run() {
    let place = released();
    train_from(&place, "{from=\"run/checkpoints/step-00000004\"}", &[]).success();
    assert_eq!(metrics(&place, "other"), metrics(&place, "run")[4..]);
    let weights = |run: &str| {
        fs_err::read(place.path(&format!("{run}/checkpoints/step-00000012/model.safetensors"))).unwrap()
    };
    assert!(weights("other") == weights("run"));

    let text = train_from(&place, "{from=\"run/checkpoints/step-00000004\", step=5}", &["run.dir=third"])
        .fails_with(2)
        .stderr();
    assert!(
        text.contains(
            "init.step = 5 (--set): must be absent: run/checkpoints/step-00000004 is a \
                      checkpoint, which has its own step"
        ),
        "{text}"
    );
    let rewarmed = "{from=\"run/checkpoints/step-00000004\", rewarm_steps=5}";
    let text = train_from(&place, rewarmed, &["run.dir=third"]).fails_with(2).stderr();
    assert!(
        text.contains(
            "init.rewarm_steps = 5 (--set): must be absent: run/checkpoints/step-00000004 is a checkpoint"
        ),
        "{text}"
    );
    train_from(
        &place,
        "{from=\"run/checkpoints/step-00000004\", optimizer_state=\"reset\"}",
        &["run.dir=third"],
    )
    .success();
    let third = metrics(&place, "third");
    assert_eq!(third[0], metrics(&place, "run")[4]);
    assert_ne!(third[1], metrics(&place, "run")[5]);
}

#[test]
fn rewarming_survives_a_stop_and_removed_weights() {
    let place = released();
    let init = "{from=\"released/step_4\", rewarm_steps=6}";
    train_from(&place, init, &["run.dir=unbroken"]).success();
    let planned = metrics(&place, "run");
    for (index, record) in metrics(&place, "unbroken").iter().enumerate() {
        let share = (index as f64 / 6.0).min(1.0);
        let (lr, expected) =
            (record["lr"].as_f64().unwrap(), share * planned[index + 4]["lr"].as_f64().unwrap());
        assert!((lr - expected).abs() <= 1e-15, "{lr} is not {expected}");
    }
    // A branch during the rewarming continues it.
    train_from(&place, "{from=\"unbroken/checkpoints/step-00000008\"}", &["run.dir=branch"]).success();
    assert_eq!(metrics(&place, "branch"), metrics(&place, "unbroken")[4..]);
    // Stopped after step 8 by a shorter run, which then is made longer; the weights no longer exist then.
    train_from(&place, init, &["train.steps=8", "schedule.decay_end=12"]).success();
    fs_err::remove_dir_all(place.path("released")).unwrap();
    let longer = ["--allow-change", "train.steps"];
    let init = format!("init={init}");
    let mut arguments = vec!["train", "tiny.toml", "--set", "schedule.decay_end=12", "--set", &init];
    arguments.extend(OTHER.iter().flat_map(|value| ["--set", *value]));
    arguments.extend(longer);
    place.run(&arguments).success();
    assert_eq!(metrics(&place, "other"), metrics(&place, "unbroken"));
    assert_eq!(identity(&place, "other")["init"]["step"], 4);
    let checkpoint = |run: &str| {
        let files = files_below(&place.path(&format!("{run}/checkpoints/step-00000012")));
        let tensors = |(path, bytes): (std::path::PathBuf, Vec<u8>)| {
            path.extension().is_some_and(|ending| ending == "safetensors").then_some(bytes)
        };
        files.into_iter().filter_map(tensors).collect::<Vec<_>>()
    };
    assert!(checkpoint("other") == checkpoint("unbroken"));
}

#[test]
fn weights_from_the_hub_are_found_where_they_were_downloaded() {
    let place = released();
    let init = "{from=\"hf://org/data@ckpt_1\", tokens=512}";
    let text = train_from(&place, init, &[]).fails_with(2).stderr();
    assert!(
        text.contains(
            "init.from = \"hf://org/data@ckpt_1\" (--set): isn't in models; download it \
                          first, with `fineline weights fetch hf://org/data@ckpt_1 --out models`"
        ),
        "{text}"
    );

    // The local hub serves text files. The released files replace the downloaded ones.
    let files: Vec<(String, Vec<u8>)> = files_below(&place.path("released/step_4"))
        .into_iter()
        .map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes))
        .collect();
    let server = Server::start(&[]);
    server.put_bytes(&files);
    let mut fetch = place.command(&["weights", "fetch", "hf://org/data@ckpt_1"]);
    fetch.env("HF_ENDPOINT", &server.endpoint).env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
    Finished::of(&mut fetch).success();
    train_from(&place, init, &[]).success();
    assert_eq!(metrics(&place, "other")[0], metrics(&place, "run")[4]);
    let record = &identity(&place, "other")["init"];
    assert_eq!(
        (&record["commit"], &record["position_from"]),
        (&json!("c0ffee".repeat(6)), &json!("init.tokens"))
    );
}

#[test]
fn invalid_starting_points_are_reported() {
    let place = released();
    fs_err::rename(place.path("released/step_4"), place.path("released/mine")).unwrap();
    for (init, more, expected) in [
        (
            "{from=\"released/none\"}",
            &[][..],
            "init.from = \"released/none\" (--set): no such file or directory",
        ),
        (
            "{from=\"released/mine\"}",
            &[],
            "init.from = \"released/mine\" (--set): the name doesn't say how far these weights were \
            trained; set init.step, init.tokens or init.chunk",
        ),
        (
            "{from=\"released/mine\", step=4, chunk=1}",
            &[],
            "init.chunk (--set): must be absent if init.step is given",
        ),
        (
            "{from=\"released/mine\", chunk=1}",
            &[],
            "init.chunk = 1 (--set): is the end of chunk 1, but the data have no chunks",
        ),
        ("{from=\"released/mine\", step=13}", &[], "is 12 steps, but this run has already done 13"),
        (
            "{from=\"released/mine\", step=4}",
            &["model.num_attention_heads=2"],
            "num_attention_heads is 4 there and 2 in this run",
        ),
        ("{from=\"hf://org/a/b\"}", &[], "init.from = \"hf://org/a/b\" (--set): "),
    ] {
        let text = train_from(&place, init, more).fails_with(2).stderr();
        assert!(text.contains(expected), "{text}");
        let init = format!("init={init}");
        let mut check = vec!["config", "check", "tiny.toml", "--set", &init];
        check.extend(OTHER.iter().chain(more).flat_map(|value| ["--set", *value]));
        // The length of the run is not checked by `[init]`.
        if !init.contains("step=13") {
            let text = place.run(&check).fails_with(2).stderr();
            assert!(text.contains(expected), "{text}");
        }
        assert!(!place.path("other/checkpoints").exists(), "{init}");
    }
}

#[test]
fn chunk_numbers_give_the_step_of_a_checkpoint() {
    let place = Workplace::new();
    let chunks = [
        "probes=[]",
        "data.chunks={count=3, validation_rows=4}",
        "data.validation_share=0",
        "validation.every_steps=0",
        "checkpoint.every_chunk=true",
        "tokenizer.add_bos=false",
    ];
    let steps = "train.steps=100000";
    let mut arguments = vec!["train", "tiny.toml", "--set", steps];
    arguments.extend(chunks.iter().flat_map(|value| ["--set", *value]));
    // If the step is too high, the error has the maximum.
    let refused = place.run(&arguments).fails_with(2).stderr();
    let last: u64 =
        refused.split("the chunks have ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
    let per_chunk = last / 3;
    let stopped = format!("train.steps={per_chunk}");
    place.train(&[&chunks[..], &[stopped.as_str(), "schedule.decay_end=1000"]].concat());
    let checkpoint = format!("run/checkpoints/step-{per_chunk:08}");
    place.run(&["weights", "export", &checkpoint, "--to", "easylm", "--out", "released/ckpt_000"]).success();
    let longer = format!("train.steps={}", per_chunk + 2);
    train_from(
        &place,
        "{from=\"released/ckpt_000\"}",
        &[&chunks[1..], &[longer.as_str(), "schedule.decay_end=1000"]].concat(),
    )
    .success();
    assert_eq!(metrics(&place, "other")[0]["step"], per_chunk + 1);
    let record = &identity(&place, "other")["init"];
    assert_eq!(
        (&record["step"], &record["position_from"]),
        (&json!(per_chunk), &json!("the name `ckpt_000`"))
    );
    assert_eq!(record["exact"][2], "order of the chunks: the next one begins");
}

#[test]
fn a_dry_run_does_everything_before_the_first_step() {
    let place = released();
    let dry = |more: &[&str]| {
        let mut arguments = vec!["train", "tiny.toml", "--dry-run"];
        arguments.extend(OTHER.iter().chain(more).flat_map(|value| ["--set", *value]));
        place.run(&arguments)
    };
    let shown = dry(&["init={from=\"released/step_4\"}"]).success().stdout();
    assert!(shown.starts_with("starting from released/step_4 at step 4"), "{shown}");
    assert!(
        shown.contains("model         39,072 parameters in 21 tensors")
            && shown.contains("data          world: "),
        "{shown}"
    );
    assert!(shown.ends_with("ready: the next step is 5 of 12; nothing was written to other\n"), "{shown}");
    assert!(!place.path("other").exists());
    let text =
        dry(&["init={from=\"released/step_4\"}", "model.hidden_size=64", "model.intermediate_size=32"])
            .fails_with(2)
            .stderr();
    assert!(
        text.contains("these weights are of another model: hidden_size is 32 there and 64 in this run"),
        "{text}"
    );
    let done = place.run(&["train", "tiny.toml", "--dry-run", "--set", "probes=[]"]).success().stdout();
    assert!(done.contains("resumed from") && done.ends_with("done: all 12 steps are complete\n"), "{done}");
    // A model of seven billion parameters, without allocating them.
    let large = dry(&["model={preset=\"llama-7b\"}", "data.seq_len=64"]).success().stdout();
    assert!(large.contains("model         6,738,415,616 parameters in 291 tensors"), "{large}");
}

#[test]
fn a_dry_run_reports_the_errors_of_a_run() {
    let place = Workplace::new();
    place.write("text.txt", &"one two three four five six seven eight. ".repeat(400));
    let mix = ["probes=[]", "data.mix=[{name=\"mine\", path=\"text.txt\"}]"];
    place.train(&mix);
    place.write("text.txt", &"eight seven six five four three two one. ".repeat(400));
    let mut arguments =
        vec!["train", "tiny.toml", "--set", "train.steps=14", "--allow-change", "train.steps"];
    arguments.extend(mix.iter().flat_map(|value| ["--set", value]));
    let run = place.run(&arguments).fails_with(1).stderr();
    let dry = place.run(&[&arguments[..], &["--dry-run"]].concat()).fails_with(1).stderr();
    assert!(run.contains("--allow-change") && dry == run, "{dry} instead of {run}");
}
