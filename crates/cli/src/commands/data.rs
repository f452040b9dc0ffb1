//! `fineline data prepare`, `show` and `stats`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fineline_data::{
    ChunkSpec, DataError, Dataset, PreparationProgress, SourceConfig, Tokenizer, TokenizerConfig,
    make_chunks, prepare as make_shards,
};
use fineline_run::RunDirectory;
use fineline_run::config::Resolved;
use fineline_run::lifecycle::rewinds::{RowRange, RowSchedule, skipped_rows};
use fineline_run::prepare::open_dataset;
use serde_json::json;

use crate::args::{ConfigArgs, PrepareArgs, PrepareRecipe};
use crate::configuration::load;
use crate::console::Console;
use crate::failure::UsageError;
use crate::output::{grouped, print, print_json};

/// `fineline data prepare`
pub(crate) fn prepare(args: &PrepareArgs) -> Result<()> {
    let policy = TokenizerConfig {
        add_bos: !args.no_bos && args.recipe.is_none(),
        add_eos: !args.no_eos,
        ..TokenizerConfig::default()
    };
    let tokenizer = Tokenizer::from_file(&args.tokenizer)?.with_policy(&policy).map_err(with_flag)?;
    match args.recipe {
        Some(PrepareRecipe::Amber) => prepare_chunks(args, &tokenizer),
        None => prepare_shards(args, &tokenizer),
    }
}

/// Shows the progress of tokenization.
fn announce(console: &Console, at: &PreparationProgress<'_>) {
    let (documents, tokens) = (grouped(at.documents), grouped(at.tokens));
    console.announce(format!("{}: {documents} documents, {tokens} tokens", at.source));
}

fn prepare_chunks(args: &PrepareArgs, tokenizer: &Tokenizer) -> Result<()> {
    let spec = ChunkSpec {
        row_len: args.row_len,
        chunks: args.chunks,
        validation_rows: args.validation_rows,
        seed: args.seed,
    };
    let console = Console::new();
    let mut report = |at: &PreparationProgress<'_>| announce(&console, at);
    let made = make_chunks(&subsets(args)?, tokenizer, &spec, &args.output, &mut report);
    console.finish();
    let made = made?;
    print(&format!(
        "{}: {} chunks of {} rows of {} ids each, from {}; {} rows unused\n",
        args.output.display(),
        grouped(args.chunks),
        grouped(made.rows),
        grouped(args.row_len as u64),
        made.sources.join(", "),
        grouped(made.unused_rows)
    ))
}

/// Returns the files and directories in the input directory, or the input itself if it is a file, as sources.
///
/// Each source has the name of its file without the extension.
fn subsets(args: &PrepareArgs) -> Result<Vec<SourceConfig>> {
    let input = Path::new(&args.input);
    let paths = if input.is_dir() {
        let entries = fs_err::read_dir(input)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        entries.into_iter().filter(|path| !name_of(path).starts_with('.')).collect()
    } else {
        vec![input.to_owned()]
    };
    let source = |path: &PathBuf| SourceConfig {
        name: name_of(path).split('.').next().unwrap_or_default().to_owned(),
        path: path.to_string_lossy().into_owned(),
        field: args.field.clone(),
        weight: 1.0,
    };
    let sources: Vec<SourceConfig> = paths.iter().map(source).collect();
    let mut names = BTreeSet::new();
    if let Some(twice) = sources.iter().find(|source| !names.insert(&source.name)) {
        let message = format!("{}: two subsets have the name `{}`", args.input, twice.name);
        return Err(UsageError(message).into());
    }
    Ok(sources)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn prepare_shards(args: &PrepareArgs, tokenizer: &Tokenizer) -> Result<()> {
    let source = SourceConfig {
        name: args.input.clone(),
        path: args.input.clone(),
        field: args.field.clone(),
        weight: 1.0,
    };
    let console = Console::new();
    let info = make_shards(&source, tokenizer, &args.output, &mut |at| announce(&console, at));
    console.finish();
    let info = info?;
    let prefix = args.output.display();
    print(&format!(
        "{prefix}.bin, {prefix}.idx: {} documents, {} tokens, {} bytes of text\n",
        grouped(info.documents),
        grouped(info.tokens),
        grouped(info.text_bytes)
    ))
}

/// Names the flag that is wrong, if the error is about one.
fn with_flag(error: DataError) -> anyhow::Error {
    let DataError::NoBoundaryToken { key, token, path } = &error else { return error.into() };
    let flag = key.replace("add_", "--no-");
    let path = path.display();
    UsageError(format!("{path} has no {token} token: give {flag}, or name one in tokenizer_config.json"))
        .into()
}

/// Opens the tokenizer and the dataset of a run, and shows the progress.
fn open(resolved: &Resolved) -> Result<(Tokenizer, Dataset)> {
    let mut console = Console::new();
    let opened = open_dataset(resolved, &mut |progress| console.show(progress));
    console.finish();
    Ok(opened?)
}

/// `fineline data show`
pub(crate) fn show(args: &ConfigArgs, step: u64, only: Option<u64>) -> Result<()> {
    let resolved = load(args)?;
    let global_batch_size = resolved.config.train.global_batch_size as u64;
    if only.is_some_and(|row| row >= global_batch_size) {
        return Err(
            UsageError(format!("--row must be below train.global_batch_size ({global_batch_size})")).into()
        );
    }
    let (tokenizer, dataset) = open(&resolved)?;
    let directory = RunDirectory::new(&resolved.config.run.dir);
    let rows = RowSchedule::new(resolved.config.train.global_batch_size, skipped_rows(&directory)?);
    let mut page = String::new();
    for RowRange { start, end } in rows.skipped_rows().ranges() {
        writeln!(
            page,
            "rows {start} to {} are skipped by the run in {}",
            end - 1,
            directory.root().display()
        )?;
    }
    let positions = only.map_or(0..global_batch_size, |row| row..row + 1);
    let indices = rows.rows_at(step, positions.start as usize..positions.end as usize);
    for (number, index) in positions.zip(indices) {
        let (row, origin) = (dataset.row(index), dataset.origin(index));
        writeln!(
            page,
            "step {step} row {number}: {} epoch {} row {}",
            origin.source, origin.epoch, origin.row
        )?;
        for part in &origin.documents {
            let ids = &row.tokens[part.at.clone()];
            let (document, tokens) = (part.document, &part.tokens);
            writeln!(page, "  document {document}, its tokens {} to {}", tokens.start, tokens.end)?;
            writeln!(page, "    ids  {ids:?}")?;
            writeln!(page, "    text {:?}", tokenizer.decode(ids)?)?;
        }
    }
    print(&page)
}

/// `fineline data stats`
pub(crate) fn stats(args: &ConfigArgs, as_json: bool) -> Result<()> {
    let resolved = load(args)?;
    let (_, dataset) = open(&resolved)?;
    let config = &resolved.config;
    let rows = config.train.total_steps(config.data.seq_len)? * config.train.global_batch_size as u64;
    let (sources, epochs) = (dataset.sources(), dataset.epochs(rows));
    if as_json {
        return print_json(&json!({
            "fingerprint": dataset.fingerprint(),
            "rows": rows,
            "sources": sources,
            "epochs": epochs,
        }));
    }
    let mut page = String::new();
    writeln!(
        page,
        "{:<16} {:>7} {:>12} {:>16} {:>14} {:>12} {:>8}",
        "source", "share", "documents", "tokens", "validation", "rows", "epochs"
    )?;
    for (source, epochs) in sources.iter().zip(epochs) {
        writeln!(
            page,
            "{:<16} {:>7.4} {:>12} {:>16} {:>14} {:>12} {:>8.3}",
            source.name,
            source.share,
            grouped(source.documents),
            grouped(source.tokens),
            grouped(source.validation_tokens),
            grouped(source.rows),
            epochs
        )?;
    }
    print(&page)
}
