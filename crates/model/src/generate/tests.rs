use super::*;
use crate::llama::LlamaConfig;

fn model() -> Llama {
    let config = LlamaConfig {
        vocab_size: 13,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        max_position_embeddings: 12,
        initializer_range: 0.5,
        ..LlamaConfig::default()
    };
    config.init(1, &Device::flex())
}

fn greedy(max_new_tokens: usize) -> GenerateConfig {
    GenerateConfig { max_new_tokens, sampling: Sampling::Greedy, stop: Vec::new() }
}

fn random(top_k: Option<usize>, top_p: Option<f64>, seed: u64) -> Sampling {
    Sampling::Random { temperature: 1.0, top_k, top_p, seed }
}

fn run(prompt: &[u32], config: &GenerateConfig) -> Result<Generation, GenerateError> {
    generate(&model(), prompt, config, |_| ControlFlow::Continue(()))
}

#[test]
fn greedy_text_is_the_argmax_of_the_whole_text() {
    let prompt = [1, 5, 2];
    let generation = run(&prompt, &greedy(6)).unwrap();
    assert_eq!((generation.tokens.len(), generation.finish), (6, FinishReason::Length));
    let mut text = prompt.to_vec();
    for token in generation.tokens {
        let logits = next_logits(&model(), &text, &mut KvCache::new(), &Device::flex());
        assert_eq!(Sampling::Greedy.choose(&logits, 0), token);
        text.push(token);
    }
}

#[test]
fn ends_where_it_should() {
    let free = run(&[3], &greedy(5)).unwrap().tokens;
    let stop = GenerateConfig { stop: vec![free[1]], ..greedy(5) };
    let stopped = run(&[3], &stop).unwrap();
    assert_eq!(stopped.finish, FinishReason::Stop);
    assert_eq!(stopped.tokens.last(), Some(&free[1]));

    let full = run(&[3; 10], &greedy(5)).unwrap();
    assert_eq!((full.tokens.len(), full.finish), (2, FinishReason::ContextFull));
    let full = run(&[3; 12], &greedy(5)).unwrap();
    assert_eq!((full.tokens.len(), full.finish), (0, FinishReason::ContextFull));

    let mut seen = Vec::new();
    let interrupted = generate(&model(), &[3], &greedy(5), |token| {
        seen.push(token);
        if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(interrupted.unwrap(), Generation { tokens: seen, finish: FinishReason::Interrupted });

    assert_eq!(
        run(&[3], &greedy(0)).unwrap(),
        Generation { tokens: Vec::new(), finish: FinishReason::Length }
    );
}

#[test]
fn bad_requests_are_refused() {
    assert_eq!(run(&[], &greedy(1)), Err(GenerateError::EmptyPrompt));
    assert_eq!(run(&[1; 13], &greedy(1)), Err(GenerateError::PromptTooLong { length: 13, context: 12 }));
    let outside = GenerateError::TokenOutsideVocabulary { token: 13, vocab_size: 13 };
    assert_eq!(run(&[1, 13], &greedy(1)), Err(outside));
    let cold = Sampling::Random { temperature: 0.0, top_k: None, top_p: None, seed: 0 };
    for (sampling, expected) in
        [(cold, "temperature"), (random(Some(0), None, 0), "top_k"), (random(None, Some(1.5), 0), "top_p")]
    {
        match run(&[1], &GenerateConfig { sampling, ..greedy(1) }) {
            Err(GenerateError::Sampling { key, .. }) => assert_eq!(key, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn draws_follow_the_distribution() {
    let logits = [1.0_f32.ln(), 6.0_f32.ln(), 3.0_f32.ln()];
    let share = |sampling: &dyn Fn(u64) -> Sampling, token| {
        let draws = 4000;
        (0..draws).filter(|&seed| sampling(seed).choose(&logits, 7) == token).count() as f64 / draws as f64
    };
    assert!((share(&|seed| random(None, None, seed), 1) - 0.6).abs() < 0.03);
    assert!((share(&|seed| random(Some(2), None, seed), 2) - 1.0 / 3.0).abs() < 0.03);
    assert!((share(&|seed| random(None, Some(0.6), seed), 1) - 1.0).abs() < f64::EPSILON);
    assert!((share(&|seed| random(None, Some(0.61), seed), 2) - 1.0 / 3.0).abs() < 0.03);
    let sharp = |seed| Sampling::Random { temperature: 0.5, top_k: None, top_p: None, seed };
    assert!((share(&sharp, 1) - 36.0 / 46.0).abs() < 0.03);
}

#[test]
fn ties_and_infinities_are_ordered() {
    assert_eq!(Sampling::Greedy.choose(&[0.0, 2.0, 2.0], 0), 1);
    assert_eq!(Sampling::Greedy.choose(&[f32::NEG_INFINITY, -5.0], 0), 1);
    assert_eq!(random(Some(1), None, 3).choose(&[0.0, 2.0, 2.0], 0), 1);
}

/// The text in the documentation of the model, as `llama2.c` generates it.
#[test]
fn stories260k_tells_its_story() {
    let Some(dir) = fineline_testing::materials("models/stories260K/hf") else { return };
    let tokenizer: serde_json::Value =
        serde_json::from_str(&fs_err::read_to_string(dir.join("tokenizer.json")).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object().unwrap();
    let piece = |token: u32| {
        let (piece, _) = vocabulary.iter().find(|(_, id)| id.as_u64() == Some(u64::from(token))).unwrap();
        piece.replace('▁', " ").replace("<0x0A>", "\n")
    };
    let model = crate::load(&dir, &Device::flex()).unwrap();
    let generation = generate(&model, &[1], &greedy(120), |_| ControlFlow::Continue(())).unwrap();
    let text: String = generation.tokens.into_iter().map(piece).collect();
    let expected = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, \
                    she saw a big, red ball.";
    assert!(text.trim_start().starts_with(expected), "{text}");
}
