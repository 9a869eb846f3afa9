//! One job that writes a gigabyte without a newline: memory stays flat, the disk bounded, both ends kept.
//!
//! In a test binary of its own, since it measures the memory of its whole process.

use relais_protocol::ids::{Epoch, Fence, JobId};
use relais_protocol::time::UnixMs;
use relais_worker::executor::{Executors, Outcome, Task};
use relais_worker::output::{Output, Stream, View};
use relais_worker::spawner::Spawner;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const JOB: JobId = JobId(7);
const FLOOD_BYTES: u64 = 1_000_000_000;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn disk_bytes(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn task(folder: &Path, output: &Output) -> Task {
    let script = format!("printf BEGIN; head -c {FLOOD_BYTES} /dev/zero; printf END");
    Task {
        job: JOB,
        fence: Fence::new(Epoch(1), 1),
        attempt: 1,
        kind: "exec".to_owned(),
        payload: serde_json::json!({"command": ["sh", "-c", script]}),
        timeout_ms: None,
        node_name: "n1".to_owned(),
        extra_env: Vec::new(),
        work_dir: folder.join("work"),
        leased: false,
        output: output.capture(JOB, 1),
        progress: None,
    }
}

#[tokio::test]
async fn a_flood_is_bounded_in_memory_and_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spawner =
        Spawner::start(env!("CARGO_BIN_EXE_relais-worker-probe").into(), vec!["__spawner".to_owned()]).unwrap();
    let executors = Executors::standard(Arc::new(|| UnixMs(0)), spawner);
    let output = Output::open(folder.path().join("output")).unwrap();
    let (_sender, stop) = tokio::sync::watch::channel(None);
    let task = task(folder.path(), &output);
    let ended = tokio::spawn(async move { executors.run(task, stop).await });
    let before = resident_bytes();
    let mut highest = before;
    while !ended.is_finished() {
        highest = highest.max(resident_bytes());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ended = ended.await.unwrap();
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert_eq!((ended.output.stdout, ended.output.truncated, ended.output.tail.len()), (FLOOD_BYTES + 8, true, 4096));
    assert!(highest - before < 8_000_000, "grew by {} bytes", highest - before);
    let disk = disk_bytes(&folder.path().join("output").join(JOB.to_string()));
    assert!((10_000_000..12_000_000).contains(&disk), "{disk} bytes on disk");

    let out = View::Only(Stream::Stdout);
    let head = output.read(JOB, 1, out, 0, 6).await.unwrap();
    assert_eq!((head.bytes().as_slice(), head.truncated, head.dropped), (&b"BEGIN\0"[..], true, 0));
    let tail = output.tail(JOB, 1, out, 4).await.unwrap();
    assert_eq!((tail.bytes().as_slice(), tail.next), (&b"\0END"[..], FLOOD_BYTES + 8));
    let kept_tail = output.read(JOB, 1, out, 6_000_000, usize::MAX).await.unwrap();
    assert!(kept_tail.bytes().len() >= 5_000_000 && kept_tail.dropped > 980_000_000);
}
