//! What readers see after a write, however it ended: its reply was lost, its writer died, it was repeated. The database
//! is asked past the cache what they should see.

use crate::api::{registrant, unique_email};
use crate::environment::config;
use crate::faults::{Fault, FaultyDatabase};
use lambda_http::http::Method;
use lambda_http::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, IF_MATCH};
use lambda_http::{Body, Request};
use local::gateway::Reply;
use local::{Options, System, functions, operator};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::conditional::Expected;
use shared::model::org::Plan;
use shared::response::Problem;
use shared::runtime::event::PathParameters;
use shared::{ApiError, Context};

/// The attempts that the SDK makes.
const ATTEMPTS: u32 = 3;

/// A write of something that is cached, and the read that shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Plan,
    Settings,
    Profile,
    Item,
    Deletion,
}

const WRITES: [Write; 5] = [Write::Plan, Write::Settings, Write::Profile, Write::Item, Write::Deletion];

impl Write {
    /// DynamoDB's operation.
    fn operation(self) -> &'static str {
        match self {
            Self::Plan | Self::Profile | Self::Item => "UpdateItem",
            Self::Settings | Self::Deletion => "TransactWriteItems",
        }
    }

    fn reader(self) -> &'static str {
        match self {
            Self::Plan => "get-org-plan",
            Self::Settings => "get-org-settings",
            Self::Profile => "get-user",
            Self::Item | Self::Deletion => "list-items",
        }
    }

    /// The function, its body, and where its reply has the record's version.
    fn request(self) -> (&'static str, Value) {
        match self {
            Self::Plan => ("", Value::Null), // an operator's, without an endpoint
            Self::Settings => ("put-org-settings", json!({"settings": {"timezone": "Asia/Tokyo"}})),
            Self::Profile => ("update-me", json!({"name": "Grace"})),
            Self::Item => ("update-item", json!({"name": "two"})),
            Self::Deletion => ("delete-item", Value::Null),
        }
    }
}

/// One organization with one item, and two execution environments.
struct Rig {
    database: FaultyDatabase,
    /// Reads and writes with a cache, over a faulty database.
    here: &'static Context,
    /// Has no cache: it reads what is so, and its writes are those of a writer that died before it told anybody.
    past: &'static Context,
    token: String,
    ids: Vec<(String, String)>,
    _system: System,
}

fn context(endpoint: &str, cache_url: &str) -> &'static Context {
    let config = config(&[("AWS_ENDPOINT_URL_DYNAMODB", endpoint), ("CACHE_URL", cache_url)]);
    Box::leak(Box::new(Context::new(config, Clock::new(local::Clock::of_tests()))))
}

async fn rig() -> Rig {
    let system = System::start(Options::ephemeral()).await.unwrap();
    let database = FaultyDatabase::before(&system.database_url()).await;
    let (here, past) = (context(&database.url, "memory:"), context(&system.database_url(), "off:"));
    let mut rig = Rig { database, here, past, token: String::new(), ids: Vec::new(), _system: system };
    let session = operator::account(past, registrant(&unique_email())).await.unwrap().session;
    let session = serde_json::to_value(session).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rig.token = text(&session["token"]);
    let item = rig.call(past, "create-item", &json!({"name": "one"}), &[]).await.1;
    rig.ids = vec![
        ("org_id".to_owned(), text(&session["org"]["id"])),
        ("user_id".to_owned(), text(&session["user"]["id"])),
        ("item_id".to_owned(), text(&item["id"])),
    ];
    rig
}

impl Rig {
    /// Calls a function in an environment.
    async fn call(
        &self,
        context: &'static Context,
        name: &str,
        body: &Value,
        headers: &[(HeaderName, &str)],
    ) -> (u16, Value) {
        let reply = self.reply(context, name, body, headers).await;
        let body = match reply.body() {
            Body::Text(text) => serde_json::from_str(text).unwrap(),
            _ => Value::Null,
        };
        (reply.status().as_u16(), body)
    }

    async fn reply(
        &self,
        context: &'static Context,
        name: &str,
        body: &Value,
        headers: &[(HeaderName, &str)],
    ) -> Reply {
        let body = if body.is_null() { Body::Empty } else { Body::Text(body.to_string()) };
        let mut request = Request::new(body);
        let reads = name.starts_with("get-") || name.starts_with("list-");
        *request.method_mut() = if reads { Method::GET } else { Method::PUT };
        request.headers_mut().insert(CONTENT_TYPE, "application/json".parse().unwrap());
        if !self.token.is_empty() {
            request.headers_mut().insert(AUTHORIZATION, format!("Bearer {}", self.token).parse().unwrap());
        }
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        request.extensions_mut().insert(PathParameters(self.ids.clone()));
        functions::handler(name, context, None).unwrap()(request).await
    }

    /// The entity tag of what a write changes, as it is; a plan is given without one.
    async fn tag(&self, write: Write) -> Option<String> {
        let reader = match write {
            Write::Plan => return None,
            Write::Settings => "get-org-settings",
            Write::Profile => "get-me",
            Write::Item | Write::Deletion => "get-item",
        };
        let reply = self.reply(self.past, reader, &Value::Null, &[]).await;
        Some(reply.headers()["etag"].to_str().unwrap().to_owned())
    }

    async fn write(&self, context: &'static Context, write: Write, if_match: Option<&str>) -> u16 {
        if write == Write::Plan {
            let given = operator::give_plan(context, self.ids[0].1.parse().unwrap(), Plan::Pro).await;
            return given.map_or_else(|error| Problem::from(error).status.as_u16(), |_| 200);
        }
        let (function, body) = write.request();
        let tag: Vec<_> = if_match.map(|tag| (IF_MATCH, tag)).into_iter().collect();
        self.call(context, function, &body, &tag).await.0
    }

    async fn read(&self, context: &'static Context, function: &str) -> Value {
        let (status, body) = self.call(context, function, &Value::Null, &[]).await;
        assert_eq!(status, 200, "{function}: {body}");
        body
    }

    /// Fails unless the next read shows what is so, and not `before`.
    async fn shows_what_is_so(&self, reader: &str, before: &Value, what: &str) {
        let so = self.read(self.past, reader).await;
        assert_ne!(so, *before, "{what}: the write took no effect");
        assert_eq!(self.read(self.here, reader).await, so, "{what}: a reader got an old value");
    }
}

#[tokio::test]
async fn a_lost_reply_is_not_another_writers_change() {
    for write in WRITES {
        let rig = rig().await;
        let before = rig.read(rig.here, write.reader()).await;
        rig.database.inject(write.operation(), Fault::LoseReply(1));
        let status = rig.write(rig.here, write, rig.tag(write).await.as_deref()).await;
        assert_eq!(rig.database.calls(write.operation()), 2, "{write:?} was sent again");
        assert!(status < 300, "{write:?}: {status}");
        rig.shows_what_is_so(write.reader(), &before, &format!("{write:?}")).await;
    }
}

#[tokio::test]
async fn a_change_without_precondition_is_made_once_though_its_reply_is_lost() {
    for write in [Write::Plan, Write::Settings, Write::Item] {
        let rig = rig().await;
        rig.database.inject(write.operation(), Fault::LoseReply(1));
        assert_eq!(rig.write(rig.here, write, None).await, 200, "{write:?}");
        let read = rig.read(rig.past, write.reader()).await;
        let record = if write == Write::Item { &read["data"][0] } else { &read };
        assert_eq!(record["version"], 2, "{write:?}");
    }
}

/// Somebody changes on top of it what was changed, before its repetition arrives.
#[tokio::test]
async fn a_repetition_does_not_undo_the_change_that_came_after() {
    for (function, reader) in [("update-item", "get-item"), ("update-me", "get-me")] {
        for with_condition in [false, true] {
            let rig = rig().await;
            let what = format!("{function}, condition: {with_condition}");
            let tag = async || {
                let reply = rig.reply(rig.past, reader, &Value::Null, &[]).await;
                reply.headers()["etag"].to_str().unwrap().to_owned()
            };
            let before = tag().await;
            let condition: Vec<_> = with_condition.then_some((IF_MATCH, before.as_str())).into_iter().collect();
            rig.database.inject("UpdateItem", Fault::HoldLostReply(1));
            let after = async {
                rig.database.has_done("UpdateItem").await;
                let seen = tag().await;
                let changed = rig.call(rig.past, function, &json!({"name": "last"}), &[(IF_MATCH, &seen)]).await;
                rig.database.release("UpdateItem");
                changed.0
            };
            let body = json!({"name": "first"});
            let ((status, _), last) = tokio::join!(rig.call(rig.here, function, &body, &condition), after);
            assert_eq!((status, last), (200, 200), "{what}");
            let (_, so) = rig.call(rig.past, reader, &Value::Null, &[]).await;
            assert_eq!(so["name"], "last", "{what}");
            assert_eq!(rig.database.calls("UpdateItem"), 2, "{what}: it was sent again");
        }
    }
}

/// Whoever was told to try again would be refused by its own change, which has another tag.
#[tokio::test]
async fn a_change_that_is_done_is_answered_whatever_cannot_be_read_then() {
    let (function, body) = Write::Profile.request();
    for with_condition in [false, true] {
        let rig = rig().await;
        let before = rig.tag(Write::Profile).await;
        let condition: Vec<_> =
            before.iter().filter(|_| with_condition).map(|before| (IF_MATCH, before.as_str())).collect();
        rig.database.inject("UpdateItem", Fault::Hold);
        let meanwhile = async {
            rig.database.holds("UpdateItem").await;
            for read in ["GetItem", "Query"] {
                rig.database.inject(read, Fault::Throttle(ATTEMPTS));
            }
            rig.database.release("UpdateItem");
        };
        let (reply, ()) = tokio::join!(rig.reply(rig.here, function, &body, &condition), meanwhile);
        assert_eq!(reply.status(), 200, "condition: {with_condition}");
        let after = rig.tag(Write::Profile).await;
        assert_ne!(after, before);
        assert_eq!(reply.headers()["etag"].to_str().ok(), after.as_deref(), "condition: {with_condition}");
    }
}

#[tokio::test]
async fn what_may_be_written_leaves_no_old_value() {
    for write in WRITES {
        let rig = rig().await;
        let before = rig.read(rig.here, write.reader()).await;
        rig.database.inject(write.operation(), Fault::LoseReply(ATTEMPTS));
        let tag = rig.tag(write).await;
        assert_eq!(rig.write(rig.here, write, tag.as_deref()).await, 503, "{write:?}");
        rig.shows_what_is_so(write.reader(), &before, &format!("{write:?}")).await;
    }
}

/// Without this, a client that reads and tries again, as it should, would be refused for as long as the cache keeps the value.
#[tokio::test]
async fn whoever_is_refused_sees_what_a_dead_writer_did() {
    for write in [Write::Settings, Write::Profile, Write::Item, Write::Deletion] {
        let rig = rig().await;
        let before = rig.read(rig.here, write.reader()).await;
        let tag = rig.tag(write).await;
        assert!(rig.write(rig.past, write, tag.as_deref()).await < 300);
        let refused = if write == Write::Deletion { 404 } else { 412 };
        assert_eq!(rig.write(rig.here, write, tag.as_deref()).await, refused, "{write:?}");
        rig.shows_what_is_so(write.reader(), &before, &format!("{write:?}")).await;
    }
}

/// Without a condition a deletion is refused by what it does not find.
#[tokio::test]
async fn whoever_deletes_what_a_dead_writer_deleted_sees_it_gone() {
    let rig = rig().await;
    let before = rig.read(rig.here, "list-items").await;
    assert_eq!(rig.write(rig.past, Write::Deletion, None).await, 204);
    assert_eq!(rig.write(rig.here, Write::Deletion, None).await, 404);
    rig.shows_what_is_so("list-items", &before, "a deletion without a condition").await;
}

/// The dead writer was faster between the read of a condition and the write under it.
#[tokio::test]
async fn so_does_who_is_refused_by_the_database() {
    let rig = rig().await;
    let before = rig.read(rig.here, "get-user").await;
    assert_eq!(rig.write(rig.past, Write::Profile, None).await, 200);
    let (user, name) = (rig.ids[1].1.parse().unwrap(), serde_json::from_value(json!("Ada")).unwrap());
    let written = rig.here.store().rename_user(user, &name, Expected::Version(1)).await;
    let refused = written.publish(rig.here.cache()).await;
    assert!(matches!(refused, Err(ApiError::PreconditionFailed)), "{refused:?}");
    rig.shows_what_is_so("get-user", &before, "profile").await;
}

#[tokio::test]
async fn a_creation_whose_replies_are_lost_shows_in_the_next_page() {
    let rig = rig().await;
    let before = rig.read(rig.here, "list-items").await;
    rig.database.inject("TransactWriteItems", Fault::LoseReply(ATTEMPTS));
    assert_eq!(rig.call(rig.here, "create-item", &json!({"name": "two"}), &[]).await.0, 503);
    rig.shows_what_is_so("list-items", &before, "create-item").await;
}

#[tokio::test]
async fn a_batch_whose_replies_are_lost_shows_in_the_next_page() {
    let rig = rig().await;
    let before = rig.read(rig.here, "list-items").await;
    rig.database.inject("BatchWriteItem", Fault::LoseReply(ATTEMPTS));
    let batch = json!({"items": [{"name": "two"}, {"name": "three"}]});
    let (status, body) = rig.call(rig.here, "create-item", &batch, &[]).await;
    assert_eq!((status, rig.database.calls("BatchWriteItem")), (201, 1), "it is looked for, and was written: {body}");
    rig.shows_what_is_so("list-items", &before, "create-item, a batch").await;
}

#[tokio::test]
async fn a_repetition_tells_the_cache_what_a_dead_writer_did() {
    for body in [json!({"name": "two"}), json!({"items": [{"name": "two"}, {"name": "three"}]})] {
        let rig = rig().await;
        let before = rig.read(rig.here, "list-items").await;
        let key = [(HeaderName::from_static("idempotency-key"), "k")];
        let first = rig.call(rig.past, "create-item", &body, &key).await;
        assert_eq!(first.0, 201, "{}", first.1);
        assert_eq!(rig.call(rig.here, "create-item", &body, &key).await, first, "replayed");
        rig.shows_what_is_so("list-items", &before, &body.to_string()).await;
    }
}
