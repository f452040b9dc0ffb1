//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fineline_data::LEAST_VOCABULARY;
use fineline_hub::ModelAddress;
use fineline_run::TokenCount;
use fineline_run::device::DeviceName;

/// Pretrain LLaMA-style language models, and follow what they can do while they train.
#[derive(Debug, Parser)]
#[command(name = "fineline", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Form of diagnostics on standard error: `text` or `json`. The variable `FINELINE_LOG` selects them (`info`, `fineline_data=debug`).
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, hide_possible_values = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train to the end, or go on where an interrupted run stopped.
    Train(TrainArgs),
    /// Look at configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// What a run would take: parameters, memory, tokens, disk.
    Plan(PlanArgs),
    /// Look at training data, turn text into token shards, or fetch what probes ask.
    #[command(subcommand)]
    Data(DataCommand),
    /// Make a tokenizer, or see what one does.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Look at model weights, and turn one layout of them into another.
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Score a checkpoint with the probes of a run.
    Probe(ProbeArgs),
    /// Score a series of checkpoints: a probe log as if they had been one run.
    Sweep(SweepArgs),
    /// Continue a text.
    Generate(GenerateArgs),
    /// Prove properties of this build on this machine.
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Time training steps and probes.
    Bench(BenchArgs),
    /// What works on this machine.
    Doctor(DoctorArgs),
    /// Follow a run in the terminal.
    Watch(WatchArgs),
    /// Lay runs and sweeps beside what others published of theirs.
    Dynamics(DynamicsArgs),
}

/// A number above 0 that stands for an amount of something in this world.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number < 1e9 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

fn at_least_two(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number: &usize| number > 1);
    number.ok_or_else(|| "expected a whole number of at least 2: an input and its target".to_owned())
}

/// A probability mass to draw from.
fn mass(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number > 0.0 && number <= 1.0);
    number.ok_or_else(|| "expected a number above 0 and at most 1".to_owned())
}

/// A size in bytes, with the units that `transformers` reads: powers of 1000 (`GB`) or of 1024 (`GiB`).
fn byte_count(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = text[..digits].parse().ok().and_then(|number: u64| number.checked_mul(unit));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| "expected a size such as 5GB, 500MB or 2GiB".to_owned())
}

/// The size of a byte-level vocabulary.
fn vocabulary(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|&size| size >= LEAST_VOCABULARY);
    size.ok_or_else(|| format!("expected at least {LEAST_VOCABULARY}: the 256 bytes and 3 special tokens"))
}

/// A configuration and changes to it.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file.
    pub(crate) config: PathBuf,
    /// Override a value, as `section.key=value`; may be given more than once.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// `auto`: go on from the newest whole checkpoint, if there is one. `never`: refuse a folder that has a run. Or a checkpoint's
    /// path: go back to it, or, if it is another run's, branch off from it. Or the address of a run in a store, or of one of its checkpoints
    /// (`s3://bucket/prefix`): fetch it, and go on with it.
    #[arg(long, value_name = "auto|never|PATH|URL", default_value = "auto")]
    pub(crate) resume: String,
    /// Do all that comes before the first step but to begin it: resolve, read data, tokenizer and probes, hold the weights to the model. Nothing is written into
    /// the run's folder, and no model is put into memory.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Let this key differ from what the run was started with; may be given more than once.
    #[arg(long = "allow-change", value_name = "KEY")]
    pub(crate) allow_changes: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the resolved configuration, with where each value came from.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration and what it points at, without a run.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print the values in which two configurations differ.
    Diff {
        /// One configuration file.
        left: PathBuf,
        /// The other.
        right: PathBuf,
    },
    /// Print the reference page of all keys, or their JSON schema.
    Reference {
        /// Print the JSON schema instead of the page.
        #[arg(long)]
        schema: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Devices that share the work by data parallelism.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) devices: u64,
    /// Memory of one device, in GiB: says whether the run fits.
    #[arg(long, value_parser = positive)]
    pub(crate) memory: Option<f64>,
    /// What one device computes, in TFLOP/s: says how long the run takes at that speed. No device sustains its peak.
    #[arg(long, value_parser = positive)]
    pub(crate) peak_tflops: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Turn text into token shards (`PREFIX.bin`, `PREFIX.idx`), or into the chunks of a recipe.
    Prepare(PrepareArgs),
    /// Print the rows that a step trains on: source, document, ids and text.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// The step, counted from 1.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
        step: u64,
        /// Print only this row (counted from 0).
        #[arg(long)]
        row: Option<u64>,
    },
    /// Download data sets from the Hugging Face Hub, for probes. Reads `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    Fetch(FetchArgs),
    /// Count documents, tokens and rows per source.
    Stats {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenizerCommand {
    /// Train a byte-level BPE tokenizer on text.
    Train(TokenizerTrainArgs),
    /// Print what a tokenizer is, and what it makes of a text.
    Inspect {
        /// A tokenizer.json, a SentencePiece .model, or a folder that holds one.
        tokenizer: PathBuf,
        /// The text; without it, standard input unless that is a terminal.
        #[arg(long)]
        text: Option<String>,
    },
}

/// Which models of the hub, and where to.
#[derive(Debug, Args)]
pub(crate) struct FetchWeightsArgs {
    /// Models of the Hugging Face Hub, as `hf://org/name@revision`; without a revision, `main`.
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<ModelAddress>,
    /// The folder of models: each comes to lie in `org__name/REVISION` below it.
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub(crate) out: PathBuf,
    /// Read files that are there already, and fetch again what has changed since.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// Get released weights from the Hugging Face Hub: resumed where a connection broke, verified.
    Fetch(FetchWeightsArgs),
    /// List what the files of a checkpoint hold, in any layout.
    Inspect(InspectArgs),
    /// Turn weights of any layout into a Hugging Face folder: safetensors, config.json, tokenizer.
    Import(ImportArgs),
    /// Write a checkpoint for other programs: a clean Hugging Face folder, or EasyLM's stream.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A model folder, a run's folder, a file of weights, or an index of shards.
    pub(crate) checkpoint: PathBuf,
    /// The architecture, where no config.json lies beside: a config.json or the name of a preset.
    #[arg(long, value_name = "FILE|PRESET")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is converted, and how.
#[derive(Debug, Args)]
pub(crate) struct ConversionArgs {
    /// The folder to write; it must not exist, or be empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The architecture, where no config.json lies beside: a config.json or the name of a preset.
    #[arg(long, value_name = "FILE|PRESET")]
    pub(crate) config: Option<PathBuf>,
    /// The precision to write; without it, that of each tensor.
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<DtypeArg>,
    /// Size that a file of safetensors is not to exceed, as `5GB`, `500MB` or `2GiB`.
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = byte_count)]
    pub(crate) max_shard_size: u64,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A folder or file in any layout: safetensors, PyTorch's .bin, EasyLM's stream.
    pub(crate) source: PathBuf,
    #[command(flatten)]
    pub(crate) conversion: ConversionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A checkpoint of a run, a run's folder, or weights in any layout.
    pub(crate) checkpoint: PathBuf,
    /// The layout to write.
    #[arg(long, value_enum)]
    pub(crate) to: LayoutArg,
    #[command(flatten)]
    pub(crate) conversion: ConversionArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DtypeArg {
    F32,
    F16,
    Bf16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayoutArg {
    /// Hugging Face's.
    Safetensors,
    /// EasyLM's `streaming_params`.
    Easylm,
}

/// What is asked of a checkpoint.
#[derive(Debug, Args)]
pub(crate) struct AskedArgs {
    /// The suite: `tinyworld`, `in_context`, `representation`, the name of one in configs/probes, a suite or task file, or a task or group file of lm-evaluation-harness (`.yaml`).
    #[arg(long)]
    pub(crate) suite: String,
    /// Only these tasks, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) tasks: Vec<String>,
    /// At most this many items per task.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// A folder with the tasks' data, as `data` in `[[probes]]`; may be given more than once.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Vec<PathBuf>,
    /// Where to compute: `cpu`, `wgpu` or `cuda:N`, if this build has it.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceName,
    /// Let tasks of code run the programs that the model writes, in a sandbox.
    #[arg(long)]
    pub(crate) allow_code_execution: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// A model folder: a checkpoint of a run, or any Hugging Face LLaMA.
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) asked: AskedArgs,
    /// Which table to print: `fineline` (intervals, chance), `lm-eval` (that of lm-evaluation-harness), or both.
    #[arg(long, value_enum, default_value_t = TableFormat::Both, hide_possible_values = true)]
    pub(crate) format: TableFormat,
    /// Write results.json, probes.jsonl and items.parquet into this folder.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Our own.
    Fineline,
    /// That of lm-evaluation-harness.
    LmEval,
    /// One after the other.
    Both,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// The checkpoints: a folder of model folders, a run's folder, or a pattern (`'models/open_llama_7b_step_*'`).
    pub(crate) model: PathBuf,
    /// Which of them, by the names of their folders: a list (`ckpt_000,ckpt_010`), ranges (`ckpt_{000..356..10}`), or a file with one a line.
    /// Without it, all.
    #[arg(long, value_name = "LIST")]
    pub(crate) revisions: Option<String>,
    #[command(flatten)]
    pub(crate) asked: AskedArgs,
    /// Tokens between two numbered checkpoints (`ckpt_100`); the first has seen one such portion.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) tokens_per_checkpoint: Option<TokenCount>,
    /// Tokens of a training step, for names with a step (`step_2500`).
    #[arg(long, value_name = "TOKENS")]
    pub(crate) tokens_per_step: Option<TokenCount>,
    /// A CSV file with the columns revision, step, tokens; goes before what checkpoints say themselves and before their names.
    #[arg(long, value_name = "FILE")]
    pub(crate) axis: Option<PathBuf>,
    /// Pass over checkpoints that can't be read, with an event, instead of ending there.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// The folder of the log: probes.jsonl, items, results, sweep.json. One that has this sweep's log is gone on with.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// A data set of the hub, as `organization/name`.
    #[arg(required_unless_present = "suite", conflicts_with = "suite")]
    pub(crate) dataset: Option<String>,
    /// All that a suite's tasks need.
    #[arg(long, conflicts_with_all = ["config", "split", "revision"])]
    pub(crate) suite: Option<String>,
    /// The configuration; without it, the only one or `default`.
    #[arg(long)]
    pub(crate) config: Option<String>,
    /// The split; without it, all.
    #[arg(long)]
    pub(crate) split: Option<String>,
    /// A branch, a tag or a commit; without it, the newest.
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// The folder of all data: what `--data`, or `data` in `[[probes]]`, then names.
    #[arg(long)]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// A model folder.
    pub(crate) checkpoint: PathBuf,
    /// The text to continue.
    #[arg(long)]
    pub(crate) prompt: String,
    /// Tokens to add at most.
    #[arg(long, default_value_t = 128)]
    pub(crate) max_new_tokens: usize,
    /// Always take the likeliest token.
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p"])]
    pub(crate) greedy: bool,
    /// Flattens (above 1) or sharpens (below 1) the distribution drawn from.
    #[arg(long, default_value_t = 0.8, value_parser = positive)]
    pub(crate) temperature: f64,
    /// Draw from this many likeliest tokens only.
    #[arg(long, value_parser = at_least_one)]
    pub(crate) top_k: Option<usize>,
    /// Draw from the likeliest tokens that together have this probability.
    #[arg(long, value_parser = mass)]
    pub(crate) top_p: Option<f64>,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where to compute: `cpu`, `wgpu` or `cuda:N`, if this build has it.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceName,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    /// Run a configuration unbroken and with a stop in the middle, and compare all that the two leave, byte for byte.
    Resume {
        #[command(flatten)]
        config: ConfigArgs,
        /// Steps that are compared, from the first on.
        #[arg(long, default_value_t = 20)]
        steps: u64,
        /// The step after which the second run stops and is started again; without it, half of the steps.
        #[arg(long)]
        stop_at: Option<u64>,
    },
    /// Name the first step, and the first tensor, at which two runs part. Exit code 0: they don't, as far as both have come; 1: they do.
    Diff {
        /// One run's folder.
        left: PathBuf,
        /// The other's.
        right: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Steps to time, after two that are not counted.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    pub(crate) steps: u64,
    /// Also time one round of the configured probes.
    #[arg(long)]
    pub(crate) probes: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The run's folder.
    pub(crate) run: PathBuf,
    /// Print the state once and end.
    #[arg(long)]
    pub(crate) once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) interval: f64,
}

/// What `data prepare` makes besides shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrepareRecipe {
    /// Amber's chunks.
    Amber,
}

#[derive(Debug, Args)]
pub(crate) struct DynamicsArgs {
    /// Folders of runs or sweeps.
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// What to lay them beside: amber, llama-7b, llama-13b, openllama-3b, -7b, -13b, -3b-v2, -7b-v2, or a CSV file in the form of those in docs/references.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) reference: String,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// Text: a file, a folder or a glob of .txt, .jsonl, .gz, .zst.
    pub(crate) input: String,
    /// Where the shards go, without ending; with a recipe, the folder of its chunks. A call that was interrupted goes on there.
    #[arg(long)]
    pub(crate) output: PathBuf,
    /// `amber`: rows in chunks, `train_000.jsonl` and on, as amber-data-prep makes them. Each file or folder in INPUT is then a subset.
    #[arg(long, value_enum, hide_possible_values = true)]
    pub(crate) recipe: Option<PrepareRecipe>,
    /// How many chunks.
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u64).range(1..=100_000), requires = "recipe")]
    pub(crate) chunks: u64,
    /// Token ids of a row: `data.seq_len` and one.
    #[arg(long, default_value_t = 2049, value_parser = at_least_two, requires = "recipe")]
    pub(crate) row_len: usize,
    /// Rows of each subset that are kept out of the chunks, in `valid_SUBSET.jsonl`.
    #[arg(long, default_value_t = 102_400, requires = "recipe")]
    pub(crate) validation_rows: u64,
    /// What the draw of those rows is keyed by.
    #[arg(long, default_value_t = 0, requires = "recipe")]
    pub(crate) seed: u64,
    /// The tokenizer file.
    #[arg(long)]
    pub(crate) tokenizer: PathBuf,
    /// The field of a JSON line that holds the text.
    #[arg(long, default_value = "text")]
    pub(crate) field: String,
    /// Leave out the token that begins a document. Amber has none in any case.
    #[arg(long)]
    pub(crate) no_bos: bool,
    /// Leave out the token that ends a document.
    #[arg(long)]
    pub(crate) no_eos: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenizerTrainArgs {
    /// Text: a file, a folder or a glob.
    pub(crate) input: String,
    /// Tokens in the vocabulary, special tokens included.
    #[arg(long, value_parser = vocabulary)]
    pub(crate) vocab_size: usize,
    /// Where the tokenizer goes (`tokenizer.json`).
    #[arg(long)]
    pub(crate) output: PathBuf,
    /// The field of a JSON line that holds the text.
    #[arg(long, default_value = "text")]
    pub(crate) field: String,
}
