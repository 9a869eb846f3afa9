//! Figures of this node, beside those of the ledger.
//!
//! What is counted here is of this run of the process. `relais_journal_commit_seconds` is kept by the `prometheus`
//! crate, an atomic add for each entry; all else is read where it arises.

use super::Hub;
use crate::figures::Page;
use crate::machine::{free_bytes, open_files_max, process_figures, process_times};
use prometheus::{Histogram, HistogramOpts};
use relais_dispatcher::journal::Journal;
use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds of the buckets of commit times, in seconds: from a fast disk nearby to one that is about to fail.
const COMMIT_BOUNDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// How long entries took from being proposed here to being acknowledged by a majority and applied.
#[derive(Debug)]
pub struct CommitTimes(Histogram);

impl Default for CommitTimes {
    fn default() -> Self {
        let help = "Time from proposing an entry here to a majority having it on disk and its being applied.";
        let options = HistogramOpts::new("relais_journal_commit_seconds", help).buckets(COMMIT_BOUNDS.to_vec());
        Self(Histogram::with_opts(options).expect("a valid name and rising bounds"))
    }
}

impl CommitTimes {
    /// Counts one entry.
    pub fn note_us(&self, us: u64) {
        self.0.observe(us as f64 / 1e6);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Hub {
    /// Adds the figures of this node.
    pub(super) fn put_figures(&self, page: &mut Page) {
        self.put_election(page);
        self.put_dispatch(page);
        self.put_work(page);
        self.put_actors(page);
        self.put_journal(page);
        self.put_log(page);
        self.put_replicas(page);
        self.put_net(page);
        put_process(page);
    }

    fn put_election(&self, page: &mut Page) {
        let view = self.pulse.view();
        page.counter("relais_election_stands_total", "Elections that this node stood in.", view.stands);
        page.counter(
            "relais_election_resignations_total",
            "Times that this node ceased to be the dispatcher.",
            view.resignations,
        );
        page.gauge("relais_election_heard_voters", "Other voters heard within a lease.", view.heard_voters as f64);
        page.gauge("relais_has_dispatcher", "Whether this node hears a dispatcher.", view.dispatcher.is_some().into());
        let lacks = self.limited.read().is_some();
        page.gauge("relais_limited", "Whether this node lacks something: its row says what.", lacks.into());
        let survives = self.cluster_vitals().high_availability;
        page.gauge(
            "relais_high_availability",
            "Whether the loss of any one machine would be survived.",
            survives.into(),
        );
    }

    fn put_dispatch(&self, page: &mut Page) {
        let state = self.desk.state();
        let counts = *state.counts.lock();
        page.counter(
            "relais_stale_reports_total",
            "Reports of another reign that this dispatcher refused.",
            counts.stale_reports,
        );
        page.counter(
            "relais_orders_refused_total",
            "Orders of this node that a worker refused for its reign.",
            read(&self.counts.stale_orders),
        );
        page.counter(
            "relais_orders_again_total",
            "Orders sent again because they were not seen to be carried out.",
            counts.orders_again,
        );
        page.counter("relais_batches_total", "Journal entries proposed here.", counts.batches);
        page.counter("relais_records_total", "Records in them.", counts.records);
        page.counter(
            "relais_calls_passed_on_total",
            "Proposals passed on to the dispatcher.",
            read(&self.counts.passed_on),
        );
        let (nodes, outside) = &state.leases;
        page.gauges("relais_leases_held", "Leases that last, by whose they are; 0 where none is given.", |row| {
            row(&[("holder", "node")], nodes.load(Ordering::Relaxed) as f64);
            row(&[("holder", "external")], outside.load(Ordering::Relaxed) as f64);
        });
    }

    fn put_work(&self, page: &mut Page) {
        let bench = self.bench.state();
        page.counter(
            "relais_stale_orders_total",
            "Orders of a lower reign that this worker refused.",
            bench.counts.stale_orders,
        );
        page.counter("relais_attempts_started_total", "Attempts that this worker started.", bench.counts.started);
        page.counter(
            "relais_attempts_fenced_total",
            "Attempts that this worker killed because its lease ended.",
            bench.counts.fenced,
        );
        page.gauge("relais_attempts_running", "Attempts that run here.", bench.running as f64);
        page.gauge("relais_slots", "Attempts that may run here at once.", f64::from(self.facts.read().slots));
        page.gauge("relais_reports_unsettled", "Ends that no dispatcher has written down yet.", bench.unsettled as f64);
    }

    fn put_actors(&self, page: &mut Page) {
        let actors = self.actors();
        let help = "What waits for an actor: inputs, of the journal entries in the log that are not applied.";
        page.gauges("relais_actor_mailbox_depth", help, |row| {
            actors.iter().for_each(|actor| row(&[("actor", &actor.name)], actor.depth as f64));
        });
        page.gauges("relais_actor_idle_seconds", "Time since an actor that ticks last had its turn.", |row| {
            for (actor, idle_ms) in actors.iter().filter_map(|actor| Some((actor, actor.idle_ms?))) {
                row(&[("actor", &actor.name)], idle_ms as f64 / 1_000.0);
            }
        });
        page.counters("relais_actor_restarts_total", "Times that an actor died and was started again.", |row| {
            actors.iter().for_each(|actor| row(&[("actor", &actor.name)], actor.restarts as f64));
        });
    }

    fn put_journal(&self, page: &mut Page) {
        page.collect(&self.counts.commits.0);
        let Some(journal) = self.journal.get() else { return };
        let status = self.status_to_go_by(&journal.status().borrow());
        let last = status.last_log.map_or(0, |at| at.index);
        page.gauge("relais_journal_last_index", "Last entry in the log.", last as f64);
        let applied = status.applied.unwrap_or_default().0;
        page.gauge("relais_journal_applied_index", "Last entry applied.", applied as f64);
        page.gauge("relais_journal_term", "Term of the log.", status.term as f64);
        page.gauge("relais_journal_voters", "Voters.", status.voters.len() as f64);
        let votes = status.voters.contains(&status.id) && !status.is_joint;
        page.gauge("relais_journal_votes", "Whether this journal is one of the voters' for good.", votes.into());
        page.gauge("relais_journal_log_bytes", "Bytes in the log.", journal.log_bytes() as f64);
        if let Ok(free) = free_bytes(self.folders.path()) {
            page.gauge("relais_data_free_bytes", "Free space where the data directory is.", free as f64);
        }
    }

    fn put_log(&self, page: &mut Page) {
        let Some(journal) = self.journal.get() else { return };
        let counters = journal.counters();
        for (name, help, counter) in [
            ("relais_journal_syncs_total", "Syncs of the log to stable storage.", &counters.log_syncs),
            ("relais_journal_acknowledged_total", "Appends acknowledged.", &counters.appends_acknowledged),
            ("relais_journal_mark_syncs_total", "Syncs of the log's high-water mark.", &counters.mark_syncs),
            ("relais_journal_votes_granted_total", "Votes given to others.", &counters.votes_granted),
            ("relais_journal_checkpoints_total", "Checkpoints of the ledger.", &counters.checkpoints),
        ] {
            page.counter(name, help, read(counter));
        }
        page.counters("relais_journal_sync_seconds_total", "Time that all syncs of the log took.", |row| {
            row(&[], read(&counters.log_sync_us) as f64 / 1e6);
        });
    }

    fn put_replicas(&self, page: &mut Page) {
        if self.journal.get().is_none() {
            return;
        }
        page.counter(
            "relais_replicas_compared_total",
            "Comparisons of a replica's rows with this dispatcher's.",
            read(&self.counts.audits),
        );
        page.counter(
            "relais_replicas_differ_total",
            "Comparisons that found a difference.",
            read(&self.counts.disagreements),
        );
        page.counter(
            "relais_duplicate_executions_total",
            "Executions that ended a job which the other side of a split had ended.",
            self.machine.read().duplicate_executions(),
        );
    }

    fn put_net(&self, page: &mut Page) {
        let Some(net) = self.net() else { return };
        let counters = net.counters();
        page.gauge("relais_net_peers_connected", "Nodes connected.", counters.connected as f64);
        page.counter("relais_net_received_bytes_total", "Bytes received from nodes.", counters.bytes_in);
        page.counter("relais_net_sent_bytes_total", "Bytes sent to nodes.", counters.bytes_out);
        page.counter("relais_net_connections_lost_total", "Connections to nodes that were lost.", counters.losses);
    }
}

/// Under the names that Prometheus's own clients use.
fn put_process(page: &mut Page) {
    if let Ok(process) = process_figures() {
        page.gauge("process_resident_memory_bytes", "Resident memory of this process.", process.resident_bytes as f64);
        page.gauge("process_open_fds", "Open file descriptors of this process.", process.open_fds as f64);
    }
    if let Ok(max) = open_files_max() {
        page.gauge("process_max_fds", "File descriptors that this process may have open.", max as f64);
    }
    if let Ok(times) = process_times() {
        page.counters("process_cpu_seconds_total", "Time on a core, in user and kernel mode together.", |row| {
            row(&[], times.cpu_seconds);
        });
        page.gauge("process_threads", "Threads of this process.", times.threads as f64);
        page.gauge(
            "process_start_time_seconds",
            "When this process started, in seconds since 1970.",
            times.started_at_seconds,
        );
    }
}
