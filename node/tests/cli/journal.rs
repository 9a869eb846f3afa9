//! `relais journal` on a data directory whose node has stopped, and on one in use.

use crate::fake::run;
use relais_dispatcher::journal::memory::Switchboard;
use relais_dispatcher::journal::{Journal, Opened, RaftJournal, Role, StoreOptions, open};
use relais_dispatcher::machine::LedgerMachine;
use relais_node::datadir::DataDir;
use relais_protocol::codec;
use relais_protocol::ids::{ClusterId, Epoch, Generation, Incarnation, JobId, NodeId, RaftId};
use relais_protocol::record::{Batch, RULES, Record, Submit, Token, TokenRole};
use relais_protocol::spec::{JobSpec, QueueName};
use relais_protocol::time::UnixMs;
use serde_json::Value;
use std::sync::Arc;

const JOB: JobId = JobId(0x0196_3a0c_7f1e_7abc_8def_0123_4567_89ab);

/// Writes a journal into `dir`: a cluster, a token and a job with a secret in its variables.
async fn write(dir: &DataDir) {
    let id = RaftId::new(NodeId(1), 1);
    let options = StoreOptions::new(dir.folders().journal().join("current"), id, Arc::new(|e| panic!("{e}")));
    let Opened::Clean(store) = open(options).await.unwrap() else { panic!("a new journal is damaged") };
    let machine = Arc::new(LedgerMachine::new(Box::new(|_, _| {})));
    let journal = RaftJournal::start(store, machine, Switchboard::new().link(id)).await.unwrap();
    journal.found().await.unwrap();
    journal.status().wait_for(|status| status.role == Role::Leader).await.unwrap();
    let payload = r#"{"program":"sh","env":{"KEY":"s3cret"}}"#.to_owned();
    let spec = JobSpec {
        kind: "exec".into(),
        queue: QueueName::default(),
        priority: 50,
        name: String::new(),
        payload,
        options: None,
    };
    let submit = Submit { id: JOB, spec, body_hash: 1, submitted_by: "ada".into() };
    let token = Token {
        id: 7,
        name: "ci".into(),
        role: TokenRole::Submit,
        hash: [201; 32],
        created_at: UnixMs(1),
        expires_at: None,
    };
    for (epoch, record) in [
        (0, Record::Found { cluster: ClusterId(1), name: "n1".into() }),
        (0, Record::Promote { node: NodeId(1), incarnation: Incarnation(1) }),
        (1, Record::Submit(Box::new(submit))),
        (1, Record::TokenMade(Box::new(token))),
        (1, Record::Audit),
    ] {
        let (generation, epoch, records) = (Generation(0), Epoch(epoch), vec![record]);
        let batch = Batch { rules: RULES, generation, epoch, stamp: UnixMs(5), records };
        journal.propose(codec::encode(codec::FORMAT, &batch).into()).await.unwrap();
    }
    journal.audit().wait_for(Option::is_some).await.unwrap();
    journal.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_journal_is_verified_and_exported_without_its_secrets() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("data");
    let place = path.to_str().unwrap();
    let dir = DataDir::open(&path).unwrap();
    let incarnation = dir.node().incarnation;
    write(&dir).await;
    let busy = run(&[], &["journal", "verify", "--data-dir", place]);
    assert_eq!(busy.code, 1);
    assert!(busy.err.contains("in use by process"), "{}", busy.err);
    drop(dir);

    let whole = run(&[], &["journal", "verify", "--data-dir", place, "-o", "json"]);
    assert_eq!(whole.code, 0, "{}", whole.err);
    let report: Value = serde_json::from_str(&whole.out).unwrap();
    assert_eq!((&report["whole"], &report["journal"]), (&Value::from(true), &Value::from("1.1")));
    assert!(run(&[], &["journal", "verify", "--data-dir", place]).out.contains("whole"));

    let export = run(&[], &["journal", "export", "--data-dir", place]);
    assert_eq!(export.code, 0, "{}", export.err);
    for absent in ["s3cret", "[201,"] {
        assert!(!export.out.contains(absent), "{absent} is in the export:\n{}", export.out);
    }
    let lines: Vec<Value> = export.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let job = lines.iter().find(|line| line["table"] == "job").unwrap();
    assert_eq!((&job["row"]["id"], &job["row"]["submitted_by"]), (&Value::from(JOB.to_string()), &Value::from("ada")));
    assert_eq!(lines[0]["entry"]["kind"], "members");
    assert!(lines.iter().any(|line| line["table"] == "token" && line["row"]["token"]["name"] == "ci"));
    let file = temp.path().join("all.jsonl");
    let words = ["journal", "export", "--data-dir", place, "--with-values", "--file", file.to_str().unwrap()];
    assert_eq!(run(&[], &words).code, 0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("s3cret"));

    std::fs::write(path.join("journal/current/vote"), b"spoiled").unwrap();
    let damaged = run(&[], &["journal", "verify", "--data-dir", place]);
    assert_eq!(damaged.code, 1);
    assert!(damaged.err.contains("the journal is damaged"), "{}", damaged.err);
    assert_eq!(DataDir::open(&path).unwrap().node().incarnation.0, incarnation.0 + 1, "a look is no start");
}

#[test]
fn a_directory_that_is_not_there_or_not_ours_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().to_str().unwrap();
    let end = run(&[], &["journal", "verify", "--data-dir", place]);
    assert_eq!(end.code, 1);
    assert!(end.err.contains("no node was ever started"), "{}", end.err);
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
}
