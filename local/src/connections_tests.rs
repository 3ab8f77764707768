//! Real sockets, with limits of a moment. That what must end does end decides; how soon does not.

use std::net::IpAddr;

use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Notify, oneshot};

use super::*;

const MOMENT: Duration = Duration::from_millis(200);

/// Longer than any test takes that passes.
const FOR_EVER: Duration = Duration::from_secs(60);

async fn started(limits: Limits) -> (u16, oneshot::Sender<()>) {
    let router = Router::new().route("/", post(async |body: Result<Bytes, _>| body.is_ok().to_string()));
    serving(router, limits)
}

fn serving(router: Router, limits: Limits) -> (u16, oneshot::Sender<()>) {
    let (port, listeners) = loopback(0).expect("a free port");
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(serve(listeners, router, limits, Abandoned::RunsOn, async {
        let _ = stopped.await;
    }));
    (port, stop)
}

async fn connected(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("it listens")
}

/// What comes until the server closes the connection.
async fn until_closed(mut stream: TcpStream) -> String {
    let mut received = Vec::new();
    let closed = tokio::time::timeout(FOR_EVER, stream.read_to_end(&mut received)).await;
    closed.expect("the server closes the connection").expect("nothing is lost");
    String::from_utf8(received).expect("HTTP is text here")
}

const WHOLE: &[u8] = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn connections_that_say_no_more_are_closed() {
    let (port, _running) = started(Limits { patience: MOMENT, ..Limits::default() }).await;
    for (sent, answered) in [
        (&b""[..], false),
        (b"POST / HTTP/1.1\r\nHost: local", false),
        // Idle, after a request and its reply.
        (WHOLE, true),
        // Half a body: whoever reads it is told.
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{", true),
    ] {
        let mut stream = connected(port).await;
        stream.write_all(sent).await.expect("sent");
        let received = until_closed(stream).await;
        assert_eq!(received.starts_with("HTTP/1.1 200 "), answered, "{received}");
        assert_eq!(received.ends_with("true"), sent == WHOLE, "{received}");
    }
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_for_another_to_end() {
    let (port, _running) = started(Limits { patience: MOMENT, connections: 2 }).await;
    let silent = [connected(port).await, connected(port).await];
    let mut third = connected(port).await;
    third.write_all(WHOLE).await.expect("sent");
    // It is answered all the same, since the silent ones are closed. Both are older than it.
    let received = until_closed(third).await;
    assert!(received.starts_with("HTTP/1.1 200 "), "{received}");
    for stream in silent {
        let nothing = stream.try_read(&mut [0; 1]);
        assert!(matches!(nothing, Ok(0)), "{nothing:?}");
    }
}

#[tokio::test]
async fn no_more_connections_are_served_at_a_time_than_the_limit() {
    let (port, _running) = started(Limits { patience: FOR_EVER, connections: 1 }).await;
    let mut first = connected(port).await;
    first.write_all(WHOLE).await.expect("sent");
    let mut reply = [0; 12];
    first.read_exact(&mut reply).await.expect("a reply");
    let mut second = connected(port).await;
    second.write_all(WHOLE).await.expect("sent");
    // Were it served, the server had answered while it answers the first one again.
    for _ in 0..20 {
        first.write_all(WHOLE).await.expect("sent");
        first.readable().await.expect("a reply");
        tokio::task::yield_now().await;
    }
    let unanswered = second.try_read(&mut reply);
    assert!(unanswered.is_err(), "{unanswered:?}");
    drop(first);
    assert!(matches!(tokio::time::timeout(FOR_EVER, second.read_exact(&mut reply)).await, Ok(Ok(_))));
    assert_eq!(&reply, b"HTTP/1.1 200");
}

/// As a function does in AWS. One caller is gone, and another one only sends no more.
#[tokio::test]
async fn a_request_runs_to_its_end_though_its_caller_goes_away() {
    let [begun, goes_on, ended] = [(); 3].map(|()| Arc::new(Notify::new()));
    let (begins, waits, ends) = (begun.clone(), goes_on.clone(), ended.clone());
    let works = get(async move || {
        begins.notify_one();
        waits.notified().await;
        ends.notify_one();
        "done"
    });
    let router = Router::new().route("/work", works).route("/", get(async || "here"));
    let (port, _running) = serving(router, Limits::default());
    for is_gone in [true, false] {
        let mut stream = connected(port).await;
        stream.write_all(b"GET /work HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
        begun.notified().await;
        stream.shutdown().await.expect("it sends no more");
        let listening = (!is_gone).then_some(stream);
        // What it would see of that end it has seen when it has answered others.
        for _ in 0..20 {
            let mut other = connected(port).await;
            other.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("sent");
            assert!(until_closed(other).await.ends_with("here"));
        }
        goes_on.notify_one();
        tokio::time::timeout(FOR_EVER, ended.notified()).await.expect("it runs to its end");
        if let Some(stream) = listening {
            let reply = until_closed(stream).await;
            assert!(reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("done"), "{reply}");
        }
    }
}

#[tokio::test]
async fn a_caller_that_takes_nothing_of_its_reply_makes_room_for_another() {
    // More than the operating system keeps for both ends.
    let large = Bytes::from(vec![b'x'; 64 << 20]);
    let router = Router::new().route("/", post(async || "small").get(async move || large));
    let (port, _running) = serving(router, Limits { patience: MOMENT, connections: 1 });
    let mut silent = connected(port).await;
    silent.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("sent");
    let mut other = connected(port).await;
    other.write_all(WHOLE).await.expect("sent");
    let received = until_closed(other).await;
    assert!(received.starts_with("HTTP/1.1 200 ") && received.ends_with("small"), "{received}");
}

/// The gateway counts their bytes, as API Gateway does, and refuses with a problem.
#[tokio::test]
async fn many_short_headers_are_read() {
    let (port, _running) = started(Limits::default()).await;
    let mut stream = connected(port).await;
    let headers = "X: 1\r\n".repeat(1_000);
    let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n{headers}\r\n");
    stream.write_all(format!("{head}{{}}").as_bytes()).await.expect("sent");
    let received = until_closed(stream).await;
    assert!(received.starts_with("HTTP/1.1 200 ") && received.ends_with("true"), "{received}");
}

#[tokio::test]
async fn both_loopback_addresses_answer() {
    let (port, _running) = started(Limits::default()).await;
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        // A machine without IPv6 has no such address to listen at.
        if TcpListener::bind((address, 0)).await.is_err() {
            assert!(address.is_ipv6());
            continue;
        }
        let mut stream = TcpStream::connect((address, port)).await.expect("it listens");
        stream.write_all(WHOLE).await.expect("sent");
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).await.expect("a reply");
        assert_eq!(&reply, b"HTTP/1.1 200");
    }
}

#[tokio::test]
async fn a_port_that_another_program_has_at_either_address_is_in_use() {
    for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let Ok(taken) = TcpListener::bind((address, 0)).await else {
            assert!(address.is_ipv6());
            continue;
        };
        let port = taken.local_addr().expect("it is bound").port();
        let refused = loopback(port).expect_err("taken");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }
}
