//! A member as the caller sees it, and the news that a change of it makes.

use super::Effect;
use super::vitals::Vitals;
use relais_protocol::ids::{Incarnation, NodeId};

/// Who this node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// The run of its process; higher than that of each run before.
    pub incarnation: Incarnation,
}

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// It did not answer lately.
    Suspect,
    /// It is gone.
    Down,
}

/// A row of the node table, as gossip knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// The run of its process.
    pub incarnation: Incarnation,
    /// How it is.
    pub state: MemberState,
    /// The newest figures of that run, if any have come.
    pub vitals: Option<Vitals>,
    /// Milliseconds since it was last heard, directly or by newer figures; `None`: never.
    pub heard_ms: Option<u64>,
}

impl From<foca::State> for MemberState {
    fn from(state: foca::State) -> Self {
        match state {
            foca::State::Alive => Self::Alive,
            foca::State::Suspect => Self::Suspect,
            foca::State::Down => Self::Down,
        }
    }
}

/// The news of one member that was `before` and is `now`.
pub(super) fn tell(
    node: NodeId,
    before: Option<(Incarnation, MemberState)>,
    now: (Incarnation, MemberState),
    effects: &mut Vec<Effect>,
) {
    let (incarnation, state) = now;
    let was_up = before.filter(|(_, state)| *state != MemberState::Down);
    let same_run = was_up.filter(|(run, _)| *run == incarnation);
    if let Some((run, _)) = was_up
        && (same_run.is_none() || state == MemberState::Down)
    {
        effects.push(Effect::Down(node, run));
    }
    if state == MemberState::Down {
        return;
    }
    if same_run.is_none() {
        effects.push(Effect::Up(node, incarnation));
    }
    match (same_run.map(|(_, state)| state), state) {
        (Some(MemberState::Suspect), MemberState::Alive) => effects.push(Effect::Recovered(node, incarnation)),
        (_, MemberState::Suspect) => effects.push(Effect::Suspect(node, incarnation)),
        _ => {}
    }
}
