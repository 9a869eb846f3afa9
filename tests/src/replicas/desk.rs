//! The dispatcher's part of a seat: proposals go into the journal one at a time, answers go back to who
//! waits for them, a handover goes to who has all that is here.

use super::seat::{Seat, Told};
use relais_dispatcher::core::{Effect, Input, Now, Rejection, Ticket};
use relais_dispatcher::election::Input as ElectionInput;
use relais_dispatcher::journal::{Journal, ProposeError};
use relais_protocol::codec;
use relais_protocol::ids::Index;
use relais_protocol::record::{Batch, Committed, Outcomes, Record};
use relais_protocol::time::Mono;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a handover holds proposals.
const HOLD: Duration = Duration::from_millis(1_500);

type Reply = oneshot::Sender<Result<Committed, Rejection>>;

/// Who waits for what.
pub(super) struct Desk {
    replies: BTreeMap<Ticket, Reply>,
    next_ticket: u64,
    /// When the core last got on.
    pub(super) progress_at: Mono,
}

impl Desk {
    pub(super) fn new(now: Mono) -> Self {
        Self { replies: BTreeMap::new(), next_ticket: 0, progress_at: now }
    }
}

impl Seat {
    /// Steps the dispatcher's core.
    pub(super) fn dispatch(&mut self, input: Input) {
        let now = Now { mono: self.now(), unix: self.wall() };
        let effects = self.core.handle(now, &self.life.machine.ledger.read(), input);
        for effect in effects {
            match effect {
                Effect::Propose(batch) => self.commit(&batch),
                Effect::Reply(ticket, result) => {
                    if let Some(tx) = self.desk.replies.remove(&ticket) {
                        // Who asked may have gone.
                        let _ = tx.send(result);
                    }
                }
                Effect::Drained => self.hand_over(),
                Effect::PromoteFailed => self.elect(ElectionInput::PromoteFailed),
                // There are no workers here.
                Effect::Answer(..) | Effect::Order(..) | Effect::Granted(..) | Effect::Beaten(..) => {}
            }
        }
    }

    pub(super) fn propose(&mut self, records: Vec<Record>, reply: Reply) {
        let ticket = Ticket(self.desk.next_ticket);
        self.desk.next_ticket += 1;
        self.desk.replies.insert(ticket, reply);
        self.dispatch(Input::Propose(ticket, records));
    }

    fn commit(&self, batch: &Batch) {
        let proposed = self.life.journal.propose(codec::encode_packed(codec::FORMAT, batch).into());
        let life = self.life.clone();
        tokio::spawn(async move { life.tell(Told::Landed(proposed.await)) });
    }

    pub(super) fn landed(&mut self, result: Result<(Index, Outcomes), ProposeError>) {
        self.desk.progress_at = self.now();
        self.dispatch(match result {
            Ok((index, outcomes)) => Input::Committed(Committed { index, outcomes }),
            Err(ProposeError::Unknown) => Input::Failed(Rejection::Unknown),
            Err(ProposeError::NotLeader { .. } | ProposeError::Stopped) => Input::Failed(Rejection::NotDispatcher),
        });
    }

    /// Nothing is in flight: a voter that has all of the log stands, at once.
    fn hand_over(&self) {
        let status = self.life.journal.status().borrow().clone();
        let last = status.last_log.map(|last| Index(last.index));
        let has_all = status.matched.iter().filter(|(_, at)| **at == last).map(|(id, _)| *id);
        let mut heirs = has_all.filter(|id| *id != self.life.id && status.voters.contains(id));
        if let Some(heir) = heirs.next() {
            self.trial.wire.send(self.life.id.node(), heir.node(), || Told::StandNow);
        }
        let life = self.life.clone();
        tokio::spawn(async move {
            tokio::time::sleep(HOLD).await;
            life.tell(Told::Unhold);
        });
    }
}
