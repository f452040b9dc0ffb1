//! Several ranks as threads of one process, as for a process with several devices.

use serde_json::Value;

use crate::support::{SHARED, Workplace, files_below, wait_for};

fn train(place: &Workplace, dir: &str, overrides: &[&str]) {
    let dir = format!("run.dir={dir}");
    place.train(&[&SHARED[..], &[&dir], overrides].concat());
}

fn weights(place: &Workplace, dir: &str) -> Vec<u8> {
    let mut files = files_below(&place.path(&format!("{dir}/checkpoints/step-00000012")));
    files.retain(|(path, _)| path.ends_with("model.safetensors"));
    files.swap_remove(0).1
}

#[test]
fn four_ranks_of_a_process_equal_one_rank_bit_for_bit() {
    let place = Workplace::new();
    train(&place, "one", &[]);
    train(&place, "four", &["distributed.ranks_per_process=4"]);
    assert_eq!(place.losses("four"), place.losses("one"));
    assert!(weights(&place, "four") == weights(&place, "one"));
    assert!(!place.scores("one").is_empty() && place.scores("four") == place.scores("one"));
    let items = |dir: &str| files_below(&place.path(&format!("{dir}/items")));
    assert!(items("four") == items("one"), "every item is equal bit for bit, whichever rank evaluated it");
    let identity: Value =
        serde_json::from_slice(&fs_err::read(place.path("four/run.json")).unwrap()).unwrap();
    assert_eq!(identity["ranks"], 4);
    assert!(!place.path("four/.ranks").exists(), "heartbeat files are removed");
}

/// Devices of a process reduce first. Their order of additions differs from the tree, but is always the same.
#[test]
fn reduction_among_devices_trains_the_same() {
    let place = Workplace::new();
    train(&place, "one", &[]);
    let free = ["distributed.ranks_per_process=2", "distributed.deterministic=false"];
    for (dir, mode) in [("shared", "data_parallel"), ("again", "data_parallel"), ("divided", "zero1")] {
        train(&place, dir, &[&free[..], &[&format!("distributed.mode=\"{mode}\"")]].concat());
        place.assert_close(dir, "one");
    }
    assert_eq!(place.losses("again"), place.losses("shared"));
    assert!(weights(&place, "again") == weights(&place, "shared"));
    assert!(place.path("divided/checkpoints/step-00000012/optimizer-00002-of-00002.safetensors").is_file());
}

/// Multiple choice, generated answers, in-context tasks, representations: every item is equal bit for bit.
#[test]
fn every_kind_of_probe_is_divided_among_ranks() {
    let place = Workplace::new();
    place.write(
        "written.toml",
        "name = \"written\"\ndomain = \"d\"\nkind = \"generation\"\ndata = \"q.jsonl\"\ncontext = \
        \"{{q}}\"\nanswers = \"a\"\n\
         [generation]\nmax_new_tokens = 20\n",
    );
    let questions: Vec<String> =
        (0..9).map(|i| format!("{{\"q\":\"Anna {i} is a\",\"a\":[\"baker\"]}}\n")).collect();
    place.write("q.jsonl", &questions.concat());
    place.write("suite.toml", "tasks = [\"written.toml\"]");
    let probes = "probes=[{suite=\"in_context\",every_steps=6,limit=2},{suite=\"representation\",every_steps=6,limit=8},\
                  {suite=\"suite.toml\",every_steps=6},{suite=\"tinyworld\",every_steps=6,limit=4}]";
    train(&place, "one", &[probes]);
    for ranks in [2, 3] {
        let dir = format!("ranks{ranks}");
        train(&place, &dir, &[probes, &format!("distributed.ranks_per_process={ranks}")]);
        assert!(place.scores(&dir) == place.scores("one"));
        for logs in ["items", "representations"] {
            let files = |dir: &str| files_below(&place.path(&format!("{dir}/{logs}")));
            assert!(!files("one").is_empty() && files(&dir) == files("one"), "{logs} of {ranks} ranks");
        }
    }
}

#[test]
fn all_ranks_rewind_together() {
    let place = Workplace::new();
    let settings = [
        "train.steps=40",
        "guard.loss_spike.action=\"rewind\"",
        "guard.window=32",
        "checkpoint.every_steps=8",
    ];
    for (dir, ranks) in [("one", 1), ("two", 2)] {
        let own = [format!("run.dir={dir}"), format!("distributed.ranks_per_process={ranks}")];
        let all = SHARED.iter().chain(&settings).copied().chain(own.iter().map(String::as_str));
        let flags = all.flat_map(|value| ["--set", value]);
        let arguments: Vec<&str> = ["train", "tiny.toml"].into_iter().chain(flags).collect();
        place.start_with(&arguments, &[("FINELINE_FAULTS", "spike@30x100")]).wait().success();
        let events = place.log(&format!("{dir}/events.jsonl"));
        assert_eq!(events.iter().filter(|event| event["event"] == "rewound").count(), 1);
    }
    assert_eq!(place.losses("two").len(), 40);
    assert_eq!(place.losses("two"), place.losses("one"));
    assert_eq!(place.scores("two"), place.scores("one"));
}

#[test]
fn a_signal_stops_all_ranks_and_another_number_of_ranks_resumes() {
    let place = Workplace::new();
    let long = ["train.steps=300", "checkpoint.every_steps=300"];
    train(&place, "unbroken", &long);
    let settings = [&SHARED[..], &long, &["run.dir=stopped", "distributed.ranks_per_process=3"]].concat();
    let flags = settings.iter().flat_map(|value| ["--set", *value]);
    let mut run = place.start(&["train", "tiny.toml"].into_iter().chain(flags).collect::<Vec<_>>());
    wait_for(|| place.path("stopped/metrics.jsonl").exists() && place.log("stopped/metrics.jsonl").len() > 5);
    run.signal("TERM");
    run.wait().fails_with(143);
    assert!(place.log("stopped/metrics.jsonl").len() < 300);
    train(&place, "stopped", &long);
    assert_eq!(place.losses("stopped"), place.losses("unbroken"));
}

#[test]
fn a_hung_rank_is_reported_and_the_process_ends() {
    let place = Workplace::new();
    let settings = [
        "distributed.ranks_per_process=2",
        "distributed.timeout_s=2",
        "train.micro_batch_size=1",
        "probes=[]",
    ];
    let flags = settings.iter().flat_map(|value| ["--set", *value]);
    let arguments: Vec<&str> = ["train", "tiny.toml"].into_iter().chain(flags).collect();
    let ended = place.start_with(&arguments, &[("FINELINE_FAULTS", "hang@9")]).wait().fails_with(1);
    let message = ended.stderr();
    assert!(message.contains("rank 1 (process") && message.contains("is missing"), "{message}");
}

#[test]
fn invalid_rank_counts_are_reported_before_the_start() {
    let place = Workplace::new();
    let failing = |overrides: &[&str]| {
        let flags = overrides.iter().flat_map(|value| ["--set", *value]);
        let arguments: Vec<&str> = ["train", "tiny.toml"].into_iter().chain(flags).collect();
        place.run(&arguments).fails_with(2).stderr()
    };
    let message = failing(&[
        "distributed.ranks_per_process=3",
        "train.global_batch_size=2",
        "train.micro_batch_size=1",
    ]);
    assert!(message.contains("makes 2 micro-batches") && message.contains("3 ranks"), "{message}");
    assert_eq!(message.matches("makes 2").count(), 1, "{message}");
    let few = ["distributed.ranks_per_process=5", "train.micro_batch_size=1"].map(|value| ["--set", value]);
    let dry = [&["train", "tiny.toml", "--dry-run"], few.as_flattened()].concat();
    let message = place.run(&dry).fails_with(2).stderr();
    assert!(message.contains("makes 4 micro-batches"), "{message}");
    let message = failing(&["distributed.ranks_per_process=2", "run.device=\"cuda:0\""]);
    assert!(
        message.contains("ranks_per_process") && message.contains("set run.device to \"cuda\""),
        "{message}"
    );
    let message = failing(&["distributed.ranks_per_process=0"]);
    assert!(message.contains("distributed.ranks_per_process"), "{message}");
}
