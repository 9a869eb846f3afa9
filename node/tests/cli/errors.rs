//! Wrong input and refusals: one line that says cause and next step, and the exit code for it.

use crate::fake::{Fake, NOBODY, Reply, Run, relais, run};
use serde_json::json;
use std::net::{TcpListener, UdpSocket};

#[test]
fn wrong_input_is_told_with_a_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (bad_json, no_job) = (file("bad.json", "{\"kind\": \"exec\"\n oops}"), file("no.json", "[1]"));
    let (empty, unknown) = (file("empty", ""), file("relais.toml", "name = \"a\"\nslot = 4\n"));
    let big = file("big", &"x".repeat((1 << 20) + 1));
    let table: [(&[&str], &str); 13] = [
        (
            &["submit", "-f", &bad_json],
            "bad.json: not JSON: expected `,` or `}` at line 2 column 2; nothing was submitted",
        ),
        (&["submit", "-f", &no_job], "no.json: item 0 is `1`, not a job spec; write {\"kind\": …, \"payload\": …}"),
        (&["submit", "-f", &empty], "empty: no job in it; write"),
        (
            &["submit", "-f", "/nowhere"],
            "can't read /nowhere: No such file or directory (os error 2); give -f a readable",
        ),
        (&["submit", "--stdin", "/nowhere", "--", "cat"], "can't read /nowhere for --stdin: No such file"),
        (&["submit", "--stdin", &big, "--", "cat"], "longer than 1 MiB; put it into a file that the job reads"),
        (&["nodes", "--token-file", "/nowhere"], "can't read the token file /nowhere: No such file"),
        (&["nodes", "--token-file", &empty], "empty is empty; it must hold an API token"),
        (&["start", "--slots", "many"], "slots `many` (--slots) is no number from 0 to 100000"),
        (&["start", "--name", "N 1"], "name `N 1` (--name) is no node name; use 1 to 63 of"),
        (&["start", "--config", &unknown], "relais.toml line 2: unknown field `slot`"),
        (&["start", "--label", "zone"], "label `zone` (--label) is no label; write KEY=VALUE, like zone=eu"),
        (&["start", "--join", "10.0.0.5:7800"], "--join needs the cluster's join token; make one there with"),
    ];
    let node = Fake::new(|_, _| Reply::problem(500, "must not be asked"));
    for (words, expected) in table {
        let end = run(&[&node], words);
        assert_eq!((end.code, end.out.as_str()), (2, ""), "{words:?}: {}", end.err);
        assert!(end.err.starts_with("relais: ") && end.err.contains(expected), "{words:?}: {}", end.err);
        assert_eq!(end.err.lines().count(), 1, "{words:?}: {}", end.err);
    }
    assert!(node.seen().is_empty());
}

#[test]
fn a_witness_cannot_begin_a_cluster() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().join("data").display().to_string();
    let end =
        run(&[], &["start", "--witness", "--data-dir", &data_dir, "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    assert_eq!((end.code, end.out.as_str()), (1, ""), "{}", end.err);
    assert!(
        end.err.contains("a witness can't begin a cluster: it never dispatches; start it with --join"),
        "{}",
        end.err
    );
    assert_eq!(end.err.lines().count(), 1, "{}", end.err);
}

#[test]
fn refusals_are_told_with_their_pointers() {
    let table = [
        (400, 1, "correct the request and send it again"),
        (401, 77, "give a good API token in RELAIS_TOKEN or with --token-file"),
        (403, 77, "use an API token of a role that may do this"),
        (404, 1, "`relais jobs`, `relais nodes`, `relais schedules` and `relais token ls` list what there is"),
        (413, 1, "send less at once"),
        (422, 1, "correct the request and send it again"),
        (429, 1, "wait a little and try again"),
        (507, 1, "free disk space on the nodes"),
    ];
    for (status, code, next) in table {
        let node = Fake::new(move |_, _| {
            let errors = json!([{"pointer": "/payload/command", "detail": "must not be empty"}]);
            Reply::json(status, json!({"title": "refused", "detail": "so it is", "status": status, "errors": errors}))
        });
        let end = run(&[&node], &["submit", "--", ""]);
        let expected = format!("relais: refused: so it is; /payload/command: must not be empty ({status}); {next}");
        assert_eq!(end.code, code, "{}", end.err);
        assert!(end.err.starts_with(&expected), "{}", end.err);
        assert_eq!((end.err.lines().count(), node.seen().len()), (1, 1), "{}", end.err);
    }
}

#[test]
fn an_ambiguous_beginning_names_the_candidates() {
    let node = Fake::new(|_, _| Reply::json(409, json!({"title": "ambiguous id", "candidates": ["0196a", "0196b"]})));
    let end = run(&[&node], &["job", "0196"]);
    assert_eq!(
        (end.code, end.err.as_str()),
        (1, "relais: ambiguous id; it could be 0196a or 0196b (409); give more characters of the id\n")
    );
}

#[test]
fn no_node_reachable_is_69() {
    let closed = NOBODY;
    let end = run(&[], &["nodes", "--addr", closed]);
    assert_eq!(end.code, 69);
    let expected = format!(
        "relais: no node reachable: {closed} (Connection refused (os error 111)); \
         start one with `relais dev`, or name the nodes in RELAIS_ADDR\n"
    );
    assert_eq!(end.err, expected);
    let end = run(&[], &["submit", "--addr", closed, "--retry-for", "200ms", "--", "true"]);
    assert_eq!(end.code, 69);
}

#[test]
fn a_request_that_may_have_been_carried_out_is_not_repeated() {
    let broken = Fake::new(|_, _| Reply::broken());
    let other = Fake::new(|_, _| Reply::json(200, json!({})));
    let end = run(&[&broken, &other], &["cluster", "handover"]);
    assert_eq!(end.code, 1);
    assert!(end.err.contains("it may or may not have been carried out; look before you repeat it"), "{}", end.err);
    assert!(other.seen().is_empty());
}

#[test]
fn an_answer_that_nobody_understands_is_an_error() {
    let node = Fake::new(|_, _| Reply::text("<html>hello</html>"));
    let end = run(&[&node], &["nodes"]);
    assert_eq!(end.code, 1);
    assert!(end.err.contains("the node's answer is not understood"), "{}", end.err);
}

#[test]
fn dev_names_the_port_that_is_taken_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dev = |http: &str, listen: &str| -> Run {
        let data = folder.path().join("data");
        let words = ["dev", "--nodes", "1", "--http", http, "--listen", listen, "--data-dir", data.to_str().unwrap()];
        let end = relais(&[]).args(words).output().unwrap().into();
        assert!(!data.exists());
        end
    };
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let quic = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (http, quic) = (http.local_addr().map(|a| (a, http)).unwrap(), quic.local_addr().map(|a| (a, quic)).unwrap());
    let end = dev(&http.0.to_string(), "127.0.0.1:7800");
    assert_eq!((end.code, end.out.as_str()), (1, ""));
    assert!(
        end.err
            .starts_with(&format!("relais: TCP port {} is in use, and n1 needs it for HTTP; stop what", http.0.port())),
        "{}",
        end.err
    );
    // A port that was free a moment ago may be taken by now; not five times in a row.
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let told = (0..5).any(|_| dev(&free(), &quic.0.to_string()).err.contains("is in use, and n1 needs it for QUIC"));
    assert!(told);
    let end = dev("0.0.0.0:7700", "127.0.0.1:7800");
    assert_eq!(end.code, 2);
}
