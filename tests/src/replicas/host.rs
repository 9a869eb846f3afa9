//! One host: its folder, its journal's number, and the run of its process while there is one.

use super::Trial;
use super::disk::{End, HostDisk, list};
use super::life::Life;
use crate::world::dice::Dice;
use parking_lot::Mutex;
use relais_dispatcher::journal::{OpenError, Opened, PlantedBug, Store, StoreOptions, open, put_aside};
use relais_dispatcher::planted;
use relais_protocol::ids::{Incarnation, NodeId, RaftId};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A host.
pub(super) struct Host {
    pub(super) node: NodeId,
    home: PathBuf,
    state: Mutex<State>,
    /// Held by who ends and starts its process.
    pub(super) hands: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    journal: u32,
    run: u64,
    life: Option<Arc<Life>>,
    /// Its files were damaged, on purpose.
    was_damaged: bool,
}

impl Host {
    pub(super) fn new(node: NodeId, home: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&home)?;
        let state = Mutex::new(State { journal: 1, ..State::default() });
        Ok(Self { node, home, state, hands: tokio::sync::Mutex::default() })
    }

    /// The raft id of its journal as it is now.
    pub(super) fn raft_id(&self) -> RaftId {
        RaftId::new(self.node, self.state.lock().journal)
    }

    /// The run of its process, if it lives.
    pub(super) fn life(&self) -> Option<Arc<Life>> {
        self.state.lock().life.clone().filter(|life| life.is_alive())
    }

    /// Starts the process, unless it runs.
    pub(super) async fn boot(&self, trial: &Arc<Trial>) {
        if self.life().is_some() {
            return;
        }
        let run = {
            let mut state = self.state.lock();
            state.run += 1;
            Incarnation(state.run)
        };
        trial.watch.say(self.node, || format!("starts as {}, run {run}", self.raft_id()));
        trial.watch.count(|counts| counts.restarts += u64::from(run.0 > 1));
        let alive = Arc::new(AtomicBool::new(true));
        let dice = Dice::new(trial.seed_of(self.raft_id(), run));
        let disk = Arc::new(HostDisk::new(&self.home, alive.clone(), dice));
        let Some(store) = self.open(trial, &disk, &alive).await else { return };
        match Life::begin(trial, store, self.raft_id(), run, disk, alive).await {
            Ok(life) => self.state.lock().life = Some(life),
            Err(error) => trial.watch.broken("a-store-opens", format!("{}: {error}", self.raft_id())),
        }
    }

    async fn open(&self, trial: &Arc<Trial>, disk: &Arc<HostDisk>, alive: &Arc<AtomicBool>) -> Option<Store> {
        for _ in 0..2 {
            match open(self.options(trial, disk, alive)).await {
                Ok(Opened::Clean(store)) => {
                    self.state.lock().was_damaged = false;
                    return Some(store);
                }
                Ok(Opened::Damaged { reason, .. }) => {
                    if let Err(error) = self.put_aside(trial, &reason) {
                        trial.watch.broken("a-store-opens", format!("{}: {error}", self.raft_id()));
                    }
                }
                Err(error) => {
                    self.refused(trial, &error);
                    return None;
                }
            }
        }
        trial.watch.broken("a-store-opens", format!("{}: a new one is damaged", self.raft_id()));
        None
    }

    fn refused(&self, trial: &Trial, error: &OpenError) {
        trial.watch.broken("a-store-opens", format!("{}: {error}", self.raft_id()));
    }

    fn put_aside(&self, trial: &Trial, reason: &str) -> io::Result<()> {
        if !self.state.lock().was_damaged {
            let seen = format!("{} is damaged without damage: {reason}", self.raft_id());
            trial.watch.broken("an-end-is-no-damage", seen);
        }
        trial.watch.count(|counts| counts.put_aside += 1);
        put_aside(&self.home.join("journal"))?;
        if !planted::old_raft_id_reused() {
            self.state.lock().journal += 1;
        }
        Ok(())
    }

    fn options(&self, trial: &Arc<Trial>, disk: &Arc<HostDisk>, alive: &Arc<AtomicBool>) -> StoreOptions {
        let (watch, id, alive) = (trial.watch.clone(), self.raft_id(), alive.clone());
        let on_fatal = Arc::new(move |reason: String| {
            if alive.load(Ordering::Acquire) {
                watch.broken("nothing-fails-by-itself", format!("{id}: {reason}"));
            }
        });
        let mut options = StoreOptions::new(self.home.join("journal"), id, on_fatal);
        options.disk = Some(disk.clone());
        options.kept_entries = trial.plan.kept_entries;
        if planted::sync_skipped() {
            options.sync.planted = PlantedBug::SkipFsync;
        }
        options
    }

    /// Ends the process, if it runs, and leaves its folder as that end would.
    pub(super) async fn end(&self, trial: &Trial, end: End) {
        let Some(life) = self.state.lock().life.take() else { return };
        let left = life.disk.die();
        trial.watch.say(self.node, || format!("has ended: {end:?}"));
        life.end().await;
        let disk = life.disk.clone();
        drop(life);
        if let Err(error) = left.and_then(|()| disk.after(end)) {
            trial.watch.broken("the-trial-itself", format!("{} cannot be ended: {error}", self.raft_id()));
        }
    }

    /// Cuts the power in the midst of what the disk does.
    pub(super) async fn cut_power(&self, trial: &Trial, after: Duration, moments: u64) {
        /// With nothing to write the power goes all the same.
        const LATEST: Duration = Duration::from_millis(150);
        let Some(life) = self.life() else { return };
        if let Err(error) = life.disk.announce_cut() {
            trial.watch.broken("the-trial-itself", format!("{}: {error}", self.raft_id()));
        }
        tokio::time::sleep(after).await;
        life.disk.cut_after(moments);
        // Either way it ends now.
        let _ = tokio::time::timeout(LATEST, life.disk.died()).await;
        drop(life);
        self.end(trial, End::PowerCut).await;
    }

    /// Spoils a file of a host whose process has ended; `heavily`: in a way that nobody can miss.
    pub(super) fn damage(&self, dice: &mut Dice, heavily: bool) -> io::Result<()> {
        self.state.lock().was_damaged = true;
        let journal = self.home.join("journal");
        let mut files = BTreeSet::new();
        list(&journal, Path::new(""), &mut files)?;
        files.retain(|path| !path.ends_with("ballast"));
        let files: Vec<PathBuf> = files.into_iter().collect();
        let picked = dice.range(0, files.len() as u64 - 1) as usize;
        let path = journal.join(if heavily { Path::new("log.mark") } else { &files[picked] });
        let mut bytes = fs::read(&path)?;
        match dice.range(0, 3) {
            _ if heavily => bytes.clear(),
            0 => bytes.truncate(dice.range(0, bytes.len() as u64) as usize),
            1 => bytes.truncate(bytes.len().saturating_sub(dice.range(1, 4_096) as usize)),
            _ => {
                // Mostly where there is something: the store's files end in long runs of nothing.
                let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
                if let Some(byte) = bytes.get_mut(dice.range(0, used) as usize) {
                    *byte ^= 1 << dice.range(0, 7);
                }
            }
        }
        fs::write(path, bytes)
    }
}
