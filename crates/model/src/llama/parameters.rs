//! Parameters under their Hugging Face names, in a fixed order: embedding, layers, final norm, head.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    tensor::{Device, Tensor, TensorData},
};
use fineline_random::Stream;
use rayon::prelude::*;

use super::config::LlamaConfig;
use super::model::Llama;

impl LlamaConfig {
    /// Initializes a new model: matrices from N(0, `initializer_range`²), norm weights at one, and the
    /// embedding of `pad_token_id` at zero.
    ///
    /// Each matrix has its own random stream, so its values depend only on `seed`, its name and its shape.
    #[must_use]
    pub fn init(&self, seed: u64, device: &Device) -> Llama {
        let values = self.parameters().into_par_iter().enumerate().map(|(index, spec)| {
            let mut values: Vec<f32> = if spec.is_matrix() {
                let mut stream = Stream::new(seed, &format!("init/{}", spec.name), 0);
                (0..spec.len()).map(|_| (stream.normal() * self.initializer_range) as f32).collect()
            } else {
                vec![1.0; spec.len()]
            };
            // The embedding is the first parameter.
            if let Some(row) = self.pad_token_id.filter(|_| index == 0) {
                values[row * self.hidden_size..][..self.hidden_size].fill(0.0);
            }
            TensorData::new(values, spec.shape)
        });
        Llama::from_parameters(self, values.collect(), device)
    }
}

/// Copies the values of all parameters to the host, and returns them with their names, in order.
#[must_use]
pub fn named_parameters(model: &Llama) -> Vec<(String, TensorData)> {
    struct Collect {
        path: Vec<String>,
        found: Vec<(String, TensorData)>,
    }

    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.path.join("."), param.val().into_data()));
        }
    }

    let mut collect = Collect { path: Vec::new(), found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

/// A transformation of parameters, for [`map_parameters`].
pub trait ParameterMap {
    /// Returns the new value of the parameter `name`. On an autodiff device, the new value becomes a leaf of
    /// the next graph.
    fn map<const D: usize>(&mut self, name: &str, id: ParamId, value: Tensor<D>) -> Tensor<D>;
}

/// Replaces every parameter, in order. Parameters keep their ids.
#[must_use]
pub fn map_parameters(model: Llama, map: &mut impl ParameterMap) -> Llama {
    struct Named<'a, M> {
        path: Vec<String>,
        map: &'a mut M,
    }

    impl<M: ParameterMap> ModuleMapper for Named<'_, M> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            let device = value.device();
            let mapped = self.map.map(&self.path.join("."), id, value).without_autodiff();
            let mapped = if device.is_autodiff() { mapped.autodiff().require_grad() } else { mapped };
            Param::from_mapped_value(id, mapped, mapper)
        }
    }

    model.map(&mut Named { path: Vec::new(), map })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llama::ParameterSpec;

    fn config(tie_word_embeddings: bool) -> LlamaConfig {
        LlamaConfig {
            vocab_size: 11,
            hidden_size: 12,
            intermediate_size: 20,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            head_dim: Some(6),
            tie_word_embeddings,
            ..LlamaConfig::default()
        }
    }

    #[test]
    fn the_module_has_the_parameters_that_the_config_lists() {
        for tied in [false, true] {
            let config = config(tied);
            let model = config.init(1, &Device::flex());
            let actual: Vec<_> = named_parameters(&model)
                .into_iter()
                .map(|(name, data)| ParameterSpec { name, shape: data.shape().to_vec() })
                .collect();
            assert_eq!(actual, config.parameters());
        }
    }

    #[test]
    fn initial_values_depend_on_seed_and_name_only() {
        let value = |config: &LlamaConfig, seed, name: &str| {
            let parameters = named_parameters(&config.init(seed, &Device::flex()));
            parameters.into_iter().find(|(n, _)| n == name).unwrap().1.iter::<f32>().collect::<Vec<_>>()
        };
        let name = "model.layers.0.mlp.up_proj.weight";
        let shallow = LlamaConfig { num_hidden_layers: 1, ..config(true) };
        assert_eq!(value(&config(false), 5, name), value(&shallow, 5, name));
        assert_ne!(value(&config(false), 5, name), value(&config(false), 6, name));
        assert_ne!(
            value(&config(false), 5, name),
            value(&config(false), 5, "model.layers.1.mlp.up_proj.weight")
        );
        assert!(
            value(&config(false), 5, "model.norm.weight").iter().all(|&x| x.to_bits() == 1.0_f32.to_bits())
        );
    }

    #[test]
    fn the_embedding_of_padding_is_zero() {
        let padded = LlamaConfig { pad_token_id: Some(3), ..config(false) };
        let [plain, padded] =
            [config(false), padded].map(|config| named_parameters(&config.init(5, &Device::flex())));
        for ((name, plain), (_, padded)) in plain.iter().zip(&padded) {
            let pairs = plain.iter::<f32>().zip(padded.iter::<f32>()).enumerate();
            for (at, (plain, padded)) in pairs {
                let is_padding = name == "model.embed_tokens.weight" && at / 12 == 3;
                assert_eq!(padded.to_bits(), if is_padding { 0 } else { plain.to_bits() }, "{name}");
            }
        }
    }

    #[test]
    fn mapping_visits_in_order_and_replaces() {
        struct Double(Vec<String>);
        impl ParameterMap for Double {
            fn map<const D: usize>(&mut self, name: &str, _id: ParamId, value: Tensor<D>) -> Tensor<D> {
                self.0.push(name.to_owned());
                value * 2.0
            }
        }
        for device in [Device::flex(), Device::flex().autodiff()] {
            let model = config(false).init(1, &device);
            let before = named_parameters(&model);
            let mut double = Double(Vec::new());
            let model = map_parameters(model, &mut double);
            assert!(double.0.iter().eq(before.iter().map(|(name, _)| name)));
            for ((_, before), (_, after)) in before.iter().zip(named_parameters(&model)) {
                assert!(
                    before
                        .iter::<f32>()
                        .zip(after.iter::<f32>())
                        .all(|(b, a)| (2.0 * b).to_bits() == a.to_bits())
                );
            }
            assert_eq!(model.lm_head().is_require_grad(), device.is_autodiff());
        }
    }
}
