//! Figures of this node in the Prometheus text format, beside those of the ledger.

use super::Hub;
use crate::machine::process_figures;
use relais_dispatcher::journal::Journal;
use std::fmt::Write;
use std::sync::atomic::Ordering;

struct Page(String);

impl Page {
    fn figure(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.figure(name, "counter", help, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.figure(name, "gauge", help, value);
    }
}

impl Hub {
    /// Figures of this node.
    pub(super) fn figures_page(&self) -> String {
        let mut page = Page(String::new());
        self.election_figures(&mut page);
        self.work_figures(&mut page);
        self.journal_figures(&mut page);
        self.net_figures(&mut page);
        if let Ok(process) = process_figures() {
            page.gauge("process_resident_memory_bytes", "Resident memory of this process.", process.resident_bytes);
            page.gauge("process_open_fds", "Open file descriptors of this process.", process.open_fds);
        }
        page.0
    }

    fn election_figures(&self, page: &mut Page) {
        let view = self.pulse.view();
        page.counter("relais_election_stands_total", "Elections that this node stood in.", view.stands);
        page.counter(
            "relais_election_resignations_total",
            "Times that this node ceased to be the dispatcher.",
            view.resignations,
        );
        page.gauge("relais_election_heard_voters", "Other voters heard within a lease.", view.heard_voters);
    }

    fn work_figures(&self, page: &mut Page) {
        let counts = *self.desk.state().counts.lock();
        let bench = self.bench.state();
        page.counter(
            "relais_stale_reports_total",
            "Reports of another reign that this dispatcher refused.",
            counts.stale_reports,
        );
        page.counter(
            "relais_stale_orders_total",
            "Orders of a lower reign that this worker refused.",
            bench.counts.stale_orders,
        );
        let refused = self.counts.stale_orders.load(Ordering::Relaxed);
        page.counter(
            "relais_orders_refused_total",
            "Orders of this node that a worker refused for its reign.",
            refused,
        );
        page.counter(
            "relais_orders_again_total",
            "Orders sent again because they were not seen to be carried out.",
            counts.orders_again,
        );
        page.counter("relais_batches_total", "Journal entries proposed here.", counts.batches);
        page.counter("relais_records_total", "Records in them.", counts.records);
        page.counter("relais_attempts_started_total", "Attempts that this worker started.", bench.counts.started);
        page.counter(
            "relais_attempts_fenced_total",
            "Attempts that this worker killed because its lease ended.",
            bench.counts.fenced,
        );
        page.gauge("relais_attempts_running", "Attempts that run here.", bench.running);
        page.gauge("relais_reports_unsettled", "Ends that no dispatcher has written down yet.", bench.unsettled);
        let passed_on = self.counts.passed_on.load(Ordering::Relaxed);
        page.counter("relais_calls_passed_on_total", "Proposals passed on to the dispatcher.", passed_on);
    }

    fn journal_figures(&self, page: &mut Page) {
        let Some(journal) = self.journal.get() else { return };
        let counters = journal.counters();
        let status = journal.status().borrow().clone();
        page.counter(
            "relais_journal_syncs_total",
            "Syncs of the log to stable storage.",
            counters.log_syncs.load(Ordering::Relaxed),
        );
        page.counter(
            "relais_journal_acknowledged_total",
            "Appends acknowledged.",
            counters.appends_acknowledged.load(Ordering::Relaxed),
        );
        page.counter(
            "relais_journal_mark_syncs_total",
            "Syncs of the log's high-water mark.",
            counters.mark_syncs.load(Ordering::Relaxed),
        );
        page.counter(
            "relais_journal_sync_us_total",
            "Time that all syncs of the log took, in microseconds.",
            counters.log_sync_us.load(Ordering::Relaxed),
        );
        page.counter(
            "relais_journal_votes_granted_total",
            "Votes given to others.",
            counters.votes_granted.load(Ordering::Relaxed),
        );
        page.gauge("relais_journal_last_index", "Last entry in the log.", status.last_log.map_or(0, |at| at.index));
        page.counter(
            "relais_journal_checkpoints_total",
            "Checkpoints of the ledger.",
            counters.checkpoints.load(Ordering::Relaxed),
        );
        page.gauge("relais_journal_applied_index", "Last entry applied.", status.applied.unwrap_or_default());
        page.gauge("relais_journal_term", "Term of the log.", status.term);
        page.gauge("relais_journal_voters", "Voters.", status.voters.len());
        let votes = u8::from(status.voters.contains(&status.id) && !status.is_joint);
        page.gauge("relais_journal_votes", "Whether this journal is one of the voters' for good.", votes);
        let (audits, differ) = (&self.counts.audits, &self.counts.disagreements);
        page.counter(
            "relais_replicas_compared_total",
            "Comparisons of a replica's rows with this dispatcher's.",
            audits.load(Ordering::Relaxed),
        );
        page.counter(
            "relais_replicas_differ_total",
            "Comparisons that found a difference.",
            differ.load(Ordering::Relaxed),
        );
        page.counter(
            "relais_duplicate_executions_total",
            "Executions that ended a job which the other side of a split had ended.",
            self.machine.read().duplicate_executions(),
        );
        page.gauge("relais_journal_log_bytes", "Bytes in the log.", journal.log_bytes());
    }

    fn net_figures(&self, page: &mut Page) {
        let Some(net) = self.net() else { return };
        let counters = net.counters();
        page.gauge("relais_net_peers_connected", "Nodes connected.", counters.connected);
        page.counter("relais_net_received_bytes_total", "Bytes received from nodes.", counters.bytes_in);
        page.counter("relais_net_sent_bytes_total", "Bytes sent to nodes.", counters.bytes_out);
    }
}
