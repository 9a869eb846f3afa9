//! Applying one record: one arm each, and the records about nodes, tokens and settings.

use super::keys;
use super::{Event, Ledger};
use crate::planted::is_planted;
use relais_protocol::codec;
use relais_protocol::failover::FailoverTale;
use relais_protocol::ids::{ClusterId, Incarnation, NodeId};
use relais_protocol::job::Place;
use relais_protocol::merge::{GoneId, SettingRow, TokenRow};
use relais_protocol::node::{NodeChange, NodeRow, NodeSet};
use relais_protocol::record::{Failover, Join, NodeFacts, Outcome, Record, Refusal, Standing, Token, TokenRole};
use relais_protocol::settings::Settings;

/// Failovers kept for people to look at.
const FAILOVERS_MAX: usize = 200;
/// Those of them that are kept in full.
const TALES_MAX: usize = 50;

impl Ledger {
    pub(super) fn enter(&mut self, place: Place, record: Record) -> Outcome {
        match record {
            Record::Tick => Outcome::Done,
            Record::Found { cluster, name } => self.found(cluster, name),
            Record::Promote { node, incarnation } => self.promote(node, incarnation),
            Record::Submit(submit) => self.submit(place, *submit),
            Record::Finish(finish) => self.finish(*finish),
            Record::Cancel { job, reason } => self.cancel(job, reason),
            Record::Retry { job } => self.retry(job),
            Record::Delete { job } => self.delete(job),
            Record::Join(join) => self.join(*join),
            Record::NodeUp { node, incarnation, facts } => self.node_up(node, incarnation, *facts),
            Record::NodeStanding { node, incarnation, standing } => self.node_standing(node, incarnation, standing),
            Record::Drain { node, on } => self.drain_node(node, on),
            Record::TokenMade(token) => self.token_made(*token),
            Record::TokenRevoked { id } => self.token_revoked(id),
            Record::Setting { key, value } => self.set(key, value),
            Record::Failover(failover) => self.failover(*failover),
            Record::Audit => self.forget_ended_keys(),
            Record::Takeover(takeover) => self.take_over(*takeover),
            Record::Merge(merge) => self.merge(*merge),
            Record::Forget { from, before, surplus } => self.forget_ended(from, before, surplus),
            Record::FailoverTold(tale) => self.failover_told(*tale),
            Record::Queue(change) => self.change_queue(place, *change),
            Record::ScheduleSet(set) => self.set_schedule(*set),
            Record::ScheduleRemoved(name) => self.remove_schedule(&name),
            Record::SchedulePaused { name, on } => self.pause_schedule(&name, on),
            Record::ScheduleTriggered { name, job, by } => self.trigger(place, &name, job, by),
            Record::ScheduleFired(fire) => self.fire(place, *fire),
            Record::ScheduleMissed(fire, count) => self.miss(*fire, count),
            Record::NodeSet(change) => self.set_node(*change),
            Record::Noticed(noticed) => self.noticed(*noticed),
            Record::Lease(ask) => self.grant(&ask),
            Record::LeaseEnd(end) => self.end_lease(*end),
            Record::SubmitGroup(submit) => self.submit_group(place, *submit),
            Record::CancelGroup { group, reason } => self.cancel_group(group, reason),
        }
    }

    fn found(&mut self, cluster: ClusterId, name: String) -> Outcome {
        if self.head.cluster.is_none() {
            self.head.cluster = Some(cluster);
            self.head.next_node = 2;
            self.admit(NodeId(1), name, [0; 32]);
        }
        Outcome::Done
    }

    fn promote(&mut self, node: NodeId, incarnation: Incarnation) -> Outcome {
        let before = self.head.dispatcher.map(|(node, _)| node);
        if !is_planted("epoch-not-raised") {
            self.head.reign.epoch = self.head.reign.epoch.next(self.head.side);
        }
        self.head.dispatcher = Some((node, incarnation));
        self.events.push(Event::Promoted { reign: self.head.reign, node, incarnation, before });
        Outcome::Done
    }

    fn admit(&mut self, id: NodeId, name: String, key_hash: [u8; 32]) {
        self.nodes.insert(NodeRow {
            id,
            name,
            facts: NodeFacts::default(),
            set: NodeSet::default(),
            incarnation: Incarnation(0),
            standing: Standing::Joining,
            draining: false,
            key_hash,
            since: self.head.now,
            changed: self.stamp(),
        });
        self.events.push(Event::Node(id));
    }

    fn join(&mut self, join: Join) -> Outcome {
        if self.head.cluster.is_none() {
            return Outcome::Refused(Refusal::NotFounded);
        }
        let now = self.head.now;
        let token = self.tokens().find(|t| t.role == TokenRole::Join && t.hash == join.secret_hash);
        if !token.is_some_and(|token| token.expires_at.is_none_or(|end| end > now)) {
            return Outcome::Refused(Refusal::TokenUnknown);
        }
        let namesake = self.nodes.rows().find(|row| row.name == join.name).map(|row| (row.id, row.key_hash));
        match namesake {
            Some((node, key_hash)) if key_hash == join.key_hash => Outcome::Joined { node },
            Some(_) => Outcome::Refused(Refusal::NameTaken),
            None => {
                // Two sides of a split must not give one id to two machines.
                let next = self.head.side.next_of_parity(u64::from(self.head.next_node) - 1);
                let node = NodeId(next as u32);
                self.head.next_node = node.0 + 1;
                self.admit(node, join.name, join.key_hash);
                Outcome::Joined { node }
            }
        }
    }

    fn node_up(&mut self, node: NodeId, incarnation: Incarnation, facts: NodeFacts) -> Outcome {
        let Some(row) = self.nodes.row(node) else { return Outcome::Refused(Refusal::NoSuchNode) };
        let known = row.incarnation;
        if incarnation < known {
            return Outcome::Refused(Refusal::StaleIncarnation);
        }
        let (now, stamp) = (self.head.now, self.stamp());
        if let Some(row) = self.nodes.change(node, stamp) {
            row.incarnation = incarnation;
            row.facts = facts;
            row.standing = Standing::Online;
            row.since = now;
        }
        if incarnation > known && !is_planted("restart-not-noticed") {
            self.lose_all(node, true);
        }
        self.events.push(Event::Node(node));
        Outcome::Done
    }

    fn node_standing(&mut self, node: NodeId, incarnation: Incarnation, standing: Standing) -> Outcome {
        let Some(row) = self.nodes.row(node) else { return Outcome::Refused(Refusal::NoSuchNode) };
        if row.incarnation != incarnation {
            return Outcome::Refused(Refusal::StaleIncarnation);
        }
        let is_news = row.standing != standing;
        let (now, stamp) = (self.head.now, self.stamp());
        if let Some(row) = self.nodes.change(node, stamp) {
            row.standing = standing;
            row.since = now;
        }
        match standing {
            Standing::Left => self.lose_all(node, true),
            Standing::Offline => {
                if is_news {
                    self.tally.lease_ended(now);
                }
                self.lose_all(node, false);
            }
            Standing::Joining | Standing::Online | Standing::Suspect | Standing::Leaving => {}
        }
        self.events.push(Event::Node(node));
        Outcome::Done
    }

    fn drain_node(&mut self, node: NodeId, on: bool) -> Outcome {
        let stamp = self.stamp();
        let Some(row) = self.nodes.change(node, stamp) else { return Outcome::Refused(Refusal::NoSuchNode) };
        row.draining = on;
        self.events.push(Event::Node(node));
        Outcome::Done
    }

    /// What is set goes before what the node was started with, also when it starts again.
    fn set_node(&mut self, change: NodeChange) -> Outcome {
        let (node, stamp) = (change.node, self.stamp());
        let Some(row) = self.nodes.change(node, stamp) else { return Outcome::Refused(Refusal::NoSuchNode) };
        row.change(change, stamp);
        self.events.push(Event::Node(node));
        Outcome::Done
    }

    fn token_made(&mut self, token: Token) -> Outcome {
        // Ids are never given twice: this is one that was revoked, told again.
        if self.graves.has_token(token.id) {
            return Outcome::Refused(Refusal::TokenUnknown);
        }
        let changed = self.stamp();
        self.keep_token(TokenRow { token, changed });
        Outcome::Done
    }

    pub(super) fn keep_token(&mut self, row: TokenRow) {
        let key = keys::key(keys::TOKEN, &row.token.id.to_be_bytes());
        self.sheet.write(key, Some(codec::encode(codec::FORMAT, &row)));
        self.tokens.insert(row.token.id, row);
    }

    fn token_revoked(&mut self, id: u64) -> Outcome {
        if !self.drop_token(id) {
            return Outcome::Refused(Refusal::TokenUnknown);
        }
        self.bury(GoneId::Token(id));
        Outcome::Done
    }

    pub(super) fn drop_token(&mut self, id: u64) -> bool {
        self.sheet.write(keys::key(keys::TOKEN, &id.to_be_bytes()), None);
        self.tokens.remove(&id).is_some()
    }

    fn set(&mut self, key: String, value: String) -> Outcome {
        let changed = self.stamp();
        self.keep_setting(SettingRow { key, value, changed });
        Outcome::Done
    }

    pub(super) fn keep_setting(&mut self, row: SettingRow) {
        let key = keys::key(keys::SETTING, row.key.as_bytes());
        self.sheet.write(key, Some(codec::encode(codec::FORMAT, &row)));
        self.settings.insert(row.key.clone(), row);
        self.type_settings();
    }

    /// Reads the settings anew. What this build does not know is kept, and has no effect here.
    pub(super) fn type_settings(&mut self) {
        let stored = self.settings.values().map(|row| (row.key.as_str(), row.value.as_str()));
        self.typed_settings = Settings::of(stored);
        self.lines.set_aging(self.typed_settings.priority_aging_ms);
    }

    pub(super) fn failover(&mut self, failover: Failover) -> Outcome {
        let row_key = |epoch: u64| keys::key(keys::FAILOVER, &epoch.to_be_bytes());
        self.sheet.write(row_key(failover.epoch.0), Some(codec::encode(codec::FORMAT, &failover)));
        self.failovers.insert(failover.epoch, failover);
        while self.failovers.len() > FAILOVERS_MAX
            && let Some((oldest, _)) = self.failovers.pop_first()
        {
            self.sheet.write(row_key(oldest.0), None);
        }
        Outcome::Done
    }
}

impl Ledger {
    fn failover_told(&mut self, tale: FailoverTale) -> Outcome {
        let row_key = |epoch: u64| keys::key(keys::TALE, &epoch.to_be_bytes());
        let short = tale.failover.clone();
        self.sheet.write(row_key(short.epoch.0), Some(codec::encode(codec::FORMAT, &tale)));
        self.tales.insert(short.epoch, tale);
        while self.tales.len() > TALES_MAX
            && let Some((oldest, _)) = self.tales.pop_first()
        {
            self.sheet.write(row_key(oldest.0), None);
        }
        self.failover(short)
    }
}

#[cfg(test)]
impl Ledger {
    pub(super) fn admit_for_test(&mut self, id: NodeId) {
        self.admit(id, format!("n{id}"), [0; 32]);
        self.head.next_node = id.0 + 1;
        self.write_head();
    }
}
