//! The spawner process's loop: start, signal, wait for the end, sweep up, report.
//!
//! An end is reported when nothing of the job is left: its group is killed and waited for, and so are the
//! strays known to be its own. The usual job has neither, and costs four small system calls for it.

use super::frame::{Command, Event, Exit, Request};
use super::link::Link;
use super::processes::{self, Children, Ended, Mark};
use super::strays::Strays;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::WaitStatus;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// How long an end waits to be told between two looks at what is left of the job.
const LOOK_AGAIN_MS: u16 = 20;
/// How many looks it waits: what survives KILL for two seconds hangs in the kernel.
const LOOKS_MAX: u32 = 100;

struct Running {
    pid: i32,
    mark: Option<Mark>,
    leased: bool,
    told: bool,
}

/// An ended job of which something may be left.
struct Leaving {
    token: u64,
    pid: i32,
    exit: Exit,
    looks: u32,
}

struct Keeper {
    link: Link,
    events: Vec<Event>,
    running: BTreeMap<u64, Running>,
    tokens: HashMap<i32, u64>,
    leaving: Vec<Leaving>,
    strays: Strays,
    children: Children,
    lease: OwnedFd,
    look_again: bool,
}

/// Serves the node at the other end of standard input until it is gone, then leaves nothing behind.
///
/// # Errors
/// When standard input is no socket, or the system refuses what every Linux since 3.4 has.
pub(super) fn serve() -> io::Result<()> {
    let mut woken = prepare()?;
    let mut keeper = Keeper {
        link: Link::from_stdin()?,
        events: Vec::new(),
        running: BTreeMap::new(),
        tokens: HashMap::new(),
        leaving: Vec::new(),
        strays: Strays::default(),
        children: Children::open(),
        lease: rustix::time::timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
        look_again: false,
    };
    let served = keeper.turn_until_closed(&mut woken);
    keeper.end_all(&mut woken);
    served
}

/// Makes this process a subreaper that ends only by itself; returns what becomes readable when a child ends.
fn prepare() -> io::Result<UnixStream> {
    use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    close_inherited()?;
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let (woken, waker) = UnixStream::pair()?;
    woken.set_nonblocking(true)?;
    waker.set_nonblocking(true)?;
    // Handlers, not "ignore": a program inherits what is ignored, and would then survive its own TERM.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGCHLD] {
        signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
    }
    Ok(woken)
}

/// Closes what whoever started the node left open: no job is to hold a stranger's pipe.
fn close_inherited() -> io::Result<()> {
    let names: Vec<_> = std::fs::read_dir("/proc/self/fd")?.flatten().map(|entry| entry.file_name()).collect();
    for descriptor in names.iter().filter_map(|name| name.to_str()?.parse::<i32>().ok()).filter(|fd| *fd > 2) {
        // The one that the listing itself was read by is closed already.
        nix::unistd::close(descriptor).ok();
    }
    Ok(())
}

/// Takes all there is out of a wake-up pipe.
fn drain(woken: &mut UnixStream) {
    let mut bytes = [0; 256];
    while matches!(woken.read(&mut bytes), Ok(count) if count > 0) {}
}

impl Keeper {
    fn turn_until_closed(&mut self, woken: &mut UnixStream) -> io::Result<()> {
        loop {
            let (requests, lease_over) = self.wait(woken)?;
            let mut ended = false;
            if requests && !self.link.fill()? {
                return Ok(());
            }
            while let Some(batch) = self.link.requests()? {
                // Before its signals are sent: who has ended by itself was not told to.
                ended |= self.reap();
                self.handle(batch)?;
            }
            if lease_over {
                self.lease_over();
            }
            drain(woken);
            ended |= self.reap();
            if ended || self.look_again {
                self.settle();
            }
            self.link.queue(&mut self.events)?;
            if !self.link.flush() {
                return Ok(());
            }
        }
    }

    /// Waits for something to do: whether the node wrote, and whether the lease ran out.
    fn wait(&self, woken: &UnixStream) -> io::Result<(bool, bool)> {
        let towards_node =
            if self.link.has_output() { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        let mut fds = [
            PollFd::new(self.link.fd(), towards_node),
            PollFd::new(woken.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.lease.as_fd(), PollFlags::POLLIN),
        ];
        let timeout = if self.look_again { PollTimeout::from(LOOK_AGAIN_MS) } else { PollTimeout::NONE };
        match poll(&mut fds, timeout) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok((false, false)),
            Err(error) => return Err(error.into()),
        }
        let readable = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
        let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| events.intersects(readable));
        Ok((ready(&fds[0]), ready(&fds[2])))
    }

    fn handle(&mut self, batch: Vec<Request>) -> io::Result<()> {
        let starts = batch.iter().any(|request| matches!(request, Request::Start(_)));
        let mut descriptors = if starts { self.link.descriptors() } else { Vec::new().into_iter() };
        for request in batch {
            match request {
                Request::Start(command) => self.start(command, &mut descriptors),
                Request::Signal { token, signal } => {
                    if let Some(running) = self.running.get_mut(&token) {
                        running.told = true;
                        processes::signal_group(running.pid, signal);
                    }
                }
                Request::Lease { ms } => self.arm_lease(ms)?,
            }
        }
        Ok(())
    }

    fn start(&mut self, command: Command, descriptors: &mut impl Iterator<Item = OwnedFd>) {
        let token = command.token;
        let own: Vec<OwnedFd> = descriptors.take(2 + usize::from(command.stdin)).collect();
        let mut own = own.into_iter();
        let (Some(stdout), Some(stderr), stdin) = (own.next(), own.next(), own.next()) else {
            return self.failed(token, Some(nix::errno::Errno::EMFILE as i32), "too many open files");
        };
        if command.stdin && stdin.is_none() {
            return self.failed(token, Some(nix::errno::Errno::EMFILE as i32), "too many open files");
        }
        let mark = Mark::of(command.env.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let (name, arguments) = command.argv.split_first().map_or(("", &[][..]), |(n, a)| (n.as_str(), a));
        // Nothing here may ask for more than posix_spawn can do: the fork it saves is most of the cost.
        let spawned = std::process::Command::new(&command.program)
            .arg0(name)
            .args(arguments)
            .env_clear()
            .envs(command.env)
            .current_dir(&command.cwd)
            .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            .process_group(0)
            .spawn();
        match spawned {
            Ok(child) => {
                let pid = child.id() as i32;
                self.strays.started(token, mark.clone());
                self.running.insert(token, Running { pid, mark, leased: command.leased, told: false });
                self.tokens.insert(pid, token);
                self.events.push(Event::Started { token, pid });
            }
            Err(error) => self.failed(token, error.raw_os_error(), &error.to_string()),
        }
    }

    fn failed(&mut self, token: u64, errno: Option<i32>, message: &str) {
        self.events.push(Event::SpawnFailed { token, errno, message: message.to_owned() });
    }

    fn arm_lease(&mut self, ms: u64) -> io::Result<()> {
        // A zero would disarm the timer, and "over now" is meant.
        let ms = ms.clamp(1, i64::MAX as u64);
        let value = Timespec { tv_sec: (ms / 1000) as i64, tv_nsec: (ms % 1000 * 1_000_000) as i64 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(&self.lease, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    fn lease_over(&mut self) {
        let mut expirations = [0; 8];
        // A new lease may have been armed since the poll; then there is nothing to read and nothing is over.
        if rustix::io::read(&self.lease, &mut expirations).is_ok() {
            self.running.values().filter(|r| r.leased).for_each(|r| processes::kill_group(r.pid));
        }
    }

    /// Takes every ended child; whether there was one.
    fn reap(&mut self) -> bool {
        let mut any = false;
        loop {
            let pid = match processes::peek_ended() {
                Ended::Nothing | Ended::Childless => return any,
                Ended::Child(pid) => Some(pid),
                Ended::Unnamed => None,
            };
            // Before the leader is waited for: until then nobody else can have its number.
            if let Some(pid) = pid.filter(|pid| self.tokens.contains_key(pid)) {
                processes::kill_group(pid);
            }
            let Some((taken, status)) = processes::reap(pid) else { return any };
            if pid.is_none() && self.tokens.contains_key(&taken) {
                processes::kill_group(taken);
            }
            self.ended(taken, status);
            any = true;
        }
    }

    fn ended(&mut self, pid: i32, status: WaitStatus) {
        let Some(token) = self.tokens.remove(&pid) else {
            self.strays.forget(pid);
            return;
        };
        let (mark, told) = self.running.remove(&token).map_or((None, false), |running| (running.mark, running.told));
        self.strays.ended(token, mark);
        let exit = Exit { code: status.exit_status(), signal: status.terminating_signal(), told };
        self.leaving.push(Leaving { token, pid, exit, looks: 0 });
    }

    /// Kills what is left of ended jobs and reports those of which nothing is.
    fn settle(&mut self) {
        let groups_left: Vec<bool> = self.leaving.iter().map(|job| processes::group_exists(job.pid)).collect();
        // After the look at the groups: what their last members leave behind is among the children by now.
        for pid in self.children.direct() {
            if !self.tokens.contains_key(&pid) && !self.strays.knows(pid) {
                self.strays.adopt(pid, Mark::of_process(pid).as_ref());
            }
        }
        let lowest = self.running.first_key_value().map(|(token, _)| *token);
        let due = self.strays.due(|token| self.running.contains_key(&token), lowest);
        due.iter().for_each(|pid| processes::kill_process(*pid));
        let mut left = Vec::new();
        for (mut job, group_left) in std::mem::take(&mut self.leaving).into_iter().zip(groups_left) {
            job.looks += 1;
            if (group_left || self.strays.has_of(job.token)) && job.looks < LOOKS_MAX {
                left.push(job);
            } else {
                self.events.push(Event::Exited { token: job.token, exit: job.exit });
            }
        }
        self.leaving = left;
        self.look_again = !self.leaving.is_empty() || !due.is_empty();
    }

    /// Kills every descendant, however deep and in whatever group, until none is left.
    fn end_all(&mut self, woken: &mut UnixStream) {
        self.running.values().for_each(|running| processes::kill_group(running.pid));
        loop {
            self.children.descendants().into_iter().for_each(processes::kill_process);
            loop {
                match processes::peek_ended() {
                    Ended::Childless => return,
                    Ended::Nothing => break,
                    Ended::Child(pid) => drop(processes::reap(Some(pid))),
                    Ended::Unnamed => drop(processes::reap(None)),
                }
            }
            let mut fds = [PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
            // An interrupted or failed wait only means that the next look comes sooner.
            poll(&mut fds, PollTimeout::from(LOOK_AGAIN_MS)).ok();
            drain(woken);
        }
    }
}
