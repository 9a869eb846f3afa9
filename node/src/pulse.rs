//! The pulse: heartbeats and the election, on a thread of their own, so that no slow disk and no busy core
//! elsewhere delays them. A shell around [`Election`]; the rules are there.
//!
//! It beats as the dispatcher only while the dispatcher's actor and journal still turn: a process whose
//! disk hangs must not look alive.

mod thread;
mod view;

pub use view::{Changes, PulseView};

use crate::clock::Clock;
use crate::hub::Hub;
use parking_lot::{Mutex, RwLock};
use relais_dispatcher::election::{Cause, Input, JournalView};
use relais_dispatcher::journal::{JournalStatus, Role};
use relais_protocol::ids::{Incarnation, NodeId, Reign};
use relais_protocol::message::{Beat, Confirm, ConfirmAnswer, LogPosition};
use relais_protocol::time::Mono;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use tokio::sync::{oneshot, watch};

/// The part of `journal_heard` that is a time.
const JOURNAL_HEARD_MS: u64 = (1 << 40) - 1;

/// What the thread is told.
enum Told {
    Input(Input),
    Asked(Confirm, oneshot::Sender<ConfirmAnswer>),
    Goodbye,
}

/// The way to the pulse's thread, and what it last said. Cheap to clone.
#[derive(Clone)]
pub struct Pulse {
    me: NodeId,
    incarnation: Incarnation,
    clock: Clock,
    tell: Sender<Told>,
    told: Arc<Mutex<Option<Receiver<Told>>>>,
    view: Arc<RwLock<Arc<PulseView>>>,
    dispatcher: watch::Sender<(Option<NodeId>, Reign)>,
    /// What the thread was told and has not taken yet, and when it last had its turn.
    depth: Arc<AtomicUsize>,
    turned_ms: Arc<AtomicU64>,
    /// The last heartbeat of each node, and when it came.
    beats: Arc<Mutex<BTreeMap<NodeId, (Mono, Beat)>>>,
    /// Who last spoke to the journal here, and when: node id above 40 bits of ms.
    journal_heard: Arc<AtomicU64>,
}

impl Pulse {
    /// A pulse whose thread has not started.
    #[must_use]
    pub fn new(me: NodeId, incarnation: Incarnation, clock: Clock) -> Self {
        let (tell, told) = channel();
        let (dispatcher, _) = watch::channel((None, Reign::default()));
        Self {
            me,
            incarnation,
            clock,
            tell,
            told: Arc::new(Mutex::new(Some(told))),
            view: Arc::default(),
            dispatcher,
            depth: Arc::default(),
            turned_ms: Arc::default(),
            beats: Arc::default(),
            journal_heard: Arc::default(),
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(&self, hub: Weak<Hub>, seed: u64) -> std::io::Result<()> {
        let Some(told) = self.told.lock().take() else { return Ok(()) };
        let thread = thread::PulseThread::new(self.clone(), hub, seed);
        std::thread::Builder::new().name("relais-pulse".to_owned()).spawn(move || thread.run(&told))?;
        Ok(())
    }

    /// What it last said.
    #[must_use]
    pub fn view(&self) -> Arc<PulseView> {
        self.view.read().clone()
    }

    fn change(&self, change: impl FnOnce(&mut PulseView)) {
        change(Arc::make_mut(&mut self.view.write()));
    }

    /// Changes of dispatcher, from now on.
    #[must_use]
    pub fn changed(&self) -> Changes {
        Changes::new(self.dispatcher.subscribe())
    }

    /// The ledger here is current, as of now.
    pub fn note_fresh(&self) {
        self.change(|view| view.fresh_at = self.clock.mono());
    }

    /// The journal here was spoken to by `node`'s.
    pub fn journal_heard(&self, node: NodeId) {
        let at = self.clock.mono().0 & JOURNAL_HEARD_MS;
        self.journal_heard.store(u64::from(node.0) << 40 | at, Ordering::Relaxed);
    }

    /// The last heartbeat of each node, and when it came.
    #[must_use]
    pub fn beats(&self) -> BTreeMap<NodeId, (Mono, Beat)> {
        self.beats.lock().clone()
    }

    /// A heartbeat arrived.
    pub fn beat(&self, beat: Beat) {
        self.beats.lock().insert(beat.from, (self.clock.mono(), beat.clone()));
        self.input(Input::Beat(beat));
    }

    /// There is proof that this node's process is gone.
    pub fn gone(&self, node: NodeId) {
        self.input(Input::Gone(node));
    }

    /// A `Promote` was applied.
    pub fn promoted(&self, reign: Reign, node: NodeId, incarnation: Incarnation) {
        let ours = node == self.me && incarnation == self.incarnation;
        self.input(Input::Promoted { reign, node, ours });
    }

    /// A `Promote` of ours came to nothing, or the dispatcher's actor died.
    pub fn promote_failed(&self) {
        self.input(Input::PromoteFailed);
    }

    /// The dispatcher's actor died: the reign is over, a new one may begin here.
    pub fn dispatcher_died(&self) {
        self.input(Input::DispatcherDied);
    }

    /// The journal was forked, and this node is to begin its first reign.
    pub fn forked(&self, cause: Cause, suspected_at: Mono) {
        self.input(Input::Forked { cause, suspected_at });
    }

    /// Whether this node is fit to be the dispatcher.
    pub fn ready(&self, ready: bool) {
        self.input(Input::Ready(ready));
    }

    /// The dispatcher hands over to this node.
    pub fn stand_now(&self) {
        self.input(Input::StandNow);
    }

    /// This node has handed over.
    pub fn handed_over(&self) {
        self.input(Input::HandedOver);
    }

    /// This node is about to leave: say so.
    pub fn goodbye(&self) {
        self.tell(Told::Goodbye);
    }

    /// The journal changed. How long its log is need not be told: the pulse looks before it decides.
    pub fn journal(&self, status: &JournalStatus) {
        self.input(Input::Journal(journal_view(status)));
    }

    /// Another asks whether it may stand.
    pub async fn asked(&self, question: Confirm) -> Option<ConfirmAnswer> {
        let (tx, rx) = oneshot::channel();
        self.tell(Told::Asked(question, tx));
        rx.await.ok()
    }

    /// What the thread was told and has not taken yet.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth.load(Ordering::Relaxed)
    }

    /// When the thread last had its turn.
    #[must_use]
    pub fn turned_at(&self) -> Mono {
        Mono(self.turned_ms.load(Ordering::Relaxed))
    }

    fn input(&self, input: Input) {
        self.tell(Told::Input(input));
    }

    fn tell(&self, told: Told) {
        self.depth.fetch_add(1, Ordering::Relaxed);
        // The thread ends only with the process.
        let _ = self.tell.send(told);
    }
}

/// What the election knows of a journal.
fn journal_view(status: &JournalStatus) -> JournalView {
    JournalView {
        leads: status.role == Role::Leader,
        term: status.term,
        last_log: last_log(status),
        voters: status.voting_nodes(),
        sets: status.voting_sets(),
        id: status.id,
        journals: status.voters.clone(),
        history: status.history.unwrap_or_default(),
    }
}

fn last_log(status: &JournalStatus) -> LogPosition {
    status.last_log.map(|at| LogPosition { term: at.term, index: at.index }).unwrap_or_default()
}
