//! What a process used, read off `/proc`: on a shared machine CPU time says more than the clock on the wall.

use crate::Failed;
use std::path::PathBuf;

/// CPU seconds, user and system, of a process and of its children that have ended.
///
/// # Errors
/// When there is no such process.
pub fn cpu_seconds(pid: u32) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat")))?;
    // The name, the second field, may have spaces in it, and ends with the last parenthesis.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = rest.split_whitespace().skip(11).take(4).filter_map(|text| text.parse::<f64>().ok()).sum();
    Ok(ticks / ticks_per_second())
}

/// CPU seconds of several processes together.
///
/// # Errors
/// When one of them is gone.
pub fn cpu_of_all(pids: &[u32]) -> Result<f64, Failed> {
    pids.iter().map(|pid| cpu_seconds(*pid)).sum()
}

/// Resident memory in MB.
///
/// # Errors
/// When there is no such process.
pub fn memory_mb(pid: u32) -> Result<f64, Failed> {
    let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.map(|kib| kib * 1024.0 / 1e6).ok_or_else(|| Failed::Answer(format!("process {pid} has no memory")))
}

fn ticks_per_second() -> f64 {
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten();
    ticks.map_or(100.0, |ticks| ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = std::process::id();
        assert!(memory_mb(own).unwrap() > 0.5);
        let start = cpu_seconds(own).unwrap();
        let mut sum = 0u64;
        while cpu_seconds(own).unwrap() <= start {
            sum = (0..100_000u64).fold(sum, |sum, number| sum.wrapping_mul(31).wrapping_add(number));
        }
        assert!(cpu_of_all(&[own, own]).unwrap() > 2.0 * start, "{sum}");
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
