//! The outside world that jobs call: a model provider, a mail service and the keeper of the key to the first.
//! Each notes an accepted call before it answers.

use local::clock::Clock;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::http::{self, Bytes, Call, Cut, Reply, Server, StatusCode};
use testkit::providers::{Bucket, InputTokens, analysis, no_tokens, recipients};
use tokio::sync::Notify;

/// The model provider's key.
pub(crate) const KEY: &str = "sk-a-key";

/// What the provider does with its next call, before it goes back to answering well.
#[derive(Clone)]
pub(crate) enum Answer {
    /// A status and a `retry-after` in seconds.
    Refuse(u16, Option<u64>),
    /// Well, but only when told.
    Hold(Arc<Notify>),
    /// The call is noted, and refused when told.
    HoldThenRefuse(Arc<Notify>, u16),
    /// The call is noted and never answered.
    Silence,
    /// The mail service's refusal of an e-mail, at once, for what is in it.
    RejectMessage,
    /// Well, and it says that the text had so many tokens.
    Tokens(u64),
    /// A refusal that says this, as services do that quote what they were sent.
    Say(String),
    /// A status and what the model provider says of it; no `retry-after`.
    Error(u16, Value),
}

/// The input tokens of a minute, and whether replies say how many are left.
struct Tokens {
    of_minute: InputTokens,
    are_told: bool,
    clock: Clock,
}

/// All of them on one port.
#[derive(Clone)]
pub(crate) struct Providers {
    pub(crate) url: String,
    analyses: Arc<Mutex<Vec<Value>>>,
    emails: Arc<Mutex<Vec<Value>>>,
    next: Arc<Mutex<VecDeque<Answer>>>,
    /// Whether texts that say "refuse this" are taken all the same.
    takes_all: Arc<AtomicBool>,
    rate: Arc<Mutex<Option<(Bucket, Clock)>>>,
    tokens: Arc<Mutex<Option<Tokens>>>,
    key_takes: Arc<Mutex<Option<(Duration, Clock)>>>,
    refused: Arc<AtomicUsize>,
}

impl Providers {
    pub(crate) async fn start() -> Self {
        let server = Server::bind().await;
        let providers = Self {
            url: server.url.clone(),
            analyses: Arc::default(),
            emails: Arc::default(),
            next: Arc::default(),
            takes_all: Arc::default(),
            rate: Arc::default(),
            tokens: Arc::default(),
            key_takes: Arc::default(),
            refused: Arc::default(),
        };
        server.start(providers.clone(), answer);
        providers
    }

    /// The variables that make functions call these.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("ANALYSIS_PROVIDER", "anthropic".to_owned()),
            ("ANTHROPIC_SECRET_ID", "key".to_owned()),
            ("ANTHROPIC_BASE_URL", self.url.clone()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", self.url.clone()),
            ("AWS_ENDPOINT_URL_SESV2", self.url.clone()),
        ]
    }

    /// From now on, whatever is asked.
    pub(crate) fn will_always(&self, answer: Answer) {
        self.next.lock().unwrap().extend(vec![answer; 10_000]);
    }

    /// From now on, one after the other.
    pub(crate) fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        self.next.lock().unwrap().extend(answers);
    }

    /// Whatever was to be answered next, it is well again.
    pub(crate) fn will_be_well(&self) {
        self.next.lock().unwrap().clear();
    }

    /// No more calls are taken than so many in a minute, of the clock's.
    pub(crate) fn takes_a_minute(&self, calls: u32, clock: &Clock) {
        *self.rate.lock().unwrap() = Some((Bucket::new(calls, clock.now_ms()), clock.clone()));
    }

    /// No texts are taken with more tokens than so many in a minute, of the clock's.
    pub(crate) fn takes_tokens_a_minute(&self, tokens: u32, are_told: bool, clock: &Clock) {
        let of_minute = InputTokens::new(tokens, clock.now_ms());
        *self.tokens.lock().unwrap() = Some(Tokens { of_minute, are_told, clock: clock.clone() });
    }

    /// Reading the key takes so long from now on, of the clock's time.
    pub(crate) fn key_takes(&self, time: Duration, clock: &Clock) {
        *self.key_takes.lock().unwrap() = Some((time, clock.clone()));
    }

    /// The calls for an analysis or an e-mail that were refused, for whatever reason.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    /// Texts that say "refuse this" are taken.
    pub(crate) fn accept_everything(&self) {
        self.takes_all.store(true, Ordering::SeqCst);
    }

    /// They are refused for now, as they are at the start.
    pub(crate) fn refuse_what_asks_for_it(&self) {
        self.takes_all.store(false, Ordering::SeqCst);
    }

    /// The accepted requests for an analysis.
    pub(crate) fn analyses(&self) -> Vec<Value> {
        self.analyses.lock().unwrap().clone()
    }

    /// The accepted e-mails.
    pub(crate) fn emails(&self) -> Vec<Value> {
        self.emails.lock().unwrap().clone()
    }

    /// A refusal at once; else notes the call, and answers `well` when it is time.
    async fn answer(&self, noted: &Mutex<Vec<Value>>, body: &Bytes, well: Value) -> Reply {
        let (limit, taken) = match self.rate.lock().unwrap().as_mut() {
            Some((bucket, clock)) => (Some(bucket.per_minute()), bucket.take_all(recipients(body), clock.now_ms())),
            None => (None, Ok(())),
        };
        let mut reply = match taken {
            Ok(()) => match self.no_tokens(body) {
                Some(refusal) => refusal,
                None => self.answer_within_rate(noted, body, well).await,
            },
            Err(seconds) => {
                let mut reply = http::json(StatusCode::TOO_MANY_REQUESTS, json!({"type": "error"}));
                reply.headers_mut().insert("retry-after", format!("{seconds:.3}").parse().unwrap());
                reply
            }
        };
        if let Some(limit) = limit {
            reply.headers_mut().insert("anthropic-ratelimit-requests-limit", limit.to_string().parse().unwrap());
        }
        if let Some(Tokens { of_minute, are_told: true, .. }) = &*self.tokens.lock().unwrap() {
            of_minute.tell(&mut reply);
        }
        if !reply.status().is_success() {
            self.refused.fetch_add(1, Ordering::SeqCst);
        }
        reply
    }

    /// The refusal of a text that has more tokens than are left.
    fn no_tokens(&self, body: &Bytes) -> Option<Reply> {
        let mut tokens = self.tokens.lock().unwrap();
        let Tokens { of_minute, clock, .. } = tokens.as_mut()?;
        let wait = of_minute.take(body, clock.now_ms()).err()?;
        Some(no_tokens(of_minute.per_minute(), wait))
    }

    async fn answer_within_rate(&self, noted: &Mutex<Vec<Value>>, body: &Bytes, mut well: Value) -> Reply {
        let asks_for_it = String::from_utf8_lossy(body).contains("refuse this");
        let next = if asks_for_it && !self.takes_all.load(Ordering::SeqCst) {
            Some(Answer::Refuse(500, None))
        } else {
            self.next.lock().unwrap().pop_front()
        };
        if let Some(Answer::Refuse(status, retry_after)) = next {
            let status = StatusCode::from_u16(status).unwrap();
            let error = json!({"type": "error", "error": {"type": "refused", "message": "not now"}});
            let mut reply = http::json(status, error);
            if let Some(seconds) = retry_after {
                reply.headers_mut().insert("retry-after", seconds.into());
            }
            return reply;
        }
        if matches!(next, Some(Answer::RejectMessage)) {
            let mut reply = http::json(StatusCode::BAD_REQUEST, json!({"message": "It has a virus."}));
            reply.headers_mut().insert("x-amzn-errortype", "MessageRejected".parse().unwrap());
            return reply;
        }
        if let Some(Answer::Error(status, error)) = next {
            return http::json(StatusCode::from_u16(status).unwrap(), json!({"type": "error", "error": error}));
        }
        if let Some(Answer::Say(message)) = next {
            let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}});
            return http::json(StatusCode::BAD_REQUEST, error);
        }
        noted.lock().unwrap().push(serde_json::from_slice(body).unwrap());
        match next {
            Some(Answer::Hold(told)) => told.notified().await,
            Some(Answer::HoldThenRefuse(told, status)) => {
                told.notified().await;
                return http::empty(StatusCode::from_u16(status).unwrap());
            }
            Some(Answer::Tokens(tokens)) => well["usage"]["input_tokens"] = tokens.into(),
            Some(Answer::Silence) => tokio::time::sleep(Duration::from_secs(3_600)).await,
            _ => {}
        }
        http::json(StatusCode::OK, well)
    }
}

async fn answer(providers: Providers, call: Call) -> Result<Reply, Cut> {
    let body = call.body();
    Ok(match call.uri().path() {
        "/v1/messages" => providers.answer(&providers.analyses, body, analysis()).await,
        path if path.starts_with("/v2/email/") => {
            providers.answer(&providers.emails, body, json!({"MessageId": "ses-1"})).await
        }
        // The keeper of the key, or a queue.
        "/" if http::header(&call, "x-amz-target") == "secretsmanager.GetSecretValue" => {
            if let Some((time, clock)) = &*providers.key_takes.lock().unwrap() {
                clock.jump(*time);
            }
            http::json(StatusCode::OK, json!({"Name": "key", "SecretString": KEY}))
        }
        "/" => providers.answer(&Mutex::default(), body, json!({})).await,
        _ => http::empty(StatusCode::NOT_FOUND),
    })
}
