//! A client of the system under test, and the actors that use it.

use crate::{documented, problems};
use local::like_aws::LikeAws;
use local::operator;
use local::{Options, System};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, Url};
use serde_json::{Value, json};
use shared::Context;
use shared::account::{Joins, Registrant};
use shared::etag::EntityTag;
use shared::model::org::{OrgPlan, Plan};
use shared::runtime::SECURITY_HEADERS;
use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use testkit::sources;
use tokio::runtime::Handle;

/// An origin that the template allows.
pub(crate) const ORIGIN: &str = "http://localhost:5173";

/// The system under test: one for all tests, in memory, on a runtime of its own that outlives each test's.
static UNDER_TEST: LazyLock<UnderTest> = LazyLock::new(|| {
    if let Ok(url) = std::env::var("CITIZEN_URL") {
        // What its operator has in the environment, as a JSON object; `TABLE_NAME` among it.
        let variables: HashMap<String, String> =
            serde_json::from_str(&std::env::var("CITIZEN_OPERATOR").unwrap()).unwrap();
        // Made for each act: its connections belong to the runtime of the test that acts.
        let context =
            move || operator::context(&variables["TABLE_NAME"], &|name| variables.get(name).cloned()).unwrap();
        return UnderTest { url, operator: Box::new(move || Box::leak(Box::new(context()))), runtime: None };
    }
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut options = Options::ephemeral();
            if let Ok(cache_url) = std::env::var("CACHE_URL") {
                options.cache_url = cache_url;
            }
            options.like_aws = LikeAws::from_environment();
            let system = System::start(options).await.unwrap();
            let context = system.context();
            send.send(UnderTest {
                url: system.url(),
                operator: Box::new(move || context),
                runtime: Some(Handle::current()),
            })
            .unwrap();
            std::future::pending::<()>().await;
        });
    });
    receive.recv().unwrap()
});

struct UnderTest {
    url: String,
    operator: Box<dyn Fn() -> &'static Context + Send + Sync>,
    /// Where the operator acts, if its connections outlive a test.
    runtime: Option<Handle>,
}

/// A client of the API.
pub(crate) struct Api {
    client: Client,
    url: String,
    operator: Operator,
}

/// Who acts as the operator of its system.
#[derive(Clone, Copy)]
enum Operator {
    /// That of the system under test.
    UnderTest,
    /// That of a system of the test's own.
    Of(&'static Context),
    Nobody,
}

/// A reply, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where it came from.
    pub(crate) url: Url,
    pub(crate) text: String,
    /// The body if it is JSON, else `null`.
    pub(crate) body: Value,
}

/// A registered user with a session in its organization.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) token: String,
    pub(crate) user_id: String,
    pub(crate) org_id: String,
    pub(crate) email: String,
}

/// What every actor registers with.
pub(crate) const PASSWORD: &str = "correct horse battery";

impl Api {
    pub(crate) fn new() -> Self {
        Self { operator: Operator::UnderTest, ..Self::at(UNDER_TEST.url.clone()) }
    }

    /// A client of a system of the test's own.
    pub(crate) fn at(url: String) -> Self {
        Self { client: client(&url), url, operator: Operator::Nobody }
    }

    /// A client of the same system from another address.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { operator: self.operator, ..Self::at(self.url.clone()) }
    }

    /// The same, whose actors its operator makes.
    pub(crate) fn of(system: &System) -> Self {
        Self { operator: Operator::Of(system.context()), ..Self::at(system.url()) }
    }

    /// The same of a system in another process of this machine.
    pub(crate) async fn of_running(url: String) -> Self {
        let port = Url::parse(&url).unwrap().port().unwrap();
        let variables = local::running::variables(port).await.unwrap();
        let context = operator::context(local::names::TABLE_NAME, &|name| variables.get(name).cloned()).unwrap();
        Self { operator: Operator::Of(Box::leak(Box::new(context))), ..Self::at(url) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Gives the organization of `owner` another plan, as the operator.
    pub(crate) async fn give_plan(&self, owner: &Actor, plan: Plan) -> OrgPlan {
        let org = owner.org_id.parse().unwrap();
        self.operate(move |context| async move { operator::give_plan(context, org, plan).await.unwrap() }).await
    }

    /// What the operator does.
    async fn operate<T: Send + 'static, F>(&self, act: impl FnOnce(&'static Context) -> F) -> T
    where
        F: Future<Output = T> + Send + 'static,
    {
        match self.operator {
            Operator::Of(context) => act(context).await,
            Operator::UnderTest => {
                let act = act((UNDER_TEST.operator)());
                match &UNDER_TEST.runtime {
                    Some(runtime) => runtime.spawn(act).await.unwrap(),
                    None => act.await,
                }
            }
            Operator::Nobody => panic!("nobody is this system's operator here"),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url()))
    }

    /// Calls as an actor (or nobody) with a JSON body (or none).
    pub(crate) async fn call(&self, actor: Option<&Actor>, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut request = self.request(method, path);
        if let Some(actor) = actor {
            request = request.bearer_auth(&actor.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        send(request).await
    }

    pub(crate) async fn get(&self, actor: &Actor, path: &str) -> Reply {
        self.call(Some(actor), Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, actor: &Actor, path: &str, body: Value) -> Reply {
        self.call(Some(actor), Method::POST, path, Some(body)).await
    }

    pub(crate) async fn put(&self, actor: &Actor, path: &str, body: Value) -> Reply {
        self.call(Some(actor), Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn patch(&self, actor: &Actor, path: &str, body: Value) -> Reply {
        self.call(Some(actor), Method::PATCH, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, actor: &Actor, path: &str) -> Reply {
        self.call(Some(actor), Method::DELETE, path, None).await
    }

    /// A new user whose address is proven, owner of a new organization; where the test has no operator, it registers as everybody
    /// does.
    pub(crate) async fn register(&self) -> Actor {
        if matches!(self.operator, Operator::Nobody) {
            return self.register_as_everybody().await;
        }
        let email = unique_email();
        let new = registrant(&email);
        let act = |context| async move { operator::account(context, new).await.unwrap().session };
        let session = self.operate(act).await;
        Actor::of(&serde_json::to_value(session).unwrap(), &email)
    }

    /// A new user whose address is not proven.
    pub(crate) async fn register_as_everybody(&self) -> Actor {
        let email = unique_email();
        let reply = self.elsewhere().call(None, Method::POST, "/auth/register", Some(registration(&email))).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        Actor::of(&reply.body, &email)
    }

    pub(crate) async fn login(&self, email: &str, org_id: Option<&str>) -> Reply {
        let mut body = json!({"email": email, "password": PASSWORD});
        if let Some(org_id) = org_id {
            body["org_id"] = json!(org_id);
        }
        self.call(None, Method::POST, "/auth/login", Some(body)).await
    }

    /// Makes a user a member of an owner's organization, as the operator.
    pub(crate) async fn add(&self, owner: &Actor, user: &Actor, role: &str) {
        let (org, email) = (owner.org_id.parse().unwrap(), user.email.parse().unwrap());
        let role = serde_json::from_value(json!(role)).unwrap();
        let add = move |context| async move { operator::add_member(context, org, &email, role).await.unwrap() };
        self.operate(add).await;
    }

    /// Says that a user's address is proven, as the operator.
    pub(crate) async fn verify(&self, user: &Actor) {
        let email = user.email.parse().unwrap();
        self.operate(move |context| async move { operator::verify_account(context, &email).await.unwrap() }).await;
    }

    /// A new user with a role in an owner's organization, logged in there.
    pub(crate) async fn join(&self, owner: &Actor, role: &str) -> Actor {
        let user = self.register().await;
        self.add(owner, &user, role).await;
        let session = self.login(&user.email, Some(&owner.org_id)).await;
        assert_eq!(session.status, 200, "{}", session.text);
        Actor::of(&session.body, &user.email)
    }

    /// A user who belongs to no organization: it has founded one and left it to another.
    pub(crate) async fn outside(&self) -> Actor {
        let founder = self.register().await;
        self.join(&founder, "owner").await;
        let path = format!("/orgs/{}/members/{}", founder.org_id, founder.user_id);
        assert_eq!(self.delete(&founder, &path).await.status, 204);
        let session = self.login(&founder.email, None).await;
        assert_eq!((session.status, &session.body["org"]), (200, &Value::Null), "{}", session.text);
        Actor::of(&session.body, &founder.email)
    }

    /// The id of a second session of an actor's.
    pub(crate) async fn another_session(&self, actor: &Actor) -> String {
        let other = Actor::of(&self.login(&actor.email, Some(&actor.org_id)).await.body, &actor.email);
        let list = self.get(&other, "/me/sessions").await;
        let current = list.body["data"].as_array().unwrap().iter().find(|session| session["is_current"] == true);
        current.unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// The id of a new invitation.
    pub(crate) async fn invitation(&self, actor: &Actor) -> String {
        let path = format!("/orgs/{}/invitations", actor.org_id);
        let reply = self.post(actor, &path, json!({"email": unique_email(), "role": "member"})).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.body["id"].as_str().unwrap().to_owned()
    }

    /// The id of a new item.
    pub(crate) async fn item(&self, actor: &Actor) -> String {
        let reply = self.post(actor, "/items", json!({"name": "thing"})).await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.body["id"].as_str().unwrap().to_owned()
    }
}

impl Api {
    /// The job as it is when it has ended.
    pub(crate) async fn ended(&self, actor: &Actor, job_id: &str) -> Value {
        for _ in 0..600 {
            let job = self.get(actor, &format!("/jobs/{job_id}")).await;
            assert_eq!(job.status, 200, "{}", job.text);
            if !["queued", "running"].contains(&job.body["state"].as_str().unwrap()) {
                return job.body;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{job_id} does not end");
    }

    /// The id of a job that has ended.
    pub(crate) async fn ended_job(&self, actor: &Actor) -> String {
        let accepted = self.post(actor, "/analyze", json!({"text": "A short text."})).await;
        assert_eq!(accepted.status, 202, "{}", accepted.text);
        let job_id = accepted.body["id"].as_str().unwrap().to_owned();
        self.ended(actor, &job_id).await;
        job_id
    }
}

/// A client with an address of its own, where the system is on this machine: there are limits on what comes from one.
pub(crate) fn client(url: &str) -> Client {
    // No decompression: tests look at what is on the wire.
    let client = Client::builder().no_gzip();
    let is_here = Url::parse(url).unwrap().host_str().is_some_and(|host| ["localhost", "127.0.0.1"].contains(&host));
    client.local_address(is_here.then(sources::address)).build().unwrap()
}

impl Actor {
    pub(crate) fn of(session: &Value, email: &str) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            token: text(&session["token"]),
            user_id: text(&session["user"]["id"]),
            // In none for whoever belongs to none.
            org_id: session["org"]["id"].as_str().unwrap_or_default().to_owned(),
            email: email.to_owned(),
        }
    }
}

pub(crate) async fn send(request: RequestBuilder) -> Reply {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let method = request.method().clone();
    let response = client.execute(request).await.unwrap();
    let (status, headers, url) = (response.status().as_u16(), response.headers().clone(), response.url().clone());
    let bytes = response.bytes().await.unwrap();
    if matches!(status, 200 | 201)
        && !bytes.is_empty()
        && !headers.contains_key("content-encoding")
        && let Some(tag) = headers.get("etag")
    {
        assert_eq!(tag, EntityTag::of_body(&bytes).header(), "a tag is the digest of the body that it stands beside");
    }
    for (name, value) in SECURITY_HEADERS {
        let said = headers.get(&name).unwrap_or_else(|| panic!("{url}: {status} without {name}"));
        assert!(
            said == value || name == "content-security-policy" && url.path().trim_end_matches('/').ends_with("/docs"),
            "{url}: {name}: {said:?}"
        );
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    let reply = Reply { status, headers, url, text, body };
    if status >= 400 && !reply.text.is_empty() && reply.header("content-type") != "application/json" {
        problems::fits(&reply);
    }
    documented::fits(&method, &reply);
    reply
}

/// What a registration with an address sends.
pub(crate) fn registration(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD, "name": "Ada Lovelace", "org_name": "Analytical Engines"})
}

/// The same as an operator gives it.
pub(crate) fn registrant(email: &str) -> Registrant {
    Registrant {
        email: email.parse().unwrap(),
        password: PASSWORD.to_owned().try_into().unwrap(),
        name: "Ada Lovelace".parse().unwrap(),
        joins: Joins::Founding("Analytical Engines".parse().unwrap()),
    }
}

pub(crate) fn unique_email() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("ada.{number}.{nanos}@example.com")
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The path below the API's address that `Location` leads to from here, as clients resolve it (RFC 3986, 5.2).
    pub(crate) fn location(&self) -> String {
        self.below_base(self.url.join(self.header("location")).unwrap().path())
    }

    /// A path without that of the API's address. A test may have started a system of its own beside the deployed one.
    pub(crate) fn below_base(&self, path: &str) -> String {
        let deployed = std::env::var("CITIZEN_URL").ok().map(|url| reqwest::Url::parse(&url).unwrap());
        let deployed = deployed.filter(|base| base.origin() == self.url.origin());
        // An address without a path has `/` for one.
        let base = deployed.as_ref().map_or("", |base| base.path()).trim_end_matches('/');
        path.strip_prefix(base).unwrap().to_owned()
    }

    /// Fails unless this is a problem document with a status and code.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(self.body[member].is_string(), "{member}: {}", self.text);
        }
        assert_eq!(self.body["errors"].is_array(), status == 422, "{}", self.text);
    }

    /// Where the first error of a `422` points.
    #[track_caller]
    pub(crate) fn pointer(&self) -> &str {
        self.is_problem(422, "validation_failed");
        self.body["errors"][0]["pointer"].as_str().unwrap()
    }
}

/// A JSON value with ids, times, tokens and cursors replaced by their kind, for comparing whole bodies.
pub(crate) fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let hex = |rest: &str| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
            let id = ["usr_", "org_", "itm_", "job_", "ses_", "inv_"]
                .iter()
                .find(|p| text.strip_prefix(**p).is_some_and(hex));
            let time = text.len() == 24 && text.ends_with('Z') && text.as_bytes()[10] == b'T';
            match id {
                Some(prefix) => json!(format!("{prefix}*")),
                None if time => json!("<time>"),
                None if text.starts_with("cit_") => json!("<token>"),
                None if text.starts_with("ada.") => json!("<email>"),
                None => value.clone(),
            }
        }
        Value::Array(list) => list.iter().map(redacted).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), redacted(value))).collect(),
        other => other.clone(),
    }
}
