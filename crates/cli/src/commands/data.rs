use std::fmt::Write;

use anyhow::Result;
use fineline_data::{
    DataError, Dataset, SourceConfig, Tokenizer, TokenizerConfig, prepare as prepare_shards,
};
use fineline_run::config::Resolved;
use fineline_run::prepare::open_dataset;
use serde_json::json;

use super::{grouped, load, print, print_json};
use crate::UsageError;
use crate::args::{ConfigArgs, PrepareArgs};
use crate::console::Console;

/// `fineline data prepare`
pub(crate) fn prepare(args: &PrepareArgs) -> Result<()> {
    let policy =
        TokenizerConfig { add_bos: !args.no_bos, add_eos: !args.no_eos, ..TokenizerConfig::default() };
    let tokenizer = Tokenizer::from_file(&args.tokenizer)?.with_policy(&policy).map_err(by_flag)?;
    let source = SourceConfig {
        name: args.input.clone(),
        path: args.input.clone(),
        field: args.field.clone(),
        weight: 1.0,
    };
    let console = Console::new();
    let info = prepare_shards(&source, &tokenizer, &args.output, &mut |at| {
        console.announce(format!("{} documents, {} tokens", grouped(at.documents), grouped(at.tokens)));
    });
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

/// The flag at fault, where it is one.
fn by_flag(error: DataError) -> anyhow::Error {
    let DataError::NoMark { key, token, path } = &error else { return error.into() };
    let flag = key.replace("add_", "--no-");
    let path = path.display();
    UsageError(format!("{path} has no {token} token: give {flag}, or name one in tokenizer_config.json"))
        .into()
}

/// Opens the rows of a run, showing what takes time.
fn open(resolved: &Resolved) -> Result<(Tokenizer, Dataset)> {
    let mut console = Console::new();
    let opened = open_dataset(resolved, &mut |progress| console.show(progress));
    console.finish();
    Ok(opened?)
}

/// `fineline data show`
pub(crate) fn show(args: &ConfigArgs, step: u64, only: Option<u64>) -> Result<()> {
    let resolved = load(args)?;
    let global_batch = resolved.config.train.global_batch as u64;
    if only.is_some_and(|row| row >= global_batch) {
        return Err(UsageError(format!("--row must be below train.global_batch ({global_batch})")).into());
    }
    let (tokenizer, dataset) = open(&resolved)?;
    let mut page = String::new();
    for number in only.map_or(0..global_batch, |row| row..row + 1) {
        let index = (step - 1) * global_batch + number;
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
    let rows = config.train.total_steps(config.data.seq_len)? * config.train.global_batch as u64;
    let (sources, epochs) = (dataset.sources(), dataset.epochs(rows));
    if as_json {
        return print_json(
            &json!({ "fingerprint": dataset.fingerprint(), "rows": rows, "sources": sources, "epochs": epochs }),
        );
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
