//! A disk that does not answer stops the orders that must wait for it, and nothing else.

use super::*;
use crate::core::WorkerConfig;
use futures::FutureExt;
use relais_protocol::ids::{Epoch, Generation, Incarnation};
use relais_protocol::message::Order;
use relais_protocol::record::NodeFacts;
use relais_protocol::time::UnixMs;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// What the clock goes on by each time it is read, in ms.
const TICK_MS: u64 = 25;
/// How long a condition may take to hold.
const LIMIT: Duration = Duration::from_secs(20);

/// A node whose disk takes a reign only when told so, and whose dispatcher answers each report.
struct Node {
    now: AtomicU64,
    reports: AtomicU64,
    remembered: Mutex<Vec<Reign>>,
    disk: watch::Sender<Reign>,
}

impl Outlet for Node {
    fn now(&self) -> Mono {
        Mono(self.now.fetch_add(TICK_MS, Ordering::Relaxed))
    }

    fn report(&self, _to: NodeId, report: Report) -> BoxFuture<'static, Option<ReportAnswer>> {
        self.reports.fetch_add(1, Ordering::Relaxed);
        let settled = report.finished.iter().map(|finish| (finish.job, finish.fence)).collect();
        let answer = ReportAnswer::Taken { reign: report.reign, lease_ms: 3_000, settled, stop: Vec::new() };
        async move { Some(answer) }.boxed()
    }

    fn remember(&self, reign: Reign) -> BoxFuture<'static, ()> {
        self.remembered.lock().push(reign);
        let mut disk = self.disk.subscribe();
        async move {
            disk.wait_for(|kept| *kept >= reign).await.expect("the node lives");
        }
        .boxed()
    }

    fn keep(&self, _unsettled: &[Finish]) {}

    fn left(&self) {}
}

fn reign(epoch: u64) -> Reign {
    Reign { generation: Generation(0), epoch: Epoch(epoch) }
}

fn orders(epoch: u64) -> Orders {
    let start = StartOrder {
        job: JobId(u128::from(epoch)),
        fence: Fence::new(Epoch(epoch), 1),
        kind: "none".to_owned(),
        payload: "null".to_owned(),
        timeout_ms: None,
        on_disconnect: OnDisconnect::Stop,
        slots: 1,
        origin: None,
        traced: None,
    };
    Orders { reign: reign(epoch), incarnation: Incarnation(1), orders: vec![Order::Start(Box::new(start))] }
}

fn started(node: Arc<Node>, folder: &std::path::Path) -> Bench {
    let bench = Bench::default();
    let parts = WorkerParts {
        core: Worker::new(WorkerConfig::default(), NodeId(1), Incarnation(1), reign(1), Vec::new()),
        me: NodeId(1),
        name: "n1".to_owned(),
        executors: Executors::new(Arc::new(|| UnixMs(0))),
        spawner: None,
        output: Output::open(folder.join("output")).expect("a folder"),
        work_dir: folder.join("work"),
        runtime: tokio::runtime::Handle::current(),
        outlet: node,
    };
    start(parts, &bench, Box::new(()));
    bench.input(Input::Facts(NodeFacts { name: "n1".to_owned(), ..NodeFacts::default() }));
    bench
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LIMIT, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {LIMIT:?}: {what}");
}

#[test]
fn a_reign_that_is_not_on_disk_holds_up_its_orders_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    System::new().block_on(async {
        let node = Arc::new(Node {
            now: AtomicU64::new(0),
            reports: AtomicU64::new(0),
            remembered: Mutex::default(),
            disk: watch::channel(reign(1)).0,
        });
        let bench = started(node.clone(), folder.path());
        let reports = || node.reports.load(Ordering::Relaxed);
        // A reign that a heartbeat told of, and one that its first orders tell of.
        bench.input(Input::Heard(reign(2), NodeId(2)));
        for epoch in [2, 3] {
            eventually("a lease", || reports() > 0).await;
            let mut ordered = Box::pin(bench.order(orders(epoch)));
            assert!((&mut ordered).now_or_never().is_none());
            let before = reports();
            eventually("reports go on", || reports() > before + 2).await;
            assert!((&mut ordered).now_or_never().is_none(), "obeyed before its reign was on disk");
            assert_eq!(bench.state().counts.started, epoch - 2);
            node.disk.send_replace(reign(epoch));
            assert_eq!(ordered.await, Some(OrdersAnswer::Accepted));
            eventually("it was started", || bench.state().counts.started == epoch - 1).await;
        }
        assert_eq!(*node.remembered.lock(), [reign(2), reign(3)]);
        // What is on disk holds up nobody, and a lower one is refused as ever.
        assert_eq!(bench.order(orders(2)).await, Some(OrdersAnswer::StaleReign(reign(3))));
    });
}
