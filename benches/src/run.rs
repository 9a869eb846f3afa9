//! A run: the rows that were asked for, one after the other. A row that fails says so, and the others go on.

use crate::cluster::{Cluster, Sight};
use crate::figure::{Aim, Figure};
use crate::peer::{Peer, Servers};
use crate::record::Record;
use crate::rows::Row;
use crate::scale::Scale;
use crate::{Failed, disk, process, work};
use std::path::PathBuf;

const SMALL_BYTES: usize = 512;
const LARGE_BYTES: usize = 64 << 10;

/// What a run has and has found.
#[derive(Debug)]
pub struct Run {
    /// How much is done.
    pub scale: &'static Scale,
    /// Below it all data are: the disk that is measured.
    pub folder: PathBuf,
    /// What it is compared with, where there is one.
    pub peer: Option<Peer>,
    /// What was found.
    pub figures: Vec<Figure>,
    /// Rows that failed, each with the reason.
    pub failures: Vec<(Row, Failed)>,
    /// Jobs that were acknowledged and found in the record, once.
    pub acknowledged: usize,
    small: Vec<f64>,
    large: Vec<f64>,
}

/// A cluster of ours at work, and what it acknowledged.
#[derive(Debug)]
pub struct Ours {
    /// The cluster.
    pub cluster: Cluster,
    /// What it acknowledged.
    pub record: Record,
    before: Sight,
}

/// Figures of ours and of the peer, round by round.
#[derive(Clone, Debug, Default)]
pub struct Pair {
    /// Ours.
    pub ours: Vec<f64>,
    /// The peer's; empty without one.
    pub theirs: Vec<f64>,
}

impl Run {
    /// A run that has found nothing yet.
    #[must_use]
    pub fn new(scale: &'static Scale, folder: PathBuf, peer: Option<Peer>) -> Self {
        let (figures, failures) = (Vec::new(), Vec::new());
        Self { scale, folder, peer, figures, failures, acknowledged: 0, small: Vec::new(), large: Vec::new() }
    }

    /// Does a row, and keeps why it failed if it did.
    pub fn row(&mut self, row: Row) {
        tell(&format!("{row}: {}", row.work()));
        if let Err(failed) = row.run(self) {
            eprintln!("{row} FAILED: {failed}");
            self.failures.push((row, failed));
        }
    }

    /// Starts the peer's servers, if there is a peer.
    ///
    /// # Errors
    /// When they do not come up.
    pub fn servers(&self) -> Result<Option<Servers>, Failed> {
        self.peer.as_ref().map(|peer| peer.start(&self.folder)).transpose()
    }

    /// Notes a figure.
    pub fn found(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Notes a figure of ours beside the peer's.
    pub fn compared(&mut self, work: &str, what: &str, pair: Pair, aim: Option<Aim>) {
        let name = self.peer.as_ref().map(Peer::name).unwrap_or_default();
        let mut figure = Figure::new(work, what, pair.ours).beside(&name, pair.theirs);
        figure.aim = aim;
        self.found(figure);
    }

    /// Looks at the disk: on a shared machine it is another one each minute.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn look_at_disk(&mut self) -> Result<(), Failed> {
        self.small.push(disk::syncs_per_second(&self.folder, SMALL_BYTES, self.scale.disk)?);
        self.large.push(disk::syncs_per_second(&self.folder, LARGE_BYTES, self.scale.disk)?);
        Ok(())
    }

    /// Notes what the disk could do meanwhile.
    pub fn finish(&mut self) {
        for (bytes, rounds) in [("512 B", &mut self.small), ("64 KiB", &mut self.large)] {
            if !rounds.is_empty() {
                let what = format!("plain pwrite + fdatasync of {bytes}, per second");
                self.figures.push(Figure::new("disk", what, std::mem::take(rounds)));
            }
        }
    }
}

impl Ours {
    /// Three nodes of so many slots each.
    ///
    /// # Errors
    /// When they do not become a cluster.
    pub fn start(run: &Run, slots: u32) -> Result<Self, Failed> {
        let cluster = Cluster::start(&run.folder, slots)?;
        let before = cluster.await_whole()?;
        Ok(Self { cluster, record: Record::default(), before })
    }

    /// The dispatcher's place in the cluster when it began.
    #[must_use]
    pub fn dispatcher(&self) -> usize {
        self.before.dispatcher
    }

    /// The jobs of this row are over: no election since the start, and each acknowledged job in the record, once.
    ///
    /// # Errors
    /// When one of these promises was broken.
    pub fn finish(self, run: &mut Run) -> Result<(), Failed> {
        let after = self.cluster.await_whole()?;
        if after != self.before {
            let before = self.before;
            return Err(Failed::Promise(format!("an election though nothing failed: {before:?}, then {after:?}")));
        }
        self.finish_after_faults(run)
    }

    /// The same where elections were asked for.
    ///
    /// # Errors
    /// When an acknowledged job is not in the record, or twice.
    pub fn finish_after_faults(self, run: &mut Run) -> Result<(), Failed> {
        tell("every acknowledged job is looked for");
        run.acknowledged += self.record.check(&self.cluster.nodes[self.cluster.nodes.len() - 1])?;
        Ok(())
    }

    /// CPU seconds of all nodes so far.
    ///
    /// # Errors
    /// When a node has died.
    pub fn cpu(&self) -> Result<f64, Failed> {
        process::cpu_of_all(&self.cluster.pids())
    }

    /// Syncs of all journals so far.
    ///
    /// # Errors
    /// When a node does not answer.
    pub fn syncs(&self) -> Result<f64, Failed> {
        work::syncs(&self.cluster)
    }
}

/// Says on standard error what goes on.
pub fn tell(what: &str) {
    eprintln!("… {what}");
}
