//! Triggers: conditions on intervals, cooldown, dry runs and actions.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::{Finished, Workplace, files_below, wait_for};

/// A workplace whose runs validate every second step, with these triggers.
fn workplace(triggers: &str) -> Workplace {
    let place = Workplace::new();
    let text = fs_err::read_to_string(place.path("tiny.toml")).unwrap();
    let text = text
        .replace("every_steps = 6\nrows = 4", "every_steps = 2\nrows = 4")
        .replace("every_steps = 6\nlimit = 4", "every_steps = 100\nlog_spaced = false\nlimit = 4");
    place.write("tiny.toml", &format!("{text}\n{triggers}"));
    place
}

fn events(place: &Workplace, run: &str, name: &str) -> Vec<Value> {
    let events = place.log(&format!("{run}/events.jsonl"));
    events.into_iter().filter(|event| event["event"] == name).collect()
}

fn steps(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["step"].as_u64().unwrap()).collect()
}

/// The bits per byte of the validation split start at about 5, so the condition holds from the first round.
const ALWAYS: &str = "[[triggers]]\nname = \"low\"\ntask = \"validation/world\"\nbelow = 1000.0\n";

#[test]
fn a_trigger_fires_and_cools_down() {
    let place = workplace(&format!("{ALWAYS}cooldown_steps = 4\n"));
    place.train(&[]);
    let held = events(&place, "run", "triggered");
    assert_eq!(steps(&held), [0, 6, 12]);
    let evidence = &held[0]["evidence"];
    assert!(evidence["hi"].as_f64() < evidence["limit"].as_f64());
    assert!(evidence["lo"].as_f64() < evidence["value"].as_f64());
    assert_eq!(evidence["limit"], 1000.0);

    let never = workplace("[[triggers]]\nname = \"low\"\ntask = \"validation/world\"\nabove = 1000.0\n");
    never.train(&[]);
    assert!(events(&never, "run", "triggered").is_empty());
}

#[test]
fn a_dry_run_trigger_only_reports_its_actions() {
    let dry =
        "actions = [\"stop\", \"branch\", \"keep\"]\ncommand = [\"touch\", \"touched\"]\ndry_run = true\n";
    let place = workplace(&format!("{ALWAYS}{dry}"));
    let said = place.train(&[]).stderr();
    assert!(
        said.contains("trigger low: validation/world") && said.contains("; would: stop, branch, keep"),
        "{said}"
    );
    let held = &events(&place, "run", "triggered")[0];
    assert_eq!((&held["dry_run"], &held["actions"][0]), (&true.into(), &"stop".into()));
    assert!(!place.path("touched").exists() && !place.path("run/branches").exists());
    assert!(place.path("run/checkpoints/step-00000012").exists(), "the run finishes");
}

#[test]
fn a_checkpoint_is_kept_permanently() {
    let place = workplace(&format!(
        "{ALWAYS}actions = [\"keep\"]\ncooldown_steps = 4\ncommand = [\"sh\", \"-c\", \"echo \
        $FINELINE_TRIGGER $FINELINE_TASK $FINELINE_STEP $FINELINE_CHECKPOINT\"]\n"
    ));
    let settings = ["checkpoint.keep_last=1", "checkpoint.every_steps=2"];
    place.train(&[&["train.steps=8"], &settings[..]].concat());
    let kept = |step: &str| place.path(&format!("run/checkpoints/kept-{step}/state.json")).exists();
    assert!(kept("00000000") && kept("00000006"));
    // They survive a resume, which keeps another.
    place
        .run(&[
            "train",
            "tiny.toml",
            "--set",
            settings[0],
            "--set",
            settings[1],
            "--allow-change",
            "train.steps",
        ])
        .success();
    assert!(kept("00000000") && kept("00000006") && kept("00000012"));
    let mut names: Vec<String> = fs_err::read_dir(place.path("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("step-"))
        .collect();
    names.sort();
    assert_eq!(names, ["step-00000000", "step-00000006", "step-00000012"]);
    wait_for(|| lines(&place, "run/commands.log").len() == 3);
    assert!(
        lines(&place, "run/commands.log")[1]
            .ends_with("low validation/world 6 run/checkpoints/step-00000006")
    );
}

fn lines(place: &Workplace, path: &str) -> Vec<String> {
    let text = fs_err::read_to_string(place.path(path)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_evaluation_interval_is_shortened_temporarily() {
    let raised = "actions = [\"probe\"]\nprobe_every = 1\nprobe_steps = 3\n";
    let place = workplace(&format!("{ALWAYS}{raised}"));
    place.train(&["train.steps=5"]);
    place.run(&["train", "tiny.toml", "--allow-change", "train.steps"]).success();
    assert_eq!(steps(&events(&place, "run", "evaluation_finished")), [0, 1, 2, 3, 5, 12]);
    // A run with more evaluations trains the same.
    let plain = workplace("");
    plain.train(&["train.steps=5"]);
    plain.run(&["train", "tiny.toml", "--allow-change", "train.steps"]).success();
    assert_eq!(place.log("run/metrics.jsonl"), plain.log("run/metrics.jsonl"));
}

#[test]
fn a_trigger_stops_the_run() {
    let place = workplace(
        "[[triggers]]\nname = \"learned\"\ntask = \"validation/world\"\nbelow = 4.6\nactions = [\"stop\"]\n",
    );
    place.train(&["optim.lr=0.05", "train.steps=100", "schedule.kind=\"constant\""]);
    let stopped = events(&place, "run", "stopped");
    let held = events(&place, "run", "triggered");
    assert_eq!(steps(&stopped), steps(&held));
    let step = steps(&held)[0];
    assert!(step > 0 && step < 100);
    assert!(place.path(&format!("run/checkpoints/step-{step:08}")).exists());
}

/// The learning rate is so high that validation worsens: the run rewinds, skips the rows since then, and
/// finally stops.
#[test]
fn a_worsened_task_rewinds_the_run() {
    let place = workplace(
        "[[triggers]]\nname = \"worse\"\ntask = \"validation/world\"\nworsens = 0.0\nactions = \
        [\"rewind\"]\ncooldown_steps = 0\n",
    );
    let error = place
        .run(&[
            "train",
            "tiny.toml",
            "--set",
            "optim.lr=3.0",
            "--set",
            "train.steps=40",
            "--set",
            "schedule.kind=\"constant\"",
            "--set",
            "checkpoint.every_steps=2",
        ])
        .fails_with(1)
        .stderr();
    assert!(
        error.contains("3 times (guard.max_rewinds)") && error.contains("fails again: trigger `worse`"),
        "{error}"
    );
    let rewound = events(&place, "run", "rewound");
    assert_eq!(rewound.last().unwrap()["count"], 3);
    let last = rewound.last().unwrap();
    assert_eq!(last["trigger"], "worse");
    assert!(last["from"].as_u64() > last["step"].as_u64());
}

#[test]
fn a_branch_is_ready_to_be_trained() {
    let branch = "actions = [\"branch\"]\nbranch_steps = 6\ncommand = [\"sh\", \"-c\", \"FINELINE=$PROGRAM \
                 exec $FINELINE_BRANCH/train.sh\"]\n";
    let place = workplace("");
    let text = fs_err::read_to_string(place.path("tiny.toml")).unwrap();
    let trigger = "[[triggers]]\nname = \"low\"\ntask = \"validation/world\"\nbelow = 4.6\n";
    place.write("tiny.toml", &format!("{text}\n{trigger}{branch}"));
    let mut command =
        place.command(&["train", "tiny.toml", "--set", "train.steps=40", "--set", "checkpoint.keep_last=1"]);
    Finished::of(command.env("PROGRAM", env!("CARGO_BIN_EXE_fineline"))).success();
    let held = events(&place, "run", "triggered");
    assert_eq!(held.len(), 1);
    let (step, dir) = (steps(&held)[0], held[0]["branch"].as_str().unwrap().to_owned());
    assert_eq!(dir, format!("run/branches/step-{step:08}-low"));
    // The command starts the branch. It trains from this step on, with a linearly decreasing learning rate.
    let last = format!("{dir}/run/checkpoints/step-{:08}/manifest.json", step + 6);
    wait_for(|| place.path(&last).exists());
    let metrics = place.log(&format!("{dir}/run/metrics.jsonl"));
    let rates: Vec<f64> = metrics.iter().map(|line| line["lr"].as_f64().unwrap()).collect();
    assert_eq!(rates.len(), 6);
    let trunk = place.log("run/metrics.jsonl");
    assert!(
        (rates[0] - trunk[step as usize]["lr"].as_f64().unwrap()).abs() < 1e-12,
        "the branch starts with the learning rate of the trunk"
    );
    let falls: Vec<f64> = rates.windows(2).map(|pair| pair[0] - pair[1]).collect();
    assert!(falls.iter().all(|fall| (fall - falls[0]).abs() < 1e-12 && *fall > 0.0), "{rates:?}");
}

#[test]
fn a_webhook_is_called_and_an_unreachable_one_is_not_fatal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        let mut part = [0; 4096];
        while !String::from_utf8_lossy(&request).contains("\"event\":\"triggered\"") {
            let read = stream.read(&mut part).unwrap();
            assert!(read > 0);
            request.extend_from_slice(&part[..read]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let place = workplace(&format!("{ALWAYS}webhook = \"http://{address}/hook\"\n"));
    place.train(&[]);
    let request = heard.join().unwrap();
    assert!(
        request.starts_with("POST /hook HTTP/1.1") && request.contains("\"trigger\":\"low\""),
        "{request}"
    );

    let dead =
        workplace(&format!("{ALWAYS}webhook = \"http://{address}/hook\"\ncommand = [\"no-such-program\"]\n"));
    dead.train(&[]);
    let failed = events(&dead, "run", "trigger_failed");
    assert!(failed[0]["message"].as_str().unwrap().contains("can't start no-such-program"), "{failed:?}");
}

#[test]
fn invalid_triggers_are_rejected_before_the_first_step() {
    for (trigger, message) in [
        (
            "name = \"a\"\ntask = \"validation/wrld\"\nabove = 1.0",
            "no probe of this run evaluates this task; did you mean `validation/world`?",
        ),
        (
            "name = \"a b\"\ntask = \"validation/world\"\nabove = 1.0",
            "triggers[0].name = \"a b\" (tiny.toml:",
        ),
        (
            "name = \"a\"\ntask = \"validation/world\"",
            "needs one condition (worsens, above, below or phase), but has 0",
        ),
        (
            "name = \"a\"\ntask = \"validation/world\"\nabove = 1.0\nactions = [\"restart\"]",
            "unknown variant `restart`",
        ),
    ] {
        let place = workplace(&format!("[[triggers]]\n{trigger}\n"));
        let error = place.run(&["train", "tiny.toml"]).fails_with(2).stderr();
        assert!(error.contains(message), "{error}");
    }
}

/// SIGUSR1: a checkpoint immediately, and the run continues to the same end.
#[test]
fn sigusr1_requests_a_checkpoint() {
    let place = workplace("");
    let settings = [
        "--set",
        "train.steps=3000",
        "--set",
        "checkpoint.every_steps=100000",
        "--set",
        "validation.every_steps=0",
    ];
    let mut run = place.start(&[&["train", "tiny.toml"], &settings[..]].concat());
    let logged = || lines(&place, "run/metrics.jsonl").len();
    wait_for(|| logged() > 3);
    assert!(files_below(&place.path("run/checkpoints")).is_empty());
    run.signal("USR1");
    wait_for(|| place.path("run/checkpoints/latest").exists());
    let (seen, written) = (logged(), fs_err::read_to_string(place.path("run/checkpoints/latest")).unwrap());
    assert!(!run.has_ended());
    wait_for(|| logged() > seen + 3);
    run.signal("TERM");
    run.wait().fails_with(143);
    assert_ne!(fs_err::read_to_string(place.path("run/checkpoints/latest")).unwrap(), written);
    assert_eq!(events(&place, "run", "checkpoint").len(), 2);
}
