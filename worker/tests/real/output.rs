//! Captured output: bounds, offsets over a hole, following, and reading after a restart.

use super::node::Node;
use relais_protocol::ids::JobId;
use relais_worker::executor::Outcome;
use relais_worker::output::{Limits, Output, Stream, View};
use std::os::unix::fs::PermissionsExt;

const SMALL: Limits = Limits { segment_bytes: 100, head_segments: 2, tail_segments: 2 };
const JOB: JobId = JobId(7);

#[tokio::test]
async fn offsets_stay_right_over_a_hole() {
    let folder = tempfile::tempdir().unwrap();
    let output = Output::with_limits(folder.path().join("o"), SMALL).unwrap();
    let capture = output.capture(JOB, 2);
    let written: Vec<u8> = (0..10_000u32).map(|n| (n % 251) as u8).collect();
    for part in written.chunks(37) {
        capture.write(Stream::Stdout, part.to_vec()).await;
    }
    capture.write(Stream::Stderr, b"last".to_vec()).await;
    let live = output.lengths(JOB, 2).await.unwrap();
    assert_eq!((live.stdout, live.stderr, live.truncated, live.running), (10_000, 4, true, true));
    assert!(capture.finish().truncated);
    for view in [View::Only(Stream::Stdout), View::Merged] {
        let mut at = 0;
        let mut holes = 0;
        loop {
            let chunk = output.read(JOB, 2, view, at, 50).await.unwrap();
            for piece in chunk.pieces.iter().filter(|piece| piece.stream == Stream::Stdout) {
                let from = piece.offset as usize;
                assert_eq!(piece.data[..], written[from..from + piece.data.len()]);
            }
            holes += u32::from(chunk.dropped > 0);
            if chunk.next == at {
                break;
            }
            at = chunk.next;
        }
        assert_eq!(holes, 1);
        assert_eq!(at, if view == View::Merged { 10_004 } else { 10_000 });
    }
}

#[tokio::test]
async fn a_restarted_node_reads_what_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("o");
    let output = Output::open(path.clone()).unwrap();
    let capture = output.capture(JOB, 1);
    capture.write(Stream::Stdout, b"abc".to_vec()).await;
    capture.write(Stream::Stderr, b"de".to_vec()).await;
    drop(capture);
    // A node that died in the middle of a write leaves half a frame.
    let segment = path.join(JOB.to_string()).join("1.out.0");
    assert_eq!(std::fs::metadata(&segment).unwrap().permissions().mode() & 0o777, 0o600);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes.extend([9, 0, 0, 0, 5, 0]);
    std::fs::write(&segment, bytes).unwrap();

    let output = Output::open(path).unwrap();
    let lengths = output.lengths(JOB, 1).await.unwrap();
    assert_eq!((lengths.stdout, lengths.stderr, lengths.truncated, lengths.running), (3, 2, false, false));
    assert_eq!(output.read(JOB, 1, View::Merged, 0, 100).await.unwrap().bytes(), b"abcde");
    assert_eq!(output.jobs().await.unwrap(), [JOB]);
    assert_eq!(output.attempts(JOB).await.unwrap(), [1]);
    assert!(output.follow(JOB, 1).is_none());
    output.remove(JOB).await.unwrap();
    output.remove(JOB).await.unwrap();
    assert_eq!(output.jobs().await.unwrap(), []);
    assert_eq!(output.read(JOB, 1, View::Merged, 5, 100).await.unwrap().next, 5);
}

#[tokio::test]
async fn a_follower_sees_each_byte_and_the_end() {
    let node = Node::start();
    let task = node.shell("for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.05; done");
    let job = task.job;
    let mut follow = node.output.follow(job, 1).expect("a begun attempt can be followed");
    let (ended, _stop) = node.begin(task);
    let mut seen = Vec::new();
    let mut at = 0;
    loop {
        let lengths = *follow.borrow_and_update();
        let chunk = node.output.read(job, 1, View::Merged, at, 1000).await.unwrap();
        assert_eq!(chunk.dropped, 0);
        at = chunk.next;
        seen.extend(chunk.bytes());
        if !lengths.running && at == lengths.of(View::Merged) {
            break;
        }
        if at >= lengths.of(View::Merged) && follow.changed().await.is_err() {
            break;
        }
    }
    assert_eq!(seen.len(), 15);
    assert_eq!(ended.await.unwrap().output.tail, seen);
}

#[tokio::test]
async fn an_attempt_ordered_twice_is_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let output = Output::with_limits(folder.path().join("o"), SMALL).unwrap();
    let first = output.capture(JOB, 1);
    first.write(Stream::Stdout, vec![b'a'; 1000]).await;
    drop(first);
    let second = output.capture(JOB, 1);
    second.write(Stream::Stdout, b"b".to_vec()).await;
    drop(second);
    assert_eq!(output.read(JOB, 1, View::Merged, 0, 5000).await.unwrap().bytes(), b"b");
}

#[tokio::test]
async fn a_full_disk_costs_the_output_and_not_the_job() {
    let node = Node::start();
    let folder = node.path("output");
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "in the way").unwrap();
    let ended = node.run(node.shell("echo hello; head -c 1000000 /dev/zero; printf END")).await;
    assert_eq!(ended.outcome, Outcome::Succeeded);
    assert!(ended.output.tail.ends_with(b"END"));
    assert!(ended.output.problem.unwrap().starts_with("output could not be kept"));
}
