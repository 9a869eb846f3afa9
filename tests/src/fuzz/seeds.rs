//! Inputs to start from: small, of every shape that a reader knows. `RELAIS_FUZZ_WRITE=1` makes the plain
//! test write those that the corpus lacks; what is there stays, since old shapes must be read for ever.

use relais_node::membership::{Effect, Identity, Input, Membership};
use relais_protocol::codec;
use relais_protocol::group::{GroupId, GroupSize, GroupSubmit, Origin};
use relais_protocol::ids::{ClusterId, Epoch, Fence, Generation, Incarnation, Index, JobId, NodeId, RaftId, Reign};
use relais_protocol::job::AttemptOutcome;
use relais_protocol::message::{
    Beat, Call, Confirm, ConfirmAnswer, Control, ControlAnswer, Datagram, LogPosition, Order, Orders, OrdersAnswer,
    Reply, Report, ReportAnswer, StartOrder, Verdict,
};
use relais_protocol::record::{Batch, Finish, NodeFacts, Outcome, Outcomes, RULES, Record, Submit};
use relais_protocol::schedule::{Fire, Missed, Overlap, Schedule, ScheduleName, ScheduleSet};
use relais_protocol::spec::{JobOptions, JobSpec, OnDisconnect, QueueName};
use relais_protocol::time::{Mono, UnixMs};
use serde::Serialize;

type Seeds = Vec<(&'static str, Vec<u8>)>;

const REIGN: Reign = Reign { generation: Generation(0), epoch: Epoch(1) };
const LAST: LogPosition = LogPosition { term: 3, index: 70 };

fn behind(first: u8, rest: &[u8]) -> Vec<u8> {
    [&[first], rest].concat()
}

pub(super) fn frames() -> Seeds {
    let frame = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat();
    let three = [frame(b"one"), frame(b""), frame(&[7; 300])].concat();
    vec![
        ("whole", behind(200, &frame(b"a frame"))),
        ("byte-by-byte", behind(1, &three)),
        ("cut", behind(7, &three[..three.len() - 5])),
        ("too-long", behind(9, &[0xff, 0xff, 0xff, 0xff, 1, 2])),
    ]
}

pub(super) fn datagrams() -> Seeds {
    let beat = Beat {
        from: NodeId(1),
        incarnation: Incarnation(4),
        reign: REIGN,
        dispatcher: true,
        goodbye: false,
        voter: true,
        ready: true,
        last_log: LAST,
        hears: Some(NodeId(1)),
    };
    let goodbye = Beat { goodbye: true, dispatcher: false, hears: None, ..beat.clone() };
    let datagram = |datagram: &Datagram| codec::encode(codec::FORMAT, datagram);
    let gossip = greeting();
    vec![
        ("beat", datagram(&Datagram::Beat(beat))),
        ("goodbye", datagram(&Datagram::Beat(goodbye))),
        ("gossip", datagram(&Datagram::Gossip(gossip.clone()))),
        ("passed", datagram(&Datagram::Passed { from: NodeId(1), to: NodeId(2), bytes: gossip.clone() })),
        ("bare-gossip", gossip),
    ]
}

/// What a node sends to one that it has just heard of.
fn greeting() -> Vec<u8> {
    let mut membership = Membership::new(Identity { node: NodeId(1), incarnation: Incarnation(1) }, 7);
    let mut effects = membership.handle(Mono(1), Input::Announce(vec![NodeId(2)]));
    effects.extend(membership.handle(Mono(1_000), Input::Tick));
    let sent = effects.into_iter().find_map(|effect| match effect {
        Effect::Send { bytes, .. } => Some(bytes.to_vec()),
        _ => None,
    });
    sent.unwrap_or_default()
}

fn spec() -> JobSpec {
    let options = JobOptions { timeout_ms: Some(500), ..JobOptions::default() };
    JobSpec {
        kind: "exec".to_owned(),
        queue: QueueName::default(),
        priority: 50,
        name: "a job".to_owned(),
        payload: r#"{"command":["true"]}"#.to_owned(),
        options: Some(Box::new(options)),
    }
}

fn finish() -> Finish {
    Finish {
        job: JobId(7),
        fence: Fence::new(Epoch(1), 1),
        node: NodeId(1),
        outcome: AttemptOutcome::Succeeded,
        exit_code: Some(0),
        signal: None,
        error: None,
        result: Some("1".to_owned()),
        progress: Some("9 of 10".to_owned()),
        output_tail: b"done".to_vec(),
    }
}

fn batch(records: Vec<Record>) -> Vec<u8> {
    let batch = Batch { rules: RULES, generation: REIGN.generation, epoch: REIGN.epoch, stamp: UnixMs(2_000), records };
    value(0, &batch)
}

fn value<T: Serialize>(kind: u8, value: &T) -> Vec<u8> {
    behind(kind, &codec::encode(codec::FORMAT, value))
}

fn lives() -> Vec<Record> {
    let submit = Submit { id: JobId(7), spec: spec(), body_hash: 9, submitted_by: "somebody".to_owned() };
    vec![
        Record::Submit(Box::new(submit)),
        Record::Finish(Box::new(finish())),
        Record::Cancel { job: JobId(7), reason: "no more".to_owned() },
        Record::Retry { job: JobId(7) },
        Record::Delete { job: JobId(7) },
    ]
}

fn others() -> Vec<Record> {
    let facts = NodeFacts { name: "n2".to_owned(), slots: 3, ..NodeFacts::default() };
    vec![
        Record::Tick,
        Record::Found { cluster: ClusterId(3), name: "c".to_owned() },
        Record::Promote { node: NodeId(1), incarnation: Incarnation(1) },
        Record::NodeUp { node: NodeId(1), incarnation: Incarnation(2), facts: Box::new(facts) },
        Record::Drain { node: NodeId(1), on: true },
        Record::TokenRevoked { id: 4 },
        Record::Setting { key: "takeover".to_owned(), value: "off".to_owned() },
        Record::Audit,
    ]
}

fn schedules() -> Vec<Record> {
    let name = ScheduleName::parse("nightly").expect("a name");
    let schedule = Schedule {
        name: name.clone(),
        cron: "0 30 2 * * *".to_owned(),
        time_zone: "Europe/Paris".to_owned(),
        job: spec(),
        missed: Missed::Once,
        overlap: Overlap::Forbid,
    };
    let fire = Fire { name: name.clone(), of: (REIGN.generation, Index(3)), slot: UnixMs(9_000) };
    vec![
        Record::ScheduleSet(Box::new(ScheduleSet { schedule, paused: Some(false) })),
        Record::ScheduleFired(Box::new(fire.clone())),
        Record::ScheduleMissed(Box::new(fire), 7),
        Record::ScheduleTriggered { name: name.clone(), job: JobId(8), by: "somebody".to_owned() },
        Record::SchedulePaused { name: name.clone(), on: true },
        Record::ScheduleRemoved(name),
    ]
}

fn groups() -> Vec<Record> {
    let id = GroupId::of(JobId(7 << 30));
    let size = GroupSize::Inputs("1\n\"two\"".to_owned());
    let submit = GroupSubmit {
        id,
        spec: spec(),
        size,
        first: 1,
        window: 1_000,
        max_failures: Some(3),
        body_hash: 9,
        submitted_by: "somebody".to_owned(),
    };
    vec![Record::SubmitGroup(Box::new(submit)), Record::CancelGroup { group: id, reason: "no more".to_owned() }]
}

pub(super) fn records() -> Seeds {
    let (job, fence) = (JobId(7), Fence::new(Epoch(1), 1));
    let journals = [RaftId::new(NodeId(1), 1), RaftId::new(NodeId(2), 3)].into();
    let confirm = Confirm { candidate: NodeId(2), round: 5, last_log: LAST, reign: REIGN, journals };
    let answer = ConfirmAnswer { round: 5, from: NodeId(3), verdict: Verdict::LogLonger, refuses_votes_ms: 40 };
    let start = StartOrder {
        job,
        fence,
        kind: "noop".to_owned(),
        payload: "{}".to_owned(),
        timeout_ms: None,
        on_disconnect: OnDisconnect::default(),
        slots: 1,
        origin: Some(Origin::Member { index: 3, input: Some("[1]".to_owned()) }),
        traced: Some("{}".to_owned()),
    };
    let list = vec![Order::Start(Box::new(start)), Order::Stop { job, fence, report: true }];
    let report = Report {
        reign: REIGN,
        node: NodeId(2),
        incarnation: Incarnation(1),
        sent_at: Mono(12),
        running: Some(vec![(job, fence)]),
        finished: vec![finish()],
        facts: None,
        leaving: false,
        goodbye: false,
    };
    let taken = ReportAnswer::Taken { reign: REIGN, lease_ms: 3_000, settled: vec![(job, fence)], stop: Vec::new() };
    let outcomes = Outcomes { each: vec![Outcome::Done, Outcome::Joined { node: NodeId(4) }], epoch: Epoch(1) };
    let http = Call::Http { method: "GET".to_owned(), target: "/v1/cluster".to_owned(), body: Vec::new() };
    vec![
        ("batch-of-a-job", batch(lives())),
        ("batch-of-others", batch(others())),
        ("batch-of-schedules", batch(schedules())),
        ("batch-of-groups", batch(groups())),
        ("control", value(1, &Control::Confirm(confirm))),
        ("control-answer", value(2, &ControlAnswer::Confirm(answer))),
        ("orders", value(3, &Orders { reign: REIGN, incarnation: Incarnation(1), orders: list })),
        ("orders-answer", value(4, &OrdersAnswer::StaleReign(REIGN))),
        ("report", value(5, &report)),
        ("report-answer", value(6, &taken)),
        ("propose", value(7, &Call::Propose(lives()))),
        ("http", value(7, &http)),
        ("committed", value(8, &Reply::Committed { index: Index(9), outcomes: outcomes.clone() })),
        ("outcomes", value(9, &outcomes)),
    ]
}

pub(super) fn jobs() -> Seeds {
    let full =
        br#"{"kind":"exec","name":"report","queue":"night","priority":70,"payload":{"command":["sh","-c","true"],
"env":{"A":"b"},"cwd":"/tmp"},"timeout":"1h","retry":{"max_attempts":3,"initial_interval":"1s"},
"labels":{"team":"x"},"metadata":{"a":[1,2.5,null,"\u00e9"]},"idempotency_key":"k1","on_disconnect":"continue"}"#;
    let noop = br#"{"kind":"noop","payload":{}}"#;
    let array = [b"[", &noop[..], b",", noop, b",7]"].concat();
    let lines = [&noop[..], b"\n\n", noop, b"\n{\"kind\":\n"].concat();
    let deep = [&b"{\"kind\":\"noop\",\"payload\":"[..], &[b'['; 200], &[b']'; 200], b"}"].concat();
    vec![
        ("full", behind(0, full)),
        ("noop", behind(0, noop)),
        ("http", behind(0, br#"{"kind":"http","payload":{"method":"POST","url":"http://h/p","body":"x"}}"#)),
        (
            "wrong",
            behind(0, br#"{"kind":"exec","priority":900,"payload":{"command":[]},"retry":{"max_attempts":-1},"x":1}"#),
        ),
        ("deep", behind(0, &deep)),
        ("array", behind(1, &array)),
        ("lines", behind(2, &lines)),
    ]
}

pub(super) fn config() -> Seeds {
    let full = br#"name = "n1"
data_dir = "/var/lib/relais"
http = "0.0.0.0:7700"
listen = "[::]:7800"
advertise = "host.example:7800"
advertise_http = "https://host.example"
slots = 4
insecure_http = true
log_format = "json"
join = "10.0.0.1:7800"
token = "rl1.abc"
[labels]
gpu = "yes"
failure_domain = "rack-1"
"#;
    vec![
        ("full", full.to_vec()),
        ("witness", b"witness = true\nname = \"w\"\n".to_vec()),
        ("empty", Vec::new()),
        ("unknown-key", b"nmae = \"n1\"\n".to_vec()),
        ("wrong-type", b"slots = \"many\"\nlabels = { \"\" = \"x\" }\n".to_vec()),
    ]
}

pub(super) fn journal() -> Seeds {
    let step = |what: u8, file: u8, place: u32, count: u8, byte: u8| {
        let place = place.to_le_bytes();
        [what, file, place[0], place[1], place[2], place[3], count, byte]
    };
    let every_file_gone = (0..12).flat_map(|file| step(5, file, 0, 0, 0)).collect();
    vec![
        ("untouched", Vec::new()),
        ("flipped-bit", step(0, 5, 9_000, 0, 3).to_vec()),
        ("zeroed-page", step(1, 3, 4_096, 0, 0).to_vec()),
        ("cut-tail", step(2, 5, 7_000, 0, 0).to_vec()),
        ("garbage-tail", step(3, 5, 0, 200, 0xa5).to_vec()),
        ("no-vote", step(5, 11, 0, 0, 0).to_vec()),
        ("empty-file", step(6, 4, 0, 0, 0).to_vec()),
        ("nothing-left", every_file_gone),
    ]
}
