//! Messages on standard error: lines of text, or one JSON object per line.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;

/// Target of the program's own messages in JSON. They are written whatever `FINELINE_LOG` selects.
pub(crate) const TARGET: &str = "fineline::cli";

static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Initializes diagnostics in this format. Later calls have no effect.
pub(crate) fn init(format: LogFormat) {
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

/// Returns whether messages are JSON.
pub(crate) fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// Prints a line to standard error. A closed standard error is ignored.
pub(crate) fn print_message(line: &str) {
    if is_json() {
        tracing::info!(target: TARGET, "{line}");
    } else {
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// Prints an error message.
pub(crate) fn print_error(message: &str) {
    if is_json() {
        tracing::error!(target: TARGET, "{message}");
    } else {
        print_message(&format!("error: {message}"));
    }
}
