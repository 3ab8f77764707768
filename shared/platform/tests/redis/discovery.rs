//! An ElastiCache cache found by its name, through the control plane as MiniStack emulates it.

use super::faults;
use super::records::{Failure, Plan, Record};
use super::server::{self, RedisServer};
use platform::aws::{AwsConfig, Credentials};
use platform::cache::{Cache, CacheUrl, ControlPlane, Endpoint, FindError, Found, Kind, Options, PATIENCE};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::ports::free_port;
use testkit::processes::Running;
use testkit::tcp_proxy::{Fault, TcpProxy};

/// A running MiniStack, which says of every cache that it is on `redis`.
struct MiniStack {
    process: Running,
    port: u16,
    _folder: TempDir,
}

impl MiniStack {
    async fn start(port: u16, redis: u16) -> Self {
        let python = std::env::var("MINISTACK_PYTHON")
            .expect("MINISTACK_PYTHON names a Python that has MiniStack (just test-redis finds it)");
        let folder = tempfile::tempdir().expect("a folder");
        let process = Command::new(python)
            .args(["-m", "ministack"])
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("REDIS_HOST", "127.0.0.1")
            .env("REDIS_PORT", redis.to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .env("DOCKER_HOST", format!("unix://{}/no-docker", folder.path().display()))
            .env("HOME", folder.path())
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("MiniStack runs");
        let mut ministack = Self { process: Running(process), port, _folder: folder };
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(ministack.process.0.try_wait().expect("a child").is_none(), "MiniStack ended");
            assert!(started.elapsed() < Duration::from_secs(120), "MiniStack does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        ministack
    }

    /// With a serverless cache `prod-cache`, replication groups `prod-group` and (of three shards) `prod-shards`, and a
    /// cluster `prod-cluster`.
    async fn with_caches(port: u16, redis: u16) -> Self {
        let ministack = Self::start(port, redis).await;
        let client = aws_sdk_elasticache::Client::new(&aws(port).sdk_config().expect("no roots"));
        let serverless = client.create_serverless_cache().serverless_cache_name("prod-cache").engine("valkey");
        serverless.send().await.expect("a serverless cache");
        let group = client.create_replication_group().replication_group_id("prod-group").engine("valkey");
        group.replication_group_description("test").send().await.expect("a replication group");
        let sharded = client.create_replication_group().replication_group_id("prod-shards").engine("valkey");
        let sharded = sharded.replication_group_description("test").num_node_groups(3);
        sharded.send().await.expect("a replication group of three shards");
        let cluster = client.create_cache_cluster().cache_cluster_id("prod-cluster").engine("redis");
        cluster.num_cache_nodes(1).send().await.expect("a cache cluster");
        ministack
    }
}

fn credentials() -> Credentials {
    Credentials::new("AKIAIOSFODNN7EXAMPLE", "secret", None, None, "test")
}

fn aws(port: u16) -> AwsConfig {
    AwsConfig {
        region: "eu-west-1".to_owned(),
        endpoint_url: Some(format!("http://127.0.0.1:{port}")),
        credentials: credentials(),
        extra_roots: None,
        http_layer: None,
    }
}

fn open(url: &str, control_plane: u16, patience: Duration) -> Cache {
    let options = Options { patience, control_plane: ControlPlane::new(aws(control_plane)), ..Options::default() };
    Cache::with(&url.parse::<CacheUrl>().expect("an address"), options)
}

async fn read(cache: &Cache, key: u32) {
    let value = cache.get_or_fill(&Plan(key), || async { Ok::<_, Failure>(Some(Record::new(1))) }).await;
    assert_eq!(value, Ok(Some(Record::new(1))), "a caller noticed");
    cache.settle().await;
}

/// Reads until what is stored arrives at a server, and no reader notices.
async fn until_used(cache: &Cache, server: &RedisServer) {
    let mut bare = server.bare();
    let asked = Instant::now();
    for key in 0.. {
        read(cache, key).await;
        let keys: u64 = redis::cmd("DBSIZE").query(&mut bare).expect("the command is valid");
        if keys > 0 {
            return;
        }
        assert!(asked.elapsed() < Duration::from_secs(30), "the server is not found");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_kind_of_cache_is_found_by_its_name() {
    let server = RedisServer::start();
    let ministack = MiniStack::with_caches(free_port(), server.port).await;
    let kinds = [
        ("prod-cache", Kind::ServerlessCache),
        ("prod-group", Kind::ReplicationGroup),
        ("prod-cluster", Kind::CacheCluster),
    ];
    for (key, (name, kind)) in (0..).zip(kinds) {
        let cache = open(&format!("redis://?name={name}"), ministack.port, Duration::from_secs(10));
        read(&cache, key).await;
        assert_eq!(server::cached(&cache, &Plan(key)).await, Some(Record::new(1)), "{name} was found and used");
        let endpoint = Some(Endpoint { host: "127.0.0.1".to_owned(), port: server.port });
        let found = Found { kind, status: "available".to_owned(), endpoint };
        assert_eq!(cache.control_plane().await, Some(Ok(found)));
    }
    for (name, error) in [("another", FindError::Unknown), ("prod-shards", FindError::Sharded)] {
        let cache = open(&format!("redis://?name={name}"), ministack.port, Duration::from_secs(10));
        read(&cache, 9).await;
        assert_eq!(cache.control_plane().await, Some(Err(error)));
    }
    assert_eq!(server.cache().control_plane().await, None);
}

/// The control plane is not asked while the configured endpoint answers; then the cache is found where it is
/// now, and found again when it moves once more.
async fn found_again(fault: Fault) {
    let (first, second, third) = (RedisServer::start(), RedisServer::start(), RedisServer::start());
    let (configured, moved) = (TcpProxy::start(first.port), TcpProxy::start(second.port));
    let ministack = MiniStack::with_caches(free_port(), moved.port).await;
    let asked = TcpProxy::start(ministack.port);
    let cache = open(&format!("{}?name=prod-cache", server::url(configured.port)), asked.port, PATIENCE);
    until_used(&cache, &first).await;
    assert_eq!(asked.accepted(), 0, "asked without need");

    configured.set(fault);
    until_used(&cache, &second).await;

    let port = ministack.port;
    drop(ministack);
    let _now = MiniStack::with_caches(port, third.port).await;
    moved.set(fault);
    until_used(&cache, &third).await;
}

#[tokio::test]
async fn again_when_the_known_endpoint_refuses() {
    found_again(Fault::Refuse).await;
}

#[tokio::test]
async fn again_when_the_known_endpoint_hangs() {
    found_again(Fault::Hang).await;
}

/// Nobody waits for a control plane that hangs: neither where the endpoint is not known, nor where it failed
/// and comes back.
#[tokio::test]
async fn a_control_plane_that_hangs_holds_nobody_up() {
    let server = RedisServer::start();
    let (configured, control_plane) = (TcpProxy::start(server.port), TcpProxy::start(server.port));
    control_plane.set(Fault::Hang);
    let unknown = open("redis://?name=prod-cache", control_plane.port, PATIENCE);
    let p99 = faults::p99_of_calls(&unknown, 0..1000).await;
    assert!(p99 <= PATIENCE, "{p99:?}");

    let cache = open(&format!("{}?name=prod-cache", server::url(configured.port)), control_plane.port, PATIENCE);
    faults::suffers(cache, || configured.set(Fault::Refuse), || configured.set(Fault::None)).await;
    assert!(control_plane.accepted() > 0, "the control plane was not asked");
}
