//! What must be so in every state of the model, and what must be so in some, lest the rest be true of
//! nothing.

use super::Fencing;
use super::journal::{Ballot, Record, Run};
use super::state::{Ack, Message, Node, State};
use stateright::Property;

/// Two dispatchers never act in one epoch.
pub const ONE_DISPATCHER: &str = "one dispatcher acts per epoch";
/// What was acknowledged is in the journal of every later epoch.
pub const ACKED_IS_KEPT: &str = "no acknowledged record is missing from a later epoch's journal";
/// Leaders agree on what is committed.
pub const JOURNALS_AGREE: &str = "committed journals agree";
/// A worker's epoch never falls.
pub const WORKER_FENCED: &str = "no worker obeys a lower epoch after a higher";
/// A single node that is fooled deposes nobody.
pub const STICKY: &str = "one node's false suspicion deposes nobody";

/// The properties, for the checker.
pub(super) fn all() -> Vec<Property<Fencing>> {
    vec![
        Property::always(ONE_DISPATCHER, |_, state: &State| one_dispatcher(state)),
        Property::always(ACKED_IS_KEPT, |_, state| acked_is_kept(state)),
        Property::always(JOURNALS_AGREE, |_, state: &State| !state.diverged),
        Property::always(WORKER_FENCED, |_, state: &State| !state.obeyed_lower),
        Property::always(STICKY, |_, state| sticky(state)),
        Property::sometimes("a record is acknowledged", |_, state: &State| acks(state).next().is_some()),
        Property::sometimes("an acknowledged record outlives its dispatcher", |_, state: &State| {
            acks(state).any(|ack| state.nodes.iter().any(|node| node.acting > ack.submit.epoch && node.run != ack.by))
        }),
        Property::sometimes("each of two epochs acknowledges a record", |_, state: &State| {
            acks(state).any(|ack| acks(state).any(|other| other.submit.epoch > ack.submit.epoch))
        }),
        Property::sometimes("two act at once, in two epochs", |_, state: &State| acting(state).count() > 1),
        Property::sometimes("an order comes too late and is refused", |_, state: &State| {
            orders(state).any(|(epoch, _)| state.nodes.iter().any(|node| epoch < node.remembered))
        }),
        Property::sometimes("a record of an epoch that is over is void", |_, state: &State| {
            state.committed.entries().any(|(_, entry)| match entry.record {
                Record::Submit(submit) => !state.committed.has(submit),
                Record::Promote(_) => false,
            })
        }),
        Property::sometimes("a resigned leader reigns again", |_, state: &State| {
            state.faults.resignations > 0 && state.node(0).ballot == Ballot::new(1, 0) && state.node(0).acting > 1
        }),
        Property::sometimes("after two crashes somebody acts in epoch 3 or later", |_, state: &State| {
            state.faults.crashes >= 2 && acting(state).any(|node| node.acting >= 3)
        }),
        Property::sometimes("every fault that may happen has happened", |model: &Fencing, state: &State| {
            let (faults, bounds) = (state.faults, &model.bounds);
            (faults.crashes, faults.suspicions, faults.resignations)
                == (bounds.crashes, bounds.suspicions, bounds.resignations)
                && state.submits == bounds.submits
        }),
    ]
}

fn acks(state: &State) -> impl Iterator<Item = Ack> + '_ {
    state.acks.iter().flatten().copied()
}

fn acting(state: &State) -> impl Iterator<Item = &Node> {
    state.nodes.iter().filter(|node| node.acting > 0)
}

fn orders(state: &State) -> impl Iterator<Item = (u8, Run)> + '_ {
    state.said.iter().filter_map(|message| match message {
        Message::Order(epoch, run) => Some((*epoch, *run)),
        _ => None,
    })
}

/// Who acted in which epoch: by an order, by an acknowledgement, or by holding the role now.
fn deeds(state: &State) -> impl Iterator<Item = (u8, Run)> + '_ {
    let acked = acks(state).map(|ack| (ack.submit.epoch, ack.by));
    orders(state).chain(acked).chain(acting(state).map(|node| (node.acting, node.run)))
}

fn one_dispatcher(state: &State) -> bool {
    deeds(state).all(|(epoch, run)| deeds(state).all(|(other, by)| epoch != other || run == by))
}

/// In the committed journal an acknowledged submit stands before the `Promote` of any later epoch, and who
/// acts in its epoch or a later one has it.
fn acked_is_kept(state: &State) -> bool {
    acks(state).all(|ack| {
        let later = acting(state).filter(|node| node.acting > ack.submit.epoch);
        state.committed.has(ack.submit) && later.into_iter().all(|node| node.journal.has(ack.submit))
    })
}

fn sticky(state: &State) -> bool {
    let faults = state.faults;
    let alone = faults.crashes == 0 && faults.resignations == 0 && faults.suspicions <= 1;
    !alone || state.nodes.iter().all(|node| node.ballot == Ballot::new(1, 0))
}
