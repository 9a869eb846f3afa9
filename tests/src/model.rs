//! A model of election and fencing, small enough that every state it can reach is looked at: three nodes
//! that vote, submits, orders, and a bounded number of faults. `stateright` does the looking.
//!
//! ```text
//!   fooled, or nobody acts        a majority voted         on two disks            its journal follows
//! Follower ─────────────► Candidate ─────────► Leader ─────────────► acting ──────────────► (no more)
//!    a second one agrees            adds Promote    Promote committed    orders, takes submits
//! ```
//!
//! What is checked in every state ([`property`]): one dispatcher acts per epoch; no acknowledged record is
//! missing from a later epoch's journal; committed journals agree; no worker obeys a lower epoch after a
//! higher; one node that is fooled deposes nobody. That these are true of something is checked as well:
//! states that are worth the trouble must be reachable, and each [`Mutation`] must break a property.
//!
//! It is a model of the rules and runs none of the product's code: that has timers and state that never
//! recurs. What is abstracted, and why no more can go wrong in the product than here:
//!
//! - **Time.** There is none. A lease, a back-off, a rank or a hold only forbids a step for a while; here
//!   the step is possible at any time. The vote lease of the journal's followers is left out likewise.
//! - **Messages** of the journal and orders are heard never, once, often and in any order. To be lost is to
//!   be never heard. A refusal is silence. With [`Fencing::forgets`] a message is dropped as soon as it can
//!   change nothing; the test compares that with a model that keeps them all.
//! - **Heartbeats** are left out but for what they prevent: who holds the ballot of a dispatcher that acts
//!   must be fooled to believe it dead. The confirm round is one step with the stand after it: who stands
//!   late is one whose vote requests are heard late. Holds and the bully's giving way only forbid.
//! - **Ballots** are (term, node), ordered as openraft orders them: two nodes may lead in one term.
//! - **Appends** carry the leader's whole journal: to go back to where two journals agree is left out. The
//!   blank entry of a new leader and its `Promote` are one. A follower syncs before it answers; a leader's
//!   own disk may be late, and a crash leaves any part of what is not synced.
//! - **A follower's commit index** is left out: leaders commit, and are compared with each other.
//! - **The ledger** is the count of `Promote`s, and that a submit stamped with an epoch that is not in
//!   force is void. An acknowledgement comes at once with the commit, the earliest that it may.
//! - **A dispatcher** acts until it notices that its journal leads no more, or resigns, and can leave a batch
//!   behind that reaches the journal later. It counts as giving an order in each epoch that it acts in.
//! - **A crash** and the start after it are one step: to be down is to hear nothing and say nothing.
//! - Changes of voters, snapshots, damage, handovers and the pair are left to the simulator.

mod bounds;
mod journal;
pub mod property;
mod state;
mod step;

pub use bounds::{Bounds, Mutation};
pub use journal::{Ballot, ENTRIES_MAX, End, Entry, Journal, Record, Run, Submit};
pub use state::{Ack, Faults, Message, NODES, Node, Role, SUBMITS_MAX, State};
pub use step::Action;

use stateright::{Model, Property};
use step::Step;

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Fencing {
    /// How much may happen.
    pub bounds: Bounds,
    /// A mistake that is made on purpose.
    pub mutation: Option<Mutation>,
    /// Whether messages that can change nothing any more are forgotten: it makes one state out of many, and
    /// must not change what is found.
    pub forgets: bool,
}

impl Fencing {
    /// The model without a mistake.
    ///
    /// # Panics
    /// When `bounds` need a longer journal or more submits than there is room for: a model that ran into
    /// its own walls would prove less than it says.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        assert!(bounds.entries() <= ENTRIES_MAX, "{bounds:?} need a longer journal");
        assert!(usize::from(bounds.submits) <= SUBMITS_MAX, "{bounds:?} need more room for submits");
        Self { bounds, mutation: None, forgets: true }
    }
}

impl Model for Fencing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::healthy()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        step::possible(state, &self.bounds, self.mutation, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut step = Step { state: last.clone(), mutation: self.mutation };
        let changed = step.take(action);
        if self.forgets {
            step.state.forget_the_stale();
        }
        changed.then_some(step.state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        property::all()
    }
}
