//! `fineline tokenizer`: tokenizers trained and inspected.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Result, bail};
use fineline_data::{SourceConfig, TextSource, Tokenizer, TokenizerComparison, train_bpe};

use crate::args::TokenizerTrainArgs;
use crate::output::{grouped, print};

/// `fineline tokenizer train`
pub(crate) fn train(args: &TokenizerTrainArgs) -> Result<()> {
    let source = SourceConfig {
        name: args.input.clone(),
        path: args.input.clone(),
        field: args.field.clone(),
        weight: 1.0,
    };
    let Some(text) = TextSource::open(&source)? else {
        bail!("{}: expected text, found token shards", args.input)
    };
    let tokenizer = train_bpe(text.documents(), args.vocab_size, &args.output)?;
    print(&format!("{}: {} tokens\n", args.output.display(), grouped(tokenizer.vocab_size() as u64)))
}

/// `fineline tokenizer inspect`
pub(crate) fn inspect(path: &Path, text: Option<&str>) -> Result<()> {
    let tokenizer = Tokenizer::from_file(path)?;
    let mut page = String::new();
    let format_token = |id: u32| format!("{} ({id})", tokenizer.token(id).unwrap_or_default());
    let format_special = |id: Option<u32>| id.map_or_else(|| "none".to_owned(), format_token);
    writeln!(page, "{}", tokenizer.path().display())?;
    writeln!(page, "kind         {}", tokenizer.kind())?;
    if let Some(settings) = tokenizer.settings() {
        writeln!(page, "settings     {settings}")?;
    }
    writeln!(page, "vocabulary   {}", grouped(tokenizer.vocab_size() as u64))?;
    writeln!(page, "BOS          {}", format_special(tokenizer.bos_id()))?;
    writeln!(page, "EOS          {}", format_special(tokenizer.eos_id()))?;
    writeln!(page, "special      {}", shortened(&tokenizer.special_tokens(), format_token))?;
    match tokenizer.compare_files()? {
        TokenizerComparison::SingleFile => {}
        TokenizerComparison::Same => {
            writeln!(page, "files        tokenizer.json and tokenizer.model give the same ids")?;
        }
        TokenizerComparison::Different { text } => {
            let found = format!("tokenizer.json and tokenizer.model give different ids for {text:?}");
            writeln!(page, "files        {found}")?;
        }
    }
    writeln!(page, "fingerprint  {}", tokenizer.fingerprint())?;
    let text = match text {
        Some(text) => text.to_owned(),
        None if std::io::stdin().is_terminal() => String::new(),
        None => std::io::read_to_string(std::io::stdin())?,
    };
    for id in tokenizer.encode(&text)? {
        writeln!(page, "{id:>7}  {:?}", tokenizer.token(id).unwrap_or_default())?;
    }
    print(&page)
}

/// Formats the first few ids, and the number of the others.
fn shortened(ids: &[u32], format_token: impl Fn(u32) -> String) -> String {
    const SHOWN: usize = 8;
    if ids.is_empty() {
        return "none".to_owned();
    }
    let shown = ids.iter().take(SHOWN).map(|&id| format_token(id)).collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
