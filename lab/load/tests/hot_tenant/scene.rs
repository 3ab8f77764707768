//! The system in the like-aws world and in virtual time, and who asks it: through the gateway, in this process.

use axum::Router;
use lambda_http::http::Method;
use load::random::Random;
use local::like_aws::{ApiGateway, Capacity, Lambda, Ledger, LikeAws};
use local::{Clock, Options, System, operator};
use serde_json::{Value, json};
use shared::ids::{OrgId, UserId};
use shared::model::mark::MembershipMark;
use shared::model::org::{MembershipRecord, OrgRecord, Plan, Role};
use shared::model::settings::{Settings, SettingsRecord};
use shared::model::user::UserRecord;
use shared::network::Origin;
use shared::store::accounts::{AccountOrg, Registration};
use shared::store::items::SPREAD_BY_OPERATOR_AFTER;
use shared::token::Token;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::Arguments;
use crate::ask::{Actor, Ask, PASSWORD, must, send, text};
use crate::mix::{self, Kind, Rates};

/// What came of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: Kind,
    pub(crate) status: u16,
    pub(crate) latency_ms: u64,
}

pub(crate) struct Scene {
    pub(crate) system: System,
    pub(crate) ledger: Arc<Ledger>,
    router: Router,
    hot: Vec<Actor>,
    others: Vec<Actor>,
    /// Ids of items and jobs of the hot organization.
    known: Arc<Mutex<(Vec<String>, Vec<String>)>>,
}

impl Scene {
    pub(crate) async fn start(arguments: &Arguments, sessions: usize, others: usize) -> Self {
        let clock = Clock::of_tests();
        let ledger = Arc::new(Ledger::new(clock.clone()));
        let lambda = match arguments.reserved {
            true => Lambda { freezes: false, ..Lambda::default() },
            false => Lambda { freezes: false, is_reserved: false, account: 10_000, ..Lambda::default() },
        };
        // The largest that the template takes.
        let requests_per_second = arguments.reserved.then_some(2_000.0);
        let like_aws = LikeAws {
            seed: arguments.seed,
            api_gateway: ApiGateway { requests_per_second, ..ApiGateway::default() },
            capacity: Some(if arguments.new_table { Capacity::default() } else { Capacity::settled() }),
            lambda: Some(lambda),
            ledger: Some(Arc::clone(&ledger)),
            ..LikeAws::default()
        };
        let options = Options { clock, like_aws: Some(like_aws), ..Options::ephemeral() };
        let system = System::start(options).await.unwrap();
        let router = system.router();
        if arguments.unspread {
            // By then the sweeper has noted for long enough that no version before is there.
            tokio::time::sleep(Duration::from_secs(21 * 60)).await;
        }
        let mut scene = Self { system, ledger, router, hot: Vec::new(), others: Vec::new(), known: Arc::default() };
        scene.fill_hot(sessions, arguments.reserved).await;
        for number in 0..others {
            scene.others.push(scene.found(number).await);
        }
        // Last: the others are like the hot one was before.
        if !arguments.unspread {
            scene.spread().await;
        }
        scene
    }

    /// Whether the hot organization is spread by now, and so has copies.
    pub(crate) async fn is_spread(&self) -> bool {
        let org: OrgId = self.hot[0].org_id.parse().unwrap();
        let org = self.system.context().store().org(org).await.unwrap().unwrap();
        org.spreads_items(self.system.context().now())
    }

    /// How often each function was throttled so far.
    pub(crate) fn throttles(&self) -> BTreeMap<String, u64> {
        self.system.function_counts().into_iter().map(|(name, counts)| (name, counts.throttles)).collect()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.system.clock().now_ms()
    }

    /// The hot organization: an owner, and a member for each session; as slowly as methods with limits take registrations.
    async fn fill_hot(&mut self, sessions: usize, is_limited: bool) {
        let owner = must(&self.router, register(0)).await;
        let org: OrgId = text(&owner["org"]["id"]).parse().unwrap();
        let actor = |session: &Value| Actor { token: text(&session["token"]), org_id: org.to_string() };
        operator::give_plan(self.system.context(), org, Plan::Enterprise).await.unwrap();
        let owner = actor(&owner);
        for number in 1..=sessions {
            if is_limited {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            must(&self.router, register(number)).await;
            let email_of = email(number).parse().unwrap();
            operator::add_member(self.system.context(), org, &email_of, Role::Member).await.unwrap();
            let body = Some(json!({"email": email(number), "password": PASSWORD, "org_id": org.to_string()}));
            let session = Ask::new(Method::POST, "/auth/login", None, body);
            self.hot.push(actor(&must(&self.router, session).await));
        }
        let mut random = Random::new(0, 0);
        for _ in 0..20 {
            let item = must(&self.router, mix::ask("create-item", &owner, ("", ""), &mut random)).await;
            let job = must(&self.router, mix::ask("analyze", &owner, ("", ""), &mut random)).await;
            let mut known = self.known.lock().unwrap();
            known.0.push(text(&item["id"]));
            known.1.push(text(&job["id"]));
        }
    }

    /// Has the hot organization spread, as an operator does who knows what is coming; and lets the minute pass until it is.
    async fn spread(&self) {
        let org: OrgId = self.hot[0].org_id.parse().unwrap();
        operator::spread(self.system.context(), org).await.unwrap();
        self.system.clock().jump(SPREAD_BY_OPERATOR_AFTER + Duration::from_secs(1));
    }

    /// Another organization with its owner's session: stored as a registration is, without the computing of a password's hash.
    async fn found(&self, number: usize) -> Actor {
        let (user_id, org_id, now) = (UserId::new(), OrgId::new(), self.system.context().now());
        let email = format!("other-{number}@example.com");
        let user = UserRecord {
            user_id,
            name: "Grace".to_owned(),
            email,
            email_verified_at: Some(now),
            created_at: now,
            version: 1,
            memberships_made: 0,
            unproven_until: None,
        };
        let hot: OrgId = self.hot[0].org_id.parse().unwrap();
        let template = self.system.context().store().org(hot).await.unwrap().unwrap();
        // As the first organization was when it was registered, but for its plan.
        let org = OrgRecord { org_id, item_count: 0, member_count: 1, created_at: now, ..template };
        let membership = MembershipRecord {
            user_id,
            org_id,
            org_name: org.name.clone(),
            role: Role::Owner,
            joined_at: now,
            mark: Some(MembershipMark::generate().unwrap()),
        };
        let settings = SettingsRecord { settings: Settings::default(), version: 1 };
        let token = Token::generate(user_id, org_id).unwrap();
        let origin = Origin::of(&lambda_http::Request::default());
        let registration = Registration {
            user: &user,
            password_hash: "nobody logs in with it".to_owned(),
            membership: &membership,
            place: &AccountOrg::Founded(Box::new(org), settings),
            token: &token,
            origin,
            device: None,
            mail: None,
        };
        self.system.context().store().register(registration).await.unwrap();
        Actor { token: token.reveal().to_owned(), org_id: org_id.to_string() }
    }

    /// Asks for so long, as requests come: whether earlier ones were answered or not.
    pub(crate) async fn drive(&self, rates: &Rates, span: Duration, seed: u64) -> Vec<Sample> {
        let (mut random, end_ms) = (Random::new(seed, 1), self.now_ms() + span.as_millis() as u64);
        let mut due = tokio::time::Instant::now();
        let mut running = tokio::task::JoinSet::new();
        loop {
            due += random.until_next(rates.a_second);
            tokio::time::sleep_until(due).await;
            if self.now_ms() >= end_ms {
                break;
            }
            let kind = rates.pick(&mut random);
            let actors = if kind.is_hot { &self.hot } else { &self.others };
            let actor = &actors[random.below(actors.len())];
            let ask = {
                let known = self.known.lock().unwrap();
                let one = |list: &[String], random: &mut Random| list[random.below(list.len())].clone();
                let (item, job) = (one(&known.0, &mut random), one(&known.1, &mut random));
                mix::ask(kind.function, actor, (&item, &job), &mut random)
            };
            let (router, known, clock) = (self.router.clone(), Arc::clone(&self.known), self.system.clock().clone());
            running.spawn(async move {
                let begun_ms = clock.now_ms();
                let (status, body) = send(router, ask).await;
                let latency_ms = clock.now_ms() - begun_ms;
                if kind.is_hot
                    && (200..300).contains(&status)
                    && let Some(id) = body["id"].as_str()
                {
                    let mut known = known.lock().unwrap();
                    match kind.function {
                        "create-item" => known.0.push(id.to_owned()),
                        "analyze" => known.1.push(id.to_owned()),
                        _ => {}
                    }
                }
                Sample { kind, status, latency_ms }
            });
        }
        running.join_all().await
    }
}

fn email(number: usize) -> String {
    format!("hot-{number}@example.com")
}

fn register(number: usize) -> Ask {
    let account = json!({"email": email(number), "password": PASSWORD, "name": "Ada Lovelace",
        "org_name": "Analytical Engines"});
    Ask::new(Method::POST, "/auth/register", None, Some(account))
}
