//! What computes: this machine's processor or an NVIDIA device, as the operator chose or as is
//! there. It never computes anything itself.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use candle_core::{DType, Device as Tensors, Tensor};
use serde::Deserialize;

use crate::load::error::LoadError;

/// The most devices of one machine that are told apart.
const DEVICE_LIMIT: usize = 64;

/// What the operator wants to compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum DeviceChoice {
    /// The first NVIDIA device if this program was built for one and it can be used, else the
    /// processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The NVIDIA device with this number, and nothing else.
    Cuda(usize),
}

/// The text names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of auto, cpu, cuda and cuda:N with N below {DEVICE_LIMIT}")]
pub struct BadDevice(String);

impl FromStr for DeviceChoice {
    type Err = BadDevice;

    fn from_str(text: &str) -> Result<Self, BadDevice> {
        let bad = || BadDevice(text.to_owned());
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => {
                let number = other.strip_prefix("cuda:").and_then(|number| number.parse().ok());
                let number = number.filter(|number| *number < DEVICE_LIMIT);
                number.map(Self::Cuda).ok_or_else(bad)
            }
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = BadDevice;

    fn try_from(text: String) -> Result<Self, BadDevice> {
        text.parse()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(number) => write!(formatter, "cuda:{number}"),
        }
    }
}

/// What computes. Prints as one line that says what it is and why.
#[derive(Clone, Debug)]
pub struct Device {
    pub(crate) tensors: Tensors,
    /// The format of weights, states and cache on an NVIDIA device; a processor has its own rules.
    pub(crate) dtype: DType,
    reason: String,
}

impl Default for Device {
    fn default() -> Self {
        Self::cpu("as chosen")
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.is_cpu() { "cpu" } else { "cuda" };
        write!(formatter, "{name}: {}", self.reason)
    }
}

impl Device {
    /// Opens what was chosen.
    ///
    /// # Errors
    /// [`LoadError::NoDevice`] if an NVIDIA device was chosen and cannot be used.
    pub fn open(choice: DeviceChoice) -> Result<Self, LoadError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::default()),
            DeviceChoice::Cuda(number) => cuda::open(number).map_err(LoadError::NoDevice),
            DeviceChoice::Auto => Ok(match cuda::open(0) {
                Ok(device) => device,
                Err(reason) => Self::cpu(&reason),
            }),
        }
    }

    /// Whether it is the processor.
    pub fn is_cpu(&self) -> bool {
        self.tensors.is_cpu()
    }

    /// Bytes per second, read and written together, of copying within its memory.
    ///
    /// # Errors
    /// If there is no room for 2 GiB, or the device fails.
    pub fn copy_bandwidth(&self) -> candle_core::Result<f64> {
        const BYTES: usize = 1 << 30;
        const RUNS: u32 = 20;
        let source = Tensor::zeros(BYTES, DType::U8, &self.tensors)?;
        let target = Tensor::zeros(BYTES, DType::U8, &self.tensors)?;
        target.slice_set(&source, 0, 0)?;
        self.tensors.synchronize()?;
        let started = Instant::now();
        for _ in 0..RUNS {
            target.slice_set(&source, 0, 0)?;
        }
        self.tensors.synchronize()?;
        Ok((2 * BYTES) as f64 * f64::from(RUNS) / started.elapsed().as_secs_f64())
    }

    fn cpu(reason: &str) -> Self {
        Self { tensors: Tensors::Cpu, dtype: DType::F32, reason: reason.to_owned() }
    }

    /// Bytes of a number of states and cache.
    pub(crate) fn width(&self) -> u64 {
        if self.dtype == DType::F32 { 4 } else { 2 }
    }

    /// Bytes of its memory that nobody uses; `None` if it has none of its own.
    pub(crate) fn free_memory(&self) -> Option<u64> {
        cuda::memory(&self.tensors).map(|(free, _)| free)
    }
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::{Device, Tensors};

    pub(super) fn open(_number: usize) -> Result<Device, String> {
        Err("this program was built without the feature `cuda`".to_owned())
    }

    pub(super) fn memory(_device: &Tensors) -> Option<(u64, u64)> {
        None
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::ffi::OsStr;
    use std::panic::catch_unwind;

    use candle_core::cuda_backend::cudarc::driver::CudaContext;
    use nvml_wrapper::Nvml;

    use super::{DType, Device, Tensors};

    /// Comes with every driver, as the library that computes does.
    const DRIVER: &str = "libnvidia-ml.so.1";

    /// Opens a device, or says why not. The libraries are loaded here and not when the program
    /// starts, so that it starts on machines without them.
    pub(super) fn open(number: usize) -> Result<Device, String> {
        Nvml::builder()
            .lib_path(OsStr::new(DRIVER))
            .init()
            .map_err(|_| "this machine has no NVIDIA driver that answers".to_owned())?;
        // What loads the libraries panics where one is missing.
        let opened = catch_unwind(|| {
            let count = CudaContext::device_count().map_err(|error| error.to_string())?;
            if usize::try_from(count).is_ok_and(|count| number >= count) {
                return Err(format!("cuda:{number} is not there; the machine has {count}"));
            }
            Tensors::new_cuda_with_stream(number).map_err(|error| error.to_string())
        });
        let opened = opened.map_err(|panic| missing(panic.downcast_ref::<String>()))?;
        let tensors = opened.map_err(|reason| format!("cuda:{number} cannot be used: {reason}"))?;
        let context = tensors.as_cuda_device().map(|device| device.cuda_stream());
        let context = context.map_err(|error| error.to_string())?;
        let name = context.context().name().unwrap_or_else(|_| "without a name".to_owned());
        let (free, total) = memory(&tensors).unwrap_or((0, 0));
        let gibibytes = |bytes: u64| bytes >> 30;
        let reason = format!(
            "device {number}, {name}, {} of {} GiB free",
            gibibytes(free),
            gibibytes(total)
        );
        Ok(Device { tensors, dtype: DType::BF16, reason })
    }

    /// Free and all memory of a device, in bytes.
    pub(super) fn memory(device: &Tensors) -> Option<(u64, u64)> {
        let Tensors::Cuda(device) = device else { return None };
        let (free, total) = device.cuda_stream().context().mem_get_info().ok()?;
        Some((u64::try_from(free).ok()?, u64::try_from(total).ok()?))
    }

    fn missing(text: Option<&String>) -> String {
        let text = text.map_or("a library of CUDA is missing", String::as_str);
        format!("CUDA's libraries cannot be loaded: {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_they_print() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:63", DeviceChoice::Cuda(63)),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:64", "cuda:-1", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn whoever_chose_a_device_that_is_not_there_is_told_and_auto_says_why_it_computes_here() {
        let found = Device::open(DeviceChoice::Auto).unwrap();
        match Device::open(DeviceChoice::Cuda(0)) {
            Ok(device) => assert!(!device.is_cpu() && !found.is_cpu()),
            Err(LoadError::NoDevice(reason)) => {
                assert!(found.is_cpu());
                assert_eq!(found.to_string(), format!("cpu: {reason}"));
            }
            Err(other) => panic!("{other}"),
        }
    }
}
