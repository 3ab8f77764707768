//! One HTTP caller, which notes every reply.

use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::Value;
use std::io::Read as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Longer than any function may run.
const PATIENCE: Duration = Duration::from_secs(30);

/// One reply, as the statistics want it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub endpoint: &'static str,
    /// When it was to start, in ms since the run began.
    pub at_ms: u64,
    /// From then to the reply's last byte.
    pub latency_us: u64,
    /// 0 when there was no reply.
    pub status: u16,
    /// Of the body, as it came over the wire.
    pub bytes: u64,
    /// For a cacheable read, whether it was answered without the database.
    pub hit: Option<bool>,
    /// A reply that the request did not deserve.
    pub failed: bool,
}

/// A request.
pub struct Call<'a> {
    pub endpoint: &'static str,
    pub method: Method,
    pub path: String,
    pub token: Option<&'a str>,
    pub body: Option<Value>,
    pub headers: &'a [(&'static str, String)],
    /// What is no failure.
    pub expected: &'a [u16],
    /// When it was to start; later than now never, earlier when everybody was busy.
    pub intended: Option<Instant>,
}

/// What came of it: status 0 without a reply.
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

/// A caller of one system.
pub struct Client {
    http: reqwest::Client,
    url: String,
    start: Instant,
    samples: Mutex<Vec<Sample>>,
    phases: Mutex<Vec<(&'static str, u64)>>,
}

/// Endpoints whose replies may come from the cache.
const CACHEABLE: [&str; 5] = ["get-user", "get-org-plan", "get-org-settings", "list-items", "get-model-pricing"];

impl Client {
    /// A caller of the system at `url`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> Result<Self, reqwest::Error> {
        // The bytes on the wire are counted, so they are unpacked here.
        let http = reqwest::Client::builder().no_gzip().timeout(PATIENCE).build()?;
        Ok(Self {
            http,
            url: url.to_owned(),
            start: Instant::now(),
            samples: Mutex::default(),
            phases: Mutex::default(),
        })
    }

    /// Time since it was made.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The plain client, for what is not to be noted.
    #[must_use]
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The base URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes what was noted.
    #[must_use]
    pub fn take(&self) -> Vec<Sample> {
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Says that another kind of load begins now.
    pub fn phase(&self, name: &'static str) {
        let at_ms = millis(self.elapsed());
        self.phases.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((name, at_ms));
    }

    /// Takes the phases that were begun, with when, in ms since this was made.
    #[must_use]
    pub fn take_phases(&self) -> Vec<(&'static str, u64)> {
        std::mem::take(&mut *self.phases.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// How many replies are noted, and how many of them failed.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let samples = self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (samples.len(), samples.iter().filter(|sample| sample.failed).count())
    }

    /// Sends a request, reads its reply to the end and notes both.
    pub async fn call(&self, call: Call<'_>) -> Reply {
        let begun = call.intended.unwrap_or_else(Instant::now);
        let (reply, bytes, hit) = self.send(&call).await;
        let sample = Sample {
            endpoint: call.endpoint,
            at_ms: millis(begun.saturating_duration_since(self.start)),
            latency_us: u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            status: reply.status,
            bytes,
            hit,
            failed: !call.expected.contains(&reply.status),
        };
        self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(sample);
        reply
    }

    async fn send(&self, call: &Call<'_>) -> (Reply, u64, Option<bool>) {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.url, call.path));
        request = request.header("accept-encoding", "gzip").header("origin", "http://localhost:5173");
        if let Some(token) = call.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in call.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        let nothing = (Reply { status: 0, body: Value::Null }, 0, None);
        let Ok(reply) = request.send().await else { return nothing };
        let status = reply.status().as_u16();
        let header = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let packed = header("content-encoding") == "gzip";
        let timing = header("server-timing");
        let cacheable = CACHEABLE.contains(&call.endpoint) && status == 200;
        let hit = cacheable.then(|| !timing.split(',').any(|part| part.trim().starts_with("db;")));
        let Ok(bytes) = reply.bytes().await else { return nothing };
        let count = bytes.len() as u64;
        let body = if packed {
            let mut text = Vec::new();
            match GzDecoder::new(&bytes[..]).read_to_end(&mut text) {
                Ok(_) => serde_json::from_slice(&text).unwrap_or(Value::Null),
                Err(_) => return nothing,
            }
        } else {
            serde_json::from_slice(&bytes).unwrap_or(Value::Null)
        };
        (Reply { status, body }, count, hit)
    }
}

/// Whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
