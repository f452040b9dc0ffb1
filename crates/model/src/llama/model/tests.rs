//! Tests of the forward pass.

use fineline_kernels::{KeySpan, cross_entropy};

use super::*;

fn config() -> LlamaConfig {
    LlamaConfig {
        vocab_size: 17,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        initializer_range: 0.2,
        ..LlamaConfig::default()
    }
}

/// All arrangements of heads.
fn configs() -> Vec<LlamaConfig> {
    vec![
        config(),
        LlamaConfig { num_key_value_heads: Some(2), ..config() },
        LlamaConfig { num_key_value_heads: Some(1), tie_word_embeddings: true, ..config() },
        LlamaConfig { head_dim: Some(100), num_attention_heads: 3, ..config() },
        LlamaConfig { head_dim: Some(10), ..config() },
    ]
}

fn tokens<const B: usize, const T: usize>(values: [[i64; T]; B]) -> Tensor<2, Int> {
    Tensor::from_data(values, &Device::flex())
}

fn assert_close(actual: &Tensor<3>, expected: &Tensor<3>, tolerance: f32) {
    assert_eq!(actual.dims(), expected.dims());
    let difference = (actual.clone() - expected.clone()).abs().max().into_scalar::<f32>();
    assert!(difference <= tolerance, "differs by {difference}");
}

fn causal(model: &Llama, tokens: Tensor<2, Int>) -> Tensor<3> {
    model.hidden(tokens, &Positions::Sequential, &AttentionMask::Causal)
}

#[test]
fn hidden_states_and_logits_have_their_shapes() {
    for config in configs() {
        let model = config.init(1, &Device::flex());
        let hidden = causal(&model, tokens([[1, 2, 3], [4, 5, 6]]));
        assert_eq!(hidden.dims(), [2, 3, 24]);
        assert_eq!(model.logits(hidden).dims(), [2, 3, 17]);
    }
}

#[test]
fn later_tokens_do_not_matter() {
    let model = config().init(1, &Device::flex());
    let short = causal(&model, tokens([[1, 2, 3]]));
    let long = causal(&model, tokens([[1, 2, 3, 9, 9]]));
    assert_close(&long.narrow(1, 0, 3), &short, 1e-6);
}

#[test]
fn the_cache_gives_what_the_whole_text_gives() {
    for config in configs() {
        let model = config.init(2, &Device::flex());
        let text = tokens([[1, 2, 3, 4, 5, 6, 7], [9, 8, 7, 6, 5, 4, 3]]);
        let whole = causal(&model, text.clone());
        let mut cache = KvCache::new();
        let mut pieces = Vec::new();
        for (start, len) in [(0, 3), (3, 1), (4, 2), (6, 1)] {
            let piece = text.clone().narrow(1, start, len);
            pieces.push(model.extend(piece, &Positions::Sequential, &AttentionMask::Causal, &mut cache));
            assert_eq!(cache.len(), start + len);
        }
        assert_close(&Tensor::cat(pieces, 1), &whole, 1e-5);
    }
}

#[test]
fn a_cached_context_can_be_continued_twice() {
    let model = config().init(3, &Device::flex());
    let mut context = KvCache::new();
    let _ = model.extend(tokens([[1, 2, 3]]), &Positions::Sequential, &AttentionMask::Causal, &mut context);
    for last in [4, 5] {
        let mut cache = context.clone();
        let next = model.extend(tokens([[last]]), &Positions::Sequential, &AttentionMask::Causal, &mut cache);
        assert_close(&next, &causal(&model, tokens([[1, 2, 3, last]])).narrow(1, 3, 1), 1e-5);
    }
    assert_eq!(context.len(), 3);
}

#[test]
fn rows_of_different_lengths_can_be_padded_on_the_left() {
    let model = config().init(4, &Device::flex());
    let mut cache = KvCache::new();
    let span = |own_start| KeySpan { prefix: 0..0, own_start };
    let prompt = model.extend(
        tokens([[1, 2, 3, 4], [0, 0, 7, 8]]),
        &Positions::Explicit(vec![0, 1, 2, 3, 0, 0, 0, 1]),
        &AttentionMask::Spans([0, 0, 0, 0, 2, 2, 2, 2].map(span).to_vec()),
        &mut cache,
    );
    let next = model.extend(
        tokens([[5], [9]]),
        &Positions::Explicit(vec![4, 2]),
        &AttentionMask::Spans([0, 2].map(span).to_vec()),
        &mut cache,
    );
    let alone = causal(&model, tokens([[7, 8, 9]]));
    assert_close(&prompt.narrow(0, 1, 1).narrow(1, 2, 2), &alone.clone().narrow(1, 0, 2), 1e-5);
    assert_close(&next.narrow(0, 1, 1), &alone.narrow(1, 2, 1), 1e-5);
}

/// One row with a context and two continuations, which each attend to the context and themselves.
#[test]
fn continuations_that_share_a_context_equal_separate_texts() {
    for config in configs() {
        let model = config.init(5, &Device::flex());
        let packed = tokens([[1, 2, 3, 10, 11, 12, 13]]);
        let positions = Positions::Explicit(vec![0, 1, 2, 3, 4, 3, 4]);
        let own_starts = [0, 0, 0, 3, 3, 5, 5];
        let spans = own_starts.map(|own_start| KeySpan { prefix: 0..own_start.min(3), own_start });
        let hidden = model.hidden(packed, &positions, &AttentionMask::Spans(spans.to_vec()));
        for (start, text) in [(3, [1, 2, 3, 10, 11]), (5, [1, 2, 3, 12, 13])] {
            let alone = causal(&model, tokens([text]));
            assert_close(&hidden.clone().narrow(1, 0, 3), &alone.clone().narrow(1, 0, 3), 1e-5);
            assert_close(&hidden.clone().narrow(1, start, 2), &alone.narrow(1, 3, 2), 1e-5);
        }
    }
}

/// Rows after a shared prefix, each with two texts, and a row of padding.
#[test]
fn rows_after_a_shared_text_equal_separate_texts() {
    for config in configs() {
        let model = config.init(5, &Device::flex());
        let mut before = KvCache::new();
        let _ =
            model.extend(tokens([[1, 2, 3]]), &Positions::Sequential, &AttentionMask::Causal, &mut before);
        let own_starts = [0, 0, 2, 2, 0, 0, 0, 3];
        let spans = own_starts.map(|own_start| KeySpan { prefix: 0..0, own_start });
        let positions = Positions::Explicit(vec![3, 4, 3, 4, 3, 4, 5, 0]);
        let rows = tokens([[10, 11, 12, 13], [14, 15, 16, 0]]);
        let hidden =
            model.hidden_with_prefix(&before, rows, &positions, &AttentionMask::Spans(spans.to_vec()));
        for (row, start, text) in [(0, 0, vec![10, 11]), (0, 2, vec![12, 13]), (1, 0, vec![14, 15, 16])] {
            let whole: Vec<i32> = [1, 2, 3].into_iter().chain(text.iter().copied()).collect();
            let shape = [1, whole.len()];
            let whole = Tensor::from_data(TensorData::new(whole, shape), &Device::flex());
            let alone = causal(&model, whole).narrow(1, 3, text.len());
            assert_close(&hidden.clone().narrow(0, row, 1).narrow(1, start, text.len()), &alone, 1e-5);
        }
        assert_eq!(before.len(), 3, "the shared text stays as it was");
    }
}

#[test]
fn packed_documents_do_not_see_each_other() {
    let model = config().init(6, &Device::flex());
    let spans = [0, 0, 2, 2, 2].map(|own_start| KeySpan { prefix: 0..0, own_start });
    let positions = Positions::Explicit(vec![0, 1, 0, 1, 2]);
    let packed = model.hidden(tokens([[1, 2, 3, 4, 5]]), &positions, &AttentionMask::Spans(spans.to_vec()));
    assert_close(&packed.narrow(1, 2, 3), &causal(&model, tokens([[3, 4, 5]])), 1e-5);
}

fn loss(model: &Llama) -> Tensor<1> {
    let device = model.device();
    let text = Tensor::<2, Int>::from_data([[1, 2, 3, 4], [5, 6, 7, 8]], &device);
    let hidden = model.hidden(text, &Positions::Sequential, &AttentionMask::Causal).reshape([8, 24]);
    let targets = Tensor::<1, Int>::from_data([2, 3, 4, 5, 6, 7, 8, 9], &device);
    cross_entropy(hidden, model.lm_head(), targets, Tensor::full([8], 0.125, &device))
}

/// The directional derivative along the gradient of each parameter equals the norm of the gradient.
#[test]
fn gradients_match_finite_differences() {
    use crate::llama::{ParameterMap, map_parameters};
    use burn::{module::ParamId, tensor::Gradients};

    struct Nudge<'a> {
        name: &'a str,
        step: f64,
        gradients: &'a Gradients,
        squared_norm: f64,
    }

    impl ParameterMap for Nudge<'_> {
        fn map<const D: usize>(&mut self, name: &str, _id: ParamId, value: Tensor<D>) -> Tensor<D> {
            if name != self.name {
                return value;
            }
            let gradient = value.grad(self.gradients).expect("every parameter has a gradient");
            self.squared_norm = f64::from(gradient.clone().square().sum().into_scalar::<f32>());
            value.without_autodiff() + gradient * (self.step / self.squared_norm.sqrt())
        }
    }

    for config in configs() {
        let model = config.init(7, &Device::flex().autodiff());
        let gradients = loss(&model).backward();
        for spec in config.parameters() {
            let step = 1e-2;
            let nudge = |step| {
                let mut nudge = Nudge { name: &spec.name, step, gradients: &gradients, squared_norm: 0.0 };
                let nudged = map_parameters(model.clone(), &mut nudge);
                (f64::from(loss(&nudged.valid()).into_scalar::<f32>()), nudge.squared_norm.sqrt())
            };
            let (above, norm) = nudge(step);
            let (below, _) = nudge(-step);
            let slope = (above - below) / (2.0 * step);
            assert!((slope - norm).abs() < 0.02 * norm + 1e-4, "{}: {slope} instead of {norm}", spec.name);
        }
    }
}

#[test]
fn a_tied_embedding_gets_the_gradients_of_both_its_uses() {
    let tied = LlamaConfig { tie_word_embeddings: true, ..config() };
    let device = Device::flex().autodiff();
    let mut values: Vec<_> =
        crate::llama::named_parameters(&tied.init(8, &device)).into_iter().map(|(_, value)| value).collect();
    let tied = Llama::from_parameters(&tied, values.clone(), &device);
    values.push(values[0].clone());
    let untied = Llama::from_parameters(&config(), values, &device);

    let gradients = loss(&tied).backward();
    let sum = tied.lm_head().grad(&gradients).unwrap();
    let gradients = loss(&untied).backward();
    let head = untied.lm_head().grad(&gradients).unwrap();
    let embedding = untied.model.embed_tokens.weight.val().grad(&gradients).unwrap();
    assert_close(&sum.unsqueeze(), &(head + embedding).unsqueeze(), 1e-6);
}

#[test]
fn the_same_pass_gives_the_same_bits() {
    let run = || {
        let model = config().init(9, &Device::flex().autodiff());
        let gradients = loss(&model).backward();
        model.lm_head().grad(&gradients).unwrap().into_data()
    };
    assert_eq!(run(), run());
}
