//! Requests whose batch of reads meets a transaction: each record is as it was committed last, and not all of them as of one moment.

use crate::api::{Actor, Api, PASSWORD, Reply, unique_email};
use crate::email_changes;
use crate::jobs::rig::Rig;
use crate::letters::code_of;
use local::{Options, System};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::aws;
use testkit::http::{self, Call, Cut, Origin, Reply as Answer, Server, StatusCode};
use tokio::sync::Notify;

const ANOTHER: &str = "nine wooden barrels";
/// What ends a user's sessions but the one that acts.
const ENDS: [&str; 3] = ["a new password", "the other sessions", "another address"];

/// A proxy before the database that reads the keys of a `BatchGetItem` apart.
#[derive(Clone)]
struct TornReads {
    origin: Origin,
    is_next: Arc<AtomicBool>,
    first_is_read: Arc<Notify>,
    goes_on: Arc<Notify>,
    url: String,
}

impl TornReads {
    /// Starts one before the database at `origin`.
    async fn before(origin: &str) -> Self {
        let server = Server::bind().await;
        let proxy = Self {
            origin: Origin::at(origin),
            is_next: Arc::default(),
            first_is_read: Arc::default(),
            goes_on: Arc::default(),
            url: server.url.clone(),
        };
        server.start(proxy.clone(), answer);
        proxy
    }

    /// Another system, whose functions reach the database through the proxy.
    async fn system(&self) -> System {
        let environment = [("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.url.clone())].into();
        System::start(Options { environment, background: false, ..Options::ephemeral() }).await.unwrap()
    }

    /// The reply to a request whose next batch has read its first record before a write, and reads the others after it; and that of the
    /// write.
    async fn around(&self, write: impl Future<Output = Reply>, request: impl Future<Output = Reply>) -> (Reply, Reply) {
        self.is_next.store(true, Ordering::Relaxed);
        let write = async {
            self.first_is_read.notified().await;
            let written = write.await;
            self.goes_on.notify_one();
            written
        };
        tokio::join!(request, write)
    }
}

async fn answer(proxy: TornReads, call: Call) -> Result<Answer, Cut> {
    if aws::operation(&call) != "BatchGetItem" || !proxy.is_next.swap(false, Ordering::Relaxed) {
        return Ok(proxy.origin.pass(call).await);
    }
    let mut request: Value = serde_json::from_slice(call.body()).unwrap();
    let (table, wanted) = request["RequestItems"].as_object().unwrap().iter().next().unwrap();
    let (table, keys) = (table.clone(), wanted["Keys"].as_array().unwrap().clone());
    let mut found = Vec::new();
    for (at, key) in keys.into_iter().enumerate() {
        if at == 1 {
            proxy.first_is_read.notify_one();
            proxy.goes_on.notified().await;
        }
        request["RequestItems"][&table]["Keys"] = json!([key]);
        let reply = proxy.origin.pass(aws::dynamodb("BatchGetItem", request.to_string())).await;
        assert_eq!(reply.status(), StatusCode::OK, "{:?}", reply.body());
        let mut reply: Value = serde_json::from_slice(reply.body()).unwrap();
        if let Some(records) = reply["Responses"][&table].as_array_mut() {
            found.append(records);
        }
    }
    Ok(http::json(StatusCode::OK, json!({"Responses": {table: found}, "UnprocessedKeys": {}})))
}

/// Ends a user's other sessions, in the session that acts.
async fn end_others(api: &Api, acting: &Actor, by: &str, code: &str) -> Reply {
    match by {
        "a new password" => api.put(acting, "/me/password", json!({"current": PASSWORD, "password": ANOTHER})).await,
        "the other sessions" => api.delete(acting, "/me/sessions").await,
        _ => email_changes::confirm(api, acting, json!({"code": code})).await,
    }
}

/// Another tab's request of the session that acts: read apart, the session is the one of before, and its membership has the new mark.
#[tokio::test]
async fn a_batch_read_torn_by_the_end_of_sessions_keeps_the_acting_one() {
    let rig = Rig::new().await;
    let torn = TornReads::before(&rig.system.database_url()).await;
    let behind = torn.system().await;
    let (api, tab) = (&rig.api, Api::at(behind.url()));
    for by in ENDS {
        for is_acting in [true, false] {
            let acting = api.register().await;
            let other = Actor::of(&api.login(&acting.email, Some(&acting.org_id)).await.body, &acting.email);
            let code = match by {
                "another address" => code_of(&email_changes::letter(&rig, &acting, &unique_email()).await),
                _ => String::new(),
            };
            let reader = if is_acting { &acting } else { &other };
            let (me, ended) = torn.around(end_others(api, &acting, by, &code), tab.get(reader, "/me")).await;
            assert!(matches!(ended.status, 200 | 204), "{by}: {} {}", ended.status, ended.text);
            if is_acting {
                assert_eq!(me.status, 200, "{by}: {}", me.text);
            } else {
                me.is_problem(401, "invalid_token");
            }
        }
    }
}
