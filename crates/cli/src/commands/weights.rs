//! `fineline weights inspect`, `import` and `export`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use fineline_model::{
    ArchitectureSource, Conversion, ConversionFormat, ConversionReport, Inspection, LlamaConfig,
    ModelWeightsError, inspect as inspect_weights, read_config, read_config_file,
};
use fineline_run::StopSignal;
use fineline_run::checkpoints::find_weights;
use fineline_weights::{Dtype, IgnoredEntry};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::args::{ConversionArgs, DtypeArg, ExportArgs, ImportArgs, InspectArgs, LayoutArg};
use crate::messages::is_json;
use crate::messages::print_message;
use crate::outcome::CommandOutcome;
use crate::output::{grouped, print, print_json};
use crate::signals::stop_on_signals;

/// Maximum number of names that are listed in full.
const SHOWN_NAMES: usize = 5;

/// `fineline weights inspect`
pub(crate) fn inspect(args: &InspectArgs) -> Result<()> {
    let checkpoint = find_weights(&args.checkpoint)?;
    let config = match &args.config {
        Some(given) => match architecture(given)? {
            ArchitectureSource::Known(config) => Some(*config),
            ArchitectureSource::File(file) => Some(read_config_file(&file)?),
            ArchitectureSource::Beside => None,
        },
        None if directory_of(&checkpoint).join("config.json").is_file() => {
            Some(read_config(directory_of(&checkpoint))?)
        }
        None => None,
    };
    let found = inspect_weights(&checkpoint, config.as_ref())?;
    if args.json {
        let mut object = json!(found);
        object["config"] = json!(config);
        object["expected_parameters"] = json!(config.as_ref().map(LlamaConfig::parameter_count));
        return print_json(&object);
    }
    print(&listing(&found, config.as_ref())?)
}

/// Returns the directory that a path is or is in.
fn directory_of(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

fn listing(found: &Inspection, config: Option<&LlamaConfig>) -> Result<String> {
    let mut text = String::new();
    let width = found.tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    for tensor in &found.tensors {
        writeln!(text, "{:<width$}  {:<5}  {:?}", tensor.name, tensor.dtype, tensor.shape)?;
    }
    let dtypes = format_dtypes(&found.dtypes);
    let (tensors, parameters, bytes) = (found.tensors.len(), grouped(found.parameters), grouped(found.bytes));
    write!(text, "{}: {tensors} tensors ({dtypes}), {parameters} parameters, {bytes} bytes; ", found.layout)?;
    match config {
        Some(config) => {
            writeln!(text, "config.json describes {} parameters", grouped(config.parameter_count()))?;
        }
        None => writeln!(text, "no config.json next to them")?,
    }
    write_ignored(&mut text, &found.ignored)?;
    for (what, names) in [("missing", &found.missing), ("unexpected", &found.unexpected)] {
        if !names.is_empty() {
            writeln!(text, "{what}: {}", shortened(names))?;
        }
    }
    if !found.companions.is_empty() {
        writeln!(text, "other files: {}", found.companions.join(", "))?;
    }
    Ok(text)
}

/// `fineline weights import`
pub(crate) fn import(args: &ImportArgs) -> Result<CommandOutcome> {
    let format = ConversionFormat::SafeTensors { max_shard_bytes: args.conversion.max_shard_size };
    convert(&args.source, format, &args.conversion)
}

/// `fineline weights export`
pub(crate) fn export(args: &ExportArgs) -> Result<CommandOutcome> {
    let format = match args.to {
        LayoutArg::Safetensors => {
            ConversionFormat::SafeTensors { max_shard_bytes: args.conversion.max_shard_size }
        }
        LayoutArg::Easylm => ConversionFormat::EasyLm,
    };
    convert(&args.checkpoint, format, &args.conversion)
}

fn convert(source: &Path, format: ConversionFormat, args: &ConversionArgs) -> Result<CommandOutcome> {
    let conversion = Conversion {
        source: find_weights(source)?,
        architecture: args.config.as_deref().map_or(Ok(ArchitectureSource::Beside), architecture)?,
        out: args.out.clone(),
        format,
        dtype: args.dtype.map(|dtype| match dtype {
            DtypeArg::F32 => Dtype::F32,
            DtypeArg::F16 => Dtype::F16,
            DtypeArg::Bf16 => Dtype::BF16,
        }),
    };
    let stop = StopSignal::default();
    stop_on_signals(&stop)?;
    let bar = progress_bar();
    let converted = conversion.run(&mut |bytes| {
        bar.inc(bytes);
        if stop.requested().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    match (converted, stop.requested()) {
        (Err(error), Some(signal)) if error.is_stop() => {
            print_message(&error.to_string());
            Ok(CommandOutcome::Stopped { signal: signal as u8 })
        }
        (Ok(report), _) if args.json => print_json(&report).map(|()| CommandOutcome::Done),
        (Ok(report), _) => print(&summary(&report)?).map(|()| CommandOutcome::Done),
        (Err(error), _) => Err(error.into()),
    }
}

/// Returns the architecture that `--config` names: a file or a preset.
fn architecture(given: &Path) -> Result<ArchitectureSource, ModelWeightsError> {
    if given.is_file() {
        return Ok(ArchitectureSource::File(given.to_owned()));
    }
    if given.is_dir() || given.extension().is_some() {
        return Ok(ArchitectureSource::File(if given.is_dir() {
            given.join("config.json")
        } else {
            given.to_owned()
        }));
    }
    Ok(ArchitectureSource::Known(Box::new(LlamaConfig::preset(&given.to_string_lossy())?)))
}

/// Returns a bar that counts the bytes written and compared, hidden unless standard error is a terminal.
fn progress_bar() -> ProgressBar {
    let is_terminal = !is_json() && std::io::stderr().is_terminal();
    let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style =
        ProgressStyle::with_template("{spinner} {bytes} written and compared, {bytes_per_sec}, {elapsed}");
    bar.set_style(style.expect("the template is valid"));
    bar
}

fn summary(report: &ConversionReport) -> Result<String> {
    let mut text = String::new();
    let ConversionReport { source, written, parity, .. } = report;
    let gigabytes = |bytes: u64, seconds: f64| bytes as f64 / 1e9 / seconds.max(1e-9);
    writeln!(
        text,
        "read      {} ({}): {} tensors ({}), {} parameters, {} bytes",
        source.path.display(),
        source.layout,
        source.tensors,
        format_dtypes(&source.dtypes),
        grouped(source.parameters),
        grouped(source.bytes)
    )?;
    writeln!(
        text,
        "written   {} ({}): {}, {} bytes in {:.1} s ({:.2} GB/s)",
        report.out.display(),
        report.layout,
        shortened(&written.files),
        grouped(written.bytes),
        report.write_s,
        gigabytes(written.bytes, report.write_s)
    )?;
    if !report.copied.is_empty() {
        writeln!(text, "copied    {}", report.copied.join(", "))?;
    }
    write_ignored(&mut text, &report.ignored)?;
    write!(text, "verified  {} tensors read back, ", parity.tensors)?;
    match parity.rounding {
        None => writeln!(text, "identical to the source ({:.1} s)", report.compare_s)?,
        Some(rounding) => writeln!(
            text,
            "identical to the rounded source: largest error {:.3e}, {} values became infinite ({:.1} s)",
            rounding.largest_error,
            grouped(rounding.overflowed),
            report.compare_s
        )?,
    }
    Ok(text)
}

/// Formats the number of tensors of each data type, for example `291 BF16`.
fn format_dtypes(counts: &BTreeMap<String, usize>) -> String {
    counts.iter().map(|(dtype, count)| format!("{count} {dtype}")).collect::<Vec<_>>().join(", ")
}

/// Writes the names of ignored tensors, grouped by reason.
fn write_ignored(text: &mut String, ignored: &[IgnoredEntry]) -> Result<()> {
    let mut by_reason: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for IgnoredEntry { name, reason } in ignored {
        by_reason.entry(reason).or_default().push(name);
    }
    for (reason, names) in by_reason {
        writeln!(text, "ignored   {}: {reason}", shortened(&names))?;
    }
    Ok(())
}

/// Returns the first few names and the number of the others.
fn shortened(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN_NAMES).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
