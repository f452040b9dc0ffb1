//! Devices by name.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A device, as in `run.device` and `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum DeviceName {
    /// `cpu`: the processor.
    #[default]
    Cpu,
    /// `wgpu`: the best device available to WebGPU, through Vulkan, Metal or Direct3D 12.
    Wgpu,
    /// `cuda:N`: a CUDA device by its number. `cuda`: the device whose number is the rank of the process on
    /// its machine.
    Cuda(Option<usize>),
}

/// A name that isn't a device in any build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown device \"{0}\": expected `cpu`, `wgpu`, `cuda` or `cuda:N`")]
pub struct UnknownDevice(String);

impl FromStr for DeviceName {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        let unknown = || UnknownDevice(name.to_owned());
        match name.split_once(':') {
            None if name == "cpu" => Ok(Self::Cpu),
            None if name == "wgpu" => Ok(Self::Wgpu),
            None if name == "cuda" => Ok(Self::Cuda(None)),
            Some(("cuda", index)) => {
                index.parse().map(|index| Self::Cuda(Some(index))).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for DeviceName {
    type Error = UnknownDevice;

    fn try_from(name: String) -> Result<Self, UnknownDevice> {
        name.parse()
    }
}

impl From<DeviceName> for String {
    fn from(name: DeviceName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::Cuda(None) => f.write_str("cuda"),
            Self::Cuda(Some(index)) => write!(f, "cuda:{index}"),
        }
    }
}

/// The kinds of device in this build, by their names.
pub const BUILT_IN: &[&str] = &[
    "cpu",
    #[cfg(feature = "wgpu")]
    "wgpu",
    #[cfg(feature = "cuda")]
    "cuda",
];

impl DeviceName {
    /// Returns the kind of the device: its name in [`BUILT_IN`], and the feature that enables it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda(_) => "cuda",
        }
    }

    /// Whether this build supports the device.
    #[must_use]
    pub fn is_built_in(self) -> bool {
        BUILT_IN.contains(&self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cpu", "wgpu", "cuda", "cuda:0", "cuda:15"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        for name in ["tpu", "", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "wgpu:1", "CPU", "cuda:0:1"] {
            let message = name.parse::<DeviceName>().unwrap_err().to_string();
            assert!(message.contains(&format!("\"{name}\"")) && message.contains("`cuda:N`"), "{message}");
        }
    }
}
