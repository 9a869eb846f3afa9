//! A node of one ledger behind the API, and a client in front of it.

use crate::backend::{
    Backend, ClusterVitals, NodeVitals, NotFresh, OutputChunk, OutputFailed, OutputStream, Passed, PassedHead,
    PassedOn, ProposeFailed, Readiness, RecoverPlan, Standpoint,
};
use crate::http::{Api, HttpConfig};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use relais_dispatcher::ledger::{Event, Ledger};
use relais_dispatcher::rows::MemoryRows;
use relais_protocol::ids::{ClusterId, Fence, Incarnation, Index, JobId, NodeId, RaftId};
use relais_protocol::job::{AttemptOutcome, ErrorKind, JobError};
use relais_protocol::lease::{BeatAnswer, Granted, Lease, LeaseAsk, LeaseBeat};
use relais_protocol::message::{DrillFault, Holdings, LogPosition};
use relais_protocol::record::{
    BATCH_RECORDS_MAX, Batch, Committed, Finish, NodeFacts, Outcome, Outcomes, RULES, Record,
};
use relais_protocol::time::UnixMs;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::broadcast;

const START_MS: u64 = 1_790_000_000_000;

type Outputs = HashMap<(u16, bool), Vec<u8>>;

/// The node.
pub(super) struct Rig {
    ledger: RwLock<Ledger>,
    index: AtomicU64,
    now: AtomicU64,
    count: AtomicU64,
    pub(super) has_dispatcher: AtomicBool,
    pub(super) has_ledger: AtomicBool,
    pub(super) disk_full: AtomicBool,
    events: broadcast::Sender<Arc<(Index, Vec<Event>)>>,
    pub(super) outputs: Mutex<Outputs>,
    pub(super) asked: Mutex<Vec<PassedOn>>,
}

impl Rig {
    fn new(slots: u32) -> Arc<Self> {
        let rig = Arc::new(Self {
            ledger: RwLock::new(Ledger::new(Arc::new(MemoryRows::default()))),
            index: AtomicU64::new(0),
            now: AtomicU64::new(START_MS),
            count: AtomicU64::new(0),
            has_dispatcher: AtomicBool::new(true),
            has_ledger: AtomicBool::new(true),
            disk_full: AtomicBool::new(false),
            events: broadcast::channel(64).0,
            outputs: Mutex::default(),
            asked: Mutex::default(),
        });
        rig.apply(vec![Record::Found { cluster: ClusterId(9), name: "n1".into() }]);
        rig.apply(vec![Record::Promote { node: NodeId(1), incarnation: Incarnation(1) }]);
        let facts = NodeFacts {
            name: "n1".into(),
            slots,
            cpu_millis: 2_000,
            memory_bytes: 8 << 30,
            version: "0.1.0".into(),
            ..NodeFacts::default()
        };
        rig.apply(vec![Record::NodeUp { node: NodeId(1), incarnation: Incarnation(1), facts: Box::new(facts) }]);
        rig
    }

    /// Applies records as one entry, and tells.
    pub(super) fn apply(&self, records: Vec<Record>) -> Committed {
        let mut ledger = self.ledger.write();
        let index = Index(self.index.fetch_add(1, Ordering::SeqCst) + 1);
        let reign = ledger.reign();
        let stamp = UnixMs(self.now.load(Ordering::SeqCst));
        let batch = Batch { rules: RULES, generation: reign.generation, epoch: reign.epoch, stamp, records };
        let effects = ledger.apply_batch(index, batch);
        drop(ledger);
        let _ = self.events.send(Arc::new((index, effects.events)));
        Committed { index, outcomes: effects.outcomes }
    }

    /// Lets time pass.
    pub(super) fn pass(&self, ms: u64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
        self.apply(vec![Record::Tick]);
    }

    /// Ends the running attempt of a job.
    pub(super) fn finish(&self, id: &str, outcome: AttemptOutcome) {
        let job = self.ledger.read().job(id.parse().unwrap()).unwrap();
        let failed = outcome != AttemptOutcome::Succeeded;
        self.apply(vec![Record::Finish(Box::new(Finish {
            job: job.id,
            fence: job.attempts.last().unwrap().fence,
            node: NodeId(1),
            outcome,
            exit_code: Some(if failed { 3 } else { 0 }),
            signal: None,
            error: failed.then(|| JobError { kind: ErrorKind::Exit, message: "exit code 3".into() }),
            result: None,
            progress: Some("9 of 10".into()),
            output_tail: b"tail".to_vec(),
        }))]);
    }

    /// How many jobs there are.
    pub(super) fn jobs(&self) -> u64 {
        self.ledger.read().counts().iter().sum()
    }

    fn no_dispatcher(&self) -> Option<String> {
        (!self.has_dispatcher.load(Ordering::SeqCst)).then(|| "it was stopped by the test".to_owned())
    }
}

impl Backend for Rig {
    fn standpoint(&self) -> Standpoint {
        let dispatcher = self.has_dispatcher.load(Ordering::SeqCst).then(|| "n1".to_owned());
        Standpoint { reign: self.ledger.read().reign(), node: "n1".into(), dispatcher, staleness_ms: 7 }
    }

    fn now(&self) -> UnixMs {
        UnixMs(self.now.load(Ordering::SeqCst))
    }

    fn new_job_id(&self) -> JobId {
        // Ids of a second each: their beginnings differ early enough to be told apart.
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        JobId::v7(START_MS + count * 0x1_0000_0000, u128::from(count))
    }

    fn random(&self) -> u128 {
        u128::from(self.count.fetch_add(1, Ordering::SeqCst)) << 64
            | 0x1234_5678_9abc << 8
            | u128::from(self.count.load(Ordering::SeqCst))
    }

    fn ledger(&self) -> RwLockReadGuard<'_, Ledger> {
        self.ledger.read()
    }

    fn has_ledger(&self) -> bool {
        self.has_ledger.load(Ordering::SeqCst)
    }

    fn pass_on(&self, request: PassedOn) -> BoxFuture<'static, Result<Passed, NotFresh>> {
        let head = PassedHead {
            status: 200,
            content_type: "application/json".to_owned(),
            headers: vec![("location".to_owned(), "/there".to_owned())],
            stale_ms: None,
            whole: !request.target.contains("follow"),
        };
        self.asked.lock().push(request);
        let pieces = [r#"{"passed":"#, r#""on"}"#].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        async move { Ok(Passed { head, body: stream::iter(pieces).boxed() }) }.boxed()
    }

    fn token_elsewhere(&self, _hex: String) -> BoxFuture<'static, Result<Vec<u8>, NotFresh>> {
        async move { Ok(br#"{"any_token":false,"any_admin":false,"shown":null}"#.to_vec()) }.boxed()
    }

    fn lease(&self, ask: LeaseAsk, _: std::time::Duration) -> BoxFuture<'static, Result<Granted, ProposeFailed>> {
        let expires_at = self.now().plus(ask.lease_ms);
        let answer = self.no_dispatcher().map_or_else(
            || {
                let committed = self.apply(vec![Record::Lease(Box::new(ask))]);
                let Some(Outcome::Leased(leases)) = committed.outcomes.each.first() else { panic!("{committed:?}") };
                let leases = leases.iter().map(|(job, fence)| Lease { job: *job, fence: *fence, expires_at });
                Ok(Granted { index: committed.index, leases: leases.collect() })
            },
            |why| Err(ProposeFailed::NoDispatcher(why)),
        );
        async move { answer }.boxed()
    }

    fn beat(&self, beat: LeaseBeat) -> BoxFuture<'static, Result<BeatAnswer, ProposeFailed>> {
        let held = self.ledger.read().outside(beat.job, beat.fence).map(|(own, cancel)| (own.lease_ms, cancel));
        let held = held.map(|(ms, cancel)| BeatAnswer::Held { expires_at: self.now().plus(ms), cancel });
        async move { Ok(held.unwrap_or(BeatAnswer::Over)) }.boxed()
    }

    fn propose(&self, records: Vec<Record>) -> BoxFuture<'static, Result<Committed, ProposeFailed>> {
        let answer = match self.no_dispatcher() {
            Some(why) => Err(ProposeFailed::NoDispatcher(why)),
            None if self.disk_full.load(Ordering::SeqCst) => Err(ProposeFailed::DiskFull),
            None => {
                let mut all = Committed { index: Index(0), outcomes: Outcomes::default() };
                let mut records = records.into_iter().peekable();
                while records.peek().is_some() {
                    let committed = self.apply(records.by_ref().take(BATCH_RECORDS_MAX).collect());
                    all.index = committed.index;
                    all.outcomes.each.extend(committed.outcomes.each);
                }
                Ok(all)
            }
        };
        async move { answer }.boxed()
    }

    fn durability(&self) -> &'static str {
        "majority"
    }

    fn fresh(&self) -> BoxFuture<'static, Result<(), NotFresh>> {
        let answer = self.no_dispatcher().map_or(Ok(()), |why| Err(NotFresh(why)));
        async move { answer }.boxed()
    }

    fn has_applied(&self, _index: Index) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }

    fn events(&self) -> broadcast::Receiver<Arc<(Index, Vec<Event>)>> {
        self.events.subscribe()
    }

    fn vitals(&self) -> ClusterVitals {
        ClusterVitals {
            id: "0a".into(),
            status: "running".into(),
            mode: "single".into(),
            reign: self.ledger.read().reign(),
            dispatcher: Some(NodeId(1)),
            online: 1,
            registered: 1,
            survives: "nothing".into(),
            succession: vec![("n1".into(), "is the dispatcher".into())],
            nodes: vec![NodeVitals { id: NodeId(1), dispatcher: true, voter: true, ..NodeVitals::default() }],
            ..ClusterVitals::default()
        }
    }

    fn hand_over(&self, to: Option<NodeId>) -> BoxFuture<'static, Result<NodeId, String>> {
        async move { to.ok_or_else(|| "no other node is ready".to_owned()) }.boxed()
    }

    fn drill(&self, _: NodeId, _: DrillFault, _: u64) -> BoxFuture<'static, Result<(), String>> {
        async move { Err("this cluster does not agree to rehearsals".to_owned()) }.boxed()
    }

    fn holdings(&self) -> Holdings {
        Holdings {
            node: NodeId(1),
            name: "n1".into(),
            journal: RaftId::new(NodeId(1), 1),
            history: None,
            last_log: LogPosition::default(),
            committed: None,
            applied: None,
            voters: vec![NodeId(1)],
            dispatcher: Some(NodeId(1)),
            reign: self.ledger.read().reign(),
        }
    }

    fn plan_recovery(&self, _: BTreeSet<NodeId>) -> BoxFuture<'static, RecoverPlan> {
        let refused = Some("there is a dispatcher, `n1`: nothing is to be recovered".to_owned());
        let holdings = vec![self.holdings()];
        async move { RecoverPlan { holdings, best: Some(NodeId(1)), refused } }.boxed()
    }

    fn recover(&self, _: BTreeSet<NodeId>) -> BoxFuture<'static, Result<NodeId, String>> {
        async move { Err("there is a dispatcher, `n1`: nothing is to be recovered".to_owned()) }.boxed()
    }

    fn output(
        &self,
        node: NodeId,
        _: JobId,
        attempt: u16,
        stream: OutputStream,
        offset: u64,
        bytes_max: usize,
    ) -> BoxFuture<'static, Result<OutputChunk, OutputFailed>> {
        let outputs = self.outputs.lock();
        let all = outputs.get(&(attempt, stream == OutputStream::Stderr));
        let answer = match all {
            None => Err(OutputFailed::OutOfReach(format!("n{node}"))),
            Some(all) => {
                let from = all.len().min(offset as usize);
                let to = all.len().min(from + bytes_max.min(5));
                let chunk = OutputChunk {
                    bytes: all[from..to].to_vec(),
                    offset: from as u64,
                    total: all.len() as u64,
                    ..OutputChunk::default()
                };
                Ok(chunk)
            }
        };
        async move { answer }.boxed()
    }

    fn progress(&self, _: NodeId, attempts: Vec<(JobId, Fence)>) -> BoxFuture<'static, Vec<Option<String>>> {
        let said = attempts.iter().map(|(job, fence)| Some(format!("{job} {fence}"))).collect();
        async move { said }.boxed()
    }

    fn readiness(&self) -> Readiness {
        let ready = self.has_dispatcher.load(Ordering::SeqCst);
        Readiness { ready, parts: vec![("journal".into(), ready, "as the test wants it".into())] }
    }

    fn metrics(&self, page: &mut crate::figures::Page) {
        page.gauge("relais_of_the_node", "For the test.", 1.0);
    }

    fn join_token(&self, _: UnixMs) -> Result<(String, [u8; 32], String), String> {
        Ok(("rl1.secret".into(), [7; 32], "10.0.0.1:7800".into()))
    }
}

/// A served API and what is behind it.
pub(in crate::http) struct Served {
    pub(super) rig: Arc<Rig>,
    pub(super) api: Arc<Api>,
    pub(super) url: String,
    client: reqwest::Client,
    handle: actix_web::dev::ServerHandle,
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

/// What was answered.
#[derive(Debug)]
pub(in crate::http) struct Said {
    pub(in crate::http) status: u16,
    pub(in crate::http) headers: reqwest::header::HeaderMap,
    pub(in crate::http) text: String,
}

impl Said {
    pub(in crate::http) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(in crate::http) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that it is a problem document with this status.
    pub(in crate::http) fn problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
        }
        problem
    }
}

impl Served {
    /// With a worker of so many slots.
    pub(in crate::http) fn with_slots(slots: u32) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let rig = Rig::new(slots);
        let config =
            HttpConfig { addr: "127.0.0.1:0".parse().unwrap(), insecure: false, names: vec!["n1.example".into()] };
        let api = Api::new(config, rig.clone());
        let (server, addr) = api.serve().unwrap();
        let handle = server.handle();
        actix_rt::spawn(server);
        Self { rig, api, url: format!("http://{addr}"), client: reqwest::Client::new(), handle }
    }

    /// A request to be completed.
    pub(in crate::http) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.url))
    }

    pub(in crate::http) async fn send(&self, request: reqwest::RequestBuilder) -> Said {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Said { status, headers, text: response.text().await.unwrap() }
    }

    pub(in crate::http) async fn get(&self, path: &str) -> Said {
        self.send(self.request("GET", path)).await
    }

    pub(in crate::http) async fn delete(&self, path: &str) -> Said {
        self.send(self.request("DELETE", path)).await
    }

    pub(in crate::http) async fn post(&self, path: &str, body: &str) -> Said {
        self.send(self.request("POST", path).header("content-type", "application/json").body(body.to_owned())).await
    }

    /// Submits a job and returns its id.
    pub(super) async fn job(&self, body: &str) -> String {
        let said = self.post("/v1/jobs", body).await;
        said.json()["id"].as_str().filter(|_| said.status == 201).expect("a job").to_owned()
    }
}
