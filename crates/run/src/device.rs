//! Devices: those that this build supports, those of this machine, and whether they compute correctly.

use burn::tensor::{Device, FloatDType, Tensor};
use burn_std::stream::StreamPolicy;
use fineline_kernels::{Precision, all_reduce, has_all_reduce};
use fineline_ranks::{RankThreads, Ranks, SingleRank};

use crate::config::{DeviceName, RunConfig};
use crate::error::RunError;

impl DeviceName {
    /// Returns the device of a rank, if its process sees `count` devices of the kind. `cuda` becomes the
    /// device with the rank's number on its machine. If a process sees only as many devices as it has ranks,
    /// because the launcher assigns them, the rank's number within its process counts. Other names are
    /// returned as they are.
    #[must_use]
    pub fn of(self, rank: &LocalRank, count: usize) -> Self {
        let &LocalRank { process, thread, threads } = rank;
        match self {
            Self::Cuda(None) if count == threads => Self::Cuda(Some(thread)),
            Self::Cuda(None) => Self::Cuda(Some(process * threads + thread)),
            other => other,
        }
    }

    /// Opens the device, without automatic differentiation, for a process of one rank.
    ///
    /// # Errors
    /// As [`open_at`](Self::open_at).
    pub fn open(self) -> Result<Device, RunError> {
        self.open_at(&LocalRank::of(&SingleRank))
    }

    /// Opens the device of a rank, without automatic differentiation.
    ///
    /// # Errors
    /// [`RunError::DeviceNotBuilt`] if this build lacks its kind, [`RunError::NoDevice`] if this machine
    /// lacks it.
    pub fn open_at(self, rank: &LocalRank) -> Result<Device, RunError> {
        if !self.is_built_in() {
            return Err(RunError::DeviceNotBuilt { name: self });
        }
        use_one_stream();
        let found = on_this_machine(self);
        let name = self.of(rank, found.len());
        let number = match name {
            Self::Cpu | Self::Wgpu | Self::Cuda(None) => 0,
            Self::Cuda(Some(index)) => index,
        };
        found.into_iter().nth(number).ok_or(RunError::NoDevice { name, found: names() })
    }

    /// Opens the device and multiplies two small matrices on it.
    ///
    /// # Errors
    /// As [`open`](Self::open). [`RunError::BrokenDevice`] if the result is wrong.
    pub fn check(self) -> Result<(), RunError> {
        let device = self.open()?;
        let left = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
        let broken = |problem: String| RunError::BrokenDevice { name: self, problem };
        let squared = left.clone().matmul(left).try_into_data().map_err(|error| broken(error.to_string()))?;
        let squared: Vec<f32> = squared.iter().collect();
        if squared == [7.0, 10.0, 15.0, 22.0] {
            Ok(())
        } else {
            Err(broken(format!("a matmul is wrong: [[1, 2], [3, 4]] squared is {squared:?}")))
        }
    }
}

/// Makes all threads of the process queue their work for a device in one stream. By default each thread has
/// its own stream, and with Burn 0.22.1 a tensor made by one thread is sometimes read wrongly by another: on
/// a busy machine, validation differed in 4 of 20 equal runs on `wgpu`.
fn use_one_stream() {
    burn_std::stream::set_policy(StreamPolicy::Single);
}

/// Returns the devices of a kind on this machine, in the order of their numbers. For WebGPU this is the best
/// one only.
fn on_this_machine(name: DeviceName) -> Vec<Device> {
    match name {
        DeviceName::Cpu => vec![Device::flex()],
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu => {
            use burn::tensor::{DeviceKind, DeviceType};
            let adapters = Device::enumerate(DeviceType::Wgpu).into_vec();
            (!adapters.is_empty()).then(|| Device::wgpu(DeviceKind::DefaultDevice)).into_iter().collect()
        }
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(_) => Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec(),
        #[allow(unreachable_patterns, reason = "what is built in decides")]
        _ => Vec::new(),
    }
}

/// Returns the devices of this machine that this build supports.
#[must_use]
pub fn names() -> Vec<DeviceName> {
    let numbered = |count: usize| (0..count).map(|index| DeviceName::Cuda(Some(index)));
    [DeviceName::Cpu, DeviceName::Wgpu]
        .into_iter()
        .filter(|name| !on_this_machine(*name).is_empty())
        .chain(numbered(on_this_machine(DeviceName::Cuda(None)).len()))
        .collect()
}

/// Returns the precisions that a device supports for `run.precision`.
#[must_use]
pub fn precisions(device: &Device) -> Vec<Precision> {
    let has_bfloat16 = device.supports_dtype(FloatDType::BF16);
    [Some(Precision::F32), has_bfloat16.then_some(Precision::Bf16Mixed)].into_iter().flatten().collect()
}

impl RunConfig {
    /// Opens `run.device` for a rank, and checks that it supports `run.precision`.
    ///
    /// # Errors
    /// As [`DeviceName::open_at`]. [`RunError::NoPrecision`] if it lacks the precision.
    pub fn open_device(&self, ranks: &dyn Ranks) -> Result<Device, RunError> {
        let device = self.open_device_at(&LocalRank::of(ranks))?;
        if let Some(threads) = ranks.threads() {
            check_sums(self.run.device, &device, threads)?;
        }
        Ok(device)
    }

    /// As [`open_device`](Self::open_device), but without testing sums among devices.
    ///
    /// # Errors
    /// As [`open_device`](Self::open_device).
    pub fn open_device_at(&self, rank: &LocalRank) -> Result<Device, RunError> {
        let device = self.run.device.open_at(rank)?;
        if precisions(&device).contains(&self.run.precision) {
            Ok(device)
        } else {
            Err(RunError::NoPrecision { device: self.run.device, precision: self.run.precision.name() })
        }
    }
}

/// Tests the all-reduce among the devices of a process, if they support it.
fn check_sums(name: DeviceName, device: &Device, threads: &RankThreads) -> Result<(), RunError> {
    let devices = threads.all_gather(device.clone());
    if !has_all_reduce(&devices) {
        return Ok(());
    }
    let problem = |problem: String| RunError::BrokenDevice { name, problem };
    let sum = threads.run_collective(|| all_reduce(Tensor::<1>::ones([1], device), &devices));
    let sum: Vec<f32> = sum.try_into_data().map_err(|error| problem(error.to_string()))?.iter().collect();
    let count = devices.len();
    if sum == [count as f32] {
        Ok(())
    } else {
        Err(problem(format!(
            "an NCCL all-reduce is wrong: {sum:?} is the sum of {count} ones on {count} devices"
        )))
    }
}

/// Returns the device's own name, if it has one.
#[must_use]
pub fn description(device: &Device) -> Option<String> {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    return device.identity().map(|identity| identity.name);
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    {
        let _ = device;
        None
    }
}

/// Returns the device that `run.device = "cuda"` gives this process, or the CPU if build or machine have no
/// CUDA.
#[must_use]
pub fn of_this_rank() -> DeviceName {
    let cuda = DeviceName::Cuda(None);
    let count = if cuda.is_built_in() { on_this_machine(cuda).len() } else { 0 };
    if count == 0 { DeviceName::Cpu } else { cuda.of(&LocalRank::of(&SingleRank), count) }
}

/// Position of a rank on its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRank {
    /// Index of its process among those of the machine.
    pub process: usize,
    /// Index of the rank within its process.
    pub thread: usize,
    /// Number of ranks of its process.
    pub threads: usize,
}

impl LocalRank {
    /// Returns the position of this rank, as its launcher states it.
    #[must_use]
    pub fn of(ranks: &dyn Ranks) -> Self {
        let process = local_rank(|variable| std::env::var(variable).ok()).unwrap_or(0);
        let (thread, threads) = ranks.threads().map_or((0, 1), |threads| (threads.index(), threads.count()));
        Self { process, thread, threads }
    }
}

/// Returns the index of this process among those that a launcher (Open MPI, MPICH, Slurm) started on this
/// machine, from the environment variables that `variable` reads. `None` without a launcher.
#[must_use]
pub fn local_rank(variable: impl Fn(&str) -> Option<String>) -> Option<usize> {
    const LAUNCHERS: [&str; 3] = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"];
    LAUNCHERS.into_iter().find_map(|name| variable(name)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_works() {
        DeviceName::Cpu.check().unwrap();
        assert_eq!(names()[0], DeviceName::Cpu);
    }

    #[test]
    fn what_is_not_built_in_names_the_feature() {
        for name in [DeviceName::Wgpu, DeviceName::Cuda(Some(0))] {
            if !name.is_built_in() {
                let message = name.open().unwrap_err().to_string();
                assert!(message.contains(&format!("--features {}", name.kind())), "{message}");
            }
        }
    }

    #[test]
    fn each_rank_of_a_machine_has_a_device_of_its_own() {
        let cuda = DeviceName::Cuda(None);
        let one = LocalRank { process: 3, thread: 0, threads: 1 };
        assert_eq!(cuda.of(&one, 8), DeviceName::Cuda(Some(3)));
        // With more processes than devices, the number stays, so that opening the device reports which there
        // are.
        assert_eq!(cuda.of(&one, 2), DeviceName::Cuda(Some(3)));
        // The launcher shows each process only its own devices.
        assert_eq!(cuda.of(&one, 1), DeviceName::Cuda(Some(0)));
        // Two processes with two devices each.
        let second_of_two = LocalRank { process: 1, thread: 1, threads: 2 };
        assert_eq!(cuda.of(&second_of_two, 4), DeviceName::Cuda(Some(3)));
        assert_eq!(cuda.of(&second_of_two, 2), DeviceName::Cuda(Some(1)));
        for fixed in [DeviceName::Cpu, DeviceName::Wgpu, DeviceName::Cuda(Some(1))] {
            assert_eq!(fixed.of(&one, 8), fixed);
        }
    }

    #[test]
    fn launchers_tell_the_local_rank() {
        let told = |names: &'static [(&str, &str)]| {
            local_rank(|variable| {
                names.iter().find(|(name, _)| *name == variable).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("SLURM_LOCALID", "2")]), Some(2));
        assert_eq!(told(&[("MPI_LOCALRANKID", "1")]), Some(1));
        // `mpirun` within a Slurm job: every process inherits Slurm's variable from the one job step that
        // started them.
        assert_eq!(told(&[("SLURM_LOCALID", "0"), ("OMPI_COMM_WORLD_LOCAL_RANK", "5")]), Some(5));
        assert_eq!(told(&[("SLURM_LOCALID", "first")]), None);
    }
}
