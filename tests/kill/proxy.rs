//! Between the functions' processes and everything they call: forwards, and does what the plan says.

use crate::plan::Point;
use crate::world::World;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, StatusCode, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;

/// The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
struct Cut;

/// Serves `http://…/<role>/<process>/<service>/…` as long as the test runs.
pub(crate) async fn serve(world: Arc<World>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let world = world.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let world = world.clone();
                async move { pass(&world, request).await }
            });
            // A cut connection is what was asked for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A call of a process.
struct Call {
    role: String,
    id: u64,
    service: String,
    operation: String,
    content_type: String,
    body: Bytes,
    /// The number of the job that it is about.
    case: Option<u32>,
}

impl Call {
    async fn read(world: &World, request: Request<Incoming>) -> Self {
        let header = |name: &str| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (target, content_type) = (header("x-amz-target"), header("content-type"));
        let path = request.uri().path().to_owned();
        let mut parts = path.split('/').skip(1);
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (role, id, service) = (part(), part().parse().unwrap(), part());
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let case = world.case_of(&String::from_utf8_lossy(&body));
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        Self { role, id, service, operation, content_type, body, case }
    }

    /// Who it goes wrong for: the job, or else the process's kind.
    fn whom(&self) -> u64 {
        self.case.map_or(u64::from(u32::MAX) + self.role.len() as u64, u64::from)
    }

    /// The named point that a call which was carried out brings its process to.
    fn point(&self) -> Option<Point> {
        let says = |text: &str| self.body.windows(text.len()).any(|window| window == text.as_bytes());
        match (self.role.as_str(), self.service.as_str(), self.operation.as_str()) {
            ("analyze" | "send-email", "db", "TransactWriteItems") => Some(Point::AfterStore),
            ("analyze" | "send-email", "sqs", "SendMessage") => Some(Point::AfterSend),
            ("worker", "db", "TransactWriteItems") => {
                let claims = says(r#""state":{"S":"running"}"#) && says(r#""sending":{"BOOL":false}"#);
                claims.then_some(Point::AfterClaim)
            }
            ("worker", "model" | "mail", _) => Some(Point::AfterEffect),
            ("sweeper", "sqs", "SendMessageBatch") => Some(Point::AfterSweep),
            _ => None,
        }
    }
}

async fn pass(world: &World, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let call = Call::read(world, request).await;
    if world.plan.strikes(Point::Anywhere, call.whom()) {
        world.kill(call.id);
        return Err(Cut);
    }
    let (status, body) = carry_out(world, &call).await;
    if call.operation == "SendMessage" && world.plan.strikes(Point::SentTwice, call.whom()) {
        carry_out(world, &call).await;
    }
    if let Some(point) = call.point().filter(|_| status == StatusCode::OK)
        && world.plan.strikes(point, call.whom())
    {
        world.kill(call.id);
        return Err(Cut);
    }
    if call.service != "secrets" && world.plan.strikes(Point::LostReply, call.whom()) {
        world.note_lost(&call.service);
        return Err(Cut);
    }
    let content_type = if call.content_type.is_empty() { "application/json" } else { &call.content_type };
    Ok(Response::builder().status(status).header("content-type", content_type).body(Full::new(body)).unwrap())
}

async fn carry_out(world: &World, call: &Call) -> (StatusCode, Bytes) {
    let ours = |value: Value| (StatusCode::OK, Bytes::from(value.to_string()));
    let target = match call.service.as_str() {
        "model" => return ours(world.oracle.analyze(call.case.unwrap())),
        "mail" => return ours(world.oracle.send(call.case.unwrap())),
        "secrets" => return ours(json!({"Name": "key", "SecretString": "sk-a-key"})),
        "db" => &world.database_url,
        "sqs" => &world.sqs_url,
        other => panic!("{other} is no service"),
    };
    let request = world.http.post(target).body(call.body.clone()).header("content-type", &call.content_type);
    let version = if call.service == "db" { "DynamoDB_20120810" } else { "AmazonSQS" };
    let authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, \
                         SignedHeaders=host, Signature=0";
    let request = request
        .header("x-amz-target", format!("{version}.{}", call.operation))
        .header("authorization", authorization)
        .header("x-amz-date", "20260101T000000Z");
    let reply = request.send().await.unwrap();
    let status = reply.status();
    let body = reply.bytes().await.unwrap();
    if status == StatusCode::OK && call.service == "db" && call.operation == "TransactWriteItems" {
        world.learn(&String::from_utf8_lossy(&call.body));
    }
    (status, body)
}
