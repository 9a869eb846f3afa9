//! The node's end: starts the spawner process, hands it what is to run, and starts it again if it dies; then
//! its children are nobody's: they are killed here, by the groups and marks known, and each of their
//! attempts fails with [`SpawnError::SpawnerDied`].

use super::frame::{Command, Event, Exit, FrameBuffer, Request, encode};
use super::link::DESCRIPTORS_MAX;
use super::processes::{self, Mark};
use parking_lot::Mutex;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

/// How many requests make one batch: each may bring three descriptors, and a limit of 256 open files is met.
const BATCH_MAX: usize = DESCRIPTORS_MAX / 6;
/// How long to wait before a spawner that died is started again.
const RESTART_AFTER: Duration = Duration::from_millis(200);

/// Everything about a process to start.
#[derive(Debug)]
pub struct Start {
    /// The file to run; a name alone is not searched for.
    pub program: PathBuf,
    /// Its arguments, the first being the name it is called by.
    pub argv: Vec<String>,
    /// Its whole environment; what names job and fence serves to find strays.
    pub env: Vec<(String, String)>,
    /// Its working folder.
    pub cwd: PathBuf,
    /// What it reads; nothing if `None`.
    pub stdin: Option<OwnedFd>,
    /// Where it writes.
    pub stdout: OwnedFd,
    /// Where it writes its errors.
    pub stderr: OwnedFd,
    /// Whether it is killed when the lease given by [`Spawner::lease`] runs out.
    pub leased: bool,
}

/// Why a process has no end of its own to report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpawnError {
    /// It never ran: the system refused.
    #[error("{message}")]
    Refused {
        /// The system's error number, if it was the system.
        errno: Option<i32>,
        /// The reason.
        message: String,
    },
    /// It may have run; it was killed without its end being seen.
    #[error("the spawner process of this node died, and the job's processes were killed; see the node's log")]
    SpawnerDied,
}

enum Order {
    Start(u64, Box<Start>),
    Signal(u64, i32),
    Lease(u64),
}

struct Waiting {
    pid: Option<i32>,
    mark: Option<Mark>,
    exit: oneshot::Sender<Result<Exit, SpawnError>>,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<u64, Waiting>>,
    next_token: AtomicU64,
    pid: AtomicU32,
}

/// The node's spawner process. Cheap to clone; when the last clone and [`Process`] are gone, the spawner
/// kills whatever is left and ends.
#[derive(Clone)]
pub struct Spawner {
    orders: mpsc::UnboundedSender<Order>,
    shared: Arc<Shared>,
}

/// One process of a job. Dropping it before its end was awaited kills its group.
pub struct Process {
    token: u64,
    exit: oneshot::Receiver<Result<Exit, SpawnError>>,
    ended: bool,
    orders: mpsc::UnboundedSender<Order>,
}

impl Spawner {
    /// Starts `program` with `args`, which must call [`super::main`]. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub fn start(program: PathBuf, args: Vec<String>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (orders, receiver) = mpsc::unbounded_channel();
        let first = Child::start(&program, &args)?;
        shared.pid.store(first.process.id(), Ordering::Relaxed);
        tokio::spawn(keep_alive(program, args, first, receiver, Arc::clone(&shared)));
        Ok(Self { orders, shared })
    }

    /// Starts a process; whether it could be is part of its end.
    #[must_use]
    pub fn run(&self, start: Start) -> Process {
        let token = self.shared.next_token.fetch_add(1, Ordering::Relaxed) + 1;
        let (sender, exit) = oneshot::channel();
        let mark = Mark::of(start.env.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        self.shared.waiting.lock().insert(token, Waiting { pid: None, mark, exit: sender });
        if self.orders.send(Order::Start(token, Box::new(start))).is_err() {
            self.shared.waiting.lock().remove(&token);
        }
        Process { token, exit, ended: false, orders: self.orders.clone() }
    }

    /// Lets every `leased` process live for `ms` from now, and be killed then unless this is called
    /// again; the spawner counts by itself, so that a stopped node's jobs end too. 0 kills them now.
    pub fn lease(&self, ms: u64) {
        // A closed channel means a runtime that is ending, and the spawner with it.
        self.orders.send(Order::Lease(ms)).ok();
    }

    /// The process id of the spawner, for what shows the node's processes.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.shared.pid.load(Ordering::Relaxed)
    }
}

impl Process {
    /// Sends a signal to the process's group; too late is no error.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        // As for the lease: without a runtime there is no process left to signal.
        self.orders.send(Order::Signal(self.token, signal as i32)).ok();
    }

    /// Waits for its end. Cancel-safe; to be awaited to its end once only.
    ///
    /// # Errors
    /// When it never ran, or the spawner died.
    pub async fn exit(&mut self) -> Result<Exit, SpawnError> {
        let exit = (&mut self.exit).await.unwrap_or(Err(SpawnError::SpawnerDied));
        self.ended = true;
        exit
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// A spawner process and our end of its socket.
struct Child {
    process: std::process::Child,
    socket: UnixStream,
}

impl Child {
    fn start(program: &PathBuf, args: &[String]) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        let process = std::process::Command::new(program)
            .args(args)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { process, socket })
    }
}

async fn keep_alive(
    program: PathBuf,
    args: Vec<String>,
    first: Child,
    mut orders: mpsc::UnboundedReceiver<Order>,
    shared: Arc<Shared>,
) {
    let mut next = Some(first);
    loop {
        let Some(mut child) = next.take() else {
            tokio::time::sleep(RESTART_AFTER).await;
            match Child::start(&program, &args) {
                Ok(child) => next = Some(child),
                Err(error) => {
                    tracing::error!(%error, program = %program.display(), "failed to start the spawner process again");
                    fail_waiting(&mut orders, &shared).await;
                }
            }
            continue;
        };
        shared.pid.store(child.process.id(), Ordering::Relaxed);
        let wanted = serve(&child.socket, &mut orders, &shared).await;
        // Closed first: it is what tells a healthy spawner to end.
        drop(child.socket);
        if wanted {
            await_end(child.process).await;
            return;
        }
        child.process.kill().ok();
        await_end(child.process).await;
        tracing::error!("the spawner process died; its jobs fail, and it is started again");
        fail_waiting(&mut orders, &shared).await;
    }
}

async fn await_end(mut process: std::process::Child) {
    tokio::task::spawn_blocking(move || process.wait()).await.ok();
}

/// Talks to one spawner process; true if it is no longer wanted, false if it died.
async fn serve(socket: &UnixStream, orders: &mut mpsc::UnboundedReceiver<Order>, shared: &Shared) -> bool {
    tokio::select! {
        sent = send_orders(socket, orders, shared) => match sent {
            Ok(()) => true,
            Err(error) => { tracing::error!(%error, "failed to write to the spawner process"); false }
        },
        error = receive_events(socket, shared) => {
            tracing::error!(%error, "failed to read from the spawner process");
            false
        }
    }
}

async fn send_orders(
    socket: &UnixStream,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    shared: &Shared,
) -> io::Result<()> {
    let mut batch = Vec::new();
    while orders.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let mut descriptors = Vec::new();
        let wanted = |order: &Order| match order {
            // Failed already, because the spawner before this one died while it was on its way.
            Order::Start(token, _) => shared.waiting.lock().contains_key(token),
            Order::Signal(..) | Order::Lease(_) => true,
        };
        let requests: Vec<Request> =
            batch.drain(..).filter(wanted).map(|order| request(order, &mut descriptors)).collect();
        if requests.is_empty() {
            continue;
        }
        match encode(&requests) {
            Ok(frame) => send(socket, &frame, &descriptors).await?,
            Err(_) => send_singly(socket, requests, descriptors, shared).await?,
        }
    }
    Ok(())
}

/// The slow way round for a batch that cannot be encoded as one: only the request at fault fails.
async fn send_singly(
    socket: &UnixStream,
    requests: Vec<Request>,
    descriptors: Vec<OwnedFd>,
    shared: &Shared,
) -> io::Result<()> {
    let mut descriptors = descriptors.into_iter();
    for request in requests {
        let (token, count) = match &request {
            Request::Start(command) => (Some(command.token), 2 + usize::from(command.stdin)),
            _ => (None, 0),
        };
        let own: Vec<OwnedFd> = descriptors.by_ref().take(count).collect();
        match encode(&[request]) {
            Ok(frame) => send(socket, &frame, &own).await?,
            Err(error) => {
                let waiting = token.and_then(|token| shared.waiting.lock().remove(&token));
                if let Some(waiting) = waiting {
                    waiting.exit.send(Err(SpawnError::Refused { errno: None, message: error.to_string() })).ok();
                }
            }
        }
    }
    Ok(())
}

fn request(order: Order, descriptors: &mut Vec<OwnedFd>) -> Request {
    match order {
        Order::Start(token, start) => {
            let stdin = start.stdin.is_some();
            descriptors.extend([start.stdout, start.stderr].into_iter().chain(start.stdin));
            Request::Start(Command {
                token,
                program: start.program,
                argv: start.argv,
                env: start.env,
                cwd: start.cwd,
                stdin,
                leased: start.leased,
            })
        }
        Order::Signal(token, signal) => Request::Signal { token, signal },
        Order::Lease(ms) => Request::Lease { ms },
    }
}

/// Writes one frame; its descriptors travel with its first byte.
async fn send(socket: &UnixStream, frame: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let mut sent = 0;
    while sent < frame.len() {
        sent += socket
            .async_io(Interest::WRITABLE, || {
                let borrowed: Vec<BorrowedFd<'_>> = match sent {
                    0 => descriptors.iter().map(AsFd::as_fd).collect(),
                    _ => Vec::new(),
                };
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
                    return Err(io::Error::other("too many descriptors for one message"));
                }
                let parts = [IoSlice::new(&frame[sent..])];
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(rustix::net::sendmsg(socket, &parts, &mut control, flags)?)
            })
            .await?;
    }
    Ok(())
}

/// Reads events until that fails, and says why.
async fn receive_events(socket: &UnixStream, shared: &Shared) -> io::Error {
    let mut frames = FrameBuffer::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = socket.async_io(Interest::READABLE, || socket.try_read(&mut buffer)).await;
        match read {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(count) => frames.push(&buffer[..count]),
            Err(error) => return error,
        }
        loop {
            match frames.next() {
                Ok(Some(batch)) => batch.into_iter().for_each(|event| take_event(event, shared)),
                Ok(None) => break,
                Err(error) => return error,
            }
        }
    }
}

fn take_event(event: Event, shared: &Shared) {
    let (token, end) = match event {
        Event::Started { token, pid } => {
            if let Some(waiting) = shared.waiting.lock().get_mut(&token) {
                waiting.pid = Some(pid);
            }
            return;
        }
        Event::SpawnFailed { token, errno, message } => (token, Err(SpawnError::Refused { errno, message })),
        Event::Exited { token, exit } => (token, Ok(exit)),
    };
    let waiting = shared.waiting.lock().remove(&token);
    if let Some(waiting) = waiting {
        // Whoever started it may have stopped caring; its processes are gone either way.
        waiting.exit.send(end).ok();
    }
}

/// Fails whatever waits for a spawner that is gone, and kills what it left.
async fn fail_waiting(orders: &mut mpsc::UnboundedReceiver<Order>, shared: &Shared) {
    // What was not handed over yet would only meet a stranger's tokens: it fails with the rest.
    while orders.try_recv().is_ok() {}
    let left: Vec<Waiting> = shared.waiting.lock().drain().map(|(_, waiting)| waiting).collect();
    let (pids, marks): (Vec<_>, Vec<_>) = left.iter().map(|w| (w.pid, w.mark.clone())).unzip();
    let killed = tokio::task::spawn_blocking(move || {
        pids.into_iter().flatten().for_each(processes::kill_group);
        let marks: Vec<Mark> = marks.into_iter().flatten().collect();
        if marks.is_empty() {
            return;
        }
        for pid in processes::all() {
            if Mark::of_process(pid).is_some_and(|mark| marks.contains(&mark)) {
                processes::kill_process(pid);
            }
        }
    });
    killed.await.ok();
    for waiting in left {
        waiting.exit.send(Err(SpawnError::SpawnerDied)).ok();
    }
}
