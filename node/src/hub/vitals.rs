//! The state of the cluster, put into the words that people read.

use super::survival::{Place, domain, prospects};
use super::{Hub, limits};
use crate::backend::{ClusterVitals, NodeVitals, Readiness};
use crate::config::FAILURE_DOMAIN_LABEL;
use crate::membership::{Member, MemberState};
use relais_dispatcher::election::{Claim, Heir};
use relais_dispatcher::ledger::NodeRow;
use relais_protocol::ids::{Index, NodeId};
use relais_protocol::record::Standing;
use relais_protocol::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// Beyond this a node that was heard by heartbeat counts as out of reach.
const HEARD_MS: u64 = 1_500;

impl Hub {
    /// The state of the cluster and of its nodes, as this node sees it now.
    pub(super) fn cluster_vitals(&self) -> ClusterVitals {
        let view = self.pulse.view();
        let rows: Vec<NodeRow> = self.machine.read().nodes().cloned().collect();
        let nodes = self.node_vitals(&rows);
        let up = self.up(&rows, &nodes);
        let registered =
            rows.iter().filter(|row| row.standing != Standing::Left || up.contains(&row.id)).count().max(1);
        let settings = self.machine.read().settings().clone();
        let places: Vec<Place> = rows.iter().map(|row| place(row, &view.voters, &up)).collect();
        let prospects = prospects(&places, &settings);
        let voters_up = view.voters.intersection(&up).count();
        let (status, reason) = self.status(&nodes, voters_up, registered, &up);
        // Bound before the literal: in it, the guard would live on while `name_of` asks for another, and a
        // second read of one thread waits for ever once somebody waits to write in between.
        let id = self.identity.read().cluster.to_string();
        ClusterVitals {
            id,
            name: settings.name,
            status,
            reason,
            mode: if self.is_pair() { "pair" } else { mode(&view.voters, &rows) }.to_owned(),
            reign: view.reign,
            dispatcher: view.dispatcher,
            online: up.len(),
            registered,
            high_availability: view.dispatcher.is_some() && prospects.any_one,
            survives: prospects.sentence,
            succession: self.succession(&view.succession, &rows),
            nodes,
        }
    }

    /// Who is up: by heartbeat. A node that only works beats for the dispatcher alone, and gets its beats alone; of who
    /// is not heard so, the dispatcher's word in the ledger is taken, unless gossip gave them up since.
    fn up(&self, rows: &[NodeRow], nodes: &[NodeVitals]) -> BTreeSet<NodeId> {
        let view = self.pulse.view();
        let down: BTreeSet<NodeId> =
            self.members().iter().filter(|member| member.state == MemberState::Down).map(|m| m.node).collect();
        let by_word = |row: &NodeRow| {
            (view.looks_on() || !view.leads && !view.voters.contains(&row.id))
                && view.dispatcher != Some(row.id)
                && row.standing == Standing::Online
                && !down.contains(&row.id)
        };
        let is_up = |(row, vitals): &(&NodeRow, &NodeVitals)| {
            vitals.last_heard_ms.is_none_or(|ms| ms < HEARD_MS) || by_word(row)
        };
        rows.iter().zip(nodes).filter(is_up).map(|(row, _)| row.id).collect()
    }

    fn node_vitals(&self, rows: &[NodeRow]) -> Vec<NodeVitals> {
        let now = self.clock.mono();
        let view = self.pulse.view();
        let members: BTreeMap<NodeId, Member> =
            self.members().into_iter().map(|member| (member.node, member)).collect();
        let clocks = self.wrong_clocks();
        let row_of = |row: &NodeRow| {
            let own = row.id == self.me.node;
            let member = members.get(&row.id);
            let vitals = if own { self.own_figures() } else { member.and_then(|m| m.vitals.clone()) };
            let beat = view.heard_at.get(&row.id).map(|at| now.since(*at));
            let gossip = member.filter(|m| m.state != MemberState::Down).and_then(|m| m.heard_ms);
            let heard = [beat, gossip].into_iter().flatten().min();
            NodeVitals {
                id: row.id,
                last_heard_ms: if own { None } else { Some(heard.unwrap_or_else(|| now.since(Mono(0)))) },
                dispatcher: view.dispatcher == Some(row.id),
                voter: view.voters.contains(&row.id),
                suspect: member.is_some_and(|m| m.state == MemberState::Suspect),
                limited: if own {
                    self.limited.read().clone()
                } else {
                    vitals.as_ref().and_then(|v| limits::reason(&v.limits))
                },
                clock: clocks.get(&row.id).cloned(),
                cpu_percent: vitals.as_ref().map(|v| v.cpu_percent),
                memory_available_bytes: vitals.as_ref().map(|v| v.memory_available_bytes),
                net_in_bytes_per_second: vitals.as_ref().map(|v| v.net_in_bytes_per_second),
                net_out_bytes_per_second: vitals.as_ref().map(|v| v.net_out_bytes_per_second),
                journal_index: vitals.as_ref().map(|v| Index(v.journal_index)).filter(|index| index.0 > 0),
            }
        };
        rows.iter().map(row_of).collect()
    }

    fn status(
        &self,
        nodes: &[NodeVitals],
        voters_up: usize,
        registered: usize,
        up: &BTreeSet<NodeId>,
    ) -> (String, String) {
        let view = self.pulse.view();
        let seats = view.voters.clone();
        let voters = seats.len();
        if view.dispatcher.is_none() {
            return ("no dispatcher".to_owned(), self.why_no_dispatcher());
        }
        let limited = nodes.iter().filter(|n| up.contains(&n.id)).find_map(|n| Some((n.id, n.limited.as_ref()?)));
        if let Some((node, reason)) = limited {
            let node = self.name_of(node).unwrap_or_else(|| node.to_string());
            let full = if self.limits.majority_is_full() { "submits are refused with 507; " } else { "" };
            return ("running (limited)".to_owned(), format!("{full}node {node}: {reason}"));
        }
        if voters == 1 && self.is_pair() {
            let other = self.machine.read().nodes().find(|row| !seats.contains(&row.id)).map(|row| row.name.clone());
            let other = other.unwrap_or_else(|| "the other".to_owned());
            let why = format!(
                "one node of the pair holds the journal alone, and acknowledged jobs are on one disk, until `{other}` is back"
            );
            return ("running (limited)".to_owned(), why);
        }
        if voters_up < voters {
            let why = format!(
                "{voters_up} of {voters} voters are online; if another falls, it may be the end of service until they are back"
            );
            return ("running (limited)".to_owned(), why);
        }
        let online = up.len();
        if online < registered {
            return ("running (limited)".to_owned(), format!("{online} of {registered} nodes are online"));
        }
        ("running".to_owned(), String::new())
    }

    /// Who would follow, in order, each with why or why not; witnesses last of those that are up.
    fn succession(&self, heirs: &[Heir], rows: &[NodeRow]) -> Vec<(String, String)> {
        let is_witness = |node: NodeId| rows.iter().any(|row| row.id == node && row.facts.witness);
        let mut heirs: Vec<(Heir, bool)> = heirs.iter().map(|heir| (*heir, is_witness(heir.node))).collect();
        heirs.sort_by_key(|(heir, witness)| (heir.claim, *witness));
        let told = |(heir, witness): &(Heir, bool)| {
            (self.name_of(heir.node).unwrap_or_else(|| heir.node.to_string()), why(heir, *witness))
        };
        heirs.iter().map(told).collect()
    }

    /// Whether this node is fit to serve, part by part.
    pub(super) fn parts_ready(&self) -> Readiness {
        let view = self.pulse.view();
        let now = self.clock.mono();
        let progress = self.desk.state().progress_ms.load(std::sync::atomic::Ordering::Acquire);
        let turning = now.since(Mono(progress)) < 2_000 || self.limits.majority_is_full();
        let dispatcher = self.health.of("dispatcher");
        let limited = self.limited.read().clone();
        let gossip = self.members().len();
        let journal = match (self.ledger_is_here(), self.machine.stands_in()) {
            (true, _) => (true, "applies".to_owned()),
            (false, true) => match self.why_told_too_little() {
                None => (true, "keeps none; the voters answer for it".to_owned()),
                Some(why) => (false, why),
            },
            (false, false) => (false, self.why_no_dispatcher()),
        };
        let parts = vec![
            ("journal".to_owned(), journal.0, journal.1),
            (
                "election".to_owned(),
                view.dispatcher.is_some(),
                view.dispatcher.map_or_else(
                    || self.why_no_dispatcher(),
                    |d| format!("follows {}", self.name_of(d).unwrap_or_default()),
                ),
            ),
            (
                "dispatcher".to_owned(),
                turning && dispatcher.is_none(),
                dispatcher.unwrap_or_else(|| if turning { "turns" } else { "has made no progress for 2 s" }.to_owned()),
            ),
            (
                "worker".to_owned(),
                self.health.of("worker").is_none(),
                format!("runs {} attempts", self.bench.state().running),
            ),
            ("membership".to_owned(), true, format!("knows {gossip} others")),
            ("limits".to_owned(), limited.is_none(), limited.unwrap_or_else(|| "nothing is lacking".to_owned())),
        ];
        Readiness { ready: parts.iter().all(|(_, healthy, _)| *healthy), parts }
    }
}

fn place(row: &NodeRow, voters: &BTreeSet<NodeId>, up: &BTreeSet<NodeId>) -> Place {
    Place {
        name: row.name.clone(),
        domain: domain(row).to_owned(),
        labelled: row.label(FAILURE_DOMAIN_LABEL).is_some(),
        witness: row.facts.witness,
        voter: voters.contains(&row.id),
        up: up.contains(&row.id),
    }
}

fn why(heir: &Heir, witness: bool) -> String {
    let behind = match heir.behind {
        0 => "its journal is up to date".to_owned(),
        1 => "its journal was 1 entry behind".to_owned(),
        n => format!("its journal was {n} entries behind"),
    };
    match (heir.claim, witness) {
        (Claim::Dispatches, _) => "is the dispatcher".to_owned(),
        (Claim::Unheard, _) => "no: it is not heard of".to_owned(),
        (_, true) => "no: a witness leads only to catch another up".to_owned(),
        (Claim::NotReady, _) => format!("no: it is up but not ready; {behind}"),
        (Claim::Ready, _) => format!("ready, {behind}"),
    }
}

fn mode(voters: &BTreeSet<NodeId>, rows: &[NodeRow]) -> &'static str {
    let witnesses = rows.iter().filter(|row| row.facts.witness && voters.contains(&row.id)).count();
    match voters.len() {
        0 | 1 => "single",
        2 => "pair",
        3 if witnesses == 1 => "witness",
        _ => "quorum",
    }
}
