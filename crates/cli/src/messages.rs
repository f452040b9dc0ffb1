//! What is said on standard error: lines for people, or one JSON object a line.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Under this name JSON lines of the program itself appear, whatever diagnostics are selected.
pub(crate) const TARGET: &str = "fineline::cli";

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Says everything from here on in this form. The first call decides.
pub(crate) fn start(format: LogFormat) {
    if FORMAT.set(format).is_err() {
        return;
    }
    let filter = EnvFilter::try_from_env("FINELINE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let builder = tracing_subscriber::fmt().with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let builder = builder.with_env_filter(filter).with_ansi(io::stderr().is_terminal());
            builder.without_time().with_target(false).init();
        }
        LogFormat::Json => {
            let own = format!("{TARGET}=info").parse().expect("a target and a level make a directive");
            builder.with_env_filter(filter.add_directive(own)).json().init();
        }
    }
}

/// Whether standard error is for programs.
pub(crate) fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// Writes a line to standard error. That nobody reads it any more is no reason to fail.
pub(crate) fn say(line: &str) {
    if is_json() {
        tracing::info!(target: TARGET, "{line}");
    } else {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Says why the command failed.
pub(crate) fn say_error(message: &str) {
    if is_json() {
        tracing::error!(target: TARGET, "{message}");
    } else {
        say(&format!("error: {message}"));
    }
}
