//! Starting, stopping and starting again.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, ToSocketAddrs},
};

use super::{Options, StartError, System};
use crate::database::Storage;

/// Sends one request on a connection of its own and reads the whole response.
async fn call(system: &System, method: &str, path: &str, body: &str) -> String {
    call_at(("localhost", system.port), "Host: localhost", method, path, body).await
}

/// The same at any address, with these headers.
async fn call_at(at: impl ToSocketAddrs, headers: &str, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(at).await.expect("something listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("a request is taken");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("a response is text");
    response
}

#[tokio::test]
async fn records_are_there_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { storage: Storage::Folder(folder.path().to_owned()), ..Options::ephemeral() };
    let account =
        r#"{"email":"ada@example.com","password":"correct horse battery staple","name":"Ada","org_name":"AE"}"#;

    let first = System::start(options.clone()).await.expect("starts");
    let registered = call(&first, "POST", "/auth/register", account).await;
    assert!(registered.starts_with("HTTP/1.1 201 "), "{registered}");
    let locked = System::start(options.clone()).await;
    assert!(matches!(locked, Err(StartError::Database(_))), "{locked:?}");
    first.shutdown().await;

    let second = System::start(options).await.expect("starts again");
    let again = call(&second, "POST", "/auth/register", account).await;
    assert!(again.starts_with("HTTP/1.1 409 "), "{again}");
    second.shutdown().await;
    folder.close().expect("the system has let the folder go");
}

#[tokio::test]
async fn systems_in_memory_are_apart_and_have_prices() {
    let one = System::start(Options::ephemeral()).await.expect("starts");
    let two = System::start(Options::ephemeral()).await.expect("starts beside it");
    for system in [&one, &two] {
        let prices = call(system, "GET", "/models/pricing?provider=anthropic", "").await;
        assert!(prices.starts_with("HTTP/1.1 200 "), "{prices}");
        assert!(prices.contains("claude"), "{prices}");
    }
    one.shutdown().await;
    two.shutdown().await;
}

/// A page whose name was bound to this machine afterwards asks by that name; it reads nothing, at no listener and on no path.
#[tokio::test]
async fn nothing_answers_to_a_foreign_name() {
    let system = System::start(Options::ephemeral()).await.expect("starts");
    let local = |path: &'static str| (format!("localhost:{}", system.port), path);
    let engines = [system.database_url(), system.sqs_url().to_owned()]
        .map(|url| (url.strip_prefix("http://").expect("a URL").to_owned(), "/"));
    let paths =
        ["/", "/docs", "/health", "/auth/me", "/_local/endpoints", "/_local/figures", "/_local/program", "/nowhere"];
    for (address, path) in paths.map(local).into_iter().chain(engines) {
        let (_, port) = address.rsplit_once(':').expect("a port");
        for own in [
            "localhost".to_owned(),
            format!("LOCALHOST:{port}"),
            "127.0.0.9:1".to_owned(),
            format!("[::1]:{port}"),
            // As a container's functions ask.
            format!("172.29.77.1:{port}"),
            format!("host.docker.internal:{port}"),
        ] {
            let reply = call_at(&address, &format!("Host: {own}"), "GET", path, "").await;
            assert!(!reply.starts_with("HTTP/1.1 421 ") && reply.starts_with("HTTP/1.1 "), "{own}{path}: {reply}");
        }
        for foreign in [
            "Host: evil.example".to_owned(),
            format!("Host: evil.example:{port}"),
            format!("Host: localhost.evil.example:{port}"),
            format!("Host: localhost:{port}\r\nHost: evil.example:{port}"),
            "Host: 0.0.0.0".to_owned(),
            "Host: 203.0.113.1".to_owned(),
            "Host:".to_owned(),
            "Accept: */*".to_owned(),
        ] {
            let reply = call_at(&address, &foreign, "GET", path, "").await;
            assert!(reply.starts_with("HTTP/1.1 421 "), "{foreign} {path}: {reply}");
        }
    }
    let (address, endpoints) = local("/_local/endpoints");
    for (site, status) in [("cross-site", "403"), ("same-origin", "200"), ("none", "200")] {
        let headers = format!("Host: {address}\r\nSec-Fetch-Site: {site}");
        let reply = call_at(&address, &headers, "GET", endpoints, "").await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{site}: {reply}");
    }
    system.shutdown().await;
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = System::start(Options::ephemeral()).await.expect("starts");
    let port = first.port;
    let second = System::start(Options { port, ..Options::ephemeral() }).await.expect_err("taken");
    assert_eq!(second.to_string(), format!("port {port} is in use: choose another with --port"));
    first.shutdown().await;
}

#[tokio::test]
async fn the_root_leads_to_the_documentation() {
    let system = System::start(Options::ephemeral()).await.expect("starts");
    let root = call(&system, "GET", "/", "").await;
    assert!(root.starts_with("HTTP/1.1 302 ") && root.contains("\r\nlocation: docs\r\n"), "{root}");
    system.shutdown().await;
}

/// The documents' page is there, and writes with the session's cookie.
#[tokio::test]
async fn its_own_origin_is_allowed_at_any_port() {
    let chosen = Options { allowed_origins: Some("https://a.example".to_owned()), ..Options::ephemeral() };
    for (options, is_allowed) in [(Options::ephemeral(), true), (chosen, false)] {
        let system = System::start(options).await.expect("starts");
        for (origin, is_allowed) in [(system.url(), is_allowed), ("http://localhost:5173".to_owned(), is_allowed)] {
            let headers = format!("Host: localhost\r\nOrigin: {origin}");
            let reply = call_at(("localhost", system.port), &headers, "GET", "/health", "").await;
            let names_it = reply.contains(&format!("\r\naccess-control-allow-origin: {origin}\r\n"));
            assert_eq!(names_it, is_allowed, "{origin}: {reply}");
        }
        system.shutdown().await;
    }
}

/// As in AWS, where it has none at all.
#[tokio::test]
async fn the_root_has_no_other_method() {
    let system = System::start(Options::ephemeral()).await.expect("starts");
    for method in ["POST", "OPTIONS", "DELETE"] {
        let reply = call(&system, method, "/", "").await;
        assert!(reply.starts_with("HTTP/1.1 404 ") && !reply.contains("\r\nallow: "), "{method}: {reply}");
        for part in ["\r\ncontent-type: application/problem+json\r\n", "\r\nx-request-id: ", r#""code":"not_found""#] {
            assert!(reply.contains(part), "{method}: {reply}");
        }
    }
    system.shutdown().await;
}

#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_refused_before_it_is_sent() {
    let system = System::start(Options::ephemeral()).await.expect("starts");
    for (bytes, expected) in [(20_000_000, "HTTP/1.1 413 "), (2, "HTTP/1.1 100 ")] {
        let mut stream = TcpStream::connect(("localhost", system.port)).await.expect("the system listens");
        let request = format!(
            "POST /auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n\
             Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("a request's head is taken");
        let mut first = [0; 13];
        stream.read_exact(&mut first).await.expect("an answer without a body");
        assert_eq!(String::from_utf8_lossy(&first), expected);
    }
    system.shutdown().await;
}

/// The folder is locked before anything in it is touched.
#[tokio::test]
async fn the_mail_of_a_system_that_runs_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mail = folder.path().join("mail");
    let options = Options {
        storage: Storage::Folder(folder.path().to_owned()),
        mailbox: Some(mail.clone()),
        ..Options::ephemeral()
    };
    let running = System::start(options.clone()).await.expect("starts");
    let unfinished = mail.join(".unfinished").join("one");
    let file = File::create_new(&unfinished).expect("its mail service made the folder");
    file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).expect("a time");
    let error = System::start(options).await.expect_err("in use").to_string();
    assert!(error.contains("in use by another running system"), "{error}");
    assert!(unfinished.exists());
    running.shutdown().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (data_dir, mail) = (file.path().to_owned(), file.path().join("mail"));
    let (no_folder, no_mail) = (format!("{}: ", data_dir.display()), format!("{}: ", mail.display()));
    let in_a_file = Options { storage: Storage::Folder(data_dir), mailbox: Some(mail.clone()), ..Options::ephemeral() };
    let mail_in_a_file = Options { mailbox: Some(mail), ..Options::ephemeral() };
    let no_template = Options { template: "/nonexistent.yaml".into(), ..Options::ephemeral() };
    let no_catalogue = Options { catalogue: "/nonexistent.json".into(), ..Options::ephemeral() };
    let any_origin = Options { allowed_origins: Some("*".to_owned()), ..Options::ephemeral() };
    for (options, cause) in [
        (no_template, "/nonexistent.yaml: "),
        (no_catalogue, "/nonexistent.json: "),
        (any_origin, "ALLOWED_ORIGINS"),
        (in_a_file, no_folder.as_str()),
        (mail_in_a_file, no_mail.as_str()),
    ] {
        let error = System::start(options).await.expect_err("cannot start").to_string();
        assert!(error.contains(cause), "{error}");
    }
}
