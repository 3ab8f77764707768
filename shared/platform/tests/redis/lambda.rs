//! A refresh on Lambda: after the reply, before the environment may freeze. Once against a Runtime API that
//! freezes the process the moment it asks for the next event, and once under AWS's own emulator.

use super::origin::{self, Origin};
use super::records::{Failure, Prices, Record};
use super::server::{self, RedisServer, signal};
use lambda_http::Request;
use lambda_http::http::StatusCode;
use platform::cache::{Cache, Name};
use platform::response::{self, Problem, Reply};
use platform::runtime::{self, Environment};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use testkit::http;
use testkit::ports::free_port;
use testkit::processes::Running;
use testkit::runtime_api::RuntimeApi;

const EVENT: &str = include_str!("../../../../events/get-model-pricing.json");
const ORIGIN_TAKES: Duration = Duration::from_millis(400);

struct Function {
    cache: Cache,
    origin: u16,
}

impl Environment for Function {
    const CRATES: &'static [&'static str] = &[];

    type Error = std::env::VarError;

    fn from_env() -> Result<Self, Self::Error> {
        let origin = std::env::var("ORIGIN_PORT")?.parse().expect("a port");
        Ok(Self { cache: server::open_patient(&std::env::var("CACHE_URL")?), origin })
    }

    fn log_level(&self) -> tracing::Level {
        tracing::Level::ERROR
    }

    fn deployment(&self) -> &str {
        "test"
    }

    fn allowed_origins(&self) -> &[lambda_http::http::HeaderValue] {
        &[]
    }

    async fn after_reply(&self) {
        self.cache.settle().await;
    }
}

async fn prices(function: &'static Function, _request: Request) -> Result<Reply, Problem> {
    let fetch = || async { origin::read(function.origin).await.map(|version| Some(Record::new(version))) };
    let record = function.cache.get_or_refresh::<_, _, _, Failure>(Prices(1), fetch).await;
    let failed = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The origin failed.");
    Ok(response::json(StatusCode::OK, &record.map_err(failed)?))
}

/// A function's process, as Lambda starts it.
#[test]
#[ignore = "a role of the other tests"]
fn function_process() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _the_api_went_away = runtime.block_on(runtime::run(prices));
}

fn role() -> Vec<String> {
    let test = std::env::current_exe().expect("this test").display().to_string();
    let arguments = ["--exact", "lambda::function_process", "--ignored", "--nocapture"].map(str::to_owned);
    std::iter::once(test).chain(arguments).collect()
}

fn with_environment<'a>(command: &'a mut Command, server: &RedisServer, origin: &Origin) -> &'a mut Command {
    command.env("CACHE_URL", server.url()).env("ORIGIN_PORT", origin.port.to_string()).stdout(Stdio::null())
}

/// One environment on Lambda, which freezes it whenever it asks for the next event, until there is one.
struct Frozen {
    api: RuntimeApi,
    function: Running,
}

impl Frozen {
    async fn start(server: &RedisServer, origin: &Origin) -> Self {
        let (api, role) = (RuntimeApi::start("prices").await, role());
        let mut command = Command::new(&role[0]);
        command.args(&role[1..]).envs(api.environment());
        let function = Running(with_environment(&mut command, server, origin).spawn().expect("this test runs"));
        let environment = Self { api, function };
        environment.freeze_at_next().await;
        environment
    }

    /// Waits for the question for the next event, and freezes the process.
    async fn freeze_at_next(&self) {
        self.api.asked().await;
        signal(self.function.0.id(), "STOP");
    }

    /// Thaws the process with an event and gives its reply.
    async fn invoke(&self) -> http::Bytes {
        signal(self.function.0.id(), "CONT");
        self.api.invoke(EVENT, 9_999_999_999_999).await.expect("a reply")
    }
}

fn version(reply: &[u8]) -> u64 {
    let reply: serde_json::Value = serde_json::from_slice(reply).expect("JSON");
    assert_eq!(reply["statusCode"], 200, "{reply}");
    let body: serde_json::Value = reply["body"].as_str().and_then(|body| body.parse().ok()).expect("JSON");
    body["version"].as_u64().expect("a version")
}

/// The prices that are stored, stale ones too.
async fn stored(cache: &Cache) -> Option<Record> {
    cache.get_or_refresh(Prices(1), || async { Err(Failure::Origin) }).await.ok().flatten()
}

#[tokio::test]
async fn stores_and_refreshes_end_after_the_reply_and_before_the_freeze() {
    let (server, origin) = (RedisServer::start(), Origin::start(ORIGIN_TAKES));
    let lambda = Frozen::start(&server, &origin).await;
    assert_eq!(version(&lambda.invoke().await), 1);
    lambda.freeze_at_next().await;
    let filled = stored(&server.cache()).await;
    assert_eq!(filled, Some(Record::new(1)), "frozen before what it fetched was stored");

    origin.set_version(2);
    tokio::time::sleep(Prices::CLASS.fresh * 12 / 10).await;
    let thawed = Instant::now();
    assert_eq!(version(&lambda.invoke().await), 1, "stale, at once");
    assert!(thawed.elapsed() < ORIGIN_TAKES, "the caller waited for the refresh");
    lambda.freeze_at_next().await;

    // Frozen now, until the next event. What this leaves behind is there for every other environment.
    assert_eq!(origin.reads(), 2);
    let other = server.cache().get_or_refresh(Prices(1), || async { Err(Failure::Origin) }).await;
    assert_eq!(other, Ok(Some(Record::new(2))));
    assert_eq!(origin.reads(), 2);
    signal(lambda.function.0.id(), "CONT");
}

/// Posts an event to the emulator.
async fn emulated(port: u16) -> http::Bytes {
    let mut call = http::Call::new(EVENT.into());
    *call.method_mut() = http::Method::POST;
    *call.uri_mut() = http::Uri::from_static("/2015-03-31/functions/function/invocations");
    http::Origin::at(&format!("http://127.0.0.1:{port}")).pass(call).await.into_body()
}

#[tokio::test]
async fn under_the_runtime_interface_emulator() {
    let emulator = std::env::var("AWS_LAMBDA_RIE")
        .expect("AWS_LAMBDA_RIE names AWS's emulator (just test-redis finds it beside SAM CLI)");
    let (server, origin) = (RedisServer::start(), Origin::start(ORIGIN_TAKES));
    let (port, api) = (free_port(), free_port());
    let mut command = Command::new(emulator);
    command.args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")]);
    command.args(["--runtime-api-address", &format!("127.0.0.1:{api}")]).args(role());
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let _emulator = Running(with_environment(&mut command, &server, &origin).spawn().expect("the emulator runs"));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    assert_eq!(version(&emulated(port).await), 1);
    origin.set_version(2);
    tokio::time::sleep(Prices::CLASS.fresh * 12 / 10).await;
    assert_eq!(version(&emulated(port).await), 1, "stale");
    let asked = Instant::now();
    while stored(&server.cache()).await != Some(Record::new(2)) {
        assert!(asked.elapsed() < Duration::from_secs(5), "nobody refreshes");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(origin.reads(), 2, "one refreshed");
}
