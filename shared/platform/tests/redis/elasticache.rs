//! A server as ElastiCache Serverless is one: TLS, cluster mode, users with passwords that are tokens.

use super::records::{Failure, PageKey, Pages, Plan, Profile, Record};
use super::server::{self, RedisServer};
use platform::aws::Credentials;
use platform::cache::{CONNECTION_AGE, Cache, CacheUrl, Delivery, Iam, Name, Options};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::ports::free_port;

fn openssl(folder: &Path, arguments: &[&str]) {
    let status = Command::new("openssl").args(arguments).current_dir(folder).stderr(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "openssl {arguments:?}");
}

/// An authority and a certificate for `localhost`.
fn certificates(folder: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let authority = ["req", "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority"];
    openssl(folder, &[&authority[..], &key[..]].concat());
    let leaf = ["req", "-x509", "-keyout", "tls.key", "-out", "tls.pem", "-subj", "/CN=localhost"];
    let issued = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost"];
    let plain = ["-addext", "basicConstraints=critical,CA:FALSE"];
    openssl(folder, &[&leaf[..], &key[..], &issued[..], &plain[..]].concat());
}

fn start() -> RedisServer {
    let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
    certificates(folder.path());
    let users = "user default off\nuser app on >right ~stack:* &* +@all\nuser token on nopass ~stack:* &* +@all\n";
    std::fs::write(folder.path().join("users.acl"), users).expect("a file");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (users, cert, key, authority) = (path("users.acl"), path("tls.pem"), path("tls.key"), path("ca.pem"));
    let (port_text, bus) = (port.to_string(), free_port().to_string());
    let arguments = [
        ["--port", "0"],
        ["--tls-port", &port_text],
        ["--cluster-enabled", "yes"],
        ["--cluster-port", &bus],
        ["--tls-cluster", "yes"],
        ["--tls-auth-clients", "no"],
        ["--cluster-announce-hostname", "localhost"],
        ["--cluster-preferred-endpoint-type", "hostname"],
        ["--aclfile", &users],
        ["--tls-cert-file", &cert],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &authority],
    ]
    .concat();
    let server = RedisServer::start_with(port, folder, &arguments);
    let slots = Command::new("redis-cli")
        .args([
            "--tls",
            "--cacert",
            &authority,
            "-h",
            "localhost",
            "-p",
            &port_text,
            "--user",
            "app",
            "--pass",
            "right",
        ])
        .args(["--no-auth-warning", "CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .output()
        .expect("redis-cli runs");
    assert_eq!(String::from_utf8_lossy(&slots.stdout).trim(), "OK");
    server
}

fn open(server: &RedisServer, login: &str, trusted: bool) -> Cache {
    open_for(server, login, trusted, CONNECTION_AGE)
}

fn open_for(server: &RedisServer, login: &str, trusted: bool, connection_age: Duration) -> Cache {
    let authority = std::fs::read(server.folder().join("ca.pem")).expect("made above");
    let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test");
    let options = Options {
        key_prefix: "stack:".to_owned(),
        patience: Duration::from_secs(5),
        write_patience: Duration::from_secs(5),
        connection_age,
        extra_roots: trusted.then_some(authority),
        iam: Some(Iam { region: "eu-west-1".to_owned(), credentials }),
        ..Options::default()
    };
    let url = login.replace("HOST", &format!("localhost:{}", server.port));
    Cache::with(&url.parse::<CacheUrl>().expect("an address"), options)
}

async fn until_serving(cache: &Cache) {
    for _ in 0..500 {
        if cache.invalidate(&Plan(0)).await == Delivery::Delivered {
            // The cluster says CLUSTERDOWN for a moment after it got its slots; what was lost by that is delivered late.
            return cache.settle().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server does not serve");
}

#[tokio::test]
async fn everything_works_over_tls_in_cluster_mode() {
    let server = start();
    for login in ["rediss://app:right@HOST", "rediss://token@HOST?iam=prod-cache"] {
        let cache = open(&server, login, true);
        until_serving(&cache).await;
        let record = |version| async move { Ok::<_, Failure>(Some(Record::new(version))) };
        for key in 0..50 {
            assert_eq!(cache.get_or_fill(&Plan(key), || record(1)).await, Ok(Some(Record::new(1))), "{login}");
            cache.settle().await;
            assert_eq!(cache.renew(&Plan(key), &Record::new(2)).await, Delivery::Delivered);
            assert_eq!(server::cached(&cache, &Plan(key)).await, Some(Record::new(2)));
            assert_eq!(cache.invalidate(&Plan(key)).await, Delivery::Delivered);
            assert_eq!(server::cached(&cache, &Plan(key)).await, None);
            let page = || async { Ok::<_, Failure>(Some(super::records::Page { as_of: 1 })) };
            assert!(cache.get_or_fill(&PageKey(key, 1), page).await.is_ok_and(|page| page.is_some()));
            cache.settle().await;
            assert!(server::cached(&cache, &PageKey(key, 1)).await.is_some());
            assert_eq!(cache.invalidate(&Pages(key)).await, Delivery::Delivered);
            assert_eq!(server::cached(&cache, &PageKey(key, 1)).await, None);
            assert_eq!(cache.get_or_fill(&Profile(key), || async { Ok::<_, Failure>(None) }).await, Ok(None));
            cache.settle().await;
            cache.invalidate(&Profile(key)).await;
        }
    }
}

#[tokio::test]
async fn a_server_of_another_authority_or_a_refused_login_is_no_cache() {
    let server = start();
    for (login, trusted) in [("rediss://app:right@HOST", false), ("rediss://app:wrong@HOST", true)] {
        let cache = open(&server, login, trusted);
        assert_eq!(cache.ping().await, Some(false), "{login} trusted: {trusted}");
        let read = cache.get_or_fill(&Plan(1), || async { Ok::<_, Failure>(Some(Record::new(1))) }).await;
        assert_eq!(read, Ok(Some(Record::new(1))));
    }
}

/// ElastiCache ends a connection 12 h after its log-in with IAM: it is replaced before, with a token made then, and
/// no caller notices.
#[tokio::test]
async fn a_connection_is_replaced_when_it_is_old() {
    const { assert!(CONNECTION_AGE.as_secs() < 12 * 3600) };
    let server = start();
    let age = Duration::from_millis(200);
    let cache = open_for(&server, "rediss://token@HOST?iam=prod-cache", true, age);
    until_serving(&cache).await;
    let log_ins = || {
        let authority = server.folder().join("ca.pem");
        let port = server.port.to_string();
        let output = Command::new("redis-cli")
            .args(["--tls", "--cacert", &authority.display().to_string(), "-h", "localhost", "-p", &port])
            .args(["--user", "app", "--pass", "right", "--no-auth-warning", "CLIENT", "LIST"])
            .output()
            .expect("redis-cli runs");
        let list = String::from_utf8_lossy(&output.stdout).into_owned();
        let ids = list.lines().filter(|line| line.contains("user=token"));
        ids.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<Vec<_>>()
    };
    let counts = server::Counts::of(&cache);
    let failures = counts.count(&Plan::CLASS, "Failures");
    let mut old = log_ins();
    for _ in 0..3 {
        tokio::time::sleep(age * 2).await;
        cache.invalidate(&Plan(1)).await;
        let asked = std::time::Instant::now();
        while log_ins().len() != 1 || log_ins() == old {
            assert!(asked.elapsed() < Duration::from_secs(5), "{old:?} became {:?}", log_ins());
            tokio::time::sleep(Duration::from_millis(10)).await; // until the server has seen the old one's end
        }
        old = log_ins();
    }
    assert_eq!(counts.count(&Plan::CLASS, "Failures"), failures, "no caller noticed");
    drop(cache);
    let lasting = open(&server, "rediss://token@HOST?iam=prod-cache", true);
    lasting.invalidate(&Plan(1)).await;
    let first = log_ins();
    tokio::time::sleep(age * 2).await;
    lasting.invalidate(&Plan(1)).await;
    assert!(first.iter().any(|id| log_ins().contains(id)), "a younger one is kept");
}
