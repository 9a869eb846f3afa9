//! Processes of nodes: they are started, crash, and go on where they were stopped.

use super::World;
use super::event::{Inside, Timer};
use relais_protocol::ids::NodeId;

impl World {
    /// Starts the process of a node, unless it runs.
    pub(super) fn boot(&mut self, id: NodeId) {
        if self.node(id).life.is_some() {
            return;
        }
        let now = self.now;
        let mut dice = self.dice.part();
        let compared = !self.schedules.is_empty();
        self.node(id).boot(now, &mut dice, compared);
        self.trace.say(now, id.0.into(), || "boots".to_owned());
        self.begin_run(id);
        let ledger = self.node(id).life.as_deref().map(|life| (life.ledger.reign(), life.ledger.dispatcher()));
        if let Some((reign, Some((node, incarnation)))) = ledger {
            self.tell_promoted(id, reign, node, incarnation);
        }
        self.after_log(id, Vec::new());
        for timer in Timer::ALL {
            let delay = dice.range(0, timer.every_ms());
            self.inside(id, delay, Inside::Tick(timer));
        }
    }

    /// Ends it, in the middle of whatever it does.
    pub(super) fn crash(&mut self, id: NodeId) {
        let Some(life) = self.node(id).life.as_deref() else { return };
        let waiting = life.edge.waiting();
        self.trace.say(self.now, id.0.into(), || "crashes".to_owned());
        self.orphan_processes(id);
        let mut dice = self.dice.part();
        self.node(id).crash(&mut dice);
        for (client, call) in waiting {
            self.tell(client, call, None);
        }
    }

    /// A stopped process goes on: what has gathered is there at once, timers first or last.
    pub(super) fn resume(&mut self, id: NodeId) {
        if !std::mem::take(&mut self.node(id).paused) {
            return;
        }
        self.trace.say(self.now, id.0.into(), || "goes on".to_owned());
        let backlog = std::mem::take(&mut self.node(id).backlog);
        let (ticks, rest): (Vec<_>, Vec<_>) = backlog.into_iter().partition(|i| matches!(i, Inside::Tick(_)));
        let ordered = if self.dice.chance(50) { [ticks, rest] } else { [rest, ticks] };
        for inside in ordered.into_iter().flatten() {
            self.on_inside(id, inside);
        }
    }
}
