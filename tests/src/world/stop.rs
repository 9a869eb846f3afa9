//! A node that is told to stop, as by SIGTERM: it hands the role over, takes nothing new, gives what runs
//! some time, says goodbye and ends.

use super::World;
use super::event::{Event, Inside};
use super::fault::Struck;
use relais_dispatcher::election::Input as ElectionInput;
use relais_protocol::ids::NodeId;
use relais_worker::core::Input as WorkerInput;

/// How long what runs may go on, in ms, at most; a handover has this long at least.
const FINISH_MS: (u64, u64) = (300, 1_500);
/// From the goodbye to the end, in ms.
const EXIT_MS: u64 = 5;
/// A process that ends after its fault did is started again after this, in ms.
const AGAIN_MS: u64 = 300;

impl World {
    /// Begins to stop a node; it is down some time later, and started again when the fault ends.
    pub(super) fn stop(&mut self, id: NodeId) -> Struck {
        if self.node(id).turns() {
            self.hand_over(id);
            self.elect(id, ElectionInput::Ready(false));
            self.work(id, WorkerInput::Finish, None);
            let wait = self.dice.range(FINISH_MS.0, FINISH_MS.1);
            if self.pair.is_some() {
                self.leave_pair(id, wait);
            } else {
                self.inside(id, wait, Inside::Leave);
            }
        }
        Struck::down(&[id])
    }

    pub(super) fn leave(&mut self, id: NodeId) {
        self.work(id, WorkerInput::Leave, None);
    }

    /// The worker's goodbye is heard, or can't be.
    pub(super) fn on_left(&mut self, id: NodeId) {
        let Some(life) = self.node(id).life.as_deref_mut() else { return };
        if !std::mem::replace(&mut life.leaving, true) {
            self.beat(id);
            self.inside(id, EXIT_MS, Inside::Exit);
        }
    }

    /// The process ends. Whoever stopped it starts it again; where that has been tried already, soon.
    pub(super) fn exit(&mut self, id: NodeId) {
        self.crash(id);
        if !self.is_to_be_started(id) {
            self.at(AGAIN_MS, Event::Boot(id));
        }
    }
}
