//! A table in the like-aws world, and the SDK's client over it: without repetitions and time-outs, so that each answer is seen.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use serde_json::json;
use shared::aws::{AwsConfig, Credentials};

use super::LikeAws;
use crate::clock::Clock;
use crate::database::from_json;
use crate::layers::{Layer, embedded::EmbeddedDatabase, stack};
use crate::names::{REGION, TABLE_NAME};
use std::sync::Arc;

pub(super) struct Rig {
    client: Client,
    pub(super) clock: Clock,
}

pub(super) fn key(name: &str) -> HashMap<String, AttributeValue> {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    HashMap::from([("pk".to_owned(), text(name)), ("sk".to_owned(), text("X"))])
}

impl Rig {
    pub(super) fn new(like_aws: impl FnOnce(&Clock) -> LikeAws) -> Self {
        let engine = dynoxide::Database::memory().expect("a database");
        let table = json!({
            "TableName": TABLE_NAME,
            "AttributeDefinitions": [
                { "AttributeName": "pk", "AttributeType": "S" }, { "AttributeName": "sk", "AttributeType": "S" },
            ],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }, { "AttributeName": "sk", "KeyType": "RANGE" }],
            "BillingMode": "PAY_PER_REQUEST",
        });
        engine.create_table(from_json(table).expect("a request")).expect("a table");
        let url = "http://127.0.0.1:1".to_owned();
        let database = EmbeddedDatabase::new(url.clone(), engine);
        let clock = Clock::stopped();
        let mut layers = like_aws(&clock).layers(&database, &clock);
        layers.push(Arc::new(database) as Arc<dyn Layer>);
        let aws = AwsConfig {
            region: REGION.to_owned(),
            endpoint_url: Some(url),
            credentials: Credentials::new("test", "test", None, None, "test"),
            extra_roots: None,
            http_layer: Some(stack(layers)),
        };
        let config = aws.sdk_config().expect("no roots").into_builder().retry_config(RetryConfig::disabled());
        let config = config.timeout_config(TimeoutConfig::disabled()).build();
        Self { client: Client::new(&config), clock }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn table(&self) -> &'static str {
        TABLE_NAME
    }

    pub(super) async fn put(&self, name: &str) {
        self.client.put_item().table_name(TABLE_NAME).set_item(Some(key(name))).send().await.expect("it is put");
    }

    pub(super) async fn get(&self, name: &str) -> Option<HashMap<String, AttributeValue>> {
        let get = self.client.get_item().table_name(TABLE_NAME).set_key(Some(key(name))).send().await;
        get.expect("it answers").item
    }

    pub(super) async fn exists(&self, name: &str) -> bool {
        self.get(name).await.is_some()
    }
}
