//! What a node says of itself when it starts, and how many slots it offers when nobody says how many.

use crate::config::{SLOTS_MAX, StartConfig};
use crate::hub::Me;
use crate::machine::{machine_id, memory_total};
use relais_protocol::record::NodeFacts;

/// Memory that a slot has at least, where slots follow from the machine.
const SLOT_MEMORY_BYTES: u64 = 512 << 20;

pub(super) fn facts(config: &StartConfig, me: &Me) -> NodeFacts {
    let cpu_millis = config.cpu_millis.unwrap_or_else(machine_cpu_millis);
    let memory_bytes = config.memory_bytes.unwrap_or_else(machine_memory_bytes);
    let (slots, cpu_millis, memory_bytes) = match config.witness {
        true => (0, 0, 0),
        false => (config.slots.unwrap_or_else(|| slots_of(cpu_millis, memory_bytes)), cpu_millis, memory_bytes),
    };
    NodeFacts {
        name: me.name.clone(),
        slots,
        slots_derived: config.slots.is_none(),
        cpu_millis,
        memory_bytes,
        labels: config.labels.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: machine_id(),
        pid: std::process::id(),
        http: config.advertise_http.clone().unwrap_or_else(|| format!("http://{}", config.http)),
        quic: String::new(),
        journal: 0,
        witness: config.witness,
        kinds: Vec::new(),
    }
}

/// One slot for each whole core, but no more than one for each 512 MiB of memory; one at least. What is not known
/// (0) counts as enough.
fn slots_of(cpu_millis: u32, memory_bytes: u64) -> u32 {
    let by_memory = match memory_bytes {
        0 => u64::from(SLOTS_MAX),
        bytes => bytes / SLOT_MEMORY_BYTES,
    };
    let slots = u64::from(cpu_millis / 1_000).min(by_memory).clamp(1, u64::from(SLOTS_MAX));
    u32::try_from(slots).unwrap_or(SLOTS_MAX)
}

/// All cores that this process may use: its affinity and the quota of its control group count.
fn machine_cpu_millis() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    cores.saturating_mul(1_000)
}

fn machine_memory_bytes() -> u64 {
    memory_total().unwrap_or_else(|error| {
        tracing::warn!(%error, "how much memory there is is not known; jobs that ask for some run elsewhere");
        0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_from_cores_and_memory() {
        const GIB: u64 = 1 << 30;
        let table = [
            (8_000, 64 * GIB, 8),
            (8_000, 2 * GIB, 4),
            (8_000, GIB - 1, 1),
            (1_999, 64 * GIB, 1),
            (500, 100, 1),
            (0, 64 * GIB, 1),
            (4_000, 0, 4),
            (u32::MAX, u64::MAX, SLOTS_MAX),
        ];
        for (cpu_millis, memory_bytes, slots) in table {
            assert_eq!(slots_of(cpu_millis, memory_bytes), slots, "{cpu_millis} {memory_bytes}");
        }
    }
}
