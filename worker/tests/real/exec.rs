//! `exec`: ends, environment, folders, files, and what is said when a process cannot start.

use super::node::{Node, until};
use relais_worker::executor::{Ended, ErrorType, Outcome, clear_work_folder};
use relais_worker::output::{Stream, View};
use serde_json::json;
use std::sync::Arc;

fn error(ended: &Ended) -> (ErrorType, &str) {
    let (error_type, message) = ended.error.as_ref().expect("an error");
    (*error_type, message)
}

fn stdout(ended: &Ended) -> String {
    String::from_utf8(ended.output.tail.clone()).unwrap()
}

#[tokio::test]
async fn a_code_of_zero_succeeds_and_leaves_nothing() {
    let node = Node::start();
    let task = node.task("exec", json!({"command": ["true"]}));
    let job = task.job;
    let ended = node.run(task).await;
    assert_eq!(
        (ended.outcome, ended.exit_code, ended.signal, ended.error.clone()),
        (Outcome::Succeeded, Some(0), None, None)
    );
    assert!(ended.finished_at > ended.started_at);
    assert_eq!(std::fs::read_dir(node.work()).unwrap().count(), 0);
    assert_eq!(node.output.attempts(job).await.unwrap(), [0; 0]);
    assert_eq!(std::fs::read_dir(node.path("output")).unwrap().count(), 0);
}

#[tokio::test]
async fn codes_and_signals_are_told() {
    let node = Node::start();
    let ended = node.run(node.shell("exit 7")).await;
    assert_eq!((ended.outcome, ended.exit_code), (Outcome::Failed, Some(7)));
    assert_eq!(error(&ended), (ErrorType::Exit, "exit code 7"));

    let ended = node.run(node.shell("kill -USR1 $$")).await;
    assert_eq!((ended.outcome, ended.exit_code, ended.signal), (Outcome::Failed, None, Some(10)));
    assert_eq!(error(&ended), (ErrorType::Signal, "ended by signal 10 (SIGUSR1)"));

    let ended = node.run(node.task("exec", json!({"command": ["bash", "-c", "kill -40 $$"]}))).await;
    assert_eq!((ended.outcome, ended.signal), (Outcome::Failed, Some(40)));
}

#[tokio::test]
async fn output_is_kept_apart_and_together() {
    let node = Node::start();
    let task = node.shell("echo one; sleep 0.1; echo two >&2; sleep 0.1; printf 'thr\\0ee'");
    let job = task.job;
    let ended = node.run(task).await;
    assert_eq!(ended.output.tail, b"one\ntwo\nthr\0ee");
    assert_eq!((ended.output.stdout, ended.output.stderr, ended.output.truncated), (10, 4, false));
    let out = node.output.read(job, 1, View::Only(Stream::Stdout), 0, 1000).await.unwrap();
    assert_eq!((out.bytes().as_slice(), out.next, out.end, out.running), (&b"one\nthr\0ee"[..], 10, 10, false));
    let err = node.output.read(job, 1, View::Only(Stream::Stderr), 1, 1000).await.unwrap();
    assert_eq!(err.bytes(), b"wo\n");
    let both = node.output.read(job, 1, View::Merged, 2, 8).await.unwrap();
    assert_eq!((both.bytes().as_slice(), both.next, both.end), (&b"e\ntwo\nth"[..], 10, 14));
    assert_eq!(both.pieces[1].stream, Stream::Stderr);
}

#[tokio::test]
async fn a_missing_command_is_named() {
    let node = Node::start();
    for (command, part) in
        [("no-such-command", "was not found"), ("/no/such/command", "does not exist"), ("/etc/passwd", "executable")]
    {
        let ended = node.run(node.task("exec", json!({"command": [command]}))).await;
        let (error_type, message) = error(&ended);
        assert_eq!((ended.outcome, error_type), (Outcome::Failed, ErrorType::Spawn));
        assert!(message.contains(command) && message.contains(part) && message.contains("n1"), "{message}");
    }
    assert_eq!(std::fs::read_dir(node.work()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_the_system_refuses_is_explained() {
    let node = Node::start();
    let script = node.path("script");
    std::fs::write(&script, "echo no first line").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ended = node.run(node.task("exec", json!({"command": [script]}))).await;
    let (error_type, message) = error(&ended);
    assert_eq!(error_type, ErrorType::Spawn);
    assert!(message.contains("#!/bin/sh"), "{message}");
    let ended = node.run(node.task("exec", json!({"command": ["true", "x".repeat(300_000)]}))).await;
    assert!(error(&ended).1.contains("too long"), "{ended:?}");
    // The spawner is none the worse for it.
    assert_eq!(node.run(node.shell("exit 0")).await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let node = Node::start();
    let ended = node.run(node.task("exec", json!({"command": ["true"], "cwd": "/no/such/folder"}))).await;
    let (error_type, message) = error(&ended);
    assert_eq!(error_type, ErrorType::Spawn);
    assert!(message.contains("`/no/such/folder` does not exist on node `n1`"), "{message}");
    let ended = node.run(node.task("exec", json!({"command": ["true"], "cwd": "/etc/passwd"}))).await;
    assert!(error(&ended).1.contains("is no folder"), "{ended:?}");
}

#[tokio::test]
async fn an_unwritable_folder_is_the_jobs_own_affair_and_a_broken_work_folder_ours() {
    let node = Node::start();
    let task = node.task("exec", json!({"command": ["sh", "-c", "pwd; echo x > file"], "cwd": "/proc"}));
    let ended = node.run(task).await;
    assert_eq!((ended.outcome, error(&ended).0), (Outcome::Failed, ErrorType::Exit));
    assert!(stdout(&ended).contains("/proc\n"), "{}", stdout(&ended));

    let mut task = node.shell("exit 0");
    std::fs::write(node.path("file"), "").unwrap();
    task.work_dir = node.path("file");
    let ended = node.run(task).await;
    let (error_type, message) = error(&ended);
    assert_eq!(error_type, ErrorType::Spawn);
    assert!(message.contains("private folder"), "{message}");
}

#[tokio::test]
async fn the_environment_is_only_what_is_meant() {
    let node = Node::start();
    let payload = json!({"command": ["env"], "env": {"MINE": "1", "LANG": "xx"}});
    let mut task = node.task("exec", payload);
    task.extra_env = vec![("RELAIS_ARRAY_INDEX".to_owned(), "4".to_owned())];
    let job = task.job.to_string();
    let ended = node.run(task).await;
    let text = stdout(&ended);
    let mut keys: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    keys.retain(|key| !matches!(*key, "HOME" | "TZ"));
    assert_eq!(
        keys,
        [
            "LANG",
            "MINE",
            "PATH",
            "RELAIS_ARRAY_INDEX",
            "RELAIS_ATTEMPT",
            "RELAIS_FENCE",
            "RELAIS_JOB_ID",
            "RELAIS_NODE",
            "RELAIS_PROGRESS_FILE",
            "RELAIS_RESULT_FILE"
        ]
    );
    for line in [
        "MINE=1",
        "LANG=xx",
        "RELAIS_ATTEMPT=1",
        "RELAIS_FENCE=65537",
        "RELAIS_NODE=n1",
        &format!("RELAIS_JOB_ID={job}"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn a_process_begins_clean() {
    let node = Node::start();
    // No pipe is open in the shell while its descriptors are listed.
    let script = "umask; grep -E '^Sig(Blk|Ign)' /proc/$$/status | cut -f2; ps -o pid=,pgid= -p $$; ls /proc/$$/fd";
    let ended = node.run(node.shell(script)).await;
    let text = stdout(&ended);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "0077");
    for mask in &lines[1..3] {
        // Above 31 are signals of the C library's own, inherited from whoever ran the tests.
        assert_eq!(u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff, 0, "blocked and ignored signals");
    }
    let ids: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(ids[0], ids[1], "it leads its group");
    assert_eq!(lines[4..], ["0", "1", "2"], "it has three descriptors");
}

#[tokio::test]
async fn stdin_is_read_or_empty() {
    let node = Node::start();
    let text = "line\n".repeat(100_000);
    let ended = node.run(node.task("exec", json!({"command": ["wc", "-c"], "stdin": text}))).await;
    assert_eq!(stdout(&ended).trim(), "500000");
    let ended = node.run(node.task("exec", json!({"command": ["wc", "-c"]}))).await;
    assert_eq!(stdout(&ended).trim(), "0");
}

#[tokio::test]
async fn a_private_folder_is_private_and_removed() {
    let node = Node::start();
    let outside = node.path("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "").unwrap();
    let script = format!(
        "pwd; stat -c %a .; mkdir -p a/b; touch a/b/c; ln -s {} link; chmod 500 a/b; chmod 000 a; exit 3",
        outside.display()
    );
    let ended = node.run(node.shell(&script)).await;
    let text = stdout(&ended);
    let (folder, mode) = text.trim().split_once('\n').unwrap();
    assert!(folder.starts_with(node.work().to_str().unwrap()), "{folder}");
    assert_eq!(mode, "700");
    assert_eq!(ended.exit_code, Some(3));
    assert_eq!(std::fs::read_dir(node.work()).unwrap().count(), 0);
    assert!(outside.join("kept").exists());
}

#[tokio::test]
async fn result_and_progress_are_read() {
    let node = Node::start();
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut task = node.shell(
        "echo 10 > $RELAIS_PROGRESS_FILE; while [ ! -e go ]; do sleep 0.02; done; echo 90 > $RELAIS_PROGRESS_FILE; \
         echo '{\"rows\": 3}' > $RELAIS_RESULT_FILE",
    );
    let folder = node.work().join(format!("{}-{}", task.job, task.fence));
    let sink = Arc::clone(&told);
    task.progress = Some(Arc::new(move |text| sink.lock().push(text)));
    let (ended, _stop) = node.begin(task);
    until("progress is told", || *told.lock() == ["10"]).await;
    std::fs::write(folder.join("go"), "").unwrap();
    let ended = ended.await.unwrap();
    assert_eq!((ended.result.as_deref(), ended.progress.as_deref()), (Some("{\"rows\": 3}"), Some("90")));
    assert_eq!(std::fs::read_dir(node.work()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_bad_result_is_ignored_aloud() {
    let node = Node::start();
    let ended = node.run(node.shell("echo rows > $RELAIS_RESULT_FILE")).await;
    assert_eq!((ended.outcome, ended.result.clone()), (Outcome::Succeeded, None));
    assert!(stdout(&ended).starts_with("relais: the result file was ignored: it is no JSON"), "{}", stdout(&ended));
}

#[tokio::test]
async fn leftovers_of_a_dead_node_are_cleared() {
    let node = Node::start();
    assert_eq!(clear_work_folder(&node.work()).unwrap(), 0);
    std::fs::create_dir_all(node.work().join("job-1/a")).unwrap();
    std::fs::write(node.work().join("job-1.result"), "1").unwrap();
    assert_eq!(clear_work_folder(&node.work()).unwrap(), 2);
    assert_eq!(std::fs::read_dir(node.work()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_unknown_kind_is_named() {
    let node = Node::start();
    let ended = node.run(node.task("brew", json!({}))).await;
    let (error_type, message) = error(&ended);
    assert_eq!(error_type, ErrorType::Spawn);
    assert!(message.contains("`brew`") && message.contains("exec, http, noop"), "{message}");
}
