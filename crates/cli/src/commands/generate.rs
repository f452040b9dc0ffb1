//! `fineline generate`: text from a prompt.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::Result;
use fineline_model::{FinishReason, GenerateConfig, Sampling, generate as generate_tokens, load};
use fineline_run::checkpoints::find_checkpoint;
use fineline_run::tools::offline_probe::open_checkpoint_tokenizer;
use serde_json::json;

use crate::args::GenerateArgs;
use crate::messages::print_message;
use crate::output::print_json;

/// `fineline generate`
pub(crate) fn generate(args: &GenerateArgs) -> Result<()> {
    let checkpoint = find_checkpoint(&args.checkpoint)?;
    let tokenizer = open_checkpoint_tokenizer(&checkpoint)?;
    let model = load(&checkpoint, &args.device.open()?)?;
    let mut prompt: Vec<u32> = tokenizer.boundary_tokens().bos.into_iter().collect();
    prompt.extend(tokenizer.encode(&args.prompt)?);
    let sampling = if args.greedy {
        Sampling::Greedy
    } else {
        Sampling::Random {
            temperature: args.temperature,
            top_k: args.top_k,
            top_p: args.top_p,
            seed: args.seed,
        }
    };
    let config = GenerateConfig {
        max_new_tokens: args.max_new_tokens,
        sampling,
        stop: tokenizer.eos_id().into_iter().collect(),
    };
    let mut out = std::io::stdout().lock();
    let mut tokens = prompt.clone();
    let mut shown = tokenizer.decode(&tokens)?.len();
    let mut prompt_to_show = if args.json { "" } else { &args.prompt };
    let mut failure = None;
    // Text is printed as it is generated. An incomplete character waits for its remaining tokens.
    let mut show = |token: u32| -> Result<()> {
        write!(out, "{}", std::mem::take(&mut prompt_to_show))?;
        tokens.push(token);
        let text = tokenizer.decode(&tokens)?;
        if let Some(new) = text.get(shown..).filter(|new| !args.json && !new.ends_with('\u{fffd}')) {
            write!(out, "{new}")?;
            out.flush()?;
            shown = text.len();
        }
        Ok(())
    };
    let generation = generate_tokens(&model, &prompt, &config, |token| match show(token) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    if args.json {
        drop(out);
        let text = tokenizer.decode(&generation.tokens)?;
        return print_json(&json!({
            "prompt_ids": prompt,
            "ids": generation.tokens,
            "text": text,
            "finish": finish_name(generation.finish),
        }));
    }
    writeln!(out)?;
    if generation.finish == FinishReason::ContextFull {
        print_message(&format!(
            "the model's context is full: it can read at most {} tokens",
            model.config().max_position_embeddings
        ));
    }
    Ok(())
}

fn finish_name(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::ContextFull => "context_full",
        FinishReason::Interrupted => "interrupted",
    }
}
