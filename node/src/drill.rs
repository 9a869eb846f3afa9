//! The faults of a rehearsal, as far as the process itself is struck: it ends as by kill -9 and rises again,
//! stands still as by SIGSTOP, or stops in good order and starts again. Whether it may is not decided here.
//!
//! - *Kill* replaces the running program by a short sleep and then by itself, with the arguments of its start:
//!   all threads, memory, sockets and locks are gone at once and without a word, as after kill -9, but the
//!   process id stays, so that whoever supervises the process has nothing to mend.
//! - *Pause* needs somebody else to end it: a child that sleeps and then sends SIGCONT.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The hidden subcommand that sleeps and then becomes the node again: `__rise MS ARGS…`.
pub const RISE: &str = "__rise";
/// The hidden subcommand that lets a process go on: `__wake PID MS`.
pub const WAKE: &str = "__wake";
/// The longest time that a fault lasts, in ms.
pub const LONGEST_MS: u64 = 600_000;

/// Whether the process is to start again once it has stopped.
static STARTS_AGAIN: AtomicBool = AtomicBool::new(false);

/// Ends this process's work at once and starts it again after `pause`. Returns only when that failed.
#[must_use]
pub fn fall(pause: Duration) -> io::Error {
    match std::env::current_exe() {
        Ok(program) => {
            let arguments = std::env::args_os().skip(1);
            Command::new(program).arg(RISE).arg(pause.as_millis().to_string()).args(arguments).exec()
        }
        Err(error) => error,
    }
}

/// The main function of [`RISE`].
#[must_use]
pub fn rise() -> ExitCode {
    let mut words = std::env::args_os().skip(2);
    let pause = number(words.next()).unwrap_or(0);
    std::thread::sleep(Duration::from_millis(pause.min(LONGEST_MS)));
    again(words)
}

/// Stops this process, and lets it go on after `pause`. Returns when it goes on.
///
/// # Errors
/// The child that is to wake it can't be started, or the signal is refused.
pub fn stand_still(pause: Duration) -> io::Result<()> {
    let me = Pid::this();
    let mut waker = Command::new(std::env::current_exe()?)
        .args([WAKE, &me.to_string(), &pause.as_millis().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    kill(me, Signal::SIGSTOP)?;
    // Its work is done; it only has to be buried.
    waker.wait().map(|_| ())
}

/// The main function of [`WAKE`].
#[must_use]
pub fn wake() -> ExitCode {
    let mut words = std::env::args_os().skip(2);
    let (Some(pid), Some(pause)) = (number(words.next()), number(words.next())) else { return ExitCode::FAILURE };
    std::thread::sleep(Duration::from_millis(pause.min(LONGEST_MS)));
    let pid = i32::try_from(pid).map(Pid::from_raw);
    match pid.map(|pid| kill(pid, Signal::SIGCONT)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Asks this process to stop in good order, and to start again then.
///
/// # Errors
/// The signal is refused.
pub fn restart() -> io::Result<()> {
    STARTS_AGAIN.store(true, Ordering::Release);
    Ok(kill(Pid::this(), Signal::SIGTERM)?)
}

/// Called when the node has stopped: becomes the node again if [`restart`] asked for it.
pub fn start_again_if_asked() {
    if STARTS_AGAIN.load(Ordering::Acquire) {
        let _ = again(std::env::args_os().skip(1));
    }
}

fn again(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let error = match std::env::current_exe() {
        Ok(program) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    crate::run::last_words(&format!("can't start again after a rehearsal: {error}; start the node by hand"));
    ExitCode::FAILURE
}

fn number(word: Option<OsString>) -> Option<u64> {
    word?.to_str()?.parse().ok()
}
