//! What one network may do without a session. Networks call the gateway in this process, each from an address of its own.

use crate::api::{PASSWORD, registration, unique_email};
use crate::faults::{Fault, FaultyDatabase};
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request};
use futures_util::future::join_all;
use local::{Clock, Options, System};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tower::ServiceExt as _;

pub(crate) const HOME: &str = "192.0.2.7";
pub(crate) const ELSEWHERE: &str = "192.0.2.8";

/// A system, and who calls it.
pub(crate) struct Networks {
    pub(crate) system: System,
    pub(crate) clock: Clock,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Networks {
    /// With some limits that are not the template's.
    pub(crate) async fn with<const N: usize>(limits: [(&str, u64); N]) -> Self {
        let environment = limits.map(|(name, most)| (name.to_owned(), most.to_string())).into();
        let clock = Clock::stopped();
        let options = Options { clock: clock.clone(), environment, background: false, ..Options::ephemeral() };
        Self { system: System::start(options).await.unwrap(), clock }
    }

    pub(crate) async fn new() -> Self {
        Self::with([]).await
    }

    pub(crate) async fn post(&self, from: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> Reply {
        self.send("POST", from, path, body, headers).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        from: &str,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Reply {
        let peer: IpAddr = from.parse().unwrap();
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("host", "localhost").header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.extension(ConnectInfo(SocketAddr::from((peer, 5555))));
        let request = request.body(Body::from(body.to_string())).unwrap();
        let (parts, body) = self.system.router().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// Tries a password for an address.
    pub(crate) async fn guess(&self, from: &str, email: &str, password: &str) -> Reply {
        self.post(from, "/auth/login", json!({"email": email, "password": password}), &[]).await
    }

    async fn register(&self, from: &str) -> Reply {
        self.post(from, "/auth/register", registration(&unique_email()), &[]).await
    }

    /// As many as are let through of `count` registrations.
    async fn registered(&self, from: &str, count: usize) -> usize {
        let mut done = 0;
        for _ in 0..count {
            done += usize::from(self.register(from).await.status == 201);
        }
        done
    }
}

impl Reply {
    /// Fails unless a limit of the network's refuses it, for at most so long.
    #[track_caller]
    pub(crate) fn is_limited(&self, name: &str, limit: u64, seconds: u64) {
        assert_eq!((self.status, self.body["code"].as_str()), (429, Some("rate_limited")), "{}", self.body);
        let header = |name| self.headers[name].to_str().unwrap();
        let wait: u64 = header("retry-after").parse().unwrap();
        assert!((1..=seconds).contains(&wait), "{wait}");
        assert_eq!(header("ratelimit-policy"), format!("\"{name}\";q={limit}"));
        assert_eq!(header("ratelimit"), format!("\"{name}\";r=0;t={wait}"));
    }
}

#[tokio::test]
async fn ten_log_ins_of_a_minute_may_fail_from_one_network() {
    let networks = Networks::new().await;
    let owner = unique_email();
    assert_eq!(networks.post(ELSEWHERE, "/auth/register", registration(&owner), &[]).await.status, 201);
    // At once, each at another account: no number of simultaneous guesses gets more than ten compared.
    let emails: Vec<String> = (0..30).map(|_| unique_email()).collect();
    let replies = join_all(emails.iter().map(|email| networks.guess(HOME, email, "a wrong password"))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 10);
    for refused in replies.iter().filter(|reply| reply.status != 401) {
        refused.is_limited("failed-log-ins", 10, 60);
    }
    // Nor is the right password compared. A header does not make it another network, and another network is not meant.
    networks.guess(HOME, &owner, PASSWORD).await.is_limited("failed-log-ins", 10, 60);
    let right = json!({"email": owner, "password": PASSWORD});
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip"] {
        let reply = networks.post(HOME, "/auth/login", right.clone(), &[(name, "198.51.100.1")]).await;
        reply.is_limited("failed-log-ins", 10, 60);
    }
    assert_eq!(networks.guess(ELSEWHERE, &owner, PASSWORD).await.status, 200);
    networks.clock.jump(Duration::from_secs(60));
    assert_eq!(networks.guess(HOME, &owner, PASSWORD).await.status, 200);
}

/// A limit on failures is none on log-ins: a house of many people logs in at nine.
#[tokio::test]
async fn right_log_ins_of_a_network_do_not_count() {
    let networks = Networks::new().await;
    let owner = unique_email();
    assert_eq!(networks.post(HOME, "/auth/register", registration(&owner), &[]).await.status, 201);
    for _ in 0..2 {
        let replies = join_all((0..12).map(|_| networks.guess(HOME, &owner, PASSWORD))).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
    }
    // What is wrong with the request is no guess either.
    let elsewhere = json!({"email": owner, "password": PASSWORD, "org_id": format!("org_{:032x}", 1)});
    for _ in 0..12 {
        assert_eq!(networks.post(HOME, "/auth/login", elsewhere.clone(), &[]).await.status, 404);
    }
    assert_eq!(networks.guess(HOME, &owner, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn five_registrations_a_minute_and_twenty_a_day_come_from_one_network() {
    let networks = Networks::new().await;
    let taken = unique_email();
    assert_eq!(networks.post(HOME, "/auth/register", registration(&taken), &[]).await.status, 201);
    // That an address is taken is told, and counts.
    assert_eq!(networks.post(HOME, "/auth/register", registration(&taken), &[]).await.status, 409);
    let replies = join_all((0..10).map(|_| networks.register(HOME))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 3);
    networks.post(HOME, "/auth/register", registration(&taken), &[]).await.is_limited("registrations", 5, 60);
    assert_eq!(networks.registered(ELSEWHERE, 6).await, 5);
    // What the minute refuses is not counted by the day.
    for _ in 0..3 {
        networks.clock.jump(Duration::from_secs(60));
        assert_eq!(networks.registered(HOME, 6).await, 5);
    }
    networks.clock.jump(Duration::from_secs(60));
    networks.register(HOME).await.is_limited("registrations-a-day", 20, 24 * 60 * 60);
    networks.clock.jump(Duration::from_secs(24 * 60 * 60));
    assert_eq!(networks.registered(HOME, 6).await, 5);
}

/// What is wrong with the request is no registration, wherever it is found.
#[tokio::test]
async fn a_password_of_own_words_is_no_registration() {
    let networks = Networks::new().await;
    for joins in ["org_name", "invitation"] {
        for own in ["Lovelace1815", "lovelace-1", "AdaLovelace", "Lovelace-Ada", "ADA lovelace", "ada.lovelace!"] {
            let mut body = registration(&unique_email());
            body.as_object_mut().unwrap().remove("org_name");
            body[joins] = json!("Analytical Engines");
            body["password"] = json!(own);
            let refused = networks.post(HOME, "/auth/register", body, &[]).await;
            let pointer = &refused.body["errors"][0]["pointer"];
            assert_eq!((refused.status, pointer), (422, &json!("/password")), "{own}: {}", refused.body);
        }
    }
    assert_eq!(networks.registered(HOME, 6).await, 5);
}

#[tokio::test]
async fn a_site_of_many_networks_may_do_ten_times_as_much() {
    let networks = Networks::new().await;
    let one = |network: u16, host: u16| format!("2001:db8:7:{network:x}::{host:x}");
    // One /64 is one network, whatever the host in it.
    let replies = join_all((0..8).map(|host| {
        let from = one(0, host);
        let networks = &networks;
        async move { networks.register(&from).await }
    }));
    assert_eq!(replies.await.iter().filter(|reply| reply.status == 201).count(), 5);
    // A hundred networks of one /48.
    let replies = join_all((1..=100).map(|network| {
        let from = one(network, 1);
        let networks = &networks;
        async move { networks.register(&from).await }
    }));
    let replies = replies.await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 45);
    replies.iter().find(|reply| reply.status != 201).unwrap().is_limited("registrations", 50, 60);
    // Another site, and an IPv4 address that is written as an IPv6 one.
    assert_eq!(networks.register("2001:db8:8::1").await.status, 201);
    assert_eq!(networks.registered("::ffff:192.0.2.7", 5).await, 5);
    networks.register(HOME).await.is_limited("registrations", 5, 60);
}

#[tokio::test]
async fn a_hundred_log_ins_of_a_minute_may_fail_from_a_site_of_many_networks() {
    let networks = Networks::new().await;
    let replies = join_all((0..120).map(|network| {
        let (networks, from) = (&networks, format!("2001:db8:7:{network:x}::1"));
        async move { networks.guess(&from, &unique_email(), "a wrong password").await }
    }));
    let replies = replies.await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 401).count(), 100);
    replies.iter().find(|reply| reply.status != 401).unwrap().is_limited("failed-log-ins", 100, 60);
    assert_eq!(networks.guess("2001:db8:8::1", &unique_email(), "a wrong password").await.status, 401);
}

/// What a right log-in took goes back once, also where the reply to that is lost.
#[tokio::test]
async fn a_lost_reply_gives_no_failed_log_in_back_twice() {
    let origin = Networks::new().await;
    let database = FaultyDatabase::before(&origin.system.database_url()).await;
    let environment =
        [("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone()), ("FAILED_LOG_INS_PER_MINUTE", "2".to_owned())];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
    let clock = Clock::stopped();
    let options = Options { clock: clock.clone(), environment, background: false, ..Options::ephemeral() };
    let networks = Networks { system: System::start(options).await.unwrap(), clock };
    let owner = unique_email();
    assert_eq!(networks.post(ELSEWHERE, "/auth/register", registration(&owner), &[]).await.status, 201);
    assert_eq!(networks.guess(HOME, &owner, "a wrong password").await.status, 401);
    database.inject("UpdateItem", Fault::Hold);
    let before = database.calls("UpdateItem");
    // One is taken of the network's counter, then one of each of the account's limits. What comes next gives them back.
    let lose = async {
        for (taken, next) in [(1, Fault::Hold), (3, Fault::LoseReply(5))] {
            while database.calls("UpdateItem") < before + taken {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            database.release("UpdateItem");
            database.inject("UpdateItem", next);
        }
    };
    let (right, ()) = tokio::join!(networks.guess(HOME, &owner, PASSWORD), lose);
    assert_eq!(right.status, 200, "{}", right.body);
    database.release("UpdateItem");
    assert_eq!(networks.guess(HOME, &owner, "a wrong password").await.status, 401);
    networks.guess(HOME, &owner, "a wrong password").await.is_limited("failed-log-ins", 2, 60);
}

#[tokio::test]
async fn a_limit_of_zero_closes() {
    let networks = Networks::with([("REGISTRATIONS_PER_DAY", 0)]).await;
    networks.register(HOME).await.is_limited("registrations-a-day", 0, 24 * 60 * 60);
    let networks = Networks::with([("FAILED_LOG_INS_PER_MINUTE", 0), ("REGISTRATIONS_PER_MINUTE", 7)]).await;
    assert_eq!(networks.registered(HOME, 8).await, 7);
    networks.guess(HOME, &unique_email(), PASSWORD).await.is_limited("failed-log-ins", 0, 60);
}
