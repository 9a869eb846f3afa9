//! `http` against a server of a few lines on loopback.

use super::node::{Node, until};
use relais_protocol::group::Origin;
use relais_worker::executor::origin::variables;
use relais_worker::executor::{ErrorType, Outcome, Stop};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers each connection with `answer`, after which it closes; what it was asked is kept.
struct Server {
    url: String,
    asked: Arc<parking_lot::Mutex<Vec<String>>>,
    hung_up: Arc<AtomicUsize>,
}

impl Server {
    /// With an empty answer it never answers, and counts who hangs up.
    async fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/path", listener.local_addr().unwrap());
        let asked = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let hung_up = Arc::new(AtomicUsize::new(0));
        let (into, count) = (Arc::clone(&asked), Arc::clone(&hung_up));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 16 * 1024];
                let length = stream.read(&mut buffer).await.unwrap();
                into.lock().push(String::from_utf8_lossy(&buffer[..length]).into_owned());
                if answer.is_empty() {
                    while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
                    count.fetch_add(1, Ordering::Relaxed);
                } else {
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self { url, asked, hung_up }
    }
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into_bytes()
}

#[tokio::test]
async fn an_answer_of_2xx_succeeds() {
    let (node, server) = (Node::start(), Server::start(answer("201 Created", "made")).await);
    let payload = json!({"method": "POST", "url": server.url, "headers": {"X-Mine": "1"}, "body": {"a": 1}});
    let ended = node.run(node.task("http", payload)).await;
    assert_eq!((ended.outcome, ended.error.clone()), (Outcome::Succeeded, None));
    assert_eq!(ended.output.tail, b"made");
    let asked = server.asked.lock()[0].to_lowercase();
    assert!(asked.starts_with("post /path http/1.1\r\n"), "{asked}");
    for part in ["x-mine: 1", "relais-fence: 65537", "relais-attempt: 1", "content-type: application/json", "{\"a\":1}"]
    {
        assert!(asked.contains(part), "{part} in {asked}");
    }
}

#[tokio::test]
async fn any_other_answer_fails() {
    let (node, server) = (Node::start(), Server::start(answer("500 Internal Server Error", "oh")).await);
    let ended = node.run(node.task("http", json!({"url": format!("{}?token=secret", server.url)}))).await;
    let (error_type, message) = ended.error.unwrap();
    assert_eq!((ended.outcome, error_type), (Outcome::Failed, ErrorType::Http));
    assert!(message.contains("was answered with 500") && !message.contains("secret"), "{message}");
    assert_eq!(ended.output.tail, b"oh");
}

#[tokio::test]
async fn a_refused_or_broken_connection_fails() {
    let node = Node::start();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ended = node.run(node.task("http", json!({"url": format!("http://{free}/")}))).await;
    let (error_type, message) = ended.error.unwrap();
    assert_eq!(error_type, ErrorType::Http);
    assert!(message.to_lowercase().contains("refused"), "{message}");

    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_vec();
    let server = Server::start(cut).await;
    let ended = node.run(node.task("http", json!({"url": server.url}))).await;
    assert_eq!((ended.outcome, ended.error.unwrap().0), (Outcome::Failed, ErrorType::Http));
    assert_eq!(ended.output.tail, b"half");
}

#[tokio::test]
async fn a_stop_or_a_timeout_hangs_up() {
    let (node, server) = (Node::start(), Server::start(Vec::new()).await);
    let mut task = node.task("http", json!({"url": server.url}));
    task.timeout_ms = Some(200);
    assert_eq!(node.run(task).await.outcome, Outcome::TimedOut);
    until("the server sees the end of the first", || server.hung_up.load(Ordering::Relaxed) == 1).await;

    let (ended, stop) = node.begin(node.task("http", json!({"url": server.url})));
    until("the second is asked", || server.asked.lock().len() == 2).await;
    stop.send_replace(Some(Stop::Fenced));
    assert_eq!(ended.await.unwrap().stopped, Some(Stop::Fenced));
    until("the server sees the end of the second", || server.hung_up.load(Ordering::Relaxed) == 2).await;
}

#[tokio::test]
async fn a_member_of_an_array_says_which_it_is() {
    let (node, server) = (Node::start(), Server::start(answer("200 OK", "")).await);
    for (input, told) in [(r#""a b""#, Some("relais-array-input: a b\r\n")), (r#""a\nb""#, None)] {
        let origin = Origin::Member { index: 7, input: Some(input.to_owned()) };
        let mut task = node.task("http", json!({"url": server.url}));
        task.extra_env = variables(task.job, Some(&origin), None);
        assert_eq!(node.run(task).await.outcome, Outcome::Succeeded);
        let asked = server.asked.lock().pop().unwrap().to_lowercase();
        assert!(asked.contains("relais-array-index: 7\r\n") && asked.contains("relais-group-id: "), "{asked}");
        assert_eq!(asked.contains("relais-array-input"), told.is_some(), "{asked}");
        assert!(told.is_none_or(|told| asked.contains(told)), "{asked}");
    }
}

#[tokio::test]
async fn a_request_goes_on_with_the_trace_of_its_submit_unless_it_has_its_own() {
    let (node, server) = (Node::start(), Server::start(answer("200 OK", "")).await);
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let metadata = json!({"traceparent": parent, "tracestate": "a=b"}).to_string();
    for (headers, told) in [(json!({}), vec![parent, "a=b"]), (json!({"TraceParent": "mine"}), vec!["mine"])] {
        let mut task = node.task("http", json!({"url": server.url, "headers": headers}));
        task.extra_env = variables(task.job, None, Some(&metadata));
        assert_eq!(node.run(task).await.outcome, Outcome::Succeeded);
        let asked = server.asked.lock().pop().unwrap().to_lowercase();
        let lines = asked.lines().filter(|line| line.starts_with("trace"));
        let values: Vec<&str> = lines.filter_map(|line| Some(line.split_once(": ")?.1)).collect();
        assert_eq!(values, told, "{asked}");
    }
}
