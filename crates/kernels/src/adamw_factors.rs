//! Hyperparameters of an `AdamW` update.

/// Hyperparameters of one `AdamW` update (Loshchilov and Hutter, 2019), which are the same for all values of
/// a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the running means of the gradient and of the squared gradient.
    pub betas: [f64; 2],
    /// Value added to the square root of the bias-corrected second moment.
    pub eps: f64,
    /// Decoupled weight decay: the update subtracts this fraction, times the learning rate, of the parameter.
    pub weight_decay: f64,
    /// Bias corrections `1 - beta^t` of both running means after `t` updates.
    pub bias_corrections: [f64; 2],
    /// Factor that gradients are multiplied by first, such as the factor of gradient clipping.
    pub gradient_scale: f64,
}

/// The hyperparameters as the update of one value uses them, each rounded to float32 once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamWFactors {
    pub(crate) gradient: f32,
    pub(crate) keep: [f32; 2],
    pub(crate) join: [f32; 2],
    pub(crate) root_correction: f32,
    pub(crate) eps: f32,
    pub(crate) step: f32,
    pub(crate) decay: f32,
}

impl AdamW {
    pub(crate) fn factors(&self) -> AdamWFactors {
        AdamWFactors {
            gradient: self.gradient_scale as f32,
            keep: self.betas.map(|beta| beta as f32),
            join: self.betas.map(|beta| (1.0 - beta) as f32),
            root_correction: self.bias_corrections[1].sqrt() as f32,
            eps: self.eps as f32,
            step: (self.lr / self.bias_corrections[0]) as f32,
            decay: (1.0 - self.lr * self.weight_decay) as f32,
        }
    }
}
