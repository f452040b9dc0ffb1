//! The requests of a suite as JSON lines: `request_tokens CHECKPOINT SUITE DATA [ITEMS]`, with the tokenizer
//! and the context length of a Hugging Face directory. Each line has the item's texts and, for a choice, the
//! token ids of its context and of what is scored.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::error::Error;
use std::path::PathBuf;

use fineline_data::Tokenizer;
use fineline_model::read_config;
use fineline_probe::{Catalog, CodeExecution, Suite, SuiteOptions};
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [checkpoint, suite, data, items @ ..] = &arguments[..] else {
        return Err("expected CHECKPOINT SUITE DATA [ITEMS]".into());
    };
    let checkpoint = PathBuf::from(checkpoint);
    let tokenizer = Tokenizer::from_file(&checkpoint)?;
    let catalog = Catalog {
        suite_dirs: vec![PathBuf::from("configs/probes")],
        data_dirs: vec![PathBuf::from(data)],
        ..Catalog::default()
    };
    let options = SuiteOptions {
        tokenizer: &tokenizer,
        max_len: read_config(&checkpoint)?.max_position_embeddings,
        limit: items.first().map(|items| items.parse()).transpose()?,
        tasks: &[],
        code: CodeExecution::Forbidden,
    };
    let suite = Suite::load(&catalog, suite, options)?;
    for request in suite.request_tokens() {
        let item = suite.tasks().find(|task| task.name == request.task).map(|task| &task.items[request.item]);
        println!(
            "{}",
            json!({
                "task": request.task,
                "item": request.item,
                "choice": request.choice,
                "unconditional": request.unconditional,
                "context": item.map(|item| &item.context),
                "right": item.map(|item| [&[item.gold], &item.other_gold[..]].concat()),
                "answers": item.map(|item| &item.answers),
                "context_ids": request.context,
                "continuation_ids": request.continuation,
            })
        );
    }
    Ok(())
}
