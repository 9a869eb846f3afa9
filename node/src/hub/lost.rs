//! Voters that lost their journal: their node is up, but under a new raft id that has no vote. When so many
//! have that the rest can form no majority, no waiting helps, and this says what does.

use super::Hub;
use crate::membership::MemberState;
use relais_protocol::ids::RaftId;

impl Hub {
    /// Voters whose node is up with another, later journal.
    pub(super) fn journals_lost(&self) -> Vec<RaftId> {
        let Some(journal) = self.journal() else { return Vec::new() };
        let voters = journal.status().borrow().voters.clone();
        let members = self.members();
        let is_lost = |voter: &&RaftId| {
            let member = members.iter().find(|m| m.node == voter.node() && m.state != MemberState::Down);
            let journal = member.and_then(|m| m.vitals.as_ref()).map_or(0, |vitals| vitals.journal);
            journal > voter.journal()
        };
        voters.iter().filter(is_lost).copied().collect()
    }

    /// Names of the nodes whose votes are gone for good; empty while the others can form a majority.
    fn majority_lost(&self) -> Vec<String> {
        let lost = self.journals_lost();
        let voters = self.journal().map_or(0, |journal| journal.status().borrow().voters.len());
        if lost.is_empty() || (voters - lost.len().min(voters)) * 2 > voters {
            return Vec::new();
        }
        let name = |raft: &RaftId| self.name_of(raft.node()).unwrap_or_else(|| raft.node().to_string());
        let mut names: Vec<String> = lost.iter().map(name).collect();
        names.sort();
        names
    }

    /// Why there will be no majority again, with the command that helps.
    pub(super) fn why_majority_is_lost(&self) -> Option<String> {
        let lost = self.majority_lost();
        if lost.is_empty() {
            return None;
        }
        let url = self.facts.read().http.clone();
        let at = url.strip_prefix("http://").unwrap_or(&url);
        Some(format!(
            "the journals of {} are gone (damaged, and put aside), and with them a majority of the votes; nothing \
             acknowledged is dropped without being asked: run `RELAIS_ADDR={at} relais cluster recover --lost {}`",
            lost.join(" and "),
            lost.join(",")
        ))
    }

    /// Logs it, once for as long as it lasts.
    pub(super) fn tell_lost(&self) {
        let reason = if self.pulse.view().dispatcher.is_none() { self.why_majority_is_lost() } else { None };
        let mut told = self.lost_told.lock();
        if *told != reason {
            if let Some(reason) = &reason {
                tracing::error!(reason, "no majority can be formed any more");
            }
            *told = reason;
        }
    }
}
