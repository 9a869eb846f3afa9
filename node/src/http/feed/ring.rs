//! The newest events of a node, for clients that come back.

use super::frame::Told;
use parking_lot::Mutex;
use relais_dispatcher::ledger::Event;
use relais_protocol::ids::{Generation, Index};
use relais_protocol::time::UnixMs;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Events that are kept.
pub(super) const EVENTS_MAX: usize = 100_000;
/// For how long.
const KEPT_FOR: Duration = Duration::from_secs(3_600);

/// What one entry came to, as the node tells it.
pub(super) type Applied = Arc<(Index, Vec<Event>)>;

/// The place of an event in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventId {
    generation: u64,
    index: u64,
    position: u64,
}

impl EventId {
    /// Reads what its `Display` wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|part| part.parse::<u64>().ok());
        let id = Self { generation: numbers.next()??, index: numbers.next()??, position: numbers.next()?? };
        numbers.next().is_none().then_some(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.generation, self.index, self.position)
    }
}

/// Events of the newest entries that are kept as they are sent, so that they are written once for all clients that
/// follow, and not once for each.
const FRESH_MAX: usize = 10_000;

/// The events of an entry as they are sent, while they are fresh.
type Written = Arc<Mutex<Option<Arc<Vec<Told>>>>>;

/// The events of one entry of the journal: one at least.
#[derive(Clone)]
pub(super) struct Entry {
    generation: u64,
    applied: Applied,
    /// `None` in a lock once it is not fresh any more, or not written yet.
    written: Written,
    /// When this node applied it.
    pub(super) at: UnixMs,
    seen: Instant,
}

impl Entry {
    pub(super) fn events(&self) -> &[Event] {
        &self.applied.1
    }

    pub(super) fn id(&self, position: usize) -> EventId {
        EventId { generation: self.generation, index: self.applied.0.0, position: position as u64 }
    }

    pub(super) fn last(&self) -> EventId {
        self.id(self.applied.1.len() - 1)
    }

    /// Its events as they are sent.
    pub(super) fn written(&self, ledger: impl FnOnce(&Self) -> Vec<Told>) -> Arc<Vec<Told>> {
        let mut written = self.written.lock();
        written.get_or_insert_with(|| Arc::new(ledger(self))).clone()
    }
}

/// What follows a place.
pub(super) enum Next {
    /// These events, from a position on.
    Entry { entry: Entry, from: usize },
    /// Nothing yet.
    Nothing,
    /// What followed is kept no more; the newest event is this one.
    Lost(Option<EventId>),
}

/// The newest entries with events, oldest first.
#[derive(Default)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    events: usize,
    /// The newest of the entries, as they are written, and how many events they have.
    fresh: VecDeque<(usize, Written)>,
    fresh_events: usize,
    /// The newest event that is no longer kept. Without it, nothing is known of what was before the oldest.
    dropped: Option<EventId>,
}

impl Ring {
    /// Adds what an entry came to. Time and generation are those at which this node applied it.
    pub(super) fn push(&mut self, generation: Generation, applied: Applied, at: UnixMs, now: Instant) {
        if applied.1.iter().any(|event| matches!(event, Event::Loaded)) {
            self.clear();
            return;
        }
        if applied.1.is_empty() {
            return;
        }
        let entry = Entry { generation: generation.0, applied, written: Written::default(), at, seen: now };
        // An entry that is applied again, after its node began anew, is told already.
        if self.entries.back().is_some_and(|newest| newest.last() >= entry.last()) {
            return;
        }
        self.events += entry.events().len();
        self.freshen(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > 1 && self.is_too_much(now) {
            let Some(oldest) = self.entries.pop_front() else { break };
            self.events -= oldest.events().len();
            self.dropped = Some(oldest.last());
        }
    }

    /// This one is the newest; those before it may be too many to be kept as they are sent.
    fn freshen(&mut self, entry: &Entry) {
        self.fresh_events += entry.events().len();
        self.fresh.push_back((entry.events().len(), entry.written.clone()));
        while self.fresh_events > FRESH_MAX && self.fresh.len() > 1 {
            let Some((events, written)) = self.fresh.pop_front() else { break };
            self.fresh_events -= events;
            *written.lock() = None;
        }
    }

    fn is_too_much(&self, now: Instant) -> bool {
        let oldest = self.entries.front().map(|entry| entry.seen);
        self.events > EVENTS_MAX || oldest.is_some_and(|seen| now.duration_since(seen) > KEPT_FOR)
    }

    /// There is a gap: what was kept does not lead up to what comes.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The newest event, and the one before the oldest that is kept, as places to begin after.
    pub(super) fn ends(&self) -> (Option<EventId>, Option<EventId>) {
        let before = self.entries.front().map(|oldest| EventId { position: 0, index: 0, ..oldest.id(0) });
        (self.entries.back().map(Entry::last), self.dropped.or(before))
    }

    /// Whether all that followed `id` is kept, or is still to come.
    pub(super) fn goes_back_to(&self, id: EventId) -> bool {
        self.dropped.is_some_and(|dropped| id >= dropped)
            || self.entries.front().is_some_and(|oldest| id >= oldest.id(0))
    }

    /// What follows `at`; what comes first of all if there is no such place.
    pub(super) fn after(&self, at: Option<EventId>) -> Next {
        let Some(oldest) = self.entries.front() else { return Next::Nothing };
        let Some(at) = at else { return Next::Entry { entry: oldest.clone(), from: 0 } };
        let before_all = at.index == 0 && self.dropped.is_none();
        if !before_all && !self.goes_back_to(at) {
            return Next::Lost(self.entries.back().map(Entry::last));
        }
        let next = self.entries.partition_point(|entry| entry.last() <= at);
        let Some(entry) = self.entries.get(next) else { return Next::Nothing };
        let is_within = (entry.generation, entry.applied.0.0) == (at.generation, at.index);
        Next::Entry { entry: entry.clone(), from: if is_within { at.position as usize + 1 } else { 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use relais_protocol::ids::JobId;

    fn entry(index: u64, events: usize) -> Applied {
        let events = (0..events).map(|number| Event::Forgotten(JobId(number as u128))).collect();
        Arc::new((Index(index), events))
    }

    fn ids(ring: &Ring, mut at: Option<EventId>) -> Vec<String> {
        let mut seen = Vec::new();
        while let Next::Entry { entry, from } = ring.after(at) {
            seen.extend((from..entry.events().len()).map(|position| entry.id(position).to_string()));
            at = Some(entry.last());
        }
        seen
    }

    #[test]
    fn a_client_goes_on_after_the_last_event_it_saw() {
        let (mut ring, now) = (Ring::default(), Instant::now());
        assert!(matches!(ring.after(None), Next::Nothing));
        for (index, events) in [(4, 2), (5, 0), (7, 1)] {
            ring.push(Generation(0), entry(index, events), UnixMs(1), now);
        }
        ring.push(Generation(5), entry(8, 1), UnixMs(1), now);
        assert_eq!(ids(&ring, None), ["0.4.0", "0.4.1", "0.7.0", "5.8.0"]);
        assert_eq!(ids(&ring, ring.ends().1), ids(&ring, None));
        assert_eq!(ids(&ring, EventId::parse("0.4.0")), ["0.4.1", "0.7.0", "5.8.0"]);
        // It saw more of the generation that was left than this node has.
        assert_eq!(ids(&ring, EventId::parse("0.9.3")), ["5.8.0"]);
        assert_eq!(ids(&ring, EventId::parse("5.8.0")), [""; 0]);
        assert!(ring.goes_back_to(EventId::parse("5.99.0").unwrap()), "this node is behind, and will come to it");
        assert!(!ring.goes_back_to(EventId::parse("0.3.0").unwrap()), "it is not known whether all since is here");
        ring.push(Generation(5), entry(8, 1), UnixMs(1), now);
        assert_eq!(ids(&ring, EventId::parse("0.7.0")), ["5.8.0"]);
    }

    #[test]
    fn the_oldest_go_by_number_and_age_and_a_gap_takes_all() {
        let (mut ring, now) = (Ring::default(), Instant::now());
        ring.push(Generation(0), entry(1, 10), UnixMs(1), now);
        ring.push(Generation(0), entry(2, EVENTS_MAX - 1), UnixMs(1), now);
        assert!(!ring.goes_back_to(EventId::parse("0.1.8").unwrap()));
        assert!(ring.goes_back_to(EventId::parse("0.1.9").unwrap()), "all that followed is kept");
        assert!(matches!(ring.after(EventId::parse("0.1.3")), Next::Lost(Some(_))));
        ring.push(Generation(0), entry(3, 1), UnixMs(1), now + KEPT_FOR * 2);
        assert_eq!(ids(&ring, EventId::parse("0.2.99998")), ["0.3.0"]);
        ring.push(Generation(0), Arc::new((Index(0), vec![Event::Loaded])), UnixMs(1), now);
        assert!(!ring.goes_back_to(EventId::parse("0.3.0").unwrap()));
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        for text in ["0.0.0", "5.812.3"] {
            assert_eq!(EventId::parse(text).map(|id| id.to_string()).as_deref(), Some(text));
        }
        for text in ["", "5", "5.1", "5.1.x", "5.1.2.3", "-1.2.3"] {
            assert_eq!(EventId::parse(text), None, "{text}");
        }
    }
}
