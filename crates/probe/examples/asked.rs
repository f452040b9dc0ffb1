//! What a suite puts to a model, as JSON lines: `asked CHECKPOINT SUITE DATA [ITEMS]`, with the tokenizer and the context length of a Hugging
//! Face folder. Each line has the item's texts and, for a choice, the token ids of its context and of what is scored.

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
        folders: vec![PathBuf::from("configs/probes")],
        data: vec![PathBuf::from(data)],
        ..Catalog::default()
    };
    let options = SuiteOptions {
        tokenizer: &tokenizer,
        max_len: read_config(&checkpoint)?.max_position_embeddings,
        items: items.first().map(|items| items.parse()).transpose()?,
        tasks: &[],
        code: CodeExecution::Forbidden,
    };
    let suite = Suite::load(&catalog, suite, options)?;
    for asked in suite.asked() {
        let item = suite.tasks().find(|task| task.name == asked.task).map(|task| &task.items[asked.item]);
        println!(
            "{}",
            json!({
                "task": asked.task,
                "item": asked.item,
                "choice": asked.choice,
                "unconditional": asked.unconditional,
                "context": item.map(|item| &item.context),
                "right": item.map(|item| [&[item.gold], &item.also_right[..]].concat()),
                "answers": item.map(|item| &item.answers),
                "context_ids": asked.context,
                "continuation_ids": asked.continuation,
            })
        );
    }
    Ok(())
}
