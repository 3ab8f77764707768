//! Who calls: organizations of skewed popularity, and their users.

use crate::client::{Call, Client};
use crate::random::{Random, Zipf};
use crate::truth::Truth;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

/// What everybody registers with.
pub const PASSWORD: &str = "correct horse battery";

/// A user with a session in an organization.
#[derive(Debug)]
pub struct User {
    pub token: String,
    pub user_id: String,
    pub email: String,
    /// How often the profile was renewed: only one at a time, so that its versions are ordered.
    pub renewals: tokio::sync::Mutex<u64>,
}

/// An organization: its owner first.
#[derive(Debug)]
pub struct Org {
    pub id: String,
    pub users: Vec<User>,
    /// Acknowledged items and jobs that may be asked for.
    pub items: std::sync::Mutex<Vec<String>>,
    pub jobs: std::sync::Mutex<Vec<String>>,
}

/// Everything that one run shares.
pub struct World {
    pub client: Client,
    pub truth: Truth,
    pub orgs: Vec<Org>,
    pub popularity: Zipf,
    pub seed: u64,
}

impl World {
    /// Founds `count` organizations with one to three users each. `account` makes an account of what a registration sends and returns
    /// its session ([`crate::operator::Operator::account`]). `give_plan` gives one, by its id, a plan whose limits are
    /// in nobody's way ([`crate::operator::Operator::give_plan`]).
    ///
    /// # Errors
    /// What the API or the operator's command answered instead.
    pub async fn found(
        url: &str,
        account: impl AsyncFn(&Value) -> Result<Value, String>,
        give_plan: impl AsyncFn(&str) -> Result<(), String>,
        count: usize,
        seed: u64,
    ) -> Result<Arc<Self>, String> {
        let client = Client::new(url).map_err(|error| error.to_string())?;
        let marker = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
        let numbers = stream::iter(0..count);
        let orgs: Vec<_> =
            numbers.map(|at| org(&client, (&account, &give_plan), marker, at, 1 + at % 3)).buffered(4).collect().await;
        let orgs = orgs.into_iter().collect::<Result<Vec<_>, _>>()?;
        let _registrations = client.take();
        let truth = Truth::default();
        // The first version was the plan from the registration.
        orgs.iter().for_each(|org| truth.acknowledged(&format!("/orgs/{}/plan", org.id), 2));
        Ok(Arc::new(Self { client, truth, popularity: Zipf::new(count), orgs, seed }))
    }

    /// An organization as popular as its rank says, and one of its users.
    pub fn anybody(&self, random: &mut Random) -> (&Org, &User) {
        let org = &self.orgs[self.popularity.pick(random)];
        (org, &org.users[random.below(org.users.len())])
    }
}

/// A call outside the statistics that must succeed.
async fn must(
    client: &Client,
    method: Method,
    path: String,
    token: Option<&str>,
    body: Value,
) -> Result<Value, String> {
    let call = Call {
        endpoint: "setup",
        method,
        path: path.clone(),
        token,
        body: Some(body),
        headers: &[],
        expected: &[200, 201],
        intended: None::<Instant>,
    };
    let reply = client.call(call).await;
    if matches!(reply.status, 200 | 201) {
        Ok(reply.body)
    } else {
        Err(format!("{path}: {} {}", reply.status, reply.body))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

async fn org(
    client: &Client,
    (account, give_plan): (&impl AsyncFn(&Value) -> Result<Value, String>, &impl AsyncFn(&str) -> Result<(), String>),
    marker: u128,
    at: usize,
    users: usize,
) -> Result<Org, String> {
    let mut all: Vec<User> = Vec::new();
    let mut org_id = String::new();
    for number in 0..users {
        let email = format!("load-{marker}-{at}-{number}@example.com");
        // The operator makes all but the first an admin of the first one's organization.
        let joins = all.first().map(|_| org_id.clone());
        let new = json!({"email": email, "password": PASSWORD, "name": "Ada 0", "org_name": format!("Org {at}"), "joins": joins});
        let registered = account(&new).await?;
        let (mut token, user_id) = (text(&registered["token"]), text(&registered["user"]["id"]));
        if !all.is_empty() {
            let login = json!({"email": email, "password": PASSWORD, "org_id": org_id});
            token = text(&must(client, Method::POST, "/auth/login".to_owned(), None, login).await?["token"]);
        } else {
            org_id = text(&registered["org"]["id"]);
            give_plan(&org_id).await?;
        }
        all.push(User { token, user_id, email, renewals: tokio::sync::Mutex::new(0) });
    }
    Ok(Org { id: org_id, users: all, items: std::sync::Mutex::default(), jobs: std::sync::Mutex::default() })
}
