//! One organization whose functions are called in the process, over a database of the test's choice and at its time.

use crate::api::{registration, unique_email};
use crate::environment::config;
use crate::jobs::rig::world_of;
use lambda_http::http::header::{AUTHORIZATION, CONTENT_TYPE};
use lambda_http::{Body, Request, RequestExt as _};
use local::like_aws::LikeAws;
use local::{Clock, Options, System, functions, operator};
use serde_json::{Value, json};
use shared::Context;
use shared::ids::OrgId;
use shared::model::job::JobKind;
use shared::model::org::{OrgRecord, Plan};
use shared::runtime::event::PathParameters;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use testkit::aws;
use testkit::http::Origin;

pub(crate) struct Rig {
    pub(crate) system: System,
    pub(crate) org_id: OrgId,
    pub(crate) token: String,
    /// The suite runs in the like-aws world, and the test says nothing else.
    is_like_aws: bool,
    /// Past whatever the functions' calls go through.
    database: Origin,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::at(Clock::of_tests()).await
    }

    pub(crate) async fn at(clock: Clock) -> Self {
        Self::with(Options { clock, ..Options::ephemeral() }).await
    }

    /// In a world like AWS's, for the functions' own contexts.
    pub(crate) async fn like_aws(world: LikeAws) -> Self {
        Self::with(Options { like_aws: Some(world), ..Options::ephemeral() }).await
    }

    async fn with(options: Options) -> Self {
        let like_aws = world_of(&options);
        let is_like_aws = options.like_aws.is_none() && like_aws.is_some();
        let options = Options { background: false, cache_url: "off:".to_owned(), like_aws, ..options };
        let system = System::start(options).await.unwrap();
        let url = format!("{}/auth/register", system.url());
        let session = crate::api::client(&url).post(url).json(&registration(&unique_email())).send().await.unwrap();
        let session: Value = session.json().await.unwrap();
        Self {
            org_id: session["org"]["id"].as_str().unwrap().parse().unwrap(),
            token: session["token"].as_str().unwrap().to_owned(),
            is_like_aws,
            database: Origin::at(&system.database_url()),
            system,
        }
    }

    /// An execution environment whose database is at `url`, without a cache.
    pub(crate) fn environment(&self, url: &str) -> &'static Context {
        self.environment_with(url, "off:")
    }

    /// One whose cache is its own.
    pub(crate) fn with_cache(&self, url: &str) -> &'static Context {
        self.environment_with(url, "memory:")
    }

    fn environment_with(&self, url: &str, cache_url: &str) -> &'static Context {
        let queue_url = self.system.context().config().queue_url(JobKind::Analyze).unwrap();
        let config = config(&[
            ("ANALYSES_QUEUE_URL", queue_url),
            ("AWS_ENDPOINT_URL_SQS", self.system.sqs_url()),
            ("AWS_ENDPOINT_URL_DYNAMODB", url),
            ("CACHE_URL", cache_url),
        ]);
        Box::leak(Box::new(Context::new(config, self.system.clock().into())))
    }

    /// The database as it is.
    pub(crate) fn here(&self) -> &'static Context {
        self.system.context()
    }

    pub(crate) async fn call(
        &self,
        context: &'static Context,
        name: &str,
        body: &Value,
        headers: &[(&'static str, &str)],
        about: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut request = Request::new(if body.is_null() { Body::Empty } else { Body::Text(body.to_string()) });
        request.headers_mut().insert(CONTENT_TYPE, "application/json".parse().unwrap());
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {}", self.token).parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let about: Vec<(String, String)> =
            about.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (path, query): (Vec<_>, Vec<_>) = about.into_iter().partition(|(name, _)| name.ends_with("_id"));
        request.extensions_mut().insert(PathParameters(path));
        let request = request.with_query_string_parameters(query.into_iter().collect::<HashMap<_, _>>());
        let reply = functions::handler(name, context, None).unwrap()(request).await;
        let body = match reply.body() {
            Body::Text(text) => serde_json::from_str(text).unwrap(),
            _ => Value::Null,
        };
        (reply.status().as_u16(), body)
    }

    /// The sweeper of this version runs each minute, for so long.
    pub(crate) async fn minutes_pass(&self, minutes: u32) {
        for _ in 0..minutes {
            self.here().store().note_partitions_known().await.unwrap();
            self.system.clock().jump(Duration::from_secs(60));
        }
    }

    /// Creates one item. Its id, or the status and code of the refusal.
    pub(crate) async fn create(&self, context: &'static Context) -> Result<String, (u16, String)> {
        let (status, body) = self.call(context, "create-item", &json!({"name": "x"}), &[], &[]).await;
        if status == 201 { Ok(text(&body["id"])) } else { Err((status, text(&body["code"]))) }
    }

    /// What creations run in that race: where the suite is in the like-aws world, the function's own, whose transactions meet; else the
    /// database as it is.
    pub(crate) fn racing(&self) -> &'static Context {
        if self.is_like_aws { self.system.contexts().get("create-item").unwrap() } else { self.here() }
    }

    /// [`Self::create`]. In the like-aws world under a key, again while the service is too busy to say yes or no.
    pub(crate) async fn create_decided(&self, context: &'static Context, key: String) -> Result<String, (u16, String)> {
        if !self.is_like_aws {
            return self.create(context).await;
        }
        for _ in 0..60 {
            let key = [("idempotency-key", key.as_str())];
            let (status, body) = self.call(context, "create-item", &json!({"name": "x"}), &key, &[]).await;
            match status {
                201 => return Ok(text(&body["id"])),
                503 => tokio::time::sleep(Duration::from_millis(500)).await,
                _ => return Err((status, text(&body["code"]))),
            }
        }
        panic!("the service stays busy");
    }

    /// Creates a batch. The ids, or the status of the refusal.
    pub(crate) async fn create_many(&self, context: &'static Context, count: usize) -> Result<Vec<String>, u16> {
        let batch = json!({"items": vec![json!({"name": "x"}); count]});
        let (status, body) = self.call(context, "create-item", &batch, &[], &[]).await;
        let ids = |body: &Value| body["created"].as_array().unwrap().iter().map(|item| text(&item["id"])).collect();
        if status == 201 { Ok(ids(&body)) } else { Err(status) }
    }

    pub(crate) async fn delete(&self, context: &'static Context, id: &str) -> u16 {
        self.call(context, "delete-item", &Value::Null, &[], &[("item_id", id)]).await.0
    }

    /// All items by pages of `limit`, as the list shows them.
    pub(crate) async fn listed(&self, context: &'static Context, limit: usize) -> Vec<String> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        let limit_text = limit.to_string();
        loop {
            let mut query = vec![("limit", limit_text.as_str())];
            query.extend((!cursor.is_empty()).then_some(("cursor", cursor.as_str())));
            let (status, page) = self.call(context, "list-items", &Value::Null, &[], &query).await;
            assert_eq!(status, 200, "{page}");
            let data = page["data"].as_array().unwrap();
            assert!(data.len() <= limit);
            ids.extend(data.iter().map(|item| text(&item["id"])));
            match page["next_cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return ids,
            }
        }
    }

    pub(crate) async fn give_plan(&self, plan: Plan) {
        operator::give_plan(self.system.context(), self.org_id, plan).await.unwrap();
    }

    /// Spreads the items, as an operator does, and lets a minute pass.
    pub(crate) async fn spread(&self) {
        operator::spread(self.system.context(), self.org_id).await.unwrap();
        self.system.clock().jump(Duration::from_secs(60));
    }

    pub(crate) async fn org(&self) -> OrgRecord {
        self.system.context().store().org(self.org_id).await.unwrap().unwrap()
    }

    /// Calls the database itself.
    pub(crate) async fn raw(&self, operation: &str, body: Value) -> Value {
        let reply = self.database.pass(aws::dynamodb(operation, body.to_string())).await;
        assert!(reply.status().is_success(), "{operation}: {:?}", reply.body());
        serde_json::from_slice(reply.body()).unwrap()
    }

    /// How many items are stored, and how many units lie in each lane.
    pub(crate) async fn stored(&self) -> (usize, BTreeMap<String, u64>) {
        let (mut items, mut lanes, mut start) = (0, BTreeMap::new(), Value::Null);
        loop {
            let mut scan = json!({"TableName": local::names::TABLE_NAME, "ConsistentRead": true});
            if !start.is_null() {
                scan["ExclusiveStartKey"] = start;
            }
            let page = self.raw("Scan", scan).await;
            for record in page["Items"].as_array().unwrap() {
                let pk = record["pk"]["S"].as_str().unwrap();
                let of_org = pk.split('#').nth(1) == Some(&self.org_id.to_string());
                if of_org && pk.starts_with("ITEMS#") {
                    items += 1;
                } else if of_org && pk.starts_with("ROOM#") {
                    let free = record["free_units"]["N"].as_str().unwrap().parse().unwrap();
                    lanes.insert(text(&record["sk"]["S"]), free);
                }
            }
            start = page["LastEvaluatedKey"].clone();
            if start.is_null() {
                return (items, lanes);
            }
        }
    }

    /// What is out is used or lies in lanes: nothing was lost, nothing made.
    pub(crate) async fn balanced(&self) -> usize {
        let (items, lanes) = self.stored().await;
        let free: u64 = lanes.values().sum();
        assert_eq!(self.org().await.item_count, items as u64 + free, "{items} items, {lanes:?}");
        items
    }
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
