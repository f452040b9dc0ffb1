//! In-context tasks on small models: each answer of a chain is scored as if it alone followed everything
//! before it.

use burn::tensor::Device;
use fineline_data::{Tokenizer, TokenizerConfig};
use fineline_model::{Llama, LlamaConfig};
use fineline_probe::{Catalog, EvaluationRound, Suite, SuiteOptions, TaskKind, TaskResult, metrics};
use fineline_testing::materials;

use crate::support::{naive, options, small_config, tokenizer_of};

fn tokenizer() -> Tokenizer {
    let text =
        "3 -> 10\n4 -> 12\n10 -> 24\napple -> B\nriver -> A\na b c -> c b a\nThe cat sat on the mat.\n";
    tokenizer_of(text, 300)
}

fn model(tokenizer: &Tokenizer, initializer_range: f64) -> Llama {
    let config = LlamaConfig {
        num_key_value_heads: Some(2),
        max_position_embeddings: 512,
        initializer_range,
        ..small_config(tokenizer)
    };
    config.init(7, &Device::flex())
}

fn suite(tokenizer: &Tokenizer, max_len: usize, items: usize) -> Result<Suite, String> {
    let options = SuiteOptions { limit: Some(items), ..options(tokenizer, max_len) };
    Suite::load(&Catalog::default(), "in_context", options).map_err(|error| error.to_string())
}

fn run(suite: &Suite, model: &Llama) -> Vec<TaskResult> {
    suite.run(model, &EvaluationRound::WHOLE).unwrap().results
}

#[test]
fn chained_answers_score_as_if_each_were_alone() {
    let with_bos = tokenizer();
    let policy = TokenizerConfig { add_bos: false, add_eos: false, ..TokenizerConfig::default() };
    for tokenizer in [with_bos.with_policy(&policy).unwrap(), with_bos] {
        let model = model(&tokenizer, 0.3);
        let suite = suite(&tokenizer, 512, 3).unwrap();
        let results = run(&suite, &model);
        let rows: Vec<_> = results.iter().flat_map(|result| &result.items).collect();
        assert_eq!(rows.len(), suite.request_tokens().count());
        for (row, asked) in rows.iter().zip(suite.request_tokens()) {
            assert_eq!(
                (&*row.task, row.item as usize, row.choice as usize),
                (asked.task, asked.item, asked.choice)
            );
            let task = suite.tasks().find(|task| task.name == asked.task).unwrap();
            let item = &task.items[asked.item];
            // The text that is read and scored consists of the examples, the question and its answer.
            let pairs = item.questions.iter().zip(&item.choices);
            let solved = pairs.map(|(question, answer)| format!("{} {answer}", question.text));
            let text: Vec<String> = solved.take(asked.choice + 1).collect();
            let ids = [&asked.context[..], asked.continuation].concat();
            assert_eq!(tokenizer.decode(&ids).unwrap(), text.join("\n"));
            assert_eq!(
                tokenizer.decode(asked.continuation).unwrap(),
                format!(" {}", item.choices[asked.choice])
            );
            assert_eq!(ids[0] == tokenizer.bos_id().unwrap(), tokenizer.boundary_tokens().bos.is_some());
            let (expected, _) = naive(&model, &ids, asked.context.len());
            assert!((row.logprob - expected).abs() < 1e-5 * expected.abs(), "{} {expected}", row.logprob);
            assert_eq!(row.n_tokens as usize, asked.continuation.len());
        }
        for result in &results {
            assert_eq!((result.kind, result.n, result.shots), (TaskKind::InContext, 3, 16));
            assert_eq!(metrics(&result.items), result.metrics);
            assert!(
                result.metrics.values().all(|estimate| estimate.value.is_some() && estimate.stderr.is_some())
            );
        }
    }
}

/// A model with zero weights predicts all tokens with equal probability: its nats are the number of tokens
/// times the logarithm of the vocabulary size.
#[test]
fn an_untrained_model_has_the_expected_curve() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.0);
    let per_token = (tokenizer.vocab_size() as f64).ln();
    for result in run(&suite(&tokenizer, 512, 20).unwrap(), &model) {
        for examples in [0, 1, 2, 4, 8, 16] {
            let after: Vec<_> = result.items.iter().filter(|row| row.choice == examples).collect();
            let mean = |value: &dyn Fn(&fineline_probe::ItemRow) -> f64| {
                after.iter().map(|row| value(row)).sum::<f64>() / after.len() as f64
            };
            let nats = mean(&|row| f64::from(row.n_tokens)) * per_token;
            let optimal = mean(&|row| -row.optimal_logprob.unwrap());
            let value = |name: &str| result.metrics[&format!("{name}_at_{examples}")].value.unwrap();
            assert!((value("nats") - nats).abs() < 1e-4, "{} at {examples}", result.task);
            assert!((value("excess_nats") - (nats - optimal)).abs() < 1e-4, "{} at {examples}", result.task);
            assert!(value("acc").abs() < 1e-12);
        }
    }
}

#[test]
fn a_short_context_has_fewer_examples() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let suite = suite(&tokenizer, 48, 4).unwrap();
    for result in run(&suite, &model) {
        assert!((2..16).contains(&result.shots), "{}: {}", result.task, result.shots);
        assert_eq!(result.items.len(), 4 * (result.shots + 1));
        assert!(!result.metrics.contains_key("nats_at_16") && result.metrics.contains_key("nats_at_2"));
        assert!(result.metrics["icl_gain"].value.is_some());
    }
    assert!(suite.request_tokens().all(|asked| asked.context.len() + asked.continuation.len() <= 49));
    let refused = self::suite(&tokenizer, 12, 4).unwrap_err();
    assert!(refused.contains("expected room for 2 examples") && refused.contains("12 tokens"), "{refused}");
}

/// With tokenizers of other model families, some of which merge spaces and digits: the tokens read and scored
/// are those of the text up to the answer, and the boundary is before the answer's space.
#[test]
fn answers_are_located_with_any_tokenizer() {
    for name in [
        "llama2-spm/tokenizer.json",
        "mistral/tokenizer_v1.json",
        "gpt-neox/allenai_eleuther-ai-gpt-neox-20b-pii-special.json",
        "gpt2/tokenizer.json",
        "stories260k/tokenizer.json",
    ] {
        let Some(path) = materials(&format!("tokenizers/{name}")) else { continue };
        let tokenizer = Tokenizer::from_file(&path).unwrap();
        let suite = suite(&tokenizer, 1024, 5).unwrap();
        for asked in suite.request_tokens() {
            let item = &suite.tasks().find(|task| task.name == asked.task).unwrap().items[asked.item];
            let pairs = item.questions.iter().zip(&item.choices).take(asked.choice + 1);
            let text: Vec<String> =
                pairs.map(|(question, answer)| format!("{} {answer}", question.text)).collect();
            let text = text.join("\n");
            let marks = usize::from(tokenizer.boundary_tokens().bos.is_some());
            let ids = [&asked.context[..], asked.continuation].concat();
            assert_eq!(ids[marks..], tokenizer.encode(&text).unwrap(), "{name}: {text}");
            let answer = format!(" {}", item.choices[asked.choice]);
            let bytes: usize = asked.continuation.iter().map(|&id| tokenizer.byte_len(id)).sum();
            assert_eq!(bytes, answer.len(), "{name}: {text}");
        }
    }
}
