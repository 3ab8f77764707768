//! A model provider and a mail service as they are on a bad day: with a rate and a daily quota, slow, overloaded, away, hanging
//! or without credit. One server is both, in the ways of Anthropic's Messages API and of `SendEmail` of Amazon SES's version 2.
//!
//! Refusals are those that both document: <https://docs.claude.com/en/api/errors>,
//! <https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html>.

mod replies;
mod scene;
mod tokens;

pub use replies::{analysis, no_tokens};
pub use scene::{Scene, UnknownScene};
pub use tokens::InputTokens;

use crate::http::{self, Bytes, Call, Cut, Origin, Reply, Server, StatusCode};
use replies::{no_analysis, no_mail};
use serde_json::{Value, json};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How one of the two treats its callers.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Calls that it takes in a minute, as [`Bucket`] counts them.
    pub per_minute: Option<u32>,
    /// Input tokens that it takes in a minute, as [`InputTokens`] counts them; the mail service has none.
    pub tokens_per_minute: Option<u32>,
    /// Calls that it takes in a day from now on.
    pub per_day: Option<u32>,
    /// How long it takes for what it does.
    pub latency: Duration,
    /// What it says in place of doing anything.
    pub trouble: Option<Trouble>,
}

/// Why everything is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// By everybody's calls.
    Overloaded,
    /// By its operator or for want of credit.
    Suspended,
}

/// Why a call is not taken, and how many seconds to wait.
enum Refusal {
    Rate(f64),
    Tokens(u32, f64),
    Quota(f64),
    Trouble(Trouble),
}

/// A token bucket of two seconds of calls, but of two at least.
#[derive(Debug)]
pub struct Bucket {
    per_minute: f64,
    tokens: f64,
    at_ms: u64,
}

impl Bucket {
    /// A full one, at a time in milliseconds.
    #[must_use]
    pub fn new(per_minute: u32, now_ms: u64) -> Self {
        let per_minute = f64::from(per_minute);
        Self { per_minute, tokens: (per_minute / 30.0).max(2.0), at_ms: now_ms }
    }

    /// How much it takes in a minute.
    #[must_use]
    pub fn per_minute(&self) -> f64 {
        self.per_minute
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; with the seconds until there is one.
    pub fn take(&mut self, now_ms: u64) -> Result<(), f64> {
        self.take_all(1, now_ms)
    }

    /// Takes several if there is one; whoever comes next waits for those that there were not.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    pub fn take_all(&mut self, tokens: u32, now_ms: u64) -> Result<(), f64> {
        // Whoever looked at the clock first may come second.
        let filled = now_ms.saturating_sub(self.at_ms) as f64 / 60_000.0 * self.per_minute;
        self.tokens = (self.tokens + filled).min((self.per_minute / 30.0).max(2.0));
        self.at_ms = self.at_ms.max(now_ms);
        if self.tokens < 1.0 {
            return Err((1.0 - self.tokens) * 60.0 / self.per_minute);
        }
        self.tokens -= f64::from(tokens);
        Ok(())
    }
}

/// The bucket and the day of one of the two.
struct Meter {
    manner: Manner,
    bucket: Option<Bucket>,
    tokens: Option<InputTokens>,
    day_ends_ms: u64,
    of_day: u32,
}

impl Meter {
    fn new(manner: Manner, now_ms: u64) -> Self {
        let bucket = manner.per_minute.map(|per_minute| Bucket::new(per_minute, now_ms));
        let tokens = manner.tokens_per_minute.map(|per_minute| InputTokens::new(per_minute, now_ms));
        Self { manner, bucket, tokens, day_ends_ms: now_ms + DAY_MS, of_day: 0 }
    }

    /// Takes a call, and says how long it will take.
    fn take(&mut self, body: &[u8], now_ms: u64) -> Result<Duration, Refusal> {
        let calls = recipients(body);
        if let Some(trouble) = self.manner.trouble {
            return Err(Refusal::Trouble(trouble));
        }
        if now_ms >= self.day_ends_ms {
            (self.of_day, self.day_ends_ms) = (0, now_ms + DAY_MS);
        }
        if self.manner.per_day.is_some_and(|most| self.of_day >= most) {
            return Err(Refusal::Quota((self.day_ends_ms - now_ms) as f64 / 1_000.0));
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take_all(calls, now_ms).map_err(Refusal::Rate)?;
        }
        if let Some(tokens) = &mut self.tokens {
            let per_minute = tokens.per_minute();
            tokens.take(body, now_ms).map_err(|wait| Refusal::Tokens(per_minute, wait))?;
        }
        self.of_day += calls;
        Ok(self.manner.latency)
    }
}

/// A call that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What it asked for.
    pub body: Bytes,
}

/// What a call counts for: the mail service counts recipients, and a model's call has none.
/// <https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas.html>
#[must_use]
pub fn recipients(body: &[u8]) -> u32 {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let to = body["Destination"]["ToAddresses"].as_array().map_or(1, Vec::len);
    u32::try_from(to).unwrap_or(u32::MAX).max(1)
}

/// One of the two.
struct Provider {
    meter: Mutex<Meter>,
    taken: Mutex<Vec<Taken>>,
    refused: AtomicUsize,
}

impl Provider {
    fn new(manner: Manner, now_ms: u64) -> Self {
        Self { meter: Mutex::new(Meter::new(manner, now_ms)), taken: Mutex::default(), refused: AtomicUsize::new(0) }
    }

    fn take(&self, body: &Bytes, now_ms: u64) -> Result<Duration, Refusal> {
        let taken = self.meter.lock().expect("no panic").take(body, now_ms);
        match &taken {
            Ok(_) => self.taken.lock().expect("no panic").push(Taken { at_ms: now_ms, body: body.clone() }),
            Err(_) => drop(self.refused.fetch_add(1, Ordering::SeqCst)),
        }
        taken
    }

    fn figures(&self) -> Value {
        let taken = self.taken.lock().expect("no panic").len();
        json!({"taken": taken, "refused": self.refused.load(Ordering::SeqCst)})
    }
}

struct State {
    scene: Mutex<Scene>,
    model: Provider,
    mail: Provider,
    /// Where an e-mail that is taken goes; none for nowhere.
    mailbox: Option<Origin>,
    now_ms: Box<dyn Fn() -> u64 + Send + Sync>,
    address: SocketAddr,
    listening: Mutex<Option<JoinHandle<()>>>,
}

/// Both, on one port of the loopback. A clone is the same.
#[derive(Clone)]
pub struct Providers(Arc<State>);

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Providers").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl Providers {
    /// Starts them in a scene. What is mailed is passed on to the service at `mail_url`, if there is one; time is `now_ms`, in
    /// milliseconds since the Unix epoch.
    pub async fn start(scene: Scene, mail_url: Option<&str>, now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let server = Server::bind().await;
        let (model, mail) = scene.manners();
        let now = now_ms();
        let providers = Self(Arc::new(State {
            scene: Mutex::new(scene),
            model: Provider::new(model, now),
            mail: Provider::new(mail, now),
            mailbox: mail_url.map(Origin::at),
            now_ms: Box::new(now_ms),
            address: server.address(),
            listening: Mutex::default(),
        }));
        if scene != Scene::Unreachable {
            providers.listen(server);
        }
        providers
    }

    /// Where both are, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// Goes over to another scene.
    pub async fn set(&self, scene: Scene) {
        *self.0.scene.lock().expect("no panic") = scene;
        let (model, mail) = scene.manners();
        self.treat(model, mail);
        if scene == Scene::Unreachable {
            let listening = self.0.listening.lock().expect("no panic").take();
            if let Some(listening) = listening {
                listening.abort();
                // It lets go of the port.
                let _ = listening.await;
            }
        } else if self.0.listening.lock().expect("no panic").is_none() {
            self.listen(Server::at(self.0.address).await);
        }
    }

    /// Treats callers of the models and of the mail service like this from now on.
    pub fn treat(&self, model: Manner, mail: Manner) {
        let now_ms = (self.0.now_ms)();
        *self.0.model.meter.lock().expect("no panic") = Meter::new(model, now_ms);
        *self.0.mail.meter.lock().expect("no panic") = Meter::new(mail, now_ms);
    }

    /// The analyses that were taken, so paid for.
    #[must_use]
    pub fn analyses(&self) -> Vec<Taken> {
        self.0.model.taken.lock().expect("no panic").clone()
    }

    /// The e-mails that were taken.
    #[must_use]
    pub fn emails(&self) -> Vec<Taken> {
        self.0.mail.taken.lock().expect("no panic").clone()
    }

    /// How often an analysis and an e-mail were taken.
    #[must_use]
    pub fn taken(&self) -> (usize, usize) {
        let count = |provider: &Provider| provider.taken.lock().expect("no panic").len();
        (count(&self.0.model), count(&self.0.mail))
    }

    /// How often an analysis and an e-mail were refused.
    #[must_use]
    pub fn refused(&self) -> (usize, usize) {
        (self.0.model.refused.load(Ordering::SeqCst), self.0.mail.refused.load(Ordering::SeqCst))
    }

    fn listen(&self, server: Server) {
        let listening = server.start(self.clone(), answer);
        *self.0.listening.lock().expect("no panic") = Some(listening);
    }

    async fn analyze(&self, body: &Bytes) -> Reply {
        let model = &self.0.model;
        let limit = model.meter.lock().expect("no panic").manner.per_minute;
        let mut reply = match model.take(body, (self.0.now_ms)()) {
            Ok(latency) => {
                tokio::time::sleep(latency).await;
                http::json(StatusCode::OK, analysis())
            }
            Err(refusal) => no_analysis(&refusal),
        };
        if let Some(limit) = limit {
            reply.headers_mut().insert("anthropic-ratelimit-requests-limit", limit.into());
        }
        if let Some(tokens) = &model.meter.lock().expect("no panic").tokens {
            tokens.tell(&mut reply);
        }
        reply
    }

    async fn send(&self, call: Call) -> Reply {
        match self.0.mail.take(call.body(), (self.0.now_ms)()) {
            Ok(latency) => {
                tokio::time::sleep(latency).await;
                match &self.0.mailbox {
                    Some(mailbox) => mailbox.pass(call).await,
                    None => http::json(StatusCode::OK, json!({"MessageId": "mail"})),
                }
            }
            Err(refusal) => no_mail(&refusal),
        }
    }

    /// `{scene, analyses: {taken, refused}, emails: {taken, refused}}`.
    #[must_use]
    pub fn figures(&self) -> Value {
        let scene = self.0.scene.lock().expect("no panic").name();
        json!({"scene": scene, "analyses": self.0.model.figures(), "emails": self.0.mail.figures()})
    }
}

async fn answer(providers: Providers, call: Call) -> Result<Reply, Cut> {
    if *providers.0.scene.lock().expect("no panic") == Scene::Unreachable {
        return Err(Cut);
    }
    let path = call.uri().path().to_owned();
    Ok(match path.as_str() {
        "/v1/messages" => providers.analyze(call.body()).await,
        path if path.ends_with("/v2/email/outbound-emails") => providers.send(call).await,
        _ => http::empty(StatusCode::NOT_FOUND),
    })
}
