//! What must be found, made and opened before a process can be started, and what to say when it cannot.

use super::super::Task;
use super::super::origin::is_of_trace;
use super::super::payload::ExecPayload;
use super::files::Files;
use crate::spawner::Start;
use nix::unistd::AccessFlags;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where programs are looked for when the node itself has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why an attempt cannot be started on this node.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrepareError {
    #[error(
        "command `{name}` was not found on node `{node}` (looked in {path}); install it there, or name its full path"
    )]
    NoCommand { name: String, node: String, path: String },
    #[error("command `{}` does not exist on node `{node}`; install it there, or correct the path", path.display())]
    NoFile { path: PathBuf, node: String },
    #[error("command `{}` may not be executed on node `{node}`; make it executable (chmod +x) for the user of the node", path.display())]
    NotExecutable { path: PathBuf, node: String },
    #[error(
        "working folder `{cwd}` does not exist on node `{node}`; create it there, or leave out `cwd` for a private folder"
    )]
    NoFolder { cwd: String, node: String },
    #[error(
        "working folder `{cwd}` on node `{node}` is no folder; correct `cwd`, or leave it out for a private folder"
    )]
    NotAFolder { cwd: String, node: String },
    #[error(
        "working folder `{cwd}` on node `{node}` may not be entered by the user of the node; change its permissions, or leave out `cwd`"
    )]
    NotEnterable { cwd: String, node: String },
    #[error("node `{node}` failed to make a private folder in {}: {source}; see to its disk and permissions", work.display())]
    Folder { work: PathBuf, node: String, source: io::Error },
    #[error("node `{node}` failed to open pipes for the job: {source}; raise its limit on open files (ulimit -n)")]
    Pipes { node: String, source: io::Error },
}

impl PrepareError {
    /// Whether it is the node that lacks something, so that another node may be able to run the job.
    pub(super) fn is_the_nodes(&self) -> bool {
        matches!(self, Self::Folder { .. } | Self::Pipes { .. })
    }
}

/// Whether a refusal to start a program is for want of something that is the node's to have.
pub(super) fn is_a_lack(errno: i32) -> bool {
    use nix::errno::Errno;
    let lacks = [Errno::EAGAIN, Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE, Errno::ENOSPC, Errno::EDQUOT, Errno::EIO];
    lacks.contains(&Errno::from_raw(errno))
}

/// What a job gets of the node's own environment.
pub(super) struct NodeEnv {
    variables: Vec<(String, String)>,
}

impl NodeEnv {
    /// PATH (or a usual one), HOME, LANG and TZ, as far as this process has them.
    pub(super) fn of_this_process() -> Self {
        let set = |key: &str| std::env::var(key).ok().filter(|value| !value.is_empty());
        let path = set("PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned());
        let mut variables = vec![("PATH".to_owned(), path)];
        variables.extend(["HOME", "LANG", "TZ"].iter().filter_map(|key| Some(((*key).to_owned(), set(key)?))));
        Self { variables }
    }
}

/// Where and as what an attempt runs: what is taken from its task.
pub(super) struct Place {
    name: String,
    node: String,
    work: PathBuf,
    leased: bool,
    own_env: Vec<(String, String)>,
}

impl Place {
    pub(super) fn of(task: &Task) -> Self {
        let mut own_env = task.extra_env.clone();
        own_env.extend([
            ("RELAIS_JOB_ID".to_owned(), task.job.to_string()),
            ("RELAIS_ATTEMPT".to_owned(), task.attempt.to_string()),
            ("RELAIS_FENCE".to_owned(), task.fence.to_string()),
            ("RELAIS_NODE".to_owned(), task.node_name.clone()),
        ]);
        Self {
            name: format!("{}-{}", task.job, task.fence),
            node: task.node_name.clone(),
            // The attempt has another working folder than this process, and is told these paths.
            work: std::path::absolute(&task.work_dir).unwrap_or_else(|_| task.work_dir.clone()),
            leased: task.leased,
            own_env,
        }
    }
}

/// Ready to be started.
pub(super) struct Prepared {
    pub(super) start: Start,
    /// The ends of the pipes to read from.
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) files: Files,
}

/// Finds the folder and the program, makes the files and the pipes. Blocks.
///
/// # Errors
/// With what is missing, where, and what to do.
pub(super) fn prepare(payload: ExecPayload, node_env: &NodeEnv, place: &Place) -> Result<Prepared, PrepareError> {
    let node = || place.node.clone();
    if let Some(cwd) = &payload.cwd {
        check_folder(cwd, &place.node)?;
    }
    let files = Files::make(&place.work, &place.name, payload.cwd.is_none())
        .map_err(|source| PrepareError::Folder { work: place.work.clone(), node: node(), source })?;
    let started = open(payload, node_env, place, &files);
    match started {
        Ok((start, stdout, stderr)) => Ok(Prepared { start, stdout, stderr, files }),
        Err(error) => {
            if let Err(error) = files.remove() {
                tracing::warn!(%error, "failed to remove the private folder of an attempt that could not start");
            }
            Err(error)
        }
    }
}

fn open(
    payload: ExecPayload,
    node_env: &NodeEnv,
    place: &Place,
    files: &Files,
) -> Result<(Start, OwnedFd, OwnedFd), PrepareError> {
    let cwd = match (&payload.cwd, &files.folder) {
        (Some(cwd), _) => PathBuf::from(cwd),
        (None, Some(folder)) => folder.clone(),
        (None, None) => place.work.clone(),
    };
    let env = environment(payload.env, node_env, place, files);
    let path = env.iter().find(|(key, _)| key == "PATH").map_or("", |(_, value)| value);
    let name = payload.command.first().map_or("", String::as_str);
    let program = find_program(name, path, &cwd, &place.node)?;
    let pipes = |source| PrepareError::Pipes { node: place.node.clone(), source };
    let (stdout, stdout_end) = io::pipe().map_err(pipes)?;
    let (stderr, stderr_end) = io::pipe().map_err(pipes)?;
    let stdin = payload.stdin.map(|text| stdin_file(text.as_bytes())).transpose().map_err(pipes)?;
    let start = Start {
        program,
        argv: payload.command,
        env,
        cwd,
        stdin,
        stdout: stdout_end.into(),
        stderr: stderr_end.into(),
        leased: place.leased,
    };
    Ok((start, stdout.into(), stderr.into()))
}

/// The whole environment: the node's four, then the job's, then ours; the later wins, but for a trace of the job's own.
fn environment(
    named: Vec<(String, String)>,
    node_env: &NodeEnv,
    place: &Place,
    files: &Files,
) -> Vec<(String, String)> {
    let file = |key: &str, path: &Path| (key.to_owned(), path.to_string_lossy().into_owned());
    let has_trace = named.iter().any(|(key, _)| is_of_trace(key));
    let own = place.own_env.iter().filter(|(key, _)| !(has_trace && is_of_trace(key)));
    let all = node_env
        .variables
        .iter()
        .cloned()
        .chain(named)
        .chain(own.cloned())
        .chain([file("RELAIS_PROGRESS_FILE", &files.progress), file("RELAIS_RESULT_FILE", &files.result)]);
    let by_key: std::collections::BTreeMap<String, String> = all.collect();
    by_key.into_iter().collect()
}

fn check_folder(cwd: &str, node: &str) -> Result<(), PrepareError> {
    let (cwd, node) = (cwd.to_owned(), node.to_owned());
    match std::fs::metadata(&cwd) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(PrepareError::NotEnterable { cwd, node }),
        Err(_) => Err(PrepareError::NoFolder { cwd, node }),
        Ok(metadata) if !metadata.is_dir() => Err(PrepareError::NotAFolder { cwd, node }),
        Ok(_) if nix::unistd::access(cwd.as_str(), AccessFlags::X_OK).is_err() => {
            Err(PrepareError::NotEnterable { cwd, node })
        }
        Ok(_) => Ok(()),
    }
}

/// Finds the file to run as a shell would: a name with a slash from the working folder, another in PATH.
/// Done here because a failed search by the system says only "not found", and is slower to start.
fn find_program(name: &str, path: &str, cwd: &Path, node: &str) -> Result<PathBuf, PrepareError> {
    let runnable = |file: &Path| file.is_file() && nix::unistd::access(file, AccessFlags::X_OK).is_ok();
    if name.contains('/') {
        let file = cwd.join(name);
        return if runnable(&file) {
            Ok(file)
        } else if file.exists() {
            Err(PrepareError::NotExecutable { path: file, node: node.to_owned() })
        } else {
            Err(PrepareError::NoFile { path: file, node: node.to_owned() })
        };
    }
    let mut barred = None;
    for folder in path.split(':') {
        let file = cwd.join(folder).join(name);
        if runnable(&file) {
            return Ok(file);
        }
        if barred.is_none() && file.is_file() {
            barred = Some(file);
        }
    }
    let node = node.to_owned();
    Err(match barred {
        Some(path) => PrepareError::NotExecutable { path, node },
        None => PrepareError::NoCommand { name: name.to_owned(), node, path: path.to_owned() },
    })
}

/// Standard input as a file in memory: nobody has to feed a pipe.
fn stdin_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("stdin", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

/// What to say when the system itself refused to start what looked right.
pub(super) fn refusal(command: &str, node: &str, errno: Option<i32>, message: &str) -> String {
    use nix::errno::Errno;
    let next_step = match errno.map(Errno::from_raw) {
        Some(Errno::ENOEXEC) => "it is no program for this machine; a script needs a first line like #!/bin/sh",
        Some(Errno::ENOENT) => "the interpreter in its first line, or its folder, is missing there",
        Some(Errno::E2BIG) => "arguments and environment are too long together; pass data by stdin or a file",
        Some(Errno::EAGAIN) => "too many processes; raise the limit (ulimit -u) or lower the node's slots",
        Some(Errno::EMFILE | Errno::ENFILE) => "raise its limit on open files (ulimit -n) or lower the node's slots",
        Some(Errno::ENOMEM) => "out of memory; lower the node's slots",
        Some(Errno::EACCES) => "permission denied; check the program, its interpreter and the working folder",
        _ => "see to that node",
    };
    format!("failed to start `{command}` on node `{node}`: {message}; {next_step}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_node_lacks_says_nothing_of_the_job() {
        let full = || io::Error::from_raw_os_error(nix::errno::Errno::ENOSPC as i32);
        assert!(PrepareError::Folder { work: "/w".into(), node: "n1".into(), source: full() }.is_the_nodes());
        assert!(PrepareError::Pipes { node: "n1".into(), source: full() }.is_the_nodes());
        assert!(!PrepareError::NoFile { path: "/x".into(), node: "n1".into() }.is_the_nodes());
        assert!(is_a_lack(nix::errno::Errno::EAGAIN as i32) && !is_a_lack(nix::errno::Errno::ENOENT as i32));
    }

    #[test]
    fn programs_are_found_and_missed_with_reasons() {
        let place = tempfile::tempdir().unwrap();
        let cwd = place.path();
        std::fs::write(cwd.join("plain"), "x").unwrap();
        assert_eq!(find_program("sh", "/nowhere:/bin", cwd, "n1").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find_program("/bin/sh", "", cwd, "n1").unwrap(), Path::new("/bin/sh"));
        let missing = find_program("no-such-thing", "/bin", cwd, "n1").unwrap_err().to_string();
        assert!(
            missing.contains("`no-such-thing`") && missing.contains("n1") && missing.contains("install"),
            "{missing}"
        );
        assert!(matches!(find_program("./plain", "", cwd, "n1"), Err(PrepareError::NotExecutable { .. })));
        assert!(matches!(find_program("./none", "", cwd, "n1"), Err(PrepareError::NoFile { .. })));
        assert!(matches!(
            find_program("plain", &cwd.to_string_lossy(), cwd, "n1"),
            Err(PrepareError::NotExecutable { .. })
        ));
    }

    #[test]
    fn folders_are_checked_with_reasons() {
        assert!(check_folder("/", "n1").is_ok());
        assert!(matches!(check_folder("/no/such/folder", "n1"), Err(PrepareError::NoFolder { .. })));
        assert!(matches!(check_folder("/dev/null", "n1"), Err(PrepareError::NotAFolder { .. })));
    }
}
