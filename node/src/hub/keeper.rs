//! Keeping house: the dispatcher sees to it that there are enough voters and that the cluster is founded;
//! every node keeps its peers and its CA key in order.

use super::Hub;
use super::members::{self, Absences, Applicant, Members, Rules, Wanted};
use super::survival::domain;
use crate::datadir::KnownPeer;
use crate::net::{Peer, Purpose};
use crate::pulse::PulseView;
use bytes::Bytes;
use relais_dispatcher::journal::{Journal, JournalStatus, Role};
use relais_protocol::codec;
use relais_protocol::ids::{NodeId, RaftId};
use relais_protocol::message::{CONTROL_BYTES_MAX, Control, ControlAnswer};
use relais_protocol::record::{Record, Standing};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often the house is looked after.
const EVERY: Duration = Duration::from_millis(250);
/// A node that only works, and whose peers seldom change, looks after them every so many times.
const ONLOOKER_TURNS: u64 = 4;
/// How long a change of voters may take, those who are new catching up included.
const CHANGE_LIMIT: Duration = Duration::from_secs(15);
/// A change of voters that is half done for so long was left so by another dispatcher, in ms.
const HALF_DONE_MS: u64 = 5_000;
/// Nodes that are dialled without delay while it is not known who votes: there are no more voters than that.
const NEAR_AT_FIRST: usize = 7;
/// How long a control call may take.
const CALL_LIMIT: Duration = Duration::from_secs(2);

impl Hub {
    /// Looks after the house until the node is gone.
    pub async fn keep_house(self: Arc<Self>) {
        let mut absences = Absences::default();
        for turn in 0_u64.. {
            self.turn(EVERY).await;
            // Looked at each time: who gets a seat needs links to the others at once.
            if self.pulse.view().looks_on() && turn % ONLOOKER_TURNS != 0 {
                continue;
            }
            self.keep_peers();
            self.clone().fetch_ca_key().await;
            if self.pulse.view().leads {
                self.clone().found_cluster().await;
                self.keep_members(&mut absences).await;
            } else {
                absences = Absences::default();
            }
        }
    }

    /// The first node's first record: the cluster itself.
    pub(super) async fn found_cluster(self: Arc<Self>) {
        if self.machine.read().cluster().is_some() || !self.pulse.view().leads {
            return;
        }
        let cluster = self.identity.read().cluster;
        let found = Record::Found { cluster, name: self.me.name.clone() };
        if let Err(error) = self.desk.propose(vec![found]).await {
            tracing::debug!(?error, "the cluster is not founded yet");
        }
    }

    /// Addresses of the others: from the ledger, kept for the next start.
    fn keep_peers(&self) {
        let mut addresses = self.addresses.read().clone();
        for row in self.machine.read().nodes() {
            if let Ok(addr) = row.facts.quic.parse::<SocketAddr>() {
                addresses.insert(row.id, (row.name.clone(), addr));
            }
        }
        addresses.remove(&self.me.node);
        let known: Vec<KnownPeer> = addresses
            .iter()
            .map(|(node, (name, addr))| KnownPeer { node: *node, name: name.clone(), addr: *addr })
            .collect();
        self.notebook.peers(known);
        if let Some(net) = self.net() {
            net.set_peers(linked(&self.pulse.view(), &addresses));
        }
        *self.addresses.write() = addresses;
    }

    /// A voter holds the CA key, so that it can admit nodes when the first machine is gone.
    async fn fetch_ca_key(self: Arc<Self>) {
        let view = self.pulse.view();
        let lacks = view.is_voter && !self.identity.read().ca.can_sign();
        let (Some(net), Some(from), true) = (self.net(), view.dispatcher.filter(|d| *d != self.me.node), lacks) else {
            return;
        };
        let request = Bytes::from(codec::encode(codec::FORMAT, &Control::CaKey));
        let Ok(answer) = net.call(from, Purpose::Control, request, CALL_LIMIT).await else { return };
        if let Ok(ControlAnswer::CaKey(key)) = codec::decode(codec::FORMAT, &answer, CONTROL_BYTES_MAX) {
            let (mut identity, folder) = (self.identity.read().clone(), self.folders.identity());
            let kept = tokio::task::spawn_blocking(move || identity.take_ca_key(&folder, &key).map(|()| identity));
            match kept.await.map_err(|error| error.to_string()).and_then(|kept| kept.map_err(|e| e.to_string())) {
                Ok(identity) => {
                    *self.identity.write() = identity;
                    tracing::info!("holds the cluster's CA key now");
                }
                Err(error) => tracing::error!(error, "the CA key could not be kept"),
            }
        }
    }

    /// Takes new nodes into the journal, makes voters of them, gives away the seats of those that are gone,
    /// and takes out journals that were put aside. A change left half done by another is carried to its end.
    async fn keep_members(&self, absences: &mut Absences) {
        let Some(journal) = self.journal() else { return };
        let status = journal.status().borrow().clone();
        if status.role != Role::Leader {
            return;
        }
        if status.is_joint && absences.half_done_ms(self.clock.mono()) < HALF_DONE_MS {
            return;
        }
        if !status.is_joint {
            absences.is_whole();
        }
        let wanted = self.members_wanted(&status, absences);
        if let Some(learner) = wanted.learner.filter(|_| !status.is_joint) {
            report(journal.add_learner(learner).await, "a node could not be taken into the journal");
        } else if wanted.voters != status.voters || status.is_joint {
            tracing::info!(from = ?status.voters, to = ?wanted.voters, "changes the voters");
            // Who does not catch up in time is asked again, or another in its place.
            let changed = tokio::time::timeout(CHANGE_LIMIT, journal.change_voters(wanted.voters)).await;
            report(changed.unwrap_or(Ok(())), "the voters could not be changed");
        } else if let Some(gone) = wanted.gone {
            report(journal.remove_learner(gone).await, "an old journal could not be taken out");
        }
    }

    fn members_wanted(&self, status: &JournalStatus, absences: &mut Absences) -> Wanted {
        let connected = self.net().map(|net| net.connected()).unwrap_or_default();
        let now = self.clock.mono();
        let (mut applicants, rules) = (Vec::new(), self.voting_rules());
        for row in self.machine.read().nodes().filter(|row| row.facts.journal > 0) {
            let reachable = row.id == self.me.node || connected.contains(&row.id);
            let up = row.standing == Standing::Online && reachable && !self.is_unseated(row.id, row.incarnation);
            applicants.push(Applicant {
                raft: RaftId::new(row.id, row.facts.journal),
                domain: domain(row).to_owned(),
                witness: row.facts.witness,
                up,
                gone_ms: absences.note(now, row.id, up),
            });
        }
        let members = Members { voters: status.voters.clone(), learners: status.learners.clone() };
        members::wanted(status.id, &members, &applicants, rules)
    }

    fn voting_rules(&self) -> Rules {
        let ledger = self.machine.read();
        let settings = ledger.settings();
        Rules { voters: settings.voters, replace_after_ms: settings.replace_after_ms }
    }

    /// Whether this node has a ledger to read from, and not only an overview.
    pub(super) fn ledger_is_here(&self) -> bool {
        !self.machine.stands_in() && self.journal().is_some_and(|journal| journal.status().borrow().applied.is_some())
    }

    /// The node with this name.
    pub fn node_named(&self, name: &str) -> Option<NodeId> {
        self.machine.read().nodes().find(|row| row.name == name).map(|row| row.id)
    }
}

/// Whom a node keeps a link to. A voter: all; a node that only works: the voters, since what it asks another one
/// goes through them. A node that does not know yet who votes tries all, the oldest first. Between voters silence has to
/// be noticed soon; of a node that only works the lease tells, and it hears of a new dispatcher from that one itself.
fn linked(view: &PulseView, addresses: &BTreeMap<NodeId, (String, SocketAddr)>) -> Vec<Peer> {
    let known = addresses.iter().enumerate();
    let wanted = known.filter(|(_, (node, _))| !view.looks_on() || view.voters.contains(node));
    let peer = |(place, (node, (_, addr))): (usize, (&NodeId, &(String, SocketAddr)))| Peer {
        node: *node,
        addr: *addr,
        near: if view.voters.is_empty() { place < NEAR_AT_FIRST } else { view.is_voter && view.voters.contains(node) },
    };
    wanted.map(peer).collect()
}

fn report<E: std::fmt::Display>(result: Result<(), E>, what: &str) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what}; it is tried again");
    }
}

/// Keeps the pulse told of what the journal is at, but for how far it has come.
pub async fn watch_journal(hub: Arc<Hub>, journal: Arc<dyn Journal>) {
    let mut status = journal.status();
    let mut told: Option<JournalStatus> = None;
    loop {
        {
            let now = status.borrow_and_update();
            if !told.as_ref().is_some_and(|told| told.is_but_progress(&now)) {
                hub.history.note(now.history);
                if now.role == Role::Leader {
                    hub.machine.stand_in(false);
                }
                hub.pulse.journal(&hub.status_to_go_by(&now));
                hub.look_again(&now);
                told = Some(now.clone());
            }
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}
