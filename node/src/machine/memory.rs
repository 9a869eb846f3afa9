//! How much memory there is for this process: the machine's, or what its control groups leave it of that.

use super::{FigureError, figure};
use std::path::{Path, PathBuf};

/// Where control groups of the second version are shown.
const GROUPS: &str = "/sys/fs/cgroup";
/// The limit of control groups of the first version, as a container sees it.
const OLD_LIMIT: &str = "/sys/fs/cgroup/memory/memory.limit_in_bytes";

/// Memory in bytes: all of the machine's, or the lowest limit of a control group that this process is in.
///
/// # Errors
/// See [`FigureError`].
pub fn memory_total() -> Result<u64, FigureError> {
    let all = figure("/proc/meminfo", "MemTotal", total)?;
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = limit_files(Path::new(GROUPS), &own).into_iter().chain([PathBuf::from(OLD_LIMIT)]);
    let limits = files.filter_map(|file| limit(&std::fs::read_to_string(file).ok()?));
    Ok(limits.fold(all, u64::min))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The limits of the group that `/proc/self/cgroup` names, and of all groups around it.
fn limit_files(groups: &Path, own: &str) -> Vec<PathBuf> {
    let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return Vec::new() };
    // A process outside of its namespace's root is shown a way up: there is nothing to be read there.
    let inner = if path.split('/').any(|part| part == "..") { "" } else { path };
    let own = groups.join(inner);
    own.ancestors().take_while(|at| at.starts_with(groups)).map(|at| at.join("memory.max")).collect()
}

/// A limit in bytes; none for `max`.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_around_a_process_counts() {
        let groups = tempfile::tempdir().unwrap();
        let files = limit_files(groups.path(), "1:name=x:/y\n0::/a/b\n");
        let shown: Vec<_> = files.iter().map(|file| file.strip_prefix(groups.path()).unwrap().to_owned()).collect();
        assert_eq!(shown, ["a/b/memory.max", "a/memory.max", "memory.max"].map(PathBuf::from));
        assert_eq!(limit_files(groups.path(), "0::/../x\n"), [groups.path().join("memory.max")]);
        assert_eq!(limit_files(groups.path(), "4:memory:/a\n"), Vec::<PathBuf>::new());
        assert_eq!((limit("max\n"), limit("1048576\n"), limit("")), (None, Some(1 << 20), None));
    }

    #[test]
    fn this_machine_has_memory() {
        assert_eq!(total("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 << 10));
        assert!(memory_total().unwrap() > 1 << 20);
    }
}
