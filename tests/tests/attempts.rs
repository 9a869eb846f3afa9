//! F21 to F23: attempts that do harm. A job that takes its node's process down each time is given up and the others
//! go on; output without end and without a newline is capped; nothing of an attempt is left when it is over.

use relais_tests::cluster::job::Job;
use relais_tests::cluster::wait::{look_for, until};
use relais_tests::cluster::{Cluster, Options};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How long a part of a test may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

fn shell(script: &str) -> Value {
    json!({"kind": "exec", "payload": {"command": ["sh", "-c", script]}})
}

#[test]
fn f21_a_poison_job_is_given_up_and_the_others_go_on() {
    let mut cluster = Cluster::start(3, Options { slots: 4, ..Options::default() });
    // The parent of a job is its node's spawner, and whose child that is, is the node.
    let mut poison = shell("kill -9 $(cut -d ' ' -f 4 /proc/$PPID/stat); sleep 60");
    poison["retry"] = json!({"max_lost": 2, "max_attempts": 5});
    let ids: Vec<String> = (0..6).map(|n| cluster.nodes[n % 3].submit(&shell("sleep 1; echo done"))).collect();
    let poison = cluster.nodes[0].submit(&poison);
    let mut falls = Vec::new();
    let started = Instant::now();
    let job = until("the poison job to be given up", LIMIT, || {
        for node in &mut cluster.nodes {
            // As whoever supervises the node's process would.
            if !node.runs() {
                node.reap(Duration::from_secs(10));
                falls.push(node.name.clone());
                node.start();
            }
        }
        let seen = cluster.nodes.iter().find_map(|node| node.job(&poison));
        seen.filter(Job::has_ended)
    });
    println!("F21: {falls:?} fell, given up after {:?}", started.elapsed());
    assert_eq!(job.state, "failed");
    let outcomes: Vec<_> = job.attempts.iter().map(|attempt| attempt.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("lost"); 3], "two losses are allowed");
    let hit: Vec<&str> = job.attempts.iter().map(|attempt| attempt.node.as_str()).collect();
    assert_eq!(hit, falls, "each attempt took the node down that it was on");
    assert!(hit.windows(2).all(|pair| pair[0] != pair[1]), "another node is tried: {hit:?}");
    cluster.await_whole();
    let shown = cluster.nodes[0].read(&format!("/v1/jobs/{poison}")).expect("the job");
    assert_eq!(shown["error"]["type"], "lost_too_often", "{shown}");
    cluster.await_all_ended(0, LIMIT);
    let others: Vec<Job> = ids.iter().map(|id| cluster.nodes[0].job(id).expect("a job")).collect();
    assert!(others.iter().all(|job| job.state == "succeeded"), "{others:?}");
    let after = cluster.nodes[2].submit(&shell("echo fine"));
    until("a job after it", LIMIT, || cluster.nodes[1].job(&after).filter(|job| job.state == "succeeded"));
}

/// Memory of a process that is in RAM, in bytes.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Bytes of all files below `folder` whose name says that they are output.
fn output_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => output_bytes(&entry.path()),
        Ok(metadata) if entry.file_name().to_string_lossy().contains(".out.") => metadata.len(),
        _ => 0,
    });
    bytes.sum()
}

#[test]
fn f22_a_gigabyte_of_output_without_a_newline_is_capped() {
    const BYTES: u64 = 1_000_000_000;
    const MEMORY_MAX: u64 = 64 << 20;
    let cluster = Cluster::start(1, Options::default());
    let pid = cluster.nodes[0].pid();
    let script = "printf 'the head'; tr '\\000' '\\377' < /dev/zero | head -c 1000000000; printf 'the \\376 tail'";
    let before = resident(pid).expect("the node's memory");
    let (mut most, mut most_kept) = (before, 0);
    let started = Instant::now();
    let id = cluster.nodes[0].submit(&shell(script));
    let job = until("the end of its output", LIMIT, || {
        most = most.max(resident(pid)?);
        most_kept = most_kept.max(output_bytes(&cluster.nodes[0].data_dir));
        cluster.nodes[0].job(&id).filter(Job::has_ended)
    });
    println!(
        "F22: 1 GB in {:?}; memory {} MiB before, {} MiB at most; {} MiB kept at most",
        started.elapsed(),
        before >> 20,
        most >> 20,
        most_kept >> 20
    );
    assert_eq!(job.state, "succeeded");
    assert!(most - before < MEMORY_MAX, "memory grew by {} MiB", (most - before) >> 20);
    assert!(most_kept > 0 && most_kept < 12 << 20, "{most_kept} bytes are kept");
    let logs = cluster.nodes[0].ask("GET", &format!("/v1/jobs/{id}/logs?stream=stdout"), "").expect("its output");
    assert_eq!(logs.header("relais-output-truncated"), Some("true"));
    assert_eq!(logs.header("relais-output-total"), Some((BYTES + 8 + 10).to_string().as_str()));
    assert!(
        logs.body.starts_with(b"the head\xff\xff") && logs.body.ends_with(b"\xff\xffthe \xfe tail"),
        "head and tail"
    );
    assert!(logs.body.len() as u64 > 8 << 20 && (logs.body.len() as u64) < 12 << 20, "{}", logs.body.len());
    let tail = cluster.nodes[0].ask("GET", &format!("/v1/jobs/{id}/logs?stream=stdout&tail=12"), "").expect("its end");
    assert_eq!(tail.body, b"\xff\xffthe \xfe tail");
    assert!(cluster.nodes[0].read("/readyz").is_some(), "the node is well");
}

/// Processes that bear the mark of a job in their environment, or one of `words` in their command line.
fn left_of(job: &str, words: &[String]) -> Vec<String> {
    let mark = format!("RELAIS_JOB_ID={job}");
    let mut left = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let (environ, line) = (read("environ"), read("cmdline"));
        let marked = environ.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes());
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if marked || words.iter().any(|word| line.starts_with("sleep") && line.contains(word.as_str())) {
            left.push(format!("{} {line}", entry.file_name().to_string_lossy()));
        }
    }
    left
}

/// Runs a job to its end; it, and how long it took.
fn run(cluster: &Cluster, spec: &Value) -> (String, Value, Duration) {
    let started = Instant::now();
    let id = cluster.nodes[0].submit(spec);
    until("its end", LIMIT, || cluster.nodes[0].job(&id).filter(Job::has_ended));
    let job = cluster.nodes[0].read(&format!("/v1/jobs/{id}")).expect("the job");
    (id, job, started.elapsed())
}

#[test]
fn f23_nothing_of_an_attempt_outlives_it() {
    let cluster = Cluster::start(1, Options::default());
    // Times that nobody else sleeps for, so that a process that dropped its environment is known, too.
    let own = |n: u32| format!("{}.{}", 70_000 + n, std::process::id());
    let bomb = own(1);
    let (id, job, _) =
        run(&cluster, &shell(&format!("for n in $(seq 200); do (sleep {bomb} &) & done; wait; sleep 0.2; exit 0")));
    assert_eq!(
        (&job["state"], left_of(&id, &[bomb])),
        (&json!("succeeded"), Vec::<String>::new()),
        "a fork bomb of 200"
    );

    let [daemon, bare] = [own(2), own(3)];
    let script = format!("(setsid sh -c '(sleep {daemon} &)' &); (setsid env -i sleep {bare} &); sleep 0.3; exit 5");
    let (id, job, _) = run(&cluster, &shell(&script));
    assert_eq!((&job["state"], &job["exit_code"]), (&json!("failed"), &json!(5)));
    let words = [daemon, bare];
    let gone = look_for(Duration::from_secs(10), || left_of(&id, &words).is_empty().then_some(()));
    assert!(gone.is_some(), "a daemon that left its group: {:?}", left_of(&id, &words));

    let deaf = own(4);
    let mut spec = shell(&format!("trap 'echo told >&2' TERM; sleep {deaf} & while :; do wait; sleep 0.1; done"));
    spec["timeout"] = json!("1s");
    let (id, job, took) = run(&cluster, &spec);
    println!("F23: deaf to TERM, ended after {took:?}: {}", job["error"]);
    assert_eq!((&job["state"], &job["error"]["type"]), (&json!("failed"), &json!("timeout")));
    assert_eq!((&job["attempts"][0]["outcome"], &job["attempts"][0]["signal"]), (&json!("timed_out"), &json!(9)));
    assert!(took >= Duration::from_secs(6), "a second, and five of grace: {took:?}");
    let log = cluster.nodes[0].ask("GET", &format!("/v1/jobs/{id}/logs?stream=stderr"), "").expect("its output");
    assert!(log.text().contains("told"), "TERM came first: {}", log.text());
    assert_eq!(left_of(&id, &[deaf]), Vec::<String>::new());

    let told = own(5);
    let mut spec = shell(&format!("trap 'exit 0' TERM; sleep {told} & wait"));
    spec["timeout"] = json!("1s");
    let (id, job, _) = run(&cluster, &spec);
    let last = &job["attempts"][0];
    assert_eq!(last["outcome"], "timed_out", "an exit code of 0 after TERM is no success");
    assert_eq!((&last["exit_code"], &last["signal"]), (&json!(0), &Value::Null), "it heard the TERM");
    assert_eq!(left_of(&id, &[told]), Vec::<String>::new());
    assert!(cluster.nodes[0].read("/readyz").is_some(), "the node is well");
}
