//! Parameters as flat vectors under their Hugging Face names, the view of a model that the optimizer works
//! on.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use fineline_model::{Llama, ParameterMap, map_parameters};

/// One value per parameter, ordered by name, so that sums over it have a fixed order.
pub(crate) type ByName<T> = BTreeMap<String, T>;

/// Takes the gradients of all parameters from a backward pass, `[n]` each.
pub(crate) fn take_gradients(model: &Llama, gradients: Gradients) -> ByName<Tensor<1>> {
    let mut visitor = TakeGradients { path: Vec::new(), source: gradients, taken: ByName::new() };
    model.visit(&mut visitor);
    visitor.taken
}

struct TakeGradients {
    /// Field names and indices on the path to the parameter. Joined with dots, they are its name.
    path: Vec<String>,
    source: Gradients,
    taken: ByName<Tensor<1>>,
}

impl ModuleVisitor for TakeGradients {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(&mut self.source) {
            self.taken.insert(self.path.join("."), flatten(gradient));
        }
    }
}

/// Returns the values of all parameters, `[n]` each and without autodiff, in the order of
/// [`LlamaConfig::parameters`](fineline_model::LlamaConfig::parameters). Nothing is copied.
pub(crate) fn parameter_values(model: &Llama) -> Vec<Tensor<1>> {
    struct Values(Vec<Tensor<1>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(flatten(param.val().without_autodiff()));
        }
    }
    let mut values = Values(Vec::new());
    model.visit(&mut values);
    values.0
}

/// Replaces each parameter of the model by `update(name, number of dimensions, values [n])`.
///
/// The values are without autodiff, and moved rather than shared, so that an update can write in place.
pub(crate) fn update_parameters(
    model: Llama,
    update: impl FnMut(&str, usize, Tensor<1>) -> Tensor<1>,
) -> Llama {
    map_parameters(model, &mut Update(update))
}

struct Update<F>(F);

impl<F: FnMut(&str, usize, Tensor<1>) -> Tensor<1>> ParameterMap for Update<F> {
    fn map<const D: usize>(&mut self, name: &str, _id: ParamId, value: Tensor<D>) -> Tensor<D> {
        let shape = value.shape();
        (self.0)(name, D, flatten(value.without_autodiff())).reshape(shape)
    }
}

fn flatten<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let len = tensor.shape().num_elements();
    tensor.reshape([len])
}
