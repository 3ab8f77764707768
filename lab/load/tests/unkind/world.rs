//! The system in the like-aws world and in virtual time, its providers, and the organizations that ask.

use crate::ask::{Actor, Ask, PASSWORD, must, send, text};
use axum::Router;
use lambda_http::http::Method;
use local::like_aws::{Capacity, Errors, Lambda, LikeAws};
use local::{Options, System, operator};
use serde_json::{Value, json};
use shared::model::limiter::Provider;
use shared::model::org::Plan;
use shared::store::items::SPREAD_BY_OPERATOR_AFTER;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::providers::{Providers, Scene, Taken};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

/// A model of the catalogue.
const MODEL: &str = "claude-sonnet-4-0";
/// The operator's caps are out of the way, and the rates are those of the scene of a new account.
const VARIABLES: [(&str, &str); 5] = [
    ("EMAILS_PER_DAY", "1000000"),
    ("DOLLARS_PER_DAY", "1000000"),
    ("CAP_SHARES", "100,100,100"),
    ("ANALYSES_PER_MINUTE", "50"),
    ("EMAILS_PER_SECOND", "14"),
];

/// A kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Analysis,
    Email,
}

pub(crate) struct World {
    system: System,
    router: Router,
    pub(crate) errors: Errors,
    /// When what was asked for was accepted, by its text.
    accepted: Arc<Mutex<HashMap<String, u64>>>,
}

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let errors = Errors::default();
        let like_aws = LikeAws {
            seed,
            errors: Some(errors.clone()),
            capacity: Some(Capacity::settled()),
            lambda: Some(Lambda { freezes: false, ..Lambda::default() }),
            ..LikeAws::default()
        };
        let environment = VARIABLES.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let unkind = Some(Scene::Well);
        let options = Options { like_aws: Some(like_aws), unkind, environment, ..Options::ephemeral() };
        let system = System::start(options).await.unwrap();
        Self { router: system.router(), system, errors, accepted: Arc::default() }
    }

    pub(crate) fn providers(&self) -> &Providers {
        self.system.providers().unwrap()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.system.clock().now_ms()
    }

    /// The owner of an organization that may have as many jobs as it likes, spread as an operator does with such.
    pub(crate) async fn owner(&self, name: &str) -> Actor {
        let email = format!("{name}@example.com");
        let account = json!({"email": email, "password": PASSWORD, "name": name, "org_name": name});
        let register = Ask::new(Method::POST, "/auth/register", None, Some(account));
        let session = must(&self.router, register).await;
        let actor = Actor { token: text(&session["token"]), org_id: text(&session["org"]["id"]) };
        let org_id = actor.org_id.parse().unwrap();
        operator::verify_account(self.system.context(), &email.parse().unwrap()).await.unwrap();
        operator::give_plan(self.system.context(), org_id, Plan::Enterprise).await.unwrap();
        operator::spread(self.system.context(), org_id).await.unwrap();
        tokio::time::sleep(SPREAD_BY_OPERATOR_AFTER + SECOND).await;
        actor
    }

    /// Asks for jobs, so many a second, and again for what was not accepted. Their texts begin with `name`.
    pub(crate) async fn ask(&self, actor: &Actor, kind: Kind, name: &str, count: usize, a_second: f64) {
        let mut due = tokio::time::Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        for number in 0..count {
            tokio::time::sleep_until(due).await;
            due += Duration::from_secs_f64(1.0 / a_second);
            let text = format!("{name} {number}.");
            let (router, actor) = (self.router.clone(), actor.clone());
            let (accepted, clock) = (Arc::clone(&self.accepted), self.system.clock().clone());
            asking.spawn(async move {
                let (path, body) = match kind {
                    Kind::Analysis => ("/analyze", json!({"text": text, "model": MODEL})),
                    Kind::Email => ("/send-email", json!({"to": "grace@example.com", "subject": "s", "text": text})),
                };
                loop {
                    let ask = Ask::new(Method::POST, path, Some(&actor), Some(body.clone()));
                    let ask = Ask { key: Some(text.replace(char::is_whitespace, "-")), ..ask };
                    let (status, body) = send(router.clone(), ask).await;
                    match status {
                        202 => {
                            accepted.lock().unwrap().insert(text, clock.now_ms());
                            break;
                        }
                        429 | 500 | 503 => tokio::time::sleep(2 * SECOND).await,
                        other => panic!("{other} {body}"),
                    }
                }
            });
        }
        asking.join_all().await;
    }

    /// Lets time pass until all that was accepted is taken, and says how long that was; none after the longest.
    pub(crate) async fn until_taken(&self, most: Duration) -> Option<Duration> {
        let begun_ms = self.now_ms();
        loop {
            let passed = Duration::from_millis(self.now_ms() - begun_ms);
            let accepted = self.accepted.lock().unwrap().len();
            let (analyses, emails) = self.providers().taken();
            // Not whose text is looked at each second: there may be 20,000.
            if analyses + emails >= accepted
                && self.taken(Kind::Analysis).len() + self.taken(Kind::Email).len() >= accepted
            {
                return Some(passed);
            }
            if passed > most {
                return None;
            }
            tokio::time::sleep(SECOND).await;
        }
    }

    /// When each text was taken, each time; of those that were asked for here.
    pub(crate) fn taken(&self, kind: Kind) -> BTreeMap<String, Vec<u64>> {
        let of_kind = match kind {
            Kind::Analysis => self.providers().analyses(),
            Kind::Email => self.providers().emails(),
        };
        let mut taken: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for call in of_kind {
            if let Some(text) = text_of(&call, kind) {
                taken.entry(text).or_default().push(call.at_ms);
            }
        }
        taken.retain(|text, _| self.accepted.lock().unwrap().contains_key(text));
        taken
    }

    /// How long each waited from its acceptance, of those of a kind, the shortest first.
    pub(crate) fn waits(&self, kind: Kind) -> Vec<Duration> {
        let accepted = self.accepted.lock().unwrap().clone();
        let wait = |(text, times): (String, Vec<u64>)| Some(times[0].saturating_sub(*accepted.get(&text)?));
        let mut waits: Vec<_> = self.taken(kind).into_iter().filter_map(wait).map(Duration::from_millis).collect();
        waits.sort();
        waits
    }

    /// When a text was accepted.
    pub(crate) fn accepted_ms(&self, text: &str) -> u64 {
        self.accepted.lock().unwrap()[text]
    }

    /// The jobs of an organization that are in a state.
    pub(crate) async fn jobs(&self, actor: &Actor, state: &str) -> Vec<Value> {
        let (mut jobs, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/jobs?state={state}&limit=100{cursor}");
            let ask = Ask::new(Method::GET, &path, Some(actor), None);
            let (status, page) = send(self.router.clone(), ask).await;
            if status != 200 {
                tokio::time::sleep(SECOND).await;
                continue;
            }
            jobs.extend(page["data"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { return jobs };
            cursor = format!("&cursor={next}");
        }
    }

    /// The buckets and breakers of both providers, and the time.
    pub(crate) async fn limiters(&self) -> String {
        let context = self.system.context();
        let (model, mail) = (Provider::of_model(MODEL), Provider::Mail);
        let (model, mail) = (context.store().limiter_record(&model).await, context.store().limiter_record(&mail).await);
        format!("now {:?}, model {model:?}, mail {mail:?}", context.now())
    }
}

/// The text that a call was about, up to its full stop.
fn text_of(call: &Taken, kind: Kind) -> Option<String> {
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    let said = match kind {
        Kind::Email => body["Content"]["Simple"]["Body"]["Text"]["Data"].as_str().map(str::to_owned),
        Kind::Analysis => Some(body["messages"].to_string()),
    }?;
    let begin = said.find("job of ")?;
    let end = begin + said[begin..].find('.')?;
    Some(said[begin..=end].to_owned())
}
