//! Three servers as processes on loopback, gone with the value.

use super::client;
use crate::cluster::{free_address, until};
use crate::{Failed, process};
use async_nats::jetstream;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Servers.
pub(super) const SERVERS: usize = 3;
const READY_LIMIT: Duration = Duration::from_secs(60);
/// No work may take longer.
const WORK_LIMIT: Duration = Duration::from_secs(300);

/// A running cluster of servers.
#[derive(Debug)]
pub struct Servers {
    pub(super) servers: Vec<Server>,
    pub(super) runtime: Runtime,
    streams: AtomicU32,
    folder: TempDir,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    pub(super) addr: SocketAddr,
    program: PathBuf,
    config: PathBuf,
    child: Option<Child>,
}

impl Servers {
    /// Starts them, and waits until a stream on all three can be made.
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self, Failed> {
        let folder = tempfile::Builder::new().prefix("peer-").tempdir_in(folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut all = Self { servers: Vec::new(), runtime, streams: AtomicU32::new(0), folder };
        let routes = (0..SERVERS).map(|_| free_address()).collect::<Result<Vec<_>, _>>()?;
        for (number, route) in routes.iter().enumerate() {
            let mut server = all.configure(program, number, *route, &routes)?;
            server.start()?;
            all.servers.push(server);
        }
        let made = until("the peer's servers to make a stream", READY_LIMIT, || all.try_out().ok());
        made.map_err(|error| Failed::Late(format!("{error}; a server's log ends so:\n{}", all.log_end())))?;
        Ok(all)
    }

    fn configure(&self, program: &Path, number: usize, route: SocketAddr, routes: &[SocketAddr]) -> io::Result<Server> {
        let (name, addr, folder) = (format!("s{}", number + 1), free_address()?, self.folder.path());
        let config = folder.join(format!("{name}.conf"));
        let store = folder.join(&name);
        let routes: Vec<String> = routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
        let text = format!(
            "server_name: {name}\nlisten: \"{addr}\"\njetstream {{ store_dir: {store:?}, sync_interval: always }}\n\
             cluster {{ name: bench, listen: \"{route}\", routes: [{}] }}\n",
            routes.join(", ")
        );
        std::fs::write(&config, text)?;
        Ok(Server { name, addr, program: program.to_owned(), config, child: None })
    }

    /// Makes a stream on all three, and removes it.
    fn try_out(&self) -> Result<(), Failed> {
        self.work(async {
            let context = client::context(self.servers[0].addr).await?;
            let stream = self.stream(&context, jetstream::stream::RetentionPolicy::Limits).await?;
            client::delete(&context, stream).await
        })
    }

    fn log_end(&self) -> String {
        let log = std::fs::read_to_string(self.servers[0].config.with_extension("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// Does a work, which has a limit of time.
    pub(super) fn work<T>(&self, work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        let limited = async { tokio::time::timeout(WORK_LIMIT, work).await };
        self.runtime.block_on(limited).map_err(|_| Failed::Late("the peer's work".to_owned()))?
    }

    /// A new and empty stream on all three servers, with one subject of its own name, that each server knows.
    pub(super) async fn stream(
        &self,
        context: &jetstream::Context,
        retention: jetstream::stream::RetentionPolicy,
    ) -> Result<String, Failed> {
        let name = format!("bench-{}", self.streams.fetch_add(1, Ordering::Relaxed));
        client::create(context, &name, retention).await?;
        for server in &self.servers {
            client::await_known(&client::context(server.addr).await?, &name).await?;
        }
        client::empty(context, &name).await?;
        Ok(name)
    }

    /// CPU seconds of all servers so far.
    ///
    /// # Errors
    /// When one has died.
    pub fn cpu(&self) -> Result<f64, Failed> {
        self.servers.iter().map(|server| process::cpu_seconds(server.pid()?)).sum()
    }

    /// Resident memory of each server, in MB.
    ///
    /// # Errors
    /// When one has died.
    pub fn memory_mb(&self) -> Result<Vec<f64>, Failed> {
        self.servers.iter().map(|server| process::memory_mb(server.pid()?)).collect()
    }
}

impl Server {
    pub(super) fn start(&mut self) -> io::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.config.with_extension("log"))?;
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    fn pid(&self) -> Result<u32, Failed> {
        let child = self.child.as_ref().ok_or_else(|| Failed::Answer(format!("{} does not run", self.name)))?;
        Ok(child.id())
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), Failed> {
        kill(Pid::from_raw(self.pid()?.cast_signed()), signal).map_err(|error| Failed::Io(error.into()))
    }

    /// Waits for the end of its process, which was killed.
    pub(super) fn reap(&mut self) -> io::Result<()> {
        self.child.take().map_or(Ok(()), |mut child| child.wait().map(drop))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
