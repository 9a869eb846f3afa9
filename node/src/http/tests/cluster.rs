//! Nodes, the cluster, probes and figures.

use super::NOOP;
use super::rig::Served;
use relais_protocol::failover::{FailoverTale, Fate, JobFate};
use relais_protocol::ids::{Epoch, Generation, JobId, NodeId};
use relais_protocol::record::{Failover, Record};
use relais_protocol::time::UnixMs;
use serde_json::json;
use std::sync::atomic::Ordering;

#[actix_web::test]
async fn the_node_table_shows_record_and_figures() {
    let served = Served::with_slots(4);
    served.job(NOOP).await;
    let nodes = served.get("/v1/nodes").await.json();
    let node = &nodes["nodes"][0];
    for (field, value) in [
        ("name", json!("n1")),
        ("id", json!(1)),
        ("role", json!("dispatcher+worker")),
        ("status", json!("online")),
        ("slots", json!(4)),
        ("running", json!(1)),
        ("last_heard_ms", json!(0)),
        ("cpu_percent", json!(null)),
        ("labels", json!({})),
    ] {
        assert_eq!(node[field], value, "{field}");
    }
    let drained = served.post("/v1/nodes/n1:drain", "").await;
    assert_eq!((drained.status, &drained.json()["status"]), (200, &json!("draining")));
    let undrained = served.post("/v1/nodes/n1:undrain", "").await;
    assert_eq!(undrained.json()["status"], "online");
    assert_eq!(served.get("/v1/nodes/n1").await.json()["version"], "0.1.0");
    served.get("/v1/nodes/n2").await.problem(404);
    served.post("/v1/nodes/n2:drain", "").await.problem(404);
}

#[actix_web::test]
async fn the_cluster_tells_how_it_stands() {
    let served = Served::with_slots(1);
    let cluster = served.get("/v1/cluster").await.json();
    assert_eq!((&cluster["status"], &cluster["dispatcher"]), (&json!("running"), &json!("n1")));
    assert_eq!((&cluster["epoch"], &cluster["generation"]), (&json!(1), &json!(0)));
    assert_eq!(cluster["nodes"], json!({"online": 1, "registered": 1}));
    assert_eq!(cluster["high_availability"], false);
    assert_eq!(cluster["succession"], json!([{"name": "n1", "why": "is the dispatcher"}]));
    served.post("/v1/cluster:handover", r#"{"to":"n7"}"#).await.problem(400);
    served.post("/v1/cluster:handover", "").await.problem(409);
    let moved = served.post("/v1/cluster:handover", r#"{"to":"n1"}"#).await;
    assert_eq!((moved.status, &moved.json()["dispatcher"]), (200, &json!("n1")));
}

#[actix_web::test]
async fn failovers_are_listed_newest_first() {
    let served = Served::with_slots(1);
    for epoch in 1..3 {
        served.rig.apply(vec![Record::Failover(Box::new(Failover {
            epoch: Epoch(epoch),
            generation: Generation(0),
            from: (epoch > 1).then_some(NodeId(1)),
            to: NodeId(1),
            cause: "killed".into(),
            suspected_at: UnixMs(0),
            elected_at: UnixMs(90),
            first_dispatch_at: None,
            unavailable_ms: 90,
            adopted: 2,
            retried: 1,
            lost_attempts: 0,
        }))]);
    }
    let said = served.get("/v1/cluster/failovers").await.json();
    let newest = &said["failovers"][0];
    assert_eq!((&newest["epoch"], &newest["from"], &newest["to"]), (&json!(2), &json!("n1"), &json!("n1")));
    let jobs = json!({"running": null, "kept": 0, "adopted": 2, "retried": 1, "duplicate": 0, "lost_attempts": 0});
    assert_eq!(newest["jobs"], jobs);
    assert_eq!(newest["elected_at"], "1970-01-01T00:00:00.090Z");
    assert_eq!(said["failovers"][1]["from"], json!(null));
}

#[actix_web::test]
async fn a_failover_is_told_by_phase_and_by_job() {
    let served = Served::with_slots(1);
    let failover = Failover {
        epoch: Epoch(2),
        generation: Generation(0),
        from: None,
        to: NodeId(1),
        cause: "silent".into(),
        suspected_at: UnixMs(1_000),
        elected_at: UnixMs(1_090),
        first_dispatch_at: Some(UnixMs(1_095)),
        unavailable_ms: 90,
        adopted: 1,
        retried: 1,
        lost_attempts: 1,
    };
    let fate = |job, fate| JobFate { job: JobId(job), node: NodeId(1), fate };
    served.rig.apply(vec![Record::FailoverTold(Box::new(FailoverTale {
        failover,
        confirmed_at: Some(UnixMs(1_004)),
        reconciled_at: Some(UnixMs(5_100)),
        running: 3,
        kept: 0,
        duplicate: 1,
        fates: vec![fate(1, Fate::Adopted), fate(2, Fate::Duplicate)],
    }))]);
    let said = served.get("/v1/cluster/failovers").await.json();
    let told = &said["failovers"][0];
    let phases = json!({"suspected": 0, "confirmed": 4, "elected": 90, "reconciled": 4100, "first_dispatch": 95});
    assert_eq!(told["phases_ms"], phases);
    let jobs = json!({"running": 3, "kept": 0, "adopted": 1, "retried": 1, "duplicate": 1, "lost_attempts": 1});
    assert_eq!(told["jobs"], jobs);
    assert_eq!((&told["fates"][1]["fate"], &told["fates"][1]["node"]), (&json!("duplicate"), &json!("n1")));
    assert_eq!((told["fates"].as_array().unwrap().len(), &told["fates_left_out"]), (2, &json!(1)));
}

#[actix_web::test]
async fn probes_tell_life_from_readiness() {
    let served = Served::with_slots(1);
    assert_eq!(served.get("/livez").await.text, "ok\n");
    assert_eq!(served.get("/readyz").await.status, 200);
    let head = served.send(served.request("HEAD", "/livez")).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    served.rig.has_dispatcher.store(false, Ordering::SeqCst);
    assert_eq!(served.get("/livez").await.status, 200);
    served.get("/readyz").await.problem(503);
    let verbose = served.get("/readyz?verbose").await;
    assert_eq!((verbose.status, &verbose.json()["parts"][0]["healthy"]), (503, &json!(false)));
    assert_eq!(served.get("/v1/version").await.json()["api"], "v1");
    let page = served.get("/").await;
    assert!(page.text.contains("id=\"page\"") && page.header("content-security-policy").contains("default-src 'none'"));
}

#[actix_web::test]
async fn figures_are_in_the_prometheus_text_format() {
    let served = Served::with_slots(1);
    served.job(NOOP).await;
    served.job(NOOP).await;
    served.get("/nowhere").await.problem(404);
    let text = served.get("/metrics").await.text;
    for line in [
        "relais_jobs{state=\"running\"} 1",
        "relais_queue_jobs{queue=\"default\",state=\"queued\"} 1",
        "relais_epoch 1",
        "relais_is_dispatcher 1",
        "relais_nodes_online 1",
        "relais_http_requests_total{code=\"2xx\",route=\"POST /v1/jobs\"} 2",
        "relais_http_requests_total{code=\"4xx\",route=\"none\"} 1",
        "relais_http_request_duration_seconds_count{route=\"POST /v1/jobs\"} 2",
        "relais_of_the_node 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in:\n{text}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}
