//! How much memory a model takes, worked out before anything large is read, and whether the machine
//! has it. It never allocates.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::card::MemoryEstimate;
use crate::load::error::LoadError;

/// The KV cache in a machine's memory when the operator sets no size: this, or less if all slots or
/// the machine need less.
pub(crate) const USUAL_CACHE_BYTES: u64 = 4 << 30;

/// What a model needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// The weights once loaded.
    pub(crate) weights: u64,
    /// What loading takes besides: the largest file, read whole.
    pub(crate) loading: u64,
    /// The largest step.
    pub(crate) activations: u64,
    /// A KV cache that holds every slot at full context.
    pub(crate) full_cache: u64,
    /// The largest KV cache that nobody asked for.
    pub(crate) usual_cache: u64,
    /// The smallest useful KV cache.
    pub(crate) least_cache: u64,
}

/// Bytes that a new model may take: free memory and what the system can give up, within the limits
/// of a container; without limit where the system does not tell.
pub(crate) fn available() -> u64 {
    let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let Ok(system) = System::new_with_specifics(memory) else { return u64::MAX };
    let machine = system.available_memory();
    system.cgroup_limits().map_or(machine, |limits| limits.free_memory.min(machine))
}

impl Needs {
    /// How large the KV cache becomes within `available` bytes, and what the model takes then.
    /// `wanted` is what the operator set.
    ///
    /// # Errors
    /// [`LoadError::OutOfMemory`] says how much is needed and what to change.
    pub(crate) fn plan(
        &self,
        wanted: Option<u64>,
        available: u64,
    ) -> Result<MemoryEstimate, LoadError> {
        let fixed = self.weights.saturating_add(self.loading.max(self.activations));
        let left = available.saturating_sub(fixed);
        let kv_cache = match wanted {
            Some(wanted) => wanted.min(self.full_cache),
            // An eighth stays free for everything else.
            None => {
                let usual = self.full_cache.min(self.usual_cache);
                usual.min(left - left / 8).max(self.least_cache)
            }
        };
        let (weights, activations) = (self.weights, self.activations);
        let estimate = MemoryEstimate { weights, kv_cache, activations };
        if fixed < available && estimate.kv_cache <= left {
            return Ok(estimate);
        }
        let advice = match left > self.least_cache {
            true => format!("give the KV cache at most {}, or use fewer slots", gibibytes(left)),
            false => "choose a smaller or a quantised model, or a larger machine".to_owned(),
        };
        Err(LoadError::OutOfMemory(format!(
            "the model needs {} (weights {}, KV cache {}, activations {}, while loading {} more) \
             and {} are available; {advice}",
            gibibytes(fixed.saturating_add(estimate.kv_cache)),
            gibibytes(estimate.weights),
            gibibytes(estimate.kv_cache),
            gibibytes(estimate.activations),
            gibibytes(self.loading),
            gibibytes(available),
        )))
    }
}

/// Two digits after the point.
fn gibibytes(bytes: u64) -> String {
    let hundredths = u128::from(bytes) * 100 / (1 << 30);
    format!("{}.{:02} GiB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const NEEDS: Needs = Needs {
        weights: 10 * GIB,
        loading: GIB,
        activations: GIB / 2,
        full_cache: 8 * GIB,
        usual_cache: 4 * GIB,
        least_cache: GIB / 1024,
    };

    #[test]
    fn the_cache_takes_what_is_wanted_or_usual_or_left() {
        for (wanted, available, cache) in [
            (None, 64 * GIB, 4 * GIB),
            (None, 13 * GIB, 2 * GIB - GIB / 4),
            (Some(6 * GIB), 64 * GIB, 6 * GIB),
            (Some(60 * GIB), 64 * GIB, 8 * GIB),
            (Some(0), 64 * GIB, 0),
        ] {
            assert_eq!(NEEDS.plan(wanted, available).unwrap().kv_cache, cache);
        }
    }

    #[test]
    fn a_refusal_says_how_much_is_needed_and_what_to_change() {
        for (wanted, available, parts) in [
            (None, 9 * GIB, ["11.00 GiB", "weights 10.00", "quantised model"]),
            (None, 11 * GIB, ["11.00 GiB", "weights 10.00", "quantised model"]),
            (Some(6 * GIB), 13 * GIB, ["17.00 GiB", "KV cache 6.00", "at most 2.00 GiB"]),
        ] {
            let refused = NEEDS.plan(wanted, available).unwrap_err().to_string();
            assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
        }
    }

    #[test]
    fn sizes_beyond_any_machine_are_refused_and_do_not_overflow() {
        let needs = Needs { weights: u64::MAX, loading: u64::MAX, full_cache: u64::MAX, ..NEEDS };
        assert!(matches!(needs.plan(Some(u64::MAX), GIB), Err(LoadError::OutOfMemory(_))));
    }
}
