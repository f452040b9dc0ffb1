//! Devices by name.

use burn::tensor::{Device, Tensor};

use crate::RunError;

/// The names that `run.device` may have in this build.
pub const BUILT_IN: [&str; 1] = ["cpu"];

/// The device called `name`, without automatic differentiation.
///
/// # Errors
/// [`RunError::UnknownDevice`] for a name that this build has no device for.
pub fn open(name: &str) -> Result<Device, RunError> {
    match name {
        "cpu" => Ok(Device::flex()),
        _ => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> RunError {
    RunError::UnknownDevice { name: name.to_owned(), known: BUILT_IN.join(", ") }
}

/// Opens the device and has it multiply two small matrices.
///
/// # Errors
/// The device can't be opened, or gives a wrong result.
pub fn check(name: &str) -> Result<(), RunError> {
    let device = open(name)?;
    let left = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
    let product = left.clone().matmul(left).into_data();
    if product.iter::<f32>().eq([7.0, 10.0, 15.0, 22.0]) {
        Ok(())
    } else {
        Err(RunError::BrokenDevice { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_works() {
        check("cpu").unwrap();
    }

    #[test]
    fn an_unknown_device_is_named() {
        let message = open("tpu").unwrap_err().to_string();
        assert!(message.contains("tpu") && message.contains("cpu"), "{message}");
    }
}
