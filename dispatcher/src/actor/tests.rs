//! The actor over a journal that answers when it is told to: who proposed is told of its own batch.

mod slow_journal;

use super::*;
use crate::ledger::Ledger;
use futures::FutureExt;
use relais_protocol::ids::{ClusterId, Epoch, Generation, Index, JobId};
use relais_protocol::job::StateName;
use relais_protocol::lease::{EXTERNAL, LeaseAsk, LeaseWish};
use relais_protocol::record::{Outcome, RULES, Record, Submit};
use relais_protocol::spec::{JobOptions, JobSpec, Labels, QueueName};
use relais_protocol::time::{Mono, UnixMs};
use slow_journal::SlowJournal;
use std::time::Duration;

/// How long a condition may take to hold.
const LIMIT: Duration = Duration::from_secs(20);
const ME: NodeId = NodeId(1);

/// A node whose clocks stand still.
struct Still;

impl Outlet for Still {
    fn now(&self) -> Now {
        Now { mono: Mono(1_000), unix: UnixMs(1_000) }
    }

    fn order(&self, _to: NodeId, _orders: Orders) {}

    fn drained(&self) {}

    fn promote_failed(&self) {}

    fn voters(&self) -> usize {
        1
    }

    fn looks_on(&self) -> bool {
        false
    }

    fn now_us(&self) -> u64 {
        0
    }

    fn committed(&self, _took_us: u64) {}
}

struct Rig {
    desk: Desk,
    journal: Arc<SlowJournal>,
    machine: Arc<LedgerMachine>,
}

impl Rig {
    /// An actor on the current arbiter that has the role; two waiting records do not wait for a batch in flight.
    async fn reigning() -> Self {
        let desk = Desk::default();
        let sink = desk.clone();
        let machine = Arc::new(LedgerMachine::new(Box::new(move |_, events| applied(&sink, ME, &events))));
        let journal = SlowJournal::new(machine.clone());
        let found = Record::Found { cluster: ClusterId(1), name: "n1".into() };
        let (generation, epoch) = (Generation(0), Epoch(0));
        let batch = Batch { rules: RULES, generation, epoch, stamp: UnixMs(0), records: vec![found] };
        journal.enter(&codec::encode_packed(codec::FORMAT, &batch));
        let config = CoreConfig { overlap_records: 2, ..CoreConfig::default() };
        let parts = DispatcherParts {
            config,
            me: ME,
            incarnation: Incarnation(1),
            machine: machine.clone(),
            journal: journal.clone(),
            outlet: Arc::new(Still),
        };
        start(parts, &desk, Box::new(()));
        desk.input(Input::Majority(true));
        desk.input(Input::Promote(ME, Incarnation(1)));
        let rig = Self { desk, journal, machine };
        rig.until("it reigns", |ledger| ledger.dispatcher().is_some()).await;
        rig
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Ledger) -> bool) {
        let waited = tokio::time::timeout(LIMIT, async {
            // A turn takes all that has gathered, and no other task of this thread runs meanwhile.
            while self.desk.depth() > 0 || !holds(&self.machine.read()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(waited.await.is_ok(), "not within {LIMIT:?}: {what}");
    }
}

fn submit(id: u128, kind: &str) -> Record {
    let spec = JobSpec {
        kind: kind.into(),
        queue: QueueName::default(),
        priority: 50,
        name: String::new(),
        payload: "{}".into(),
        options: None,
    };
    let spec = spec.with_options(JobOptions::default());
    Record::Submit(Box::new(Submit { id: JobId(id), spec, body_hash: 0, submitted_by: String::new() }))
}

#[test]
fn a_withdrawn_grant_overtakes_nothing_that_is_proposed_with_it() {
    actix::System::new().block_on(async {
        let rig = Rig::reigning().await;
        rig.desk.propose(vec![submit(1, EXTERNAL), submit(2, EXTERNAL)]).await.unwrap();
        rig.journal.answers(false);
        let ask = LeaseAsk {
            id: AskId(1),
            worker: "w".into(),
            queues: Vec::new(),
            kinds: vec![EXTERNAL.into()],
            labels: Labels::new(),
            max: 2,
            lease_ms: 10_000,
        };
        let wish = LeaseWish { ask, wait_ms: 1_000, again: false };
        // Who asked is gone before it is told; both leases go back, which is enough for a batch of its own.
        assert!(rig.desk.ask(wish).now_or_never().is_none());
        rig.until("the grant is in flight", |ledger| ledger.granted_to(AskId(1)).len() == 2).await;
        let mut proposing = Box::pin(rig.desk.propose(vec![submit(3, "noop")]));
        assert!(proposing.as_mut().now_or_never().is_none());
        rig.until("the core has it", |_| true).await;
        assert!(rig.machine.read().job(JobId(3)).is_none(), "one record waits for what is in flight");
        rig.journal.answers(true);
        let committed = tokio::time::timeout(LIMIT, proposing).await.expect("an answer").unwrap();
        assert!(matches!(committed.outcomes.each[..], [Outcome::Submitted { .. }]), "{committed:?}");
        assert_eq!(committed.index, Index(5), "right behind the grant");
        let is_queued =
            |ledger: &Ledger, job| ledger.job(JobId(job)).is_some_and(|job| job.state.name() == StateName::Queued);
        rig.until("both leases are given back", |ledger| is_queued(ledger, 1) && is_queued(ledger, 2)).await;
    });
}
