//! The kernel's text files as numbers. Reads no file itself.

use super::{CpuTicks, NetBytes};

/// The first line of `/proc/stat`: all cores together.
pub(super) fn cpu_ticks(text: &str) -> Option<CpuTicks> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest time after them is within user already.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let total = ticks.iter().try_fold(0u64, |sum, ticks| sum.checked_add(*ticks))?;
    let idle: u64 = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
    Some(CpuTicks { busy: total - idle, total })
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
pub(super) fn memory_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The sum of all interfaces but the loopback in `/proc/net/dev`. Below its two lines of titles each
/// line is `name: received-bytes (7 more) sent-bytes (7 more)`.
pub(super) fn net_bytes(text: &str) -> Option<NetBytes> {
    let mut sum = NetBytes { received: 0, sent: 0 };
    for line in text.lines().skip(2) {
        let (name, counters) = line.split_once(':')?;
        if name.trim() == "lo" {
            continue;
        }
        let mut fields = counters.split_whitespace().map(str::parse::<u64>);
        sum.received = sum.received.saturating_add(fields.next()?.ok()?);
        sum.sent = sum.sent.saturating_add(fields.nth(7)?.ok()?);
    }
    Some(sum)
}

/// The soft limit on open files in `/proc/self/limits`.
pub(super) fn open_files_max(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// The second field of `/proc/self/statm`.
pub(super) fn resident_pages(text: &str) -> Option<u64> {
    text.split_whitespace().nth(1)?.parse().ok()
}

/// Ticks on a core, in user and kernel mode together, threads, and the tick after boot at which it started, of
/// `/proc/self/stat`. The program's name in it may hold anything, a closing bracket too.
pub(super) fn process_ticks(text: &str) -> Option<(u64, u64, u64)> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)?.checked_add(field(15)?)?, field(20)?, field(22)?))
}

/// When the machine was started, in seconds since 1970, of `/proc/stat`.
pub(super) fn booted_at(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// An id of a machine, if the text is one: systemd writes `uninitialized` before the first boot is over.
pub(super) fn machine_id(text: &str) -> Option<String> {
    let id = text.trim();
    let usable = id.len() >= 16 && id.chars().any(|c| c != '0' && c != '-') && id != "uninitialized";
    usable.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "cpu  10 5 20 100 7 1 2 3 4 0\ncpu0 9 9 9 9\nintr 12\n";
        assert_eq!(cpu_ticks(stat), Some(CpuTicks { busy: 41, total: 148 }));
        let memory = "MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:   20 kB\n";
        assert_eq!(memory_available(memory), Some(20 * 1024));
        let net = "Inter-| Receive\n face |bytes\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  \
                   eth0:100 2 0 0 0 0 0 0 40 2 0 0 0 0 0 0\n wlan0: 1 2 0 0 0 0 0 0 2 2 0 0 0 0 0 0\n";
        assert_eq!(net_bytes(net), Some(NetBytes { received: 101, sent: 42 }));
        let own = "7 (re) lais) S 1 7 7 0 -1 4 5 6 7 8 120 30 0 0 20 0 9 0 4321 99";
        assert_eq!(process_ticks(own), Some((150, 9, 4321)));
        assert_eq!(booted_at("intr 12\nbtime 1700000000\n"), Some(1_700_000_000));
        assert_eq!(resident_pages("900 321 100 1 0 90 0\n"), Some(321));
    }

    #[test]
    fn only_an_id_is_an_id() {
        assert_eq!(
            machine_id("3d1219c7c4c5404aaa1f6d2a48adfda4\n").as_deref(),
            Some("3d1219c7c4c5404aaa1f6d2a48adfda4")
        );
        for none in ["", "\n", "uninitialized\n", "00000000000000000000000000000000"] {
            assert_eq!(machine_id(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn other_text_never_panics(text in "(cpu |MemAvailable:|a:)?[ 0-9a-zB:\n]{0,80}") {
            let _ = (cpu_ticks(&text), memory_available(&text), net_bytes(&text), resident_pages(&text));
            let _ = (process_ticks(&text), booted_at(&text));
        }
    }
}
