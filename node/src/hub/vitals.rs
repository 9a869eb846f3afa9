//! The state of the cluster, put into the words that people read.

use super::Hub;
use crate::backend::{ClusterVitals, NodeVitals, Readiness};
use crate::membership::{Member, MemberState};
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
        let up: BTreeSet<NodeId> = nodes.iter().filter(|n| self.is_up(n)).map(|n| n.id).collect();
        let registered =
            rows.iter().filter(|row| row.standing != Standing::Left || up.contains(&row.id)).count().max(1);
        let losses = self.losses(&rows, &view.voters, &up);
        let voters_up = view.voters.intersection(&up).count();
        let (status, reason) = self.status(voters_up, registered, up.len(), view.dispatcher.is_some());
        // Bound before the literal: in it, the guard would live on while `name_of` asks for another, and a
        // second read of one thread waits for ever once somebody waits to write in between.
        let id = self.identity.read().cluster.to_string();
        let name = self.machine.read().settings().name.clone();
        ClusterVitals {
            id,
            name,
            status,
            reason,
            mode: mode(view.voters.len()).to_owned(),
            reign: view.reign,
            dispatcher: view.dispatcher,
            online: up.len(),
            registered,
            high_availability: view.dispatcher.is_some()
                && voters_up > 0
                && losses.iter().all(|(_, survived)| *survived),
            survives: survives(&losses, self.one_machine(&rows)),
            succession: view
                .succession
                .iter()
                .map(|(node, why)| (self.name_of(*node).unwrap_or_else(|| node.to_string()), why.clone()))
                .collect(),
            nodes,
        }
    }

    fn is_up(&self, vitals: &NodeVitals) -> bool {
        vitals.last_heard_ms.is_none_or(|ms| ms < HEARD_MS)
    }

    fn node_vitals(&self, rows: &[NodeRow]) -> Vec<NodeVitals> {
        let now = self.clock.mono();
        let view = self.pulse.view();
        let members: BTreeMap<NodeId, Member> =
            self.members().into_iter().map(|member| (member.node, member)).collect();
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
                limited: if own { self.limited.read().clone() } else { None },
                cpu_percent: vitals.as_ref().map(|v| v.cpu_percent),
                memory_available_bytes: vitals.as_ref().map(|v| v.memory_available_bytes),
                net_in_bytes_per_second: vitals.as_ref().map(|v| v.net_in_bytes_per_second),
                net_out_bytes_per_second: vitals.as_ref().map(|v| v.net_out_bytes_per_second),
                journal_index: vitals.as_ref().map(|v| Index(v.journal_index)),
            }
        };
        rows.iter().map(row_of).collect()
    }

    fn status(&self, voters_up: usize, registered: usize, online: usize, dispatcher: bool) -> (String, String) {
        let voters = self.pulse.view().voters.len();
        if !dispatcher {
            return ("no dispatcher".to_owned(), self.why_no_dispatcher());
        }
        if let Some(reason) = self.limited.read().clone() {
            return ("running (limited)".to_owned(), reason);
        }
        if voters_up < voters {
            let why = format!(
                "{voters_up} of {voters} voters are online; if another falls, it may be the end of service until they are back"
            );
            return ("running (limited)".to_owned(), why);
        }
        if online < registered {
            return ("running (limited)".to_owned(), format!("{online} of {registered} nodes are online"));
        }
        ("running".to_owned(), String::new())
    }

    /// Each online voter, and whether the cluster would survive its loss.
    fn losses(&self, rows: &[NodeRow], voters: &BTreeSet<NodeId>, up: &BTreeSet<NodeId>) -> Vec<(String, bool)> {
        let online: Vec<NodeId> = voters.intersection(up).copied().collect();
        let survived = (online.len().saturating_sub(1)) * 2 > voters.len();
        let name = |node: &NodeId| {
            rows.iter().find(|row| row.id == *node).map_or_else(|| node.to_string(), |row| row.name.clone())
        };
        online.iter().map(|node| (name(node), survived)).collect()
    }

    fn one_machine(&self, rows: &[NodeRow]) -> bool {
        let domains: BTreeSet<&str> = rows
            .iter()
            .filter(|row| row.facts.journal > 0)
            .map(|row| row.facts.labels.get("failure_domain").map_or(row.facts.machine.as_str(), String::as_str))
            .collect();
        rows.len() > 1 && domains.len() == 1
    }

    /// Whether this node is fit to serve, part by part.
    pub(super) fn parts_ready(&self) -> Readiness {
        let view = self.pulse.view();
        let now = self.clock.mono();
        let progress = self.desk.state().progress_ms.load(std::sync::atomic::Ordering::Acquire);
        let turning = now.since(Mono(progress)) < 2_000;
        let limited = self.limited.read().clone();
        let gossip = self.members().len();
        let parts = vec![
            (
                "journal".to_owned(),
                self.ledger_is_here(),
                if self.ledger_is_here() { "applies".to_owned() } else { self.why_no_dispatcher() },
            ),
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
                turning,
                if turning { "turns" } else { "has made no progress for 2 s" }.to_owned(),
            ),
            ("worker".to_owned(), true, format!("runs {} attempts", self.bench.state().running)),
            ("membership".to_owned(), true, format!("knows {gossip} others")),
            ("disk".to_owned(), limited.is_none(), limited.unwrap_or_else(|| "has room".to_owned())),
        ];
        Readiness { ready: parts.iter().all(|(_, healthy, _)| *healthy), parts }
    }
}

fn mode(voters: usize) -> &'static str {
    match voters {
        0 | 1 => "single",
        2 => "pair",
        _ => "quorum",
    }
}

fn survives(losses: &[(String, bool)], one_machine: bool) -> String {
    let text: Vec<String> =
        losses.iter().map(|(name, yes)| format!("loss of {name}: {}", if *yes { "yes" } else { "no" })).collect();
    let mut text = if text.is_empty() { "nothing: no voter is known to be online".to_owned() } else { text.join("; ") };
    if losses.iter().filter(|(_, yes)| *yes).count() > 1 {
        text.push_str("; any two together: no");
    }
    if one_machine {
        text.push_str("; all nodes share one machine or failure domain, and fall with it");
    }
    text
}
