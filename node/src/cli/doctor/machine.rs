//! What is looked at on this machine: settings, limits, the disk of the data directory. It opens no socket.

use super::Finding;
use crate::cli::config::variables;
use crate::cli::time_text::bytes;
use crate::config::StartConfig;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// A node of a few hundred clients and jobs needs this many open files.
const OPEN_FILES_LEAST: u64 = 4_096;
const MIN_FREE: u64 = 64 << 20;
/// With less than this part of the disk free, it is time to look.
const FREE_LEAST_PERCENT: u64 = 5;

/// Looks at all of it.
pub(super) fn look(data_dir: &Path) -> Vec<Finding> {
    let mut findings = vec![settings(), open_files(std::fs::read_to_string("/proc/self/limits").ok().as_deref())];
    findings.extend(disk(data_dir));
    findings
}

fn settings() -> Finding {
    let host = hostname::get().unwrap_or_default();
    match StartConfig::explain(None, variables(), &host.to_string_lossy()) {
        Ok(_) => Finding::good("settings", "the RELAIS_* variables of this environment are good"),
        Err(error) => Finding::bad("settings", error.to_string(), "`relais config show --origin` shows them all"),
    }
}

/// `limits` is the text of `/proc/self/limits`.
fn open_files(limits: Option<&str>) -> Finding {
    let line = limits.and_then(|text| text.lines().find(|line| line.starts_with("Max open files")));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)).map(|word| word.parse::<u64>());
    match soft {
        Some(Ok(limit)) if limit < OPEN_FILES_LEAST => Finding::warning(
            "open files",
            format!("a process may open {limit}; a busy node wants {OPEN_FILES_LEAST}"),
            "raise it: `ulimit -n 65536`, or LimitNOFILE=65536 in the service",
        ),
        Some(Ok(limit)) => Finding::good("open files", format!("a process may open {limit}")),
        Some(Err(_)) => Finding::good("open files", "a process may open as many as it likes"),
        None => Finding::warning("open files", "the limit can't be read", "see `ulimit -n`"),
    }
}

fn disk(data_dir: &Path) -> Option<Finding> {
    if !data_dir.exists() {
        return None;
    }
    let what = format!("disk of {}", data_dir.display());
    let stat = match statvfs(data_dir) {
        Ok(stat) => stat,
        Err(error) => return Some(Finding::bad(what, format!("can't be looked at: {error}"), "check the folder")),
    };
    let free = stat.blocks_available() as u64 * stat.fragment_size() as u64;
    let total = stat.blocks() as u64 * stat.fragment_size() as u64;
    Some(room(what, free, total))
}

fn room(what: String, free: u64, total: u64) -> Finding {
    let percent = free * 100 / total.max(1);
    let detail = format!("{} free of {} ({percent}%)", bytes(free as f64), bytes(total as f64));
    if free < MIN_FREE {
        return Finding::bad(what, detail, "free some: below --min-free the journal here takes no more entries");
    }
    if percent < FREE_LEAST_PERCENT {
        return Finding::warning(what, detail, "free some, or shorten how long ended jobs are kept");
    }
    Finding::good(what, detail)
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn limits_are_read() {
        let text =
            |limit: &str| format!("Limit  Soft Limit  Hard Limit  Units\nMax open files  {limit}  524288  files\n");
        for (limit, level) in [("1024", Level::Warning), ("65536", Level::Good), ("unlimited", Level::Good)] {
            assert_eq!(open_files(Some(&text(limit))).level, level, "{limit}");
        }
        assert_eq!(open_files(None).level, Level::Warning);
    }

    #[test]
    fn a_full_disk_is_wrong_and_a_filling_one_a_warning() {
        let level = |free, total| room(String::new(), free, total).level;
        assert_eq!(level(10 << 20, 1 << 40), Level::Bad);
        assert_eq!(level(1 << 30, 1 << 40), Level::Warning);
        assert_eq!(level(1 << 30, 4 << 30), Level::Good);
    }
}
