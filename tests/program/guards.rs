//! Each rule and action of the guard, tested by fault injection. A run that is killed in between equals one
//! that isn't.

use serde_json::Value;

use crate::support::{Finished, Workplace, files_below, wait_for};

/// Checks from step 8 on, without probes or validation.
const GUARDED: [&str; 6] = [
    "guard.window=8",
    "guard.loss_spike.z=20",
    "guard.grad_norm.z=20",
    "validation.every_steps=0",
    "train.steps=24",
    "checkpoint.every_steps=6",
];

/// Trains with injected faults and with `settings` in addition to [`GUARDED`].
fn train_with_faults(place: &Workplace, faults: &str, settings: &[&str]) -> Finished {
    Finished::of(command(place, faults, settings).env("FINELINE_FAULTS", faults))
}

fn command(place: &Workplace, faults: &str, settings: &[&str]) -> std::process::Command {
    let mut arguments = vec!["train", "tiny.toml"];
    arguments.extend(GUARDED.iter().chain(settings).flat_map(|value| ["--set", value]));
    let mut command = place.command(&arguments);
    command.env("FINELINE_FAULTS", faults);
    command
}

fn workplace() -> Workplace {
    let place = Workplace::new();
    let text = fs_err::read_to_string(place.path("tiny.toml")).unwrap();
    let (plain, _) = text.split_once("[[probes]]").unwrap();
    place.write("tiny.toml", plain);
    place
}

fn events(place: &Workplace, run: &str, name: &str) -> Vec<Value> {
    let events = place.log(&format!("{run}/events.jsonl"));
    events.into_iter().filter(|event| event["event"] == name).collect()
}

/// Returns the only alarm of a run.
fn alarm(place: &Workplace, run: &str) -> Value {
    let mut alarms = events(place, run, "guard_triggered");
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    alarms.remove(0)
}

fn skipped_steps(place: &Workplace, run: &str) -> Vec<u64> {
    let metrics = place.log(&format!("{run}/metrics.jsonl"));
    metrics.iter().filter(|line| line["skipped"] == true).map(|line| line["step"].as_u64().unwrap()).collect()
}

/// Asserts that the step logs of two runs are equal, and their last checkpoints byte for byte.
fn assert_equal(place: &Workplace, left: &str, right: &str) {
    let metrics = |run: &str| place.log(&format!("{run}/metrics.jsonl"));
    assert_eq!(metrics(left), metrics(right));
    let last = |run: &str| files_below(&place.path(&format!("{run}/checkpoints/step-00000024")));
    let different: Vec<_> = last(left)
        .into_iter()
        .zip(last(right))
        .filter(|(left, right)| left != right)
        .map(|(left, _)| left.0)
        .collect();
    assert!(different.is_empty(), "{different:?}");
}

#[test]
fn an_undisturbed_run_has_no_alarm() {
    let place = workplace();
    train_with_faults(&place, "", &[]).success();
    assert_eq!(events(&place, "run", "guard_triggered").len(), 0);
}

#[test]
fn outliers_are_only_logged_by_default() {
    let place = workplace();
    train_with_faults(&place, "", &["run.dir=calm"]).success();
    let said = train_with_faults(&place, "spike@12x100", &[]).success().stderr();
    assert!(said.contains("fault injection: FINELINE_FAULTS is spike@12x100"), "{said}");
    let alarm = alarm(&place, "run");
    assert_eq!(
        (&alarm["step"], &alarm["rule"], &alarm["action"]),
        (&12.into(), &"loss_spike".into(), &"log".into())
    );
    for evidence in ["value", "median", "scale", "z", "threshold"] {
        assert!(alarm[evidence].as_f64().unwrap() > 0.0, "{alarm}");
    }
    assert_eq!(alarm["count"], 1);
    assert!(alarm["z"].as_f64() > alarm["threshold"].as_f64());
    // Nothing else happened: the weights are those of the run without it.
    let weights = |run: &str| {
        fs_err::read(place.path(&format!("{run}/checkpoints/step-00000024/model.safetensors"))).unwrap()
    };
    assert!(weights("run") == weights("calm"));
}

#[test]
fn each_rule_can_skip_the_update() {
    for (fault, rule, section) in [
        ("nan_loss@12", "non_finite_loss", "non_finite"),
        ("nan_gradient@12", "non_finite_gradient", "non_finite"),
        ("spike@12x100", "loss_spike", "loss_spike"),
        ("gradient@12x100", "grad_norm", "grad_norm"),
    ] {
        let place = workplace();
        train_with_faults(&place, fault, &[&format!("guard.{section}.action=\"skip\"")]).success();
        let alarm = alarm(&place, "run");
        assert_eq!((&alarm["rule"], &alarm["action"]), (&rule.into(), &"skip".into()));
        assert_eq!(skipped_steps(&place, "run"), [12]);
        assert_eq!(events(&place, "run", "update_skipped")[0]["consecutive"], 1);
    }
}

#[test]
fn too_many_skips_or_the_stop_action_stop_the_run() {
    let place = workplace();
    let skip = ["guard.loss_spike.action=\"skip\"", "guard.max_skips=3"];
    let error = train_with_faults(&place, "spike@12-20x100", &skip).fails_with(1).stderr();
    assert!(error.contains("stopped after 3 consecutive skipped steps"), "{error}");
    assert!(error.contains("the loss was far above its median"), "{error}");

    let place = workplace();
    let error = train_with_faults(&place, "gradient@12x100", &["guard.grad_norm.action=\"stop\""])
        .fails_with(1)
        .stderr();
    assert!(error.contains("stopped by the guard at step 12: the gradient norm is far above"), "{error}");
    assert!(error.contains("deviations above it, 20 allowed"), "{error}");
}

#[test]
fn the_learning_rate_is_reduced_temporarily_and_a_limited_number_of_times() {
    let place = workplace();
    let settings = ["guard.grad_norm.action=\"reduce_lr\"", "guard.lr_factor=0.25", "guard.lr_steps=4"];
    train_with_faults(&place, "", &["run.dir=calm"]).success();
    train_with_faults(&place, "gradient@12x100", &settings).success();
    let rates = |run: &str| -> Vec<f64> {
        place.log(&format!("{run}/metrics.jsonl")).iter().map(|line| line["lr"].as_f64().unwrap()).collect()
    };
    for (step, (lowered, calm)) in (1..).zip(rates("run").into_iter().zip(rates("calm"))) {
        let factor = if (12..16).contains(&step) { 0.25 } else { 1.0 };
        assert!((lowered - factor * calm).abs() < 1e-15, "step {step}: {lowered} and {calm}");
    }
    let place = workplace();
    let settings = [&settings[..], &["guard.max_lr_reductions=2"]].concat();
    let error = train_with_faults(&place, "gradient@12-20x100", &settings).fails_with(1).stderr();
    assert!(error.contains("3 reductions of the learning rate exceed guard.max_lr_reductions"), "{error}");
}

/// The rows of steps 13 to 15 are skipped: step 13 has the rows of step 16 of an undisturbed run.
#[test]
fn skip_data_skips_the_next_rows() {
    let place = workplace();
    let settings = ["guard.loss_spike.action=\"skip_data\"", "guard.skip_steps=3"];
    train_with_faults(&place, "spike@12x100", &settings).success();
    assert_eq!(skipped_steps(&place, "run"), [12]);
    let mut set = vec!["data", "show", "tiny.toml", "--step", "13"];
    set.extend(GUARDED.iter().flat_map(|value| ["--set", value]));
    let shown = place.run(&set).success().stdout();
    assert!(shown.starts_with("rows 48 to 59 are skipped by the run in run\nstep 13 row 0:"), "{shown}");
    // The same rows without skipping, as for another run directory.
    let shown_16 = |step: &str| {
        let mut arguments = vec!["data", "show", "tiny.toml", "--step", step, "--set", "run.dir=none"];
        arguments.extend(GUARDED.iter().flat_map(|value| ["--set", value]));
        place.run(&arguments).success().stdout().replace(&format!("step {step} "), "step 13 ")
    };
    assert_eq!(shown.split_once('\n').unwrap().1, shown_16("16"));
}

#[test]
fn rewind_goes_back_and_skips_the_harmful_rows() {
    let place = workplace();
    let settings = ["guard.loss_spike.action=\"rewind\"", "run.dir=harmed"];
    let said = train_with_faults(&place, "spike@15x100", &settings).success().stderr();
    assert!(said.contains("rewound from step 15 (rewind 1 to this checkpoint)"), "{said}");
    let rewound = events(&place, "harmed", "rewound");
    assert_eq!(rewound.len(), 1);
    let event = &rewound[0];
    assert_eq!((&event["step"], &event["from"], &event["count"]), (&12.into(), &15.into(), &1.into()));
    assert_eq!((&event["skipped_rows"]["start"], &event["skipped_rows"]["end"]), (&56.into(), &60.into()));
    assert_eq!(event["alarm"]["rule"], "loss_spike");
    assert!(skipped_steps(&place, "harmed").is_empty(), "the undone step is not logged");
    let steps: Vec<u64> =
        place.log("harmed/metrics.jsonl").iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=24).collect::<Vec<_>>());
    // The losses equal those of the calm run up to the fault, and differ after it.
    train_with_faults(&place, "", &["run.dir=calm"]).success();
    let (harmed, calm) = (place.losses("harmed"), place.losses("calm"));
    assert_eq!(harmed[..14], calm[..14]);
    assert!(harmed[14..] != calm[14..]);
}

/// The fault occurs before the first regular checkpoint. A run that may rewind writes one before step 1.
#[test]
fn rewind_can_go_back_to_step_0() {
    let place = workplace();
    let settings = ["guard.non_finite.action=\"rewind\""];
    train_with_faults(&place, "nan_loss@3", &settings).success();
    let rewound = events(&place, "run", "rewound");
    assert_eq!((&rewound[0]["step"], &rewound[0]["from"]), (&0.into(), &3.into()));
    assert_eq!(events(&place, "run", "started").len(), 1);
    assert_eq!(events(&place, "run", "finished").len(), 1);
}

#[test]
fn too_many_rewinds_to_one_checkpoint_stop_the_run() {
    let place = workplace();
    let settings = ["guard.loss_spike.action=\"rewind\""];
    let error = train_with_faults(&place, "spike@15-20x100", &settings).fails_with(1).stderr();
    assert!(
        error.contains(
            "has gone back to run/checkpoints/step-00000012 3 times (guard.max_rewinds), and \
                       step 15 fails again"
        ),
        "{error}"
    );
    let counts: Vec<Value> =
        events(&place, "run", "rewound").into_iter().map(|event| event["count"].clone()).collect();
    assert_eq!(counts, [1, 2, 3]);
    // A restart doesn't reset the count.
    let error = train_with_faults(&place, "spike@15-20x100", &settings).fails_with(1).stderr();
    assert!(error.contains("3 times (guard.max_rewinds)"), "{error}");
    assert_eq!(events(&place, "run", "rewound").len(), 3);
    // With more skipped rows it gets past them.
    let settings = [&settings[..], &["guard.max_rewinds=4", "guard.skip_steps=3"]].concat();
    let mut command = command(&place, "spike@15-20x100", &settings);
    Finished::of(command.args(["--allow-change", "guard"])).success();
    assert_eq!(events(&place, "run", "rewound").len(), 4);
}

/// A run with all actions, killed after each step that is involved, equals one that isn't killed.
#[test]
fn a_resumed_run_has_the_alarms_of_an_uninterrupted_one() {
    let place = workplace();
    let settings = [
        "guard.loss_spike.action=\"rewind\"",
        "guard.grad_norm.action=\"reduce_lr\"",
        "guard.lr_steps=5",
        "guard.non_finite.action=\"skip_data\"",
    ];
    let faults = "nan_loss@5,gradient@11x100,spike@15x100,gradient@18x100,spike@22x100";
    let unbroken = [&settings[..], &["run.dir=unbroken"]].concat();
    train_with_faults(&place, faults, &unbroken).success();
    assert_eq!(events(&place, "unbroken", "rewound").len(), 2);
    for kill in [5, 7, 11, 13, 14, 18, 19, 21] {
        let dir = format!("run.dir=killed-{kill}");
        let killed = [&settings[..], &[dir.as_str()]].concat();
        let fault = format!("{faults},kill@{kill}");
        assert_eq!(command(&place, &fault, &killed).status().unwrap().code(), None, "it is killed");
        train_with_faults(&place, faults, &killed).success();
        assert_equal(&place, "unbroken", &format!("killed-{kill}"));
        assert_eq!(events(&place, &format!("killed-{kill}"), "rewound"), {
            let mut events = events(&place, "unbroken", "rewound");
            let own = |path: &Value| path.as_str().unwrap().replace("unbroken", &format!("killed-{kill}"));
            for event in &mut events {
                event["checkpoint"] = own(&event["checkpoint"]).into();
            }
            events
        });
    }
}

/// Amber's way: the rest of a chunk of data is skipped, the chunk's end comes earlier, and the next chunk
/// begins.
#[test]
fn skip_chunk_skips_the_rest_of_a_chunk() {
    let place = workplace();
    let text = fs_err::read_to_string(place.path("tiny.toml")).unwrap();
    let text = text
        .replace("validation_share = 0.05\n", "")
        .replace("[[data.mix]]\nname", "[data.chunks]\ncount = 6\nvalidation_rows = 4\n\n[[data.mix]]\nname");
    place.write("tiny.toml", &text);
    let chunks = ["checkpoint.keep_last=100", "checkpoint.every_steps=1000"];
    train_with_faults(&place, "", &[&chunks[..], &["run.dir=calm", "train.steps=10"]].concat()).success();
    let calm = events(&place, "calm", "checkpoint");
    let calm_steps: Vec<u64> = calm.iter().map(|event| event["step"].as_u64().unwrap()).collect();
    let settings =
        [&chunks[..], &["guard.non_finite.action=\"skip_data\"", "guard.skip_chunk=true", "train.steps=10"]]
            .concat();
    // Chunk 0 has at least two steps, of which the second is skipped.
    assert!(calm_steps[0] > 2, "{calm_steps:?}");
    train_with_faults(&place, "nan_loss@2", &settings).success();
    let first = place.path("run/checkpoints/ckpt_000");
    assert!(fs_err::read_link(&first).unwrap().ends_with("step-00000002"));
}

#[test]
fn a_stall_is_logged() {
    let place = workplace();
    let said = train_with_faults(&place, "stall@16:3s", &["guard.stall.factor=20"]).success().stderr();
    // Logged during the stall, and as an event after it.
    assert!(said.matches("step 16 has taken").count() >= 1, "{said}");
    assert!(said.contains("(guard.stall.factor)"), "{said}");
    let alarm = alarm(&place, "run");
    assert_eq!((&alarm["rule"], &alarm["action"]), (&"stall".into(), &"log".into()));
    assert!(alarm["value"].as_f64().unwrap() > 1.0 && alarm["median"].as_f64().unwrap() < 0.5, "{alarm}");
}

#[test]
fn runs_resume_after_disk_faults() {
    let place = workplace();
    train_with_faults(&place, "", &["run.dir=calm"]).success();
    let error = train_with_faults(&place, "full_disk@12", &["run.dir=full"]).fails_with(1).stderr();
    assert!(error.contains("no storage space"), "{error}");
    train_with_faults(&place, "", &["run.dir=full"]).success();
    assert_equal(&place, "calm", "full");

    train_with_faults(&place, "torn_checkpoint@24", &["run.dir=torn"]).success();
    let said = train_with_faults(&place, "", &["run.dir=torn"]).success().stderr();
    assert!(said.contains("skipped the damaged checkpoint torn/checkpoints/step-00000024"), "{said}");
    assert_equal(&place, "calm", "torn");
}

#[test]
fn a_hung_run_is_ended_by_two_signals_and_resumes() {
    let place = workplace();
    train_with_faults(&place, "", &["run.dir=calm"]).success();
    let mut arguments = vec!["train", "tiny.toml"];
    arguments.extend(GUARDED.iter().flat_map(|value| ["--set", value]));
    arguments.extend(["--set", "run.dir=hung"]);
    let mut run = place.start_with(&arguments, &[("FINELINE_FAULTS", "hang@9")]);
    wait_for(|| place.path("hung/checkpoints/step-00000006").exists() && steps_logged(&place, "hung") >= 9);
    run.signal("TERM");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!run.has_ended(), "the run hangs within a step");
    run.signal("TERM");
    run.wait().fails_with(143);
    train_with_faults(&place, "", &["run.dir=hung"]).success();
    assert_equal(&place, "calm", "hung");
}

fn steps_logged(place: &Workplace, run: &str) -> usize {
    let path = place.path(&format!("{run}/metrics.jsonl"));
    fs_err::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn invalid_settings_are_rejected_before_the_first_step() {
    let place = workplace();
    let error = train_with_faults(&place, "explode@3", &[]).fails_with(2).stderr();
    assert!(error.contains("FINELINE_FAULTS: `explode@3` isn't a fault"), "{error}");
    for (setting, message) in [
        ("guard.loss_spike.z=0", "guard.loss_spike.z = 0.0 (--set): must be above 0"),
        ("guard.non_finite.action=\"log\"", "guard.non_finite.action = \"log\" (--set): must not be \"log\""),
        ("guard.skip_chunk=true", "guard.skip_chunk = true (--set): needs chunks"),
        ("guard.loss_spike.action=\"skp\"", "unknown variant `skp`"),
    ] {
        let error = train_with_faults(&place, "", &[setting]).fails_with(2).stderr();
        assert!(error.contains(message), "{error}");
    }
}
