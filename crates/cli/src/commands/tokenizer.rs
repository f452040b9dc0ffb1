use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail};
use fineline_data::{SourceConfig, TextSource, Tokenizer, train_bpe};

use super::{grouped, print};
use crate::args::TokenizerTrainArgs;

/// `fineline tokenizer train`
pub(crate) fn train(args: &TokenizerTrainArgs) -> Result<()> {
    let source = SourceConfig {
        name: args.input.clone(),
        path: args.input.clone(),
        field: args.field.clone(),
        weight: 1.0,
    };
    let Some(text) = TextSource::open(&source)? else {
        bail!("{}: these are token shards, not text", args.input)
    };
    let tokenizer = train_bpe(text.documents(), args.vocab_size, &args.output)?;
    print(&format!("{}: {} tokens\n", args.output.display(), grouped(tokenizer.vocab_size() as u64)))
}

/// `fineline tokenizer inspect`
pub(crate) fn inspect(path: &Path, text: Option<&str>) -> Result<()> {
    let tokenizer = Tokenizer::from_file(path)?;
    let mut page = String::new();
    let mark = |id: Option<u32>| {
        id.map_or_else(
            || "none".to_owned(),
            |id| format!("{} ({id})", tokenizer.token(id).unwrap_or_default()),
        )
    };
    writeln!(page, "{}", tokenizer.path().display())?;
    writeln!(page, "vocabulary   {}", grouped(tokenizer.vocab_size() as u64))?;
    writeln!(page, "BOS          {}", mark(tokenizer.bos_id()))?;
    writeln!(page, "EOS          {}", mark(tokenizer.eos_id()))?;
    writeln!(page, "fingerprint  {}", tokenizer.fingerprint())?;
    let text =
        if let Some(text) = text { text.to_owned() } else { std::io::read_to_string(std::io::stdin())? };
    for id in tokenizer.encode(&text)? {
        writeln!(page, "{id:>7}  {:?}", tokenizer.token(id).unwrap_or_default())?;
    }
    print(&page)
}
