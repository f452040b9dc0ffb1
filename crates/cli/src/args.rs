//! The command line: subcommands, their arguments and help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fineline_hub::ModelAddress;
use fineline_run::TokenCount;
use fineline_run::config::DeviceName;

use crate::arg_values::{
    at_least_one, byte_count, chunk_count, positive, probability_mass, row_length, vocab_size,
};

/// Pretrain LLaMA-style language models, and evaluate what they can do while they train.
#[derive(Debug, Parser)]
#[command(name = "fineline", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Format of diagnostics on standard error: `text` or `json`.
    ///
    /// The environment variable `FINELINE_LOG` selects the level of diagnostics, for example `info` or
    /// `fineline_data=debug`.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, hide_possible_values = true)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model, or resume an interrupted run.
    Train(TrainArgs),
    /// Show, check and compare configurations.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Estimate parameters, memory, tokens, time and disk space of a run.
    Plan(PlanArgs),
    /// Prepare and inspect training data, and download probe data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Train and inspect tokenizers.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Download, inspect and convert model weights.
    #[command(subcommand)]
    Weights(WeightsCommand),
    /// Evaluate a checkpoint on the tasks of a suite.
    Probe(ProbeArgs),
    /// Evaluate a series of checkpoints, and log the scores as if they were one run.
    Sweep(SweepArgs),
    /// Generate text from a prompt.
    Generate(GenerateArgs),
    /// Verify properties of this build on this machine.
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Measure the speed of training steps and probes.
    Bench(BenchArgs),
    /// Report which devices and features work on this machine.
    Doctor(DoctorArgs),
    /// Follow a run in the terminal.
    Watch(WatchArgs),
    /// Compare runs and sweeps with published results.
    Dynamics(DynamicsArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Write man pages, one per command.
    Man(ManArgs),
    /// Print the Markdown reference of all commands (docs/reference/cli.md).
    #[command(hide = true)]
    CliReference,
}

/// A configuration file and overrides of its values.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML).
    pub(crate) config: PathBuf,
    /// Override a value, for example `--set train.steps=500`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Where to resume from: `auto`, `never`, a checkpoint, or the URL of a run.
    ///
    /// `auto` resumes from the newest complete checkpoint, if there is one. `never` refuses a directory that
    /// already has a run. A path to a checkpoint rewinds the run to it, or, if the checkpoint belongs to
    /// another run, branches off from that run. A URL (`s3://bucket/prefix`) of a run in remote storage, or
    /// of one of its checkpoints, downloads the checkpoint and resumes from it.
    #[arg(long, value_name = "auto|never|PATH|URL", default_value = "auto")]
    pub(crate) resume: String,
    /// Do everything that precedes the first step, but don't train.
    ///
    /// Resolves the configuration, reads data, tokenizer and probes, and checks the weights against the
    /// model. Writes nothing into the run directory, and loads no model into memory.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Allow a key to differ from the value that the run was started with. May be repeated.
    #[arg(long = "allow-change", value_name = "KEY")]
    pub(crate) allow_changes: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the resolved configuration and the origin of each value.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Check a configuration and the files that it refers to, without starting a run.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Print the values in which two configurations differ.
    Diff {
        /// First configuration file.
        left: PathBuf,
        /// Second configuration file.
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
    /// Number of devices that share the work by data parallelism.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) devices: u64,
    /// Memory of one device in GiB, to check whether the run fits.
    #[arg(long, value_parser = positive)]
    pub(crate) memory: Option<f64>,
    /// Speed of one device in TFLOP/s, to estimate the time of the run. No device sustains its peak speed.
    #[arg(long, value_parser = positive)]
    pub(crate) peak_tflops: Option<f64>,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Tokenize text into token shards (`PREFIX.bin`, `PREFIX.idx`), or into the chunks of a recipe.
    Prepare(PrepareArgs),
    /// Print the rows of a training step: source, document, token ids and text.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// The step, counted from 1.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
        step: u64,
        /// Print only this row of the step, counted from 0.
        #[arg(long)]
        row: Option<u64>,
    },
    /// Download datasets for probes from the Hugging Face Hub.
    ///
    /// Reads the environment variables `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`.
    Fetch(FetchArgs),
    /// Print the number of documents, tokens and rows of each source.
    Stats {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenizerCommand {
    /// Train a byte-level BPE tokenizer.
    Train(TokenizerTrainArgs),
    /// Print a tokenizer's properties, and the tokens of a text.
    Inspect {
        /// A `tokenizer.json`, a SentencePiece `.model`, or a directory that contains one of them.
        tokenizer: PathBuf,
        /// Text to tokenize. Default: standard input, unless it is a terminal.
        #[arg(long)]
        text: Option<String>,
    },
}

/// Models to download, and where to write them.
#[derive(Debug, Args)]
pub(crate) struct FetchWeightsArgs {
    /// Models on the Hugging Face Hub, as `hf://org/name@revision`. The default revision is `main`.
    #[arg(required = true, value_name = "MODEL")]
    pub(crate) models: Vec<ModelAddress>,
    /// Directory of models. Each model is written to `org__name/REVISION` below it.
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub(crate) out: PathBuf,
    /// Read existing files and verify their hashes, and download those that have changed.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WeightsCommand {
    /// Download released weights from the Hugging Face Hub.
    ///
    /// Interrupted downloads are resumed, and all files are verified.
    Fetch(FetchWeightsArgs),
    /// List the tensors in the files of a checkpoint, in any layout.
    Inspect(InspectArgs),
    /// Convert weights of any layout to a Hugging Face model directory: safetensors, config.json, tokenizer.
    Import(ImportArgs),
    /// Convert a checkpoint for other programs, to a clean Hugging Face model directory or an EasyLM stream.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A model directory, a run directory, a file of weights, or an index of shards.
    pub(crate) checkpoint: PathBuf,
    /// Architecture of weights without a config.json: a path to a config.json, or the name of a preset.
    #[arg(long, value_name = "FILE|PRESET")]
    pub(crate) config: Option<PathBuf>,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Output of a conversion.
#[derive(Debug, Args)]
pub(crate) struct ConversionArgs {
    /// Directory to write. It must be empty or not exist.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Architecture of weights without a config.json: a path to a config.json, or the name of a preset.
    #[arg(long, value_name = "FILE|PRESET")]
    pub(crate) config: Option<PathBuf>,
    /// Data type to write. Default: that of each source tensor.
    #[arg(long, value_enum)]
    pub(crate) dtype: Option<DtypeArg>,
    /// Maximum size of a safetensors file, for example `5GB`, `500MB` or `2GiB`.
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = byte_count)]
    pub(crate) max_shard_size: u64,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A directory or file in any layout: safetensors, PyTorch `.bin`, EasyLM stream.
    pub(crate) source: PathBuf,
    #[command(flatten)]
    pub(crate) conversion: ConversionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A checkpoint of a run, a run directory, or weights in any layout.
    pub(crate) checkpoint: PathBuf,
    /// Layout to write.
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
    /// Hugging Face.
    Safetensors,
    /// EasyLM's `streaming_params`.
    Easylm,
}

/// Tasks to evaluate, and how.
#[derive(Debug, Args)]
pub(crate) struct EvaluationArgs {
    /// Suite of tasks.
    ///
    /// `tinyworld`, `in_context`, `representation`, the name of a suite in configs/probes, a path to a suite
    /// or task file (`.toml`), or a path to a task or group file of lm-evaluation-harness (`.yaml`).
    #[arg(long)]
    pub(crate) suite: String,
    /// Evaluate only these tasks, separated by commas.
    #[arg(long, value_delimiter = ',')]
    pub(crate) tasks: Vec<String>,
    /// Maximum number of items per task.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Directory with the data of the tasks, like `data_dir` in `[[probes]]`. May be repeated.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Vec<PathBuf>,
    /// Device to compute on: `cpu`, `wgpu` or `cuda:N`, if this build supports it.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceName,
    /// Allow code tasks to run the programs that the model writes, in a sandbox.
    #[arg(long)]
    pub(crate) allow_code_execution: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// A checkpoint of a run, or any Hugging Face LLaMA model directory.
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) evaluation: EvaluationArgs,
    /// Table to print: `fineline` (intervals, chance), `lm-eval` (as lm-evaluation-harness), or `both`.
    #[arg(long, value_enum, default_value_t = TableFormat::Both, hide_possible_values = true)]
    pub(crate) format: TableFormat,
    /// Write results.json, probes.jsonl and items.parquet to this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Scores with intervals and chance levels.
    Fineline,
    /// The table of lm-evaluation-harness.
    LmEval,
    /// Both tables.
    Both,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// The checkpoints: a directory of model directories, a run directory, or a glob pattern.
    ///
    /// Example of a pattern: `'models/open_llama_7b_step_*'`.
    pub(crate) model: PathBuf,
    /// Evaluate only these checkpoints, by directory name.
    ///
    /// A list (`ckpt_000,ckpt_010`), ranges (`ckpt_{000..356..10}`), or a file with one name per line.
    #[arg(long, value_name = "LIST")]
    pub(crate) revisions: Option<String>,
    #[command(flatten)]
    pub(crate) evaluation: EvaluationArgs,
    /// Tokens between two numbered checkpoints (`ckpt_100`). The first has been trained on one such portion.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) tokens_per_checkpoint: Option<TokenCount>,
    /// Tokens per training step, for names with a step (`step_2500`).
    #[arg(long, value_name = "TOKENS")]
    pub(crate) tokens_per_step: Option<TokenCount>,
    /// CSV file with the columns revision, step, tokens.
    ///
    /// Takes precedence over the steps and tokens in the checkpoints and over their names.
    #[arg(long, value_name = "FILE")]
    pub(crate) axis: Option<PathBuf>,
    /// Skip unreadable checkpoints with an event, instead of stopping at them.
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Directory for probes.jsonl, items, results and sweep.json. A log of the same sweep is continued.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// A dataset on the Hub, as `organization/name`.
    #[arg(required_unless_present = "suite", conflicts_with = "suite")]
    pub(crate) dataset: Option<String>,
    /// Download everything that the tasks of a suite need.
    #[arg(long, conflicts_with_all = ["config", "split", "revision"])]
    pub(crate) suite: Option<String>,
    /// Configuration of the dataset. Default: the only one, or `default`.
    #[arg(long)]
    pub(crate) config: Option<String>,
    /// Split of the dataset. Default: all splits.
    #[arg(long)]
    pub(crate) split: Option<String>,
    /// Branch, tag or commit. Default: the newest commit.
    #[arg(long)]
    pub(crate) revision: Option<String>,
    /// Directory to write to: the value for `--data-dir`, or for `data_dir` in `[[probes]]`.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// A model directory.
    pub(crate) checkpoint: PathBuf,
    /// Text to continue.
    #[arg(long)]
    pub(crate) prompt: String,
    /// Maximum number of tokens to generate.
    #[arg(long, default_value_t = 128)]
    pub(crate) max_new_tokens: usize,
    /// Always choose the most likely token.
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p"])]
    pub(crate) greedy: bool,
    /// Sampling temperature. Values above 1 flatten the distribution, values below 1 sharpen it.
    #[arg(long, default_value_t = 0.8, value_parser = positive)]
    pub(crate) temperature: f64,
    /// Sample only from this many of the most likely tokens.
    #[arg(long, value_parser = at_least_one)]
    pub(crate) top_k: Option<usize>,
    /// Sample only from the most likely tokens whose probabilities add up to this.
    #[arg(long, value_parser = probability_mass)]
    pub(crate) top_p: Option<f64>,
    /// Seed for sampling.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Device to compute on: `cpu`, `wgpu` or `cuda:N`, if this build supports it.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceName,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    /// Train a configuration without interruption and with one, and compare all outputs byte for byte.
    Resume {
        #[command(flatten)]
        config: ConfigArgs,
        /// Number of steps to train and compare.
        #[arg(long, default_value_t = 20)]
        steps: u64,
        /// Step after which the second run is stopped and resumed. Default: half of the steps.
        #[arg(long)]
        stop_at: Option<u64>,
    },
    /// Find the first step, and the first tensor, at which two runs differ.
    ///
    /// The exit code is 0 if the runs are equal in all steps that both have logged, and 1 if they differ.
    Diff {
        /// First run directory.
        left: PathBuf,
        /// Second run directory.
        right: PathBuf,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Number of steps to measure, after two warm-up steps.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..1 << 32))]
    pub(crate) steps: u64,
    /// Also measure one evaluation round of the configured probes.
    #[arg(long)]
    pub(crate) probes: bool,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The run directory.
    pub(crate) run: PathBuf,
    /// Print the state once and exit.
    #[arg(long)]
    pub(crate) once: bool,
    /// Seconds between two updates.
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    pub(crate) interval: f64,
}

/// Recipes of `data prepare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrepareRecipe {
    /// The chunks of Amber.
    Amber,
}

#[derive(Debug, Args)]
pub(crate) struct DynamicsArgs {
    /// Directories of runs or sweeps.
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Published results to compare with.
    ///
    /// `amber`, `llama-7b`, `llama-13b`, `openllama-3b`, `-7b`, `-13b`, `-3b-v2`, `-7b-v2`, or a CSV file in
    /// the format of those in docs/references.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) reference: String,
    /// Print a JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// Text: a file, a directory or a glob pattern of `.txt` and `.jsonl` files, also as `.gz` or `.zst`.
    pub(crate) input: String,
    /// Prefix of the shards, or with `--recipe` the directory of the chunks.
    ///
    /// If an earlier call was interrupted, the same command continues it.
    #[arg(long)]
    pub(crate) output: PathBuf,
    /// `amber`: write rows in chunks (`train_000.jsonl` and so on) as amber-data-prep does.
    ///
    /// Each file or directory in INPUT is one subset.
    #[arg(long, value_enum, hide_possible_values = true)]
    pub(crate) recipe: Option<PrepareRecipe>,
    /// Number of chunks.
    #[arg(long, default_value_t = 360, value_parser = chunk_count(), requires = "recipe")]
    pub(crate) chunks: u64,
    /// Token ids per row: `data.seq_len` + 1.
    #[arg(long, default_value_t = 2049, value_parser = row_length, requires = "recipe")]
    pub(crate) row_len: usize,
    /// Number of rows of each subset that are held out of the chunks, in `valid_SUBSET.jsonl`.
    #[arg(long, default_value_t = 102_400, requires = "recipe")]
    pub(crate) validation_rows: u64,
    /// Seed for the choice of the validation rows.
    #[arg(long, default_value_t = 0, requires = "recipe")]
    pub(crate) seed: u64,
    /// Tokenizer file.
    #[arg(long)]
    pub(crate) tokenizer: PathBuf,
    /// JSON field that contains the text.
    #[arg(long, default_value = "text")]
    pub(crate) field: String,
    /// Don't write BOS before each document. The Amber recipe never writes it.
    #[arg(long)]
    pub(crate) no_bos: bool,
    /// Don't write EOS after each document.
    #[arg(long)]
    pub(crate) no_eos: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenizerTrainArgs {
    /// Text: a file, a directory or a glob pattern.
    pub(crate) input: String,
    /// Number of tokens in the vocabulary, special tokens included.
    #[arg(long, value_parser = vocab_size)]
    pub(crate) vocab_size: usize,
    /// File to write (`tokenizer.json`).
    #[arg(long)]
    pub(crate) output: PathBuf,
    /// JSON field that contains the text.
    #[arg(long, default_value = "text")]
    pub(crate) field: String,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Directory to write `fineline.1`, `fineline-train.1` and so on to. It is created if needed.
    pub(crate) dir: PathBuf,
}
