//! The yardstick of `just bench`, not a part of the system: `GET /users/{user_id}` as one would write it by
//! hand with the same runtime, SDK and Redis client, and nothing around it: no request id, CORS, entity tag,
//! deadline, lease or breaker. What it costs on a machine tells what the machine and those crates cost.

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::{Client, Config};
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Error, Request, RequestExt as _, Response, run, service_fn};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use std::env;

const FRESH_SECONDS: u64 = 300;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let cache = redis::Client::open(env::var("CACHE_URL")?)?.get_multiplexed_async_connection().await?;
    let credentials =
        Credentials::new(env::var("AWS_ACCESS_KEY_ID")?, env::var("AWS_SECRET_ACCESS_KEY")?, None, None, "yardstick");
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(env::var("AWS_REGION")?))
        .endpoint_url(env::var("AWS_ENDPOINT_URL")?)
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let (database, table) = (Client::from_conf(config), env::var("TABLE_NAME")?);
    run(service_fn(|request: Request| get_user(cache.clone(), &database, &table, request))).await
}

async fn get_user(
    mut cache: MultiplexedConnection,
    database: &Client,
    table: &str,
    request: Request,
) -> Result<Response<Body>, Error> {
    let parameters = request.path_parameters();
    let user = parameters.first("user_id").unwrap_or_default();
    let key = format!("yardstick:{user}");
    let found: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut cache).await?;
    let body = match found {
        Some(body) => body,
        None => {
            let record = database
                .get_item()
                .table_name(table)
                .key("pk", AttributeValue::S(format!("USER#{user}")))
                .key("sk", AttributeValue::S("PROFILE".to_owned()))
                .consistent_read(true)
                .send()
                .await?;
            let text = |name: &str| record.item().and_then(|item| item.get(name)?.as_s().ok());
            let body = json!({"id": text("user_id"), "name": text("name")}).to_string();
            redis::cmd("SETEX").arg(&key).arg(FRESH_SECONDS).arg(&body).exec_async(&mut cache).await?;
            body
        }
    };
    Ok(Response::builder().header(CONTENT_TYPE, "application/json").body(body.into())?)
}
