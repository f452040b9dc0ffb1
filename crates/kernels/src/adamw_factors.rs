//! The numbers of an `AdamW` update.

/// The numbers of one `AdamW` update (Loshchilov and Hutter, 2019), the same for all values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The learning rate.
    pub lr: f64,
    /// Decay rates of the running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// Added to the root of the second moment, after its bias is corrected.
    pub eps: f64,
    /// Share of the parameter, times the learning rate, that the update takes away.
    pub weight_decay: f64,
    /// `1 - beta^t` of both moments after `t` updates.
    pub bias_corrections: [f64; 2],
    /// What gradients are multiplied with before all else: the factor of clipping.
    pub gradient_scale: f64,
}

/// The same numbers as one value's update takes them, rounded once.
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
