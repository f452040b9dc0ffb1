//! Temporary: times forward and backward.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::print_stdout)]
use std::time::Instant;
use burn::{module::ParamId, tensor::{Device, Gradients, Int, Tensor, TensorData}};
use fineline_kernels::{Visibility, cross_entropy};
use fineline_model::{LlamaConfig, Positions, parameters::{ParameterMap, map_parameters}};

struct Sgd<'a>(&'a Gradients);
impl ParameterMap for Sgd<'_> {
    fn map<const D: usize>(&mut self, _: &str, _: ParamId, value: Tensor<D>) -> Tensor<D> {
        let g = value.grad(self.0).unwrap();
        value.without_autodiff() - g * 0.1
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let preset = args.get(1).map_or("tiny-1m", |s| s.as_str());
    let (b, t): (usize, usize) = match preset { "tiny-1m" => (16, 128), "tiny-7m" => (8, 256), _ => (2, 1024) };
    let steps: usize = args.get(2).map_or(12, |s| s.parse().unwrap());
    let config = LlamaConfig::preset(preset).unwrap();
    let device = Device::flex().autodiff();
    let mut model = config.init(1, &device);
    let n = b * t;
    let mut times = vec![];
    for step in 0..steps {
        let start = Instant::now();
        let ids: Vec<i64> = (0..n).map(|i| ((i * 7919 + step * 31) % 997) as i64).collect();
        let targets: Vec<i64> = (0..n).map(|i| (((i + 1) * 7919 + step * 31) % 997) as i64).collect();
        let x = Tensor::<2, Int>::from_data(TensorData::new(ids, [b, t]), &device);
        let hidden = model.hidden(x, &Positions::Sequential, &Visibility::Causal).reshape([n, config.hidden_size]);
        let loss = cross_entropy(hidden, model.lm_head(), Tensor::from_data(TensorData::new(targets, [n]), &device), Tensor::full([n], 1.0 / n as f32, &device));
        let mid = start.elapsed();
        let grads = loss.backward();
        let back = start.elapsed();
        model = map_parameters(model, &mut Sgd(&grads));
        let v = loss.into_scalar::<f32>();
        times.push(start.elapsed().as_secs_f64());
        println!("step {step} loss {v} forward {mid:?} backward {:?} update {:?}", back - mid, start.elapsed() - back);
    }
    times.drain(..times.len().min(2));
    times.sort_by(f64::total_cmp);
    let m = times[times.len() / 2];
    println!("{preset}: median {:.1} ms, {:.0} tokens/s", m * 1e3, n as f64 / m);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for l in status.lines().filter(|l| l.starts_with("VmHWM")) { println!("{l}"); }
}
