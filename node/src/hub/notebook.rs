//! What a working node keeps of itself, written by a thread of its own: a disk that stalls must stop neither
//! reports nor heartbeats. Of each thing the latest state is written, however often it changed meanwhile.
//!
//! ```text
//!   reign ──────┐                    who must not go on before it is on disk waits for `remember`
//!   peers ──────┼─► wanted ─► thread ─► node.json, unsettled
//!   unsettled ──┘                    a planned stop waits for `flush`
//! ```
//!
//! It refuses to go on when the highest reign can't be kept: a worker that forgot it could obey an older one.

use crate::datadir::{DataDir, Folders, KnownPeer, NodeFile, write_atomically};
use parking_lot::{Condvar, Mutex};
use relais_protocol::ids::Reign;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// What is to be written, as far as it is not yet.
#[derive(Default)]
struct Wanted {
    /// Counts what was handed in.
    turn: u64,
    reign: Option<Reign>,
    peers: Option<Vec<KnownPeer>>,
    unsettled: Option<Vec<u8>>,
    closed: bool,
}

/// How far the thread has come.
#[derive(Clone, Copy, Default)]
struct Written {
    turn: u64,
    reign: Reign,
}

struct Shared {
    wanted: Mutex<Wanted>,
    news: Condvar,
    written: watch::Sender<Written>,
}

/// Takes what is to be kept, and never waits for the disk. Dropping it ends its thread.
pub struct Notebook(Arc<Shared>);

impl Notebook {
    /// Starts the thread. It locks `dir` for as long as the disk takes; `reign` is what is in it already.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn open(dir: Arc<Mutex<DataDir>>, folders: Folders, reign: Reign) -> io::Result<Self> {
        let (written, _) = watch::channel(Written { turn: 0, reign });
        let shared = Arc::new(Shared { wanted: Mutex::default(), news: Condvar::new(), written });
        let writer = Writer { shared: shared.clone(), dir, folders };
        std::thread::Builder::new().name("relais-notebook".to_owned()).spawn(move || writer.run())?;
        Ok(Self(shared))
    }

    /// Has the highest reign kept. What it returns completes once this one, or a higher one, is on stable
    /// storage; the writing does not hang on somebody waiting.
    pub fn remember(&self, reign: Reign) -> impl Future<Output = ()> + Send + 'static {
        let mut written = self.0.written.subscribe();
        if written.borrow().reign < reign {
            self.put(|wanted| wanted.reign = wanted.reign.max(Some(reign)));
        }
        async move {
            if written.wait_for(|written| written.reign >= reign).await.is_err() {
                // The process is ending: nothing may be said to be kept.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Has the peers' addresses kept.
    pub fn peers(&self, peers: Vec<KnownPeer>) {
        self.put(|wanted| wanted.peers = Some(peers));
    }

    /// Has these bytes kept as the ends that nobody has written down yet.
    pub fn unsettled(&self, bytes: Vec<u8>) {
        self.put(|wanted| wanted.unsettled = Some(bytes));
    }

    /// What was handed in and is not written yet.
    #[must_use]
    pub fn depth(&self) -> u64 {
        let turn = self.0.wanted.lock().turn;
        turn.saturating_sub(self.0.written.borrow().turn)
    }

    /// Completes once all that was handed in before is written, as far as the disk took it.
    pub async fn flush(&self) {
        let turn = self.0.wanted.lock().turn;
        let mut written = self.0.written.subscribe();
        // The thread ends only with the notebook, which is borrowed here.
        let _ = written.wait_for(|written| written.turn >= turn).await;
    }

    fn put(&self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.0.wanted.lock();
        change(&mut wanted);
        wanted.turn += 1;
        self.0.news.notify_one();
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        self.put(|wanted| wanted.closed = true);
    }
}

struct Writer {
    shared: Arc<Shared>,
    dir: Arc<Mutex<DataDir>>,
    folders: Folders,
}

impl Writer {
    fn run(self) {
        let mut done = 0;
        loop {
            let wanted = {
                let mut wanted = self.shared.wanted.lock();
                self.shared.news.wait_while(&mut wanted, |wanted| wanted.turn == done);
                let next = Wanted { turn: wanted.turn, closed: wanted.closed, ..Wanted::default() };
                std::mem::replace(&mut *wanted, next)
            };
            let (turn, closed) = (wanted.turn, wanted.closed);
            self.write(wanted);
            done = turn;
            self.shared.written.send_modify(|written| written.turn = turn);
            if closed {
                return;
            }
        }
    }

    fn write(&self, wanted: Wanted) {
        let Wanted { reign, peers, unsettled, .. } = wanted;
        if let Some(reign) = reign {
            // With the peers in one write, since both are in one file.
            let kept = self.update(|node| {
                node.reign = node.reign.max(reign);
                if let Some(peers) = peers {
                    node.peers = peers;
                }
            });
            if let Err(error) = kept {
                crate::run::fail_stop(&format!("the highest reign could not be kept: {error}"));
            }
            self.shared.written.send_modify(|written| written.reign = written.reign.max(reign));
        } else if let Some(peers) = peers
            && let Err(error) = self.update(|node| node.peers = peers)
        {
            tracing::warn!(error, "the peers' addresses could not be kept");
        }
        if let Some(bytes) = unsettled
            && let Err(error) = write_atomically(&self.folders.unsettled(), &bytes, 0o600)
        {
            tracing::warn!(%error, "unsettled results could not be kept in a file");
        }
    }

    fn update(&self, change: impl FnOnce(&mut NodeFile)) -> Result<(), String> {
        self.dir.lock().update(change).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use relais_protocol::ids::{Epoch, Generation, NodeId};

    fn reign(epoch: u64) -> Reign {
        Reign { generation: Generation(0), epoch: Epoch(epoch) }
    }

    fn open(path: &std::path::Path) -> (Arc<Mutex<DataDir>>, Notebook) {
        let dir = DataDir::open(path).unwrap();
        let (folders, reign) = (dir.folders().clone(), dir.node().reign);
        let dir = Arc::new(Mutex::new(dir));
        (dir.clone(), Notebook::open(dir, folders, reign).unwrap())
    }

    #[tokio::test]
    async fn a_stalled_disk_holds_up_only_who_waits_for_it() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, notebook) = open(temp.path());
        let peer = |n| KnownPeer { node: NodeId(n), name: n.to_string(), addr: ([127, 0, 0, 1], 7800).into() };
        let (mut first, mut second) = {
            // Whoever writes waits for this, as for a disk.
            let _stalled = dir.lock();
            let mut waits = [1, 5, 3, 4].map(|epoch| notebook.remember(reign(epoch)).boxed());
            notebook.peers(vec![peer(1)]);
            notebook.peers(vec![peer(2)]);
            notebook.unsettled(b"old".to_vec());
            notebook.unsettled(b"new".to_vec());
            assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()), "nothing is on disk yet");
            let [first, second, ..] = waits;
            (first, second)
        };
        (&mut first).await;
        (&mut second).await;
        notebook.flush().await;
        assert_eq!(std::fs::read(temp.path().join("unsettled")).unwrap(), b"new");
        assert!(notebook.remember(reign(4)).now_or_never().is_some(), "a lower one needs no disk");
        drop((notebook, dir));
        let kept = loop {
            // The thread lets go of the directory a moment later.
            if let Ok(dir) = DataDir::open(temp.path()) {
                break dir.node().clone();
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((kept.reign, kept.peers), (reign(5), vec![peer(2)]));
    }

    #[tokio::test]
    async fn what_is_written_last_is_there_though_nobody_waits() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, notebook) = open(temp.path());
        drop(notebook.remember(reign(7)));
        notebook.unsettled(Vec::new());
        notebook.flush().await;
        assert_eq!(dir.lock().node().reign, reign(7));
        assert_eq!(std::fs::read(temp.path().join("unsettled")).unwrap(), b"");
    }
}
