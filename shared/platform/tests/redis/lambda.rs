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
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _already_gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Reads one HTTP request: its first line and its body.
fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let (mut first, mut length, mut chunked) = (String::new(), 0, false);
    stream.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    while chunked {
        let mut size = String::new();
        stream.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).ok()?;
        body.extend(&chunk[..size]);
        chunked = size > 0;
    }
    Some((first, String::from_utf8_lossy(&body).into_owned()))
}

/// Lambda's Runtime API for one environment, which it freezes whenever it asks for the next event, until
/// there is one.
struct RuntimeApi {
    stream: BufReader<TcpStream>,
    function: Running,
}

impl RuntimeApi {
    fn start(server: &RedisServer, origin: &Origin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let role = role();
        let mut command = Command::new(&role[0]);
        command.args(&role[1..]).env("AWS_LAMBDA_RUNTIME_API", address).env("AWS_LAMBDA_FUNCTION_NAME", "prices");
        command.env("AWS_LAMBDA_FUNCTION_VERSION", "1").env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
        command.env("AWS_LAMBDA_LOG_GROUP_NAME", "g").env("AWS_LAMBDA_LOG_STREAM_NAME", "s");
        let function = Running(with_environment(&mut command, server, origin).spawn().expect("this test runs"));
        let stream = BufReader::new(listener.accept().expect("it connects").0);
        let mut api = Self { stream, function };
        api.freeze_at_next();
        api
    }

    /// Waits for the question for the next event, and freezes the process.
    fn freeze_at_next(&mut self) {
        let (first, _) = request(&mut self.stream).expect("a question");
        assert!(first.starts_with("GET") && first.contains("/invocation/next"), "{first}");
        signal(self.function.0.id(), "STOP");
    }

    /// Thaws the process with an event and gives its reply.
    fn invoke(&mut self) -> String {
        signal(self.function.0.id(), "CONT");
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nlambda-runtime-aws-request-id: r\r\n\
             lambda-runtime-deadline-ms: 9999999999999\r\nlambda-runtime-invoked-function-arn: a\r\n\
             content-length: {}\r\n\r\n",
            EVENT.len()
        );
        self.stream.get_mut().write_all((head + EVENT).as_bytes()).expect("it lives");
        let (first, body) = request(&mut self.stream).expect("a reply");
        assert!(first.starts_with("POST") && first.contains("/response"), "{first}");
        self.stream.get_mut().write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").expect("it lives");
        body
    }
}

fn version(reply: &str) -> u64 {
    let reply: serde_json::Value = reply.parse().expect("JSON");
    assert_eq!(reply["statusCode"], 200, "{reply}");
    let body: serde_json::Value = reply["body"].as_str().and_then(|body| body.parse().ok()).expect("JSON");
    body["version"].as_u64().expect("a version")
}

/// The prices that are stored, stale ones too.
async fn stored(cache: &Cache) -> Option<Record> {
    cache.get_or_refresh(Prices(1), || async { Err(Failure::Origin) }).await.ok().flatten()
}

#[test]
fn fills_and_refreshes_end_after_the_reply_and_before_the_freeze() {
    let (server, origin) = (RedisServer::start(), Origin::start(ORIGIN_TAKES));
    let mut lambda = RuntimeApi::start(&server, &origin);
    assert_eq!(version(&lambda.invoke()), 1);
    lambda.freeze_at_next();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let filled = runtime.block_on(async { stored(&server.cache()).await });
    assert_eq!(filled, Some(Record::new(1)), "frozen before what it fetched was stored");

    origin.set_version(2);
    std::thread::sleep(Prices::CLASS.fresh * 12 / 10);
    let thawed = Instant::now();
    assert_eq!(version(&lambda.invoke()), 1, "stale, at once");
    assert!(thawed.elapsed() < ORIGIN_TAKES, "the caller waited for the refresh");
    lambda.freeze_at_next();

    // Frozen now, until the next event. What this leaves behind is there for every other environment.
    assert_eq!(origin.reads(), 2);
    let other =
        runtime.block_on(async { server.cache().get_or_refresh(Prices(1), || async { Err(Failure::Origin) }).await });
    assert_eq!(other, Ok(Some(Record::new(2))));
    assert_eq!(origin.reads(), 2);
    signal(lambda.function.0.id(), "CONT");
}

/// Posts an event to the emulator.
fn emulated(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the emulator listens");
    let head = format!(
        "POST /2015-03-31/functions/function/invocations HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        EVENT.len()
    );
    stream.write_all((head + EVENT).as_bytes()).expect("it lives");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

#[test]
fn under_the_runtime_interface_emulator() {
    let emulator = std::env::var("AWS_LAMBDA_RIE")
        .expect("AWS_LAMBDA_RIE names AWS's emulator (just test-redis finds it beside SAM CLI)");
    let (server, origin) = (RedisServer::start(), Origin::start(ORIGIN_TAKES));
    let (port, api) = (server::free_port(), server::free_port());
    let mut command = Command::new(emulator);
    command.args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")]);
    command.args(["--runtime-api-address", &format!("127.0.0.1:{api}")]).args(role());
    command.stdin(Stdio::null()).stderr(Stdio::null());
    let _emulator = Running(with_environment(&mut command, &server, &origin).spawn().expect("the emulator runs"));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }

    assert_eq!(version(&emulated(port)), 1);
    origin.set_version(2);
    std::thread::sleep(Prices::CLASS.fresh * 12 / 10);
    assert_eq!(version(&emulated(port)), 1, "stale");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let asked = Instant::now();
    while runtime.block_on(async { stored(&server.cache()).await }) != Some(Record::new(2)) {
        assert!(asked.elapsed() < Duration::from_secs(5), "nobody refreshes");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(origin.reads(), 2, "one refreshed");
}
