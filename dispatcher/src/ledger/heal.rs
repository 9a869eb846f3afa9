//! Merging the other side of a split into this ledger, row by row, and what follows from each.
//!
//! The winner's dispatcher proposes the chunks; every replica applies them alike. After the first one the
//! epoch is above both sides', so that no fence of this side can be lower than one that the other side gave
//! out; the dispatcher goes on under it with a whole lease for every worker, theirs included.

use super::merge::{join_jobs, join_keys, join_nodes, join_settings, join_tokens, supersede};
use super::{Event, Ledger};
use relais_protocol::history::{Side, Stamp};
use relais_protocol::ids::{JobId, NodeId};
use relais_protocol::job::{Cancel, Job, JobState};
use relais_protocol::merge::{Gone, GoneId, KeyRow, Merge, MergeRow, Merged, SettingRow, TokenRow, renamed};
use relais_protocol::node::NodeRow;
use relais_protocol::record::{Outcome, Refusal, Standing};

impl Ledger {
    pub(super) fn merge(&mut self, merge: Merge) -> Outcome {
        if merge.from.generation > self.head.reign.generation {
            return Outcome::Refused(Refusal::StaleReign);
        }
        if merge.from.epoch >= self.head.reign.epoch {
            self.raise_epoch(merge.from.epoch);
        }
        let mut merged = Merged::default();
        // Time goes on from the later of both sides, as it does from a dispatcher's whose clock was ahead.
        self.head.now = self.head.now.max(merge.now);
        for row in merge.rows {
            self.merge_row(row, merge.since, &mut merged);
        }
        if merge.last {
            self.settle_contested(&mut merged);
            self.end_healing();
        }
        self.head.duplicates += u64::from(merged.duplicates);
        if merge.last {
            self.head.side = Side::Both;
            self.head.unhealed = false;
            if let Some(own) = self.lineage.last_mut() {
                let from = (merge.from.generation, merge.from.epoch);
                own.healed = own.healed.max(Some(from));
            }
            self.write_lineage();
        }
        self.events.push(Event::Merged { merged, last: merge.last });
        Outcome::Merged(merged)
    }

    fn raise_epoch(&mut self, other: relais_protocol::ids::Epoch) {
        self.head.reign.epoch = self.head.reign.epoch.healed(other, self.head.side);
        if let Some((node, incarnation)) = self.head.dispatcher {
            let reign = self.head.reign;
            self.events.push(Event::Promoted { reign, node, incarnation, before: Some(node) });
        }
    }

    fn merge_row(&mut self, row: MergeRow, since: Stamp, merged: &mut Merged) {
        match row {
            MergeRow::Node(row) => self.merge_node(*row, since, merged),
            MergeRow::Setting(row) => self.merge_setting(row, since, merged),
            MergeRow::Token(row) => self.merge_token(row, since, merged),
            MergeRow::Failover(row) => {
                if !self.failovers.contains_key(&row.epoch) {
                    self.failover(*row);
                }
            }
            MergeRow::Gone(gone) => self.merge_gone(gone, merged),
            MergeRow::Key(key, row) => self.merge_key(&key, row, merged),
            MergeRow::Job(job) => self.merge_job(*job, merged),
            MergeRow::Queue(row) => self.merge_queue(*row, since, merged),
            MergeRow::Schedule(row, log) => self.merge_schedule(*row, *log, since, merged),
            MergeRow::GroupSpec(row) => self.keep_group_spec(&row),
            MergeRow::GroupInputs(row) => self.keep_group_inputs(&row),
            MergeRow::Group(row) => self.merge_group(*row),
        }
    }

    fn merge_node(&mut self, row: NodeRow, since: Stamp, merged: &mut Merged) {
        let id = row.id;
        self.head.next_node = self.head.next_node.max(id.0 + 1);
        let joined = match self.nodes.row(id) {
            Some(own) => {
                let joined = join_nodes(own, &row);
                if (NodeRow { changed: own.changed, ..joined.clone() }) == *own {
                    return;
                }
                let is_set_twice = own.set != row.set && own.set.changed > since && row.set.changed > since;
                merged.conflicts += u32::from(is_set_twice || own.changed > since && own.facts != row.facts);
                joined
            }
            None => row,
        };
        let is_new_run = self.nodes.row(id).is_some_and(|own| own.incarnation < joined.incarnation);
        let has_left = joined.standing == Standing::Left;
        self.nodes.insert(NodeRow { changed: self.stamp(), ..joined });
        if is_new_run || has_left {
            self.lose_all(id, true);
        }
        self.tell_namesakes_apart(id, merged);
        self.events.push(Event::Node(id));
    }

    /// Two machines that joined the two sides under one name: the one with the higher id gets another.
    fn tell_namesakes_apart(&mut self, id: NodeId, merged: &mut Merged) {
        let Some(name) = self.nodes.row(id).map(|row| row.name.clone()) else { return };
        let namesake = self.nodes.rows().find(|row| row.id != id && row.name == name).map(|row| row.id);
        let Some(other) = namesake else { return };
        let (later, stamp) = (id.max(other), self.stamp());
        if let Some(row) = self.nodes.change(later, stamp) {
            row.name = renamed(&row.name, later);
        }
        merged.conflicts += 1;
        self.events.push(Event::Node(later));
    }

    fn merge_setting(&mut self, row: SettingRow, since: Stamp, merged: &mut Merged) {
        let Some(own) = self.settings.get(&row.key) else {
            self.keep_setting(SettingRow { changed: self.stamp(), ..row });
            return;
        };
        if own.value == row.value || own.changed == row.changed {
            return;
        }
        let joined = join_settings(own, &row);
        merged.conflicts += u32::from(own.changed > since);
        if joined != *own {
            self.keep_setting(SettingRow { changed: self.stamp(), ..joined });
        }
    }

    fn merge_token(&mut self, row: TokenRow, since: Stamp, merged: &mut Merged) {
        if self.graves.has_token(row.token.id) {
            return;
        }
        let own = self.tokens.get(&row.token.id);
        if own.is_some_and(|own| own.token == row.token) {
            return;
        }
        merged.conflicts += u32::from(own.is_some_and(|own| own.changed > since));
        let joined = own.map_or_else(|| row.clone(), |own| join_tokens(own, &row));
        if own != Some(&joined) {
            self.keep_token(TokenRow { changed: self.stamp(), ..joined });
        }
    }

    fn merge_gone(&mut self, gone: Gone, merged: &mut Merged) {
        if crate::planted::merge_drops_tombstones() {
            return;
        }
        if !self.keep_grave(Gone { changed: self.stamp(), ..gone }) {
            return;
        }
        match gone.id {
            GoneId::Token(id) => drop(self.drop_token(id)),
            GoneId::Schedule { number, up_to } => self.merge_removal(number, up_to),
            GoneId::Job { job, life } => {
                let Some(own) = self.jobs.take(&self.sheet, job) else { return };
                if own.life > life {
                    self.jobs.put_back(own);
                    return;
                }
                self.unindex(&own);
                self.lines.count(&own.spec.queue, Some(own.state.name()), None);
                self.drop_unique(&own);
                self.jobs.delete(job);
                self.blocked.note_deleted(job);
                merged.jobs += 1;
            }
        }
    }

    fn merge_key(&mut self, key: &str, row: KeyRow, merged: &mut Merged) {
        if row.ends_at <= self.head.now || self.is_void(&row) {
            return;
        }
        let Some(own) = self.key_row(key).filter(|own| !self.is_void(own)) else {
            self.write_key(key, &row);
            return;
        };
        let joined = join_keys(&own, &row);
        if joined != own {
            self.write_key(key, &joined);
        }
        // The other side's job, if it is the later one, comes after the keys.
        if joined.job != own.job
            && let Some(job) = self.jobs.take(&self.sheet, own.job)
        {
            self.alias(job, &joined, merged);
        }
    }

    /// The key stands for a job that was deleted: it is free again.
    pub(super) fn is_void(&self, row: &KeyRow) -> bool {
        self.graves.has_job(row.job, 0) && self.jobs.read(&self.sheet, row.job).is_none()
    }

    fn merge_job(&mut self, incoming: Job, merged: &mut Merged) {
        let id = incoming.id;
        if crate::planted::merge_drops_rows() && id.0 % 7 == 0 {
            return;
        }
        if self.graves.has_job(id, incoming.life) {
            return;
        }
        let before = match self.jobs.take(&self.sheet, id) {
            None => None,
            Some(own) => {
                let joined = join_jobs(&own, &incoming);
                if joined == own {
                    self.jobs.put_back(own);
                    return;
                }
                self.unindex(&own);
                self.lines.count(&own.spec.queue, Some(own.state.name()), None);
                Some((joined, own.duplicate_executions()))
            }
        };
        let (mut job, duplicates) = before.unwrap_or((incoming, 0));
        supersede(&mut job, self.head.now);
        job.changed = self.stamp();
        merged.jobs += 1;
        merged.duplicates += job.duplicate_executions().saturating_sub(duplicates);
        self.groups.heal(id, job.changed);
        self.enter_table(job);
        self.follow_up(id, merged);
    }

    /// What a merged row calls for beside being there.
    fn follow_up(&mut self, id: JobId, merged: &mut Merged) {
        self.settle_key(id, merged);
        self.contest_unique(id);
        let Some(job) = self.jobs.take(&self.sheet, id) else { return };
        match job.state {
            JobState::Running { node, fence, .. } => {
                let wants_cancel = job.cancel.is_some();
                self.jobs.put_back(job);
                if !self.adopt(id, node) {
                    self.lose(id);
                } else if wants_cancel {
                    self.events.push(Event::CancelWanted { job: id, node, fence });
                }
            }
            ref state if !state.is_terminal() && job.cancel.is_some() => self.end_cancelled(job),
            _ => self.jobs.put_back(job),
        }
    }

    /// Of the jobs under one key the first has it, whichever row came first: the key's own row may not have
    /// changed since the split, or its job have been deleted here in a life that is over.
    fn settle_key(&mut self, id: JobId, merged: &mut Merged) {
        let Some(job) = self.jobs.take(&self.sheet, id) else { return };
        let key = job.spec.options().idempotency_key.clone();
        let ends_at = job.created_at.plus(super::jobs::KEY_KEPT_MS);
        let Some(key) = key.filter(|_| ends_at > self.head.now && job.alias_of.is_none()) else {
            self.jobs.put_back(job);
            return;
        };
        let owner = self.key_row(&key).filter(|owner| !self.is_void(owner) && owner.job != id);
        match owner {
            Some(owner) if (owner.changed, owner.job) < (job.born, id) => self.alias(job, &owner, merged),
            _ => {
                let row = KeyRow { job: id, body_hash: job.body_hash, changed: job.born, ends_at };
                self.jobs.put_back(job);
                self.merge_key(&key, row, merged);
            }
        }
    }

    /// A running attempt of the other side goes on, if the run of the process that it is in can.
    fn adopt(&mut self, id: JobId, node: NodeId) -> bool {
        let Some(JobState::Running { incarnation, .. }) = self.jobs.read(&self.sheet, id).map(|job| job.state) else {
            return true;
        };
        if node == NodeId::OUTSIDE {
            // A lease is granted, as after a failover.
            return true;
        }
        let Some(row) = self.nodes.row(node) else { return false };
        if row.incarnation > incarnation || row.standing == Standing::Left {
            return false;
        }
        if row.standing == Standing::Offline {
            // A lease is granted, and when it is over without a report the attempt is lost.
            let stamp = self.stamp();
            if let Some(row) = self.nodes.change(node, stamp) {
                row.standing = Standing::Suspect;
            }
            self.events.push(Event::Node(node));
        }
        true
    }

    /// The job was submitted under a key that another had before. Both are kept; what has not begun never
    /// will, unless it is another body, which its submitter was promised.
    fn alias(&mut self, mut job: Job, owner: &KeyRow, merged: &mut Merged) {
        if crate::planted::merge_drops_aliases() || job.alias_of.is_some() {
            self.jobs.put_back(job);
            return;
        }
        merged.aliases += 1;
        job.alias_of = Some(owner.job);
        job.changed = self.stamp();
        let begun = !job.attempts.is_empty() || job.state.is_terminal();
        if begun || job.body_hash != owner.body_hash {
            self.jobs.put(job);
            return;
        }
        let reason = format!("job {} had been submitted under its key on the other side of a split", owner.job);
        job.cancel = Some(Cancel { at: self.head.now, reason });
        self.end_cancelled(job);
    }
}
