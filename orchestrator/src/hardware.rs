//! What the machine is: processor, memory, and NVIDIA accelerators when their driver's library is
//! there at run time. It never fails: what cannot be read is left out.

use crate::worker::GpuReading;
use cactus_protocol::frame::{Gpu, HardwareReport};
use nvml_wrapper::{Nvml, enum_wrappers::device::TemperatureSensor};
use std::{ffi::OsStr, sync::Arc, time::Duration};
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};
use tokio_util::sync::CancellationToken;

/// Drivers install the versioned name; the plain one comes with development packages.
const NVML_NAMES: [&str; 2] = ["libnvidia-ml.so.1", "libnvidia-ml.so"];
/// No name in a report is longer, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// The machine, and a handle on its accelerators.
pub struct Hardware {
    /// For the `Hello`.
    pub report: HardwareReport,
    nvml: Option<Arc<Nvml>>,
}

impl Hardware {
    /// Looks at the machine. Takes some milliseconds, with accelerators up to a second.
    pub fn probe() -> Self {
        let nvml = load_nvml();
        let gpus = nvml.as_ref().map(gpus).unwrap_or_default();
        Self { report: HardwareReport { gpus, ..machine() }, nvml: nvml.map(Arc::new) }
    }

    /// Reads the accelerators every `pause` until `shutdown`.
    pub(crate) async fn watch(
        self,
        readings: watch::Sender<GpuReading>,
        pause: Duration,
        shutdown: CancellationToken,
    ) {
        let Some(nvml) = self.nvml else { return };
        while !shutdown.is_cancelled() {
            let nvml = Arc::clone(&nvml);
            if let Ok(reading) = spawn_blocking(move || reading(&nvml)).await {
                readings.send_replace(reading);
            }
            let _ = timeout(pause, shutdown.cancelled()).await;
        }
    }
}

fn load_nvml() -> Option<Nvml> {
    let mut attempts =
        NVML_NAMES.iter().map(|name| Nvml::builder().lib_path(OsStr::new(name)).init());
    attempts.find_map(Result::ok)
}

fn machine() -> HardwareReport {
    let wanted = RefreshKind::nothing()
        .with_cpu(CpuRefreshKind::nothing())
        .with_memory(MemoryRefreshKind::nothing().with_ram());
    let Ok(system) = System::new_with_specifics(wanted) else {
        return HardwareReport::default();
    };
    let cpu = system.cpus().first().map(|cpu| short(cpu.brand()));
    HardwareReport {
        cpu: cpu.unwrap_or_default(),
        cores: u16::try_from(system.cpus().len()).unwrap_or(u16::MAX),
        memory_bytes: system.total_memory(),
        gpus: Vec::new(),
    }
}

fn gpus(nvml: &Nvml) -> Vec<Gpu> {
    let driver = nvml.sys_driver_version().unwrap_or_default();
    let count = nvml.device_count().unwrap_or(0);
    let devices = (0..count).filter_map(|index| nvml.device_by_index(index).ok());
    devices
        .map(|device| Gpu {
            name: short(&device.name().unwrap_or_default()),
            memory_bytes: device.memory_info().map_or(0, |memory| memory.total),
            driver: short(&driver),
        })
        .collect()
}

fn reading(nvml: &Nvml) -> GpuReading {
    let count = nvml.device_count().unwrap_or(0);
    let devices = (0..count).filter_map(|index| nvml.device_by_index(index).ok());
    devices.fold(GpuReading::default(), |so_far, device| {
        let celsius = device.temperature(TemperatureSensor::Gpu).unwrap_or(0);
        let used = device.memory_info().map_or(0, |memory| memory.used);
        GpuReading {
            celsius: so_far.celsius.max(u16::try_from(celsius).unwrap_or(u16::MAX)),
            memory_bytes: so_far.memory_bytes.saturating_add(used),
        }
    })
}

fn short(name: &str) -> String {
    let name = name.trim();
    name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_processor_and_memory() {
        let report = Hardware::probe().report;
        assert!(report.cores > 0);
        assert!(report.memory_bytes > 1 << 24);
    }
}
