//! The recipes of released models: their sizes and schedules, a hundred steps of each compared with the
//! original code, and small versions of both.

use std::path::{Path, PathBuf};

use fineline_train::ScheduleConfig;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::support::{Workplace, files_below, wait_for};

fn repository(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(relative).canonicalize().unwrap()
}

/// Parameters, steps and tokens of the released models and of their reproductions.
#[test]
fn batch_and_step_counts_equal_those_of_the_released_runs() {
    let place = Workplace::new();
    let seven = 6_738_415_616_u64;
    for (config, parameters, steps, tokens_per_step) in [
        ("amber-7b", seven, 274_320_u64, 4_587_520_u64),
        ("openllama-3b", 3_426_473_600, 250_000, 4_194_304),
        ("openllama-7b", seven, 250_000, 4_194_304),
        ("openllama-13b", 13_015_864_320, 500_000, 2_097_152),
        ("openllama-3b-v2", 3_426_473_600, 465_000, 2_097_152),
        ("openllama-7b-v2", seven, 465_000, 2_097_152),
        ("fineline-openllama-7b", seven, 486_662, 4_194_304),
        ("fineline-amber", 5_798_891_520, 299_880, 4_194_304),
        ("llama-7b", seven, 238_418, 4_194_304),
        ("llama-13b", 13_015_864_320, 238_418, 4_194_304),
        ("llama-33b", 32_528_943_616, 333_786, 4_194_304),
        ("llama-65b", 65_285_660_672, 333_786, 4_194_304),
    ] {
        let path = repository(&format!("configs/{config}.toml"));
        let plan = place.run(&["plan", path.to_str().unwrap(), "--json"]).success().json();
        assert_eq!(plan["parameters"], parameters, "{config}");
        assert_eq!(
            (&plan["steps"], &plan["tokens_per_step"]),
            (&json!(steps), &json!(tokens_per_step)),
            "{config}"
        );
    }
}

/// Returns the schedule of a shipped configuration.
fn schedule(config: &str) -> (fineline_train::LrSchedule, Value) {
    let place = Workplace::new();
    let path = repository(&format!("configs/{config}.toml"));
    let shown = place.run(&["config", "show", path.to_str().unwrap(), "--json"]).success().json();
    let config = &shown["config"];
    let schedule: ScheduleConfig = serde_json::from_value(config["schedule"].clone()).unwrap();
    let (steps, peak) = (config["train"]["steps"].as_u64().unwrap(), config["optim"]["lr"].as_f64().unwrap());
    (fineline_train::LrSchedule::new(&schedule, peak, steps).unwrap(), shown)
}

/// Learning rates of Amber at the last step of a chunk, and of OpenLLaMA at its milestones.
#[test]
#[allow(clippy::float_cmp, reason = "where a value is compared, it is exact")]
fn learning_rates_equal_those_of_the_released_runs() {
    let (amber, shown) = schedule("amber-7b");
    let steps_per_chunk = 1_706_976 / shown["config"]["train"]["global_batch_size"].as_u64().unwrap();
    assert_eq!(steps_per_chunk, 762);
    // The learning rates of this one at the ends of chunks are tested with the schedules.
    let published = ScheduleConfig { warmup_steps: 2000, min_lr: 3e-5, ..ScheduleConfig::default() };
    assert_eq!(amber, fineline_train::LrSchedule::new(&published, 3e-4, 360 * steps_per_chunk).unwrap());
    assert_eq!((amber.lr(0), amber.lr(2000)), (0.0, 3e-4));
    let (openllama, _) = schedule("openllama-7b");
    let (larger, _) = schedule("openllama-13b");
    for (schedule, step, lr) in [
        (&openllama, 1000, 1.5e-4),
        (&openllama, 2000, 3e-4),
        (&openllama, 126_000, 1.65e-4),
        (&openllama, 250_000, 3e-5),
        (&larger, 2000, 1.5e-4),
        (&larger, 251_000, 8.25e-5),
        (&larger, 500_000, 1.5e-5),
    ] {
        assert!((schedule.lr(step) - lr).abs() <= 1e-12 * lr, "step {step}: {}", schedule.lr(step));
    }
    assert_eq!(openllama.lr(0), 0.0);
}

/// Settings of both recipes in the fixtures: small sizes, and everything else from the shipped base.
fn small(base: &str, fixtures: &Path, rest: &str) -> String {
    let base = repository(&format!("configs/base/{base}.toml"));
    let tokenizer = fixtures.join("tokenizer.json");
    format!(
        r#"
extends = ["{}"]

[run]
name = "small"
dir = "run"
threads = 1

[model]
vocab_size = 272
hidden_size = 32
intermediate_size = 48
num_hidden_layers = 2
num_attention_heads = 4
max_position_embeddings = 32

[tokenizer]
path = "{}"

[data]
seq_len = 32
cache_dir = "cache"

[optim]
lr = 4e-3

[schedule]
warmup_steps = 7
min_lr = 4e-4

[train]
steps = 100
global_batch_size = 4
micro_batch_size = 2

[validation]
every_steps = 0

[checkpoint]
every_steps = 50
{rest}"#,
        base.display(),
        tokenizer.display()
    )
}

/// Chunk 3 is missing, and chunk 5 is replaced by chunk 0.
fn small_amber(fixtures: &Path) -> String {
    let chunks = fixtures.join("amber");
    let rest = format!(
        "\n[data.chunks]\npath = \"{}\"\ncount = 7\nskip = [3]\nreplace = [{{ chunk = 5, with = 0 }}]\n",
        chunks.display()
    );
    small("amber", fixtures, &rest).replace("[model]\n", "[model]\npad_token_id = 0\n")
}

fn small_openllama(fixtures: &Path) -> String {
    let documents = fixtures.join("openllama/documents.jsonl");
    let rest = format!("\n[[data.mix]]\nname = \"documents\"\npath = \"{}\"\n", documents.display());
    small("openllama", fixtures, &rest)
}

/// Returns the norm of the difference divided by the norm.
fn relative_distance(actual: &[u8], expected: &[u8]) -> f64 {
    let values = |bytes: &[u8]| -> Vec<f64> {
        bytes.as_chunks::<4>().0.iter().map(|&bytes| f64::from(f32::from_le_bytes(bytes))).collect()
    };
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let (actual, expected) = (values(actual), values(expected));
    let difference: Vec<f64> = actual.iter().zip(&expected).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(&expected)
}

/// Trains a hundred steps from the files and weights of the reference, and compares losses, learning rates
/// and final weights.
#[track_caller]
fn follow(place: &Workplace, fixture: &Path) {
    let init = format!("init={{from={:?}, step=0}}", fixture.to_str().unwrap());
    place.run(&["train", "small.toml", "--set", &init]).success();
    let expected: Value = serde_json::from_slice(&fs_err::read(fixture.join("log.json")).unwrap()).unwrap();
    let lines = place.log("run/metrics.jsonl");
    assert_eq!(lines.len(), 100);
    for (at, line) in lines.iter().enumerate() {
        for (what, expected, tolerance) in
            [("loss", &expected["losses"], 1e-4), ("lr", &expected["lrs"], 1e-12)]
        {
            let (actual, expected) = (line[what].as_f64().unwrap(), expected[at].as_f64().unwrap());
            let near = (actual - expected).abs() <= tolerance * expected.abs();
            assert!(near, "step {}: {what} {actual} instead of {expected}", at + 1);
        }
    }
    let read = |path: PathBuf| fs_err::read(path).unwrap();
    let (actual, expected) = (
        read(place.path("run/checkpoints/step-00000100/model.safetensors")),
        read(fixture.join("final.safetensors")),
    );
    let [actual, expected] = [&actual, &expected].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    assert_eq!(actual.len(), expected.len());
    for (name, expected) in expected.tensors() {
        let distance = relative_distance(actual.tensor(&name).unwrap().data(), expected.data());
        assert!(distance <= 1e-3, "final {name} is off by {distance:e}");
    }
}

#[test]
fn a_hundred_steps_equal_those_of_amber_train() {
    let fixtures = repository("tests/fixtures/recipes");
    let place = Workplace::new();
    place.write("small.toml", &small_amber(&fixtures));
    follow(&place, &fixtures.join("amber"));
    let milestones: Vec<(u64, String)> = [0, 1, 2, 4, 5, 6]
        .map(|chunk| {
            let link = format!("ckpt_{chunk:03}");
            let state = fs_err::read(place.path(&format!("run/checkpoints/{link}/state.json"))).unwrap();
            let state: Value = serde_json::from_slice(&state).unwrap();
            assert_eq!(state["milestone"], link);
            (state["step"].as_u64().unwrap(), link)
        })
        .to_vec();
    let steps: Vec<u64> = milestones.into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [17, 33, 50, 65, 82, 100]);
    assert!(!place.path("run/checkpoints/ckpt_003").exists());
}

#[test]
fn a_hundred_steps_equal_those_of_easylm() {
    let fixtures = repository("tests/fixtures/recipes");
    let place = Workplace::new();
    place.write("small.toml", &small_openllama(&fixtures));
    follow(&place, &fixtures.join("openllama"));
}

/// Settings with which both small recipes finish within seconds.
const SMALLER: [&str; 8] = [
    "model.hidden_size=32",
    "model.intermediate_size=64",
    "model.num_hidden_layers=2",
    "tinyworld.documents=1500",
    "probes[0].limit=4",
    "validation.rows=8",
    "checkpoint.every_steps=10",
    "data.cache_dir=cache",
];

/// Runs a shipped configuration without interruption, and again with kills: while its data are prepared,
/// after its first checkpoint, and later. Both must write the same files.
#[track_caller]
fn survives_kills(place: &Workplace, config: &str, settings: &[&str], last: u64) {
    let path = repository(&format!("configs/{config}.toml"));
    let arguments = |run: &str| {
        let mut arguments = vec!["train".to_owned(), path.to_str().unwrap().to_owned()];
        let own = format!("run.dir={run}");
        let all = SMALLER.iter().chain(settings).map(|value| (*value).to_owned()).chain([own]);
        arguments.extend(all.flat_map(|value| ["--set".to_owned(), value]));
        arguments
    };
    let [unbroken, killed] = ["unbroken", "killed"].map(arguments);
    let [unbroken, killed] =
        [&unbroken, &killed].map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
    place.run(&unbroken).success();
    fs_err::remove_dir_all(place.path("cache")).unwrap();

    let run = place.start(&killed);
    wait_for(|| place.path("cache").exists());
    std::thread::sleep(std::time::Duration::from_millis(60));
    run.kill();
    let newest = || {
        let entries = fs_err::read_dir(place.path("killed/checkpoints")).into_iter().flatten();
        entries
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_prefix("step-")?.parse().ok())
            .max()
    };
    for _ in 0..3 {
        let before: Option<u64> = newest();
        let mut run = place.start(&killed);
        wait_for(|| run.has_ended() || newest() > before);
        run.kill();
    }
    place.run(&killed).success();
    for log in ["metrics", "probes"] {
        let [left, right] = ["unbroken", "killed"].map(|run| place.log(&format!("{run}/{log}.jsonl")));
        assert_eq!(left, right, "{log}");
    }
    for dir in ["items".to_owned(), format!("checkpoints/step-{last:08}")] {
        let [left, right] =
            ["unbroken", "killed"].map(|run| files_below(&place.path(&format!("{run}/{dir}"))));
        assert!(left == right, "{dir} differs");
    }
    let resumed = place.log("killed/events.jsonl").iter().filter(|event| event["event"] == "resumed").count();
    assert!(resumed >= 3, "only {resumed} starts resumed from a checkpoint");
}

#[test]
fn amber_mini_survives_kills() {
    let place = Workplace::new();
    let settings = ["data.chunks.count=4", "train.steps=72", "validation.every_steps=18"];
    survives_kills(&place, "amber-mini", &settings, 72);
    let links = |run: &str| -> Vec<String> {
        let entries = fs_err::read_dir(place.path(&format!("{run}/checkpoints"))).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut links: Vec<String> = names.filter(|name| name.starts_with("ckpt_")).collect();
        links.sort();
        links
    };
    assert_eq!(links("unbroken"), ["ckpt_000", "ckpt_001", "ckpt_002", "ckpt_003"]);
    assert_eq!(links("killed"), links("unbroken"));
    let probed: Vec<u64> = place
        .log("killed/probes.jsonl")
        .iter()
        .filter(|record| record["task"] == "agreement" || record["task"] == "exam")
        .map(|record| record["step"].as_u64().unwrap())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let ends = fs_err::read_dir(place.path("killed/checkpoints")).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        path.is_symlink()
            .then(|| fs_err::read_link(path).unwrap().to_str()?.strip_prefix("step-")?.parse().ok())
            .flatten()
    });
    let mut ends: Vec<u64> = ends.collect();
    ends.extend([0, 72]);
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(probed, ends, "a round at the start, after each chunk, and at the end");
    // A run resumes from a chunk by its name, and renames later checkpoints to `abandoned-...`.
    let path = repository("configs/amber-mini.toml");
    let mut back = vec!["train", path.to_str().unwrap(), "--resume", "killed/checkpoints/ckpt_002"];
    let all = SMALLER.iter().chain(&settings).copied().chain(["run.dir=killed"]);
    back.extend(all.flat_map(|value| ["--set", value]));
    place.run(&back).success();
    assert_eq!(place.log("killed/metrics.jsonl"), place.log("unbroken/metrics.jsonl"));

    // The last chunk is replaced by the first: earlier steps are kept, and later ones differ.
    back.extend(["--set", "data.chunks.replace=[{chunk=3, with=0}]"]);
    let refused = place.run(&back).fails_with(2).stderr();
    assert!(refused.contains("data.chunks.replace"), "{refused}");
    back.extend(["--allow-change", "data"]);
    place.run(&back).success();
    let [replaced, before] = ["killed", "unbroken"].map(|run| place.log(&format!("{run}/metrics.jsonl")));
    assert_eq!(replaced[..54], before[..54]);
    assert_ne!(replaced[54], before[54]);
}

#[test]
fn openllama_mini_survives_kills_and_logs_a_new_epoch() {
    let place = Workplace::new();
    survives_kills(&place, "openllama-mini", &["train.steps=100", "schedule.decay_end=100"], 100);
    for run in ["unbroken", "killed"] {
        let mut events = place.log(&format!("{run}/events.jsonl"));
        events.retain(|event| event["event"] == "epoch_started");
        assert_eq!(events.len(), 1, "{run}: {events:?}");
        assert_eq!((&events[0]["source"], &events[0]["epoch"]), (&json!("tinyworld"), &json!(1)));
    }
}

/// Starts from the exported weights of step 20 of another run, and from its checkpoint with optimizer state.
#[test]
fn openllama_mini_continues_from_its_own_checkpoint() {
    let place = Workplace::new();
    let path = repository("configs/openllama-mini.toml");
    let train = |run: &str, init: &str| {
        let own = [format!("run.dir={run}"), init.to_owned()];
        let settings = [
            "train.steps=40",
            "schedule.decay_end=40",
            "checkpoint.every_steps=20",
            "checkpoint.keep_last=2",
            "probes=[]",
        ];
        let settings = SMALLER
            .iter()
            .filter(|value| !value.starts_with("probes") && !value.starts_with("checkpoint"))
            .copied()
            .chain(settings);
        let all = settings.chain(own.iter().map(String::as_str).filter(|value| !value.is_empty()));
        let arguments: Vec<&str> = ["train", path.to_str().unwrap()]
            .into_iter()
            .chain(all.flat_map(|value| ["--set", value]))
            .collect();
        place.run(&arguments).success();
        place.log(&format!("{run}/metrics.jsonl"))
    };
    let unbroken = train("unbroken", "");
    let checkpoint = "unbroken/checkpoints/step-00000020";
    for layout in ["safetensors", "easylm"] {
        let out = format!("{layout}/step_20");
        place.run(&["weights", "export", checkpoint, "--to", layout, "--out", &out]).success();
    }
    let with_state = train("with", &format!("init={{from=\"{checkpoint}\"}}"));
    assert_eq!(with_state, unbroken[20..]);
    let last = |run: &str| {
        fs_err::read(place.path(&format!("{run}/checkpoints/step-00000040/model.safetensors"))).unwrap()
    };
    assert!(last("with") == last("unbroken"));

    let without = train("without", "init={from=\"safetensors/step_20\"}");
    assert_eq!(without[0], unbroken[20], "the same weights, rows and learning rate");
    assert_ne!(without[1]["loss"], unbroken[21]["loss"], "the optimizer state is reset");
    let loss = |log: &[Value]| log.last().unwrap()["loss"].as_f64().unwrap();
    assert!((loss(&without) - loss(&unbroken)).abs() < 0.2, "{} and {}", loss(&without), loss(&unbroken));
    assert_eq!(train("stream", "init={from=\"easylm/step_20\"}"), without, "the layout changes nothing");
}

/// Writes two chunks of five rows each to `chunks`, for the tokenizer of the fixtures, and returns the
/// arguments to train on them.
fn chunks(place: &Workplace) -> Vec<String> {
    let row = format!("{{\"token_ids\": [{}]}}\n", vec!["5"; 33].join(", "));
    for chunk in 0..2 {
        place.write(&format!("chunks/train_{chunk:03}.jsonl"), &row.repeat(5));
    }
    let tokenizer = repository("tests/fixtures/recipes/tokenizer.json");
    let settings = [
        "data.mix=[]".to_owned(),
        "data.chunks={path=\"chunks\", count=2}".to_owned(),
        format!("tokenizer.path={}", tokenizer.display()),
        "train.steps=2".to_owned(),
        "probes=[]".to_owned(),
    ];
    settings.into_iter().flat_map(|value| ["--set".to_owned(), value]).collect()
}

#[test]
fn chunk_errors_name_the_file_and_line_before_training() {
    let row = |ids: &str, count: usize| format!("{{\"token_ids\": [{}]}}\n", vec![ids; count].join(", "));
    let good = row("5", 33);
    let errors = [
        good.repeat(4) + &row("5", 32),
        good.repeat(4) + &row("270", 33),
        good.repeat(4) + "{\"token_ids\": [1,",
        good.repeat(3),
        String::new(),
    ]
    .map(|content| {
        let place = Workplace::new();
        let settings = chunks(&place);
        place.write("chunks/train_001.jsonl", &content);
        let arguments: Vec<&str> =
            ["train", "tiny.toml"].into_iter().chain(settings.iter().map(String::as_str)).collect();
        let error = place.run(&arguments).fails_with(1).stderr();
        assert!(!place.path("run/run.json").exists(), "training hasn't started");
        error
    });
    insta::assert_snapshot!(errors.join(""), @r#"
    error: `chunks/train_001.jsonl` line 5: 32 token ids, expected 33 (data.seq_len + 1)
    error: `chunks/train_001.jsonl` line 5: token id 270 is out of range, expected ids below 270; the rows were made with another tokenizer
    error: `chunks/train_001.jsonl` line 5: not a row {"token_ids": [...]}: EOF while parsing a value (column 17)
    error: `chunks/train_001.jsonl`: has 3 rows, fewer than one batch (train.global_batch_size is 4), so none of them would be trained on; get the file again, list its number in `data.chunks.skip`, or lower `train.global_batch_size`
    error: `chunks/train_001.jsonl`: contains no rows; get the file again, or list its number in `data.chunks.skip`
    "#);
}

#[test]
fn a_missing_chunk_and_too_many_steps_are_reported_before_training() {
    let place = Workplace::new();
    let settings = chunks(&place);
    let run = |more: &[&str], code| {
        let mut arguments: Vec<&str> = vec!["train", "tiny.toml"];
        arguments.extend(settings.iter().map(String::as_str));
        arguments.extend(more.iter().flat_map(|value| ["--set", value]));
        place.run(&arguments).fails_with(code).stderr()
    };
    let steps = run(&["train.steps=3"], 2);
    fs_err::rename(place.path("chunks/train_001.jsonl"), place.path("chunks/train_002.jsonl")).unwrap();
    let missing = run(&["data.chunks.count=3", "train.steps=3"], 1);
    let both = run(&["data.mix=[{name=\"a\", path=\"a\"}]"], 2);
    let seed = run(&["data.chunks.shuffle=numpy", "run.seed=4294967295"], 2);
    insta::assert_snapshot!([steps, missing, both, seed].concat(), @r#"
    error: train.steps = 3 (--set): is 3 steps, but the chunks have 2: rows of a chunk that don't fill a batch are skipped
    error: `chunks`: chunk 1 is missing; expected `train_001.jsonl` (or .jsonl.gz, .jsonl.zst); add the file, or list 1 in `data.chunks.skip`
    error: data.chunks.path = "chunks" (--set): must be absent if there are [[data.mix]] tables: chunks are read or made of the mix
    error: run.seed = 4294967295 (--set): plus the number of a chunk must be below 2^32, as NumPy's seeds are
    "#);
    run(&["data.chunks.count=3", "data.chunks.skip=[1]", "train.steps=2"], 0);
}

/// From text in directories to chunks to rows to a step, with a kill in between.
#[test]
fn chunks_are_prepared_and_trained_on() {
    let place = Workplace::new();
    let line = |name: &str, i: usize| format!("{{\"text\": \"{name} tells of {i} and {}.\"}}\n", i * i % 977);
    place.write("text/web/a.jsonl", &(0..20_000).map(|i| line("The web", i)).collect::<String>());
    place.write("text/web/b.jsonl", &(20_000..30_000).map(|i| line("The web", i)).collect::<String>());
    place.write("text/books.jsonl", &(0..9_000).map(|i| line("A book", i)).collect::<String>());
    let tokenizer = repository("tests/fixtures/recipes/tokenizer.json");
    let prepare = |output: &'static str| {
        let mut arguments = vec!["data", "prepare", "text", "--recipe", "amber", "--output", output];
        arguments.extend(["--chunks", "40", "--row-len", "33", "--validation-rows", "20", "--tokenizer"]);
        arguments.push(tokenizer.to_str().unwrap());
        arguments
    };
    let made = place.run(&prepare("whole")).success().stdout();
    assert!(made.starts_with("whole: 40 chunks of ") && made.contains("from books, web;"), "{made}");
    for file in ["killed/chunks.json", "killed/.rows/1.bin", "killed/train_003.jsonl"] {
        let mut run = place.start(&prepare("killed"));
        wait_for(|| run.has_ended() || place.path(file).exists());
        run.kill();
    }
    place.run(&prepare("killed")).success();
    let visible = |dir: &str| {
        let mut files = files_below(&place.path(dir));
        files.retain(|(name, _)| name != Path::new(".lock"));
        files
    };
    assert!(visible("killed") == visible("whole"));
    assert_eq!(visible("whole").len(), 40 + 2 + 1);

    let settings = [
        "data.mix=[]",
        "data.chunks={path=\"whole\", count=40}",
        &format!("tokenizer.path={}", tokenizer.display()),
        "tokenizer.add_bos=false",
        "probes=[]",
    ];
    place.train(&settings);
    let validated = place.log("run/probes.jsonl");
    let tasks: Vec<&str> = validated.iter().map(|record| record["task"].as_str().unwrap()).collect();
    assert!(tasks.contains(&"validation/books") && tasks.contains(&"validation/web"), "{tasks:?}");
    let mut show = vec!["data", "show", "tiny.toml", "--step", "1", "--row", "2"];
    show.extend(settings.iter().flat_map(|value| ["--set", value]));
    let shown = place.run(&show).success().stdout();
    assert!(shown.starts_with("step 1 row 2: chunk 0 epoch 0 row "), "{shown}");
}
