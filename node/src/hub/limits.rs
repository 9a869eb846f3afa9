//! What this node has too little of: disk space, file descriptors, working parts, the right time. It is then
//! `limited`: not fit to be the dispatcher, and said so everywhere. A dispatcher that is limited hands over.
//!
//! ```text
//!   free < floor ──► journal closed: heartbeats and votes go on, entries wait at the leader
//!                    role handed over to a ready voter, if there is one
//!   voters with room < majority ──► every submit is answered 507, nothing is proposed, leases go on
//!   free ≥ floor + 1/8 ──► journal open: the leader sends what is missing; the ballast is made again
//! ```
//!
//! The floor is there so that nothing ever writes into the wall: a write that fails is the end of the process
//! (exit code 74), and must be.

use super::Hub;
use super::slow::SlowDisk;
use crate::machine::{FILES_KEPT, free_bytes, open_files_max, process_figures};
use crate::membership::{LimitVitals, MemberState};
use relais_dispatcher::core::Input;
use relais_dispatcher::journal::{self, Journal};
use relais_protocol::ids::NodeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How often space is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// Descriptors, syncs and the ballast are looked at, and a handover is tried, every so many looks.
const SECOND_LOOKS: u64 = 4;

/// What this node has too little of, as last seen.
pub struct Limits {
    min_free: u64,
    free_bytes: AtomicU64,
    space_low: AtomicBool,
    files_short: AtomicBool,
    sync_us: AtomicU64,
    hands_over: AtomicBool,
    full: watch::Sender<bool>,
}

impl Limits {
    /// Nothing is lacking yet. Below `min_free` bytes the journal is closed; 0 switches that off.
    #[must_use]
    pub fn new(min_free: u64) -> Self {
        Self {
            min_free,
            free_bytes: AtomicU64::new(u64::MAX),
            space_low: AtomicBool::new(false),
            files_short: AtomicBool::new(false),
            sync_us: AtomicU64::new(0),
            hands_over: AtomicBool::new(false),
            full: watch::channel(false).0,
        }
    }

    /// Whether so few voters have room that nothing can be committed.
    #[must_use]
    pub fn majority_is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// Waits until so few voters have room that nothing can be committed.
    pub async fn until_full(&self) {
        if self.full.subscribe().wait_for(|full| *full).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What is told to the others.
    #[must_use]
    pub fn vitals(&self) -> LimitVitals {
        LimitVitals {
            disk_free_bytes: self.free_bytes.load(Ordering::Relaxed),
            closed: self.space_low.load(Ordering::Relaxed),
            files_short: self.files_short.load(Ordering::Relaxed),
            sync_us: self.sync_us.load(Ordering::Relaxed),
        }
    }

    fn see_space(&self, free: u64) {
        self.free_bytes.store(free, Ordering::Relaxed);
        // It opens only a little above the floor, so that it does not flap there.
        let was_low = self.space_low.load(Ordering::Relaxed);
        let floor = if was_low { self.min_free + self.min_free / 8 } else { self.min_free };
        self.space_low.store(free < floor, Ordering::Release);
    }
}

/// In words, what a node lacks.
pub(super) fn reason(limits: &LimitVitals) -> Option<String> {
    if limits.closed {
        let free = limits.disk_free_bytes >> 10;
        return Some(format!(
            "only {free} KiB of disk space are free: its journal takes no more entries, and it forwards; free some in its data directory's file system"
        ));
    }
    limits.files_short.then(|| {
        "nearly all file descriptors are in use; close connections, or raise the limit (`ulimit -n`)".to_owned()
    })
}

/// Whether so many of `max` descriptors are `open` that hardly any are left for clients: a quarter of all, or, where
/// few may be open, most of those that clients can't have ([`FILES_KEPT`]), of which a node at rest has some 45 open.
fn are_short(open: u64, max: u64) -> bool {
    let left = (max / 4).max((FILES_KEPT * 3 / 4).min(max / 3));
    open >= max - left
}

impl Hub {
    /// Looks at the space now; whether there is too little.
    pub fn space_is_low(&self) -> bool {
        match free_bytes(self.folders.path()) {
            Ok(free) => self.limits.see_space(free),
            Err(error) => tracing::debug!(%error, "free space can't be read"),
        }
        self.limits.space_low.load(Ordering::Acquire)
    }

    /// Watches what may run out until the node is gone.
    pub async fn watch_limits(self: Arc<Self>) {
        let mut slow = SlowDisk::default();
        for look in 0u64.. {
            self.rest(EVERY).await;
            let low = self.space_is_low();
            if let Some(journal) = self.journal.get() {
                journal.close(low);
            }
            let second = look % SECOND_LOOKS == 0 || self.pulse.view().looks_on();
            if second {
                self.look_at_files();
                self.keep_ballast(low).await;
            }
            self.tell_limits();
            self.tell_full();
            self.tell_lost();
            if second {
                self.clone().give_role_away(&mut slow);
            }
        }
    }

    fn look_at_files(&self) {
        if let (Ok(figures), Ok(max)) = (process_figures(), open_files_max()) {
            self.limits.files_short.store(are_short(figures.open_fds, max), Ordering::Relaxed);
        }
    }

    /// Makes the ballast again once there is room.
    async fn keep_ballast(&self, low: bool) {
        let folder = self.folders.journal().join("current");
        if !low && let Ok(Err(error)) = tokio::task::spawn_blocking(move || journal::keep_ballast(&folder)).await {
            tracing::warn!(%error, "no room for the journal's ballast");
        }
    }

    fn tell_limits(&self) {
        let lacks = reason(&self.limits.vitals()).or_else(|| self.health.ailing());
        let reason = lacks.or_else(|| self.own_clock_wrong());
        let changed = {
            let mut limited = self.limited.write();
            let changed = limited.is_some() != reason.is_some();
            limited.clone_from(&reason);
            changed
        };
        if changed {
            tracing::warn!(reason = reason.as_deref().unwrap_or("nothing is lacking any more"), "readiness changed");
            self.pulse.ready(reason.is_none());
        }
    }

    /// Whether a majority still has room decides if anything is proposed at all.
    fn tell_full(&self) {
        let voters = self.pulse.view().voters.clone();
        let mut closed = self.voters_closed(&voters);
        if self.limits.space_low.load(Ordering::Relaxed) && voters.contains(&self.me.node) {
            closed.insert(self.me.node);
        }
        let full = !voters.is_empty() && (voters.len() - closed.len()) * 2 <= voters.len() && !closed.is_empty();
        let changed = self.limits.full.send_if_modified(|was| std::mem::replace(was, full) != full);
        if changed {
            tracing::warn!(closed = closed.len(), voters = voters.len(), full, "room for a majority changed");
        }
        if full || changed {
            // An actor that was started anew since does not know yet.
            self.desk.input(Input::Full(full));
        }
    }

    fn voters_closed(&self, voters: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
        let members = self.members().into_iter().filter(|member| member.state != MemberState::Down);
        let closed = members.filter(|member| member.vitals.as_ref().is_some_and(|vitals| vitals.limits.closed));
        closed.map(|member| member.node).filter(|node| voters.contains(node)).collect()
    }

    /// Voters that could take the role: up, ready, and how long their syncs take in µs (0: not known).
    fn fit_voters(&self) -> Vec<(NodeId, u64)> {
        let voters = self.pulse.view().voters.clone();
        let connected = self.net().map(|net| net.connected()).unwrap_or_default();
        let members = self.members().into_iter().filter(|member| member.state == MemberState::Alive);
        members
            .filter(|member| voters.contains(&member.node) && connected.contains(&member.node))
            .filter_map(|member| Some((member.node, member.vitals?)))
            .filter(|(_, vitals)| vitals.ready)
            .map(|(node, vitals)| (node, vitals.limits.sync_us))
            .collect()
    }

    /// A dispatcher that lacks something, or whose disk is much slower than another's, hands over.
    fn give_role_away(self: Arc<Self>, slow: &mut SlowDisk) {
        let Some(journal) = self.journal.get() else { return };
        let counters = journal.counters();
        let own = slow.sample(counters.log_syncs.load(Ordering::Relaxed), counters.log_sync_us.load(Ordering::Relaxed));
        if let Some(own) = own {
            self.limits.sync_us.store(own, Ordering::Relaxed);
        }
        let leads = self.pulse.view().leads;
        let fit = if leads { self.fit_voters() } else { Vec::new() };
        let faster = slow.faster(self.clock.mono(), leads, own, &fit);
        let limited = self.limited.read().clone().filter(|_| leads && !self.limits.majority_is_full());
        let (target, why) = match (limited, faster) {
            (Some(why), _) => (fit.iter().min_by_key(|(_, sync_us)| *sync_us).map(|(node, _)| *node), why),
            (None, Some(node)) => (Some(node), "the disk here is much slower than another voter's".to_owned()),
            (None, None) => return,
        };
        let Some(target) = target else { return };
        if self.limits.hands_over.swap(true, Ordering::AcqRel) {
            return;
        }
        tracing::warn!(%target, why, "gives the role away");
        let engine = self.engine.clone();
        engine.spawn(async move {
            match self.clone().hand_over_from_here(Some(target)).await {
                Ok(node) => tracing::info!(%node, "handed over"),
                Err(reason) => tracing::warn!(reason, "could not hand over; it is tried again"),
            }
            self.limits.hands_over.store(false, Ordering::Release);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_have_all_they_can_are_too_many() {
        // (descriptors that may be open, of them open, whether that is nearly all)
        let few = 256 - FILES_KEPT;
        let cases =
            [(256, few, false), (256, few + 40, true), (256, 100, false), (1_024, 767, false), (1_024, 768, true)];
        for (max, open, wanted) in cases {
            assert_eq!(are_short(open, max), wanted, "{open} of {max}");
        }
        assert!(!are_short(50, 80) && are_short(60, 80) && !are_short(1 << 40, u64::MAX));
    }

    #[test]
    fn the_floor_closes_and_a_little_more_opens() {
        let limits = Limits::new(800);
        let low = |free| {
            limits.see_space(free);
            limits.vitals().closed
        };
        assert_eq!([900, 800, 799, 800, 899, 900, 800].map(low), [false, false, true, true, true, false, false]);
        let said = reason(&LimitVitals { closed: true, disk_free_bytes: 5 << 10, ..LimitVitals::default() });
        assert!(said.is_some_and(|said| said.contains("only 5 KiB")));
        assert_eq!(reason(&LimitVitals::default()), None);
    }
}
