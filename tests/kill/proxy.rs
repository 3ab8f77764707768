//! Between the functions' processes and everything they call: forwards, and does what the plan says.

use crate::plan::Point;
use crate::world::World;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use local::like_aws::Passage;
use serde_json::json;
use std::sync::Arc;
use testkit::aws;
use testkit::http::{self, Cut, Reply, StatusCode, Uri};

/// A call of a process.
struct Call {
    role: String,
    id: u64,
    service: String,
    operation: String,
    /// As the service is to get it.
    request: http::Call,
    /// The number of the job that it is about.
    case: Option<u32>,
}

impl Call {
    /// Reads a call of `http://…/<role>/<process>/<service>/…`.
    fn read(world: &World, mut request: http::Call) -> Self {
        let path = request.uri().path().to_owned();
        let mut parts = path.split('/').skip(1);
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (role, id, service) = (part(), part().parse().unwrap(), part());
        let rest: String = parts.map(|part| format!("/{part}")).collect();
        *request.uri_mut() = if rest.is_empty() { Uri::from_static("/") } else { rest.parse().unwrap() };
        let case = world.case_of(&String::from_utf8_lossy(request.body()));
        Self { role, id, service, operation: aws::operation(&request).to_owned(), request, case }
    }

    /// Who it goes wrong for: the job, or else the process's kind.
    fn whom(&self) -> u64 {
        self.case.map_or(u64::from(u32::MAX) + self.role.len() as u64, u64::from)
    }

    /// The named point that a call which was carried out brings its process to.
    fn point(&self) -> Option<Point> {
        let says = |text: &str| self.request.body().windows(text.len()).any(|window| window == text.as_bytes());
        match (self.role.as_str(), self.service.as_str(), self.operation.as_str()) {
            ("analyze" | "send-email", "db", "TransactWriteItems") => Some(Point::AfterStore),
            ("analyze" | "send-email", "sqs", "SendMessage") => Some(Point::AfterSend),
            ("analysis-worker" | "email-worker", "db", "TransactWriteItems") => {
                // Of a job that was queued: only then its state is among what the write changes.
                says(r#"{"S":"running"}"#).then_some(Point::AfterClaim)
            }
            ("analysis-worker" | "email-worker", "model" | "mail", _) => Some(Point::AfterEffect),
            ("sweeper", "sqs", "SendMessageBatch") => Some(Point::AfterSweep),
            _ => None,
        }
    }
}

pub(crate) async fn pass(world: Arc<World>, request: http::Call) -> Result<Reply, Cut> {
    let call = Call::read(&world, request);
    if world.plan.strikes(Point::Anywhere, call.whom()) {
        world.kill(call.id);
        return Err(Cut);
    }
    let answer = carry_out(&world, &call).await;
    if call.operation == "SendMessage" && world.plan.strikes(Point::SentTwice, call.whom()) {
        carry_out(&world, &call).await;
    }
    if let Some(point) = call.point().filter(|_| answer.status() == StatusCode::OK)
        && world.plan.strikes(point, call.whom())
    {
        world.kill(call.id);
        return Err(Cut);
    }
    if call.service != "secrets" && world.plan.strikes(Point::LostReply, call.whom()) {
        world.note_lost(&call.service);
        return Err(Cut);
    }
    Ok(answer)
}

async fn carry_out(world: &World, call: &Call) -> Reply {
    let origin = match call.service.as_str() {
        "model" | "mail" => return provider(world, call).await,
        "secrets" => return http::json(StatusCode::OK, json!({"Name": "key", "SecretString": "sk-a-key"})),
        "db" => &world.database,
        "sqs" => &world.sqs,
        other => panic!("{other} is no service"),
    };
    let answer = match &world.passage {
        Some(passage) if call.service == "db" => like_aws(passage, &world.system.database_url(), &call.request).await,
        _ => origin.pass(call.request.clone()).await,
    };
    if answer.status() == StatusCode::OK && call.service == "db" && call.operation == "TransactWriteItems" {
        world.learn(&String::from_utf8_lossy(call.request.body()));
    }
    answer
}

/// Has a provider take a call, or refuse it. What was taken is written down first.
async fn provider(world: &World, call: &Call) -> Reply {
    if let Some(weather) = &world.weather {
        let reply = weather.call(call.request.clone()).await;
        if reply.status() != StatusCode::OK {
            return reply;
        }
    }
    let case = call.case.unwrap();
    let taken = if call.service == "model" { world.oracle.analyze(case) } else { world.oracle.send(case) };
    http::json(StatusCode::OK, taken)
}

/// Passes a call on to the database as AWS's would take it.
async fn like_aws(passage: &Passage, database_url: &str, call: &http::Call) -> Reply {
    let mut request = HttpRequest::new(call.body().to_vec().into());
    request.set_method("POST").unwrap();
    request.set_uri(database_url).unwrap();
    for name in ["authorization", "x-amz-target"] {
        let value = call.headers()[name].to_str().unwrap().to_owned();
        request.headers_mut().insert(name, value);
    }
    let (status, body) = passage.call(request).await.unwrap();
    let mut reply = Reply::new(body.into());
    *reply.status_mut() = StatusCode::from_u16(status).unwrap();
    reply.headers_mut().insert("content-type", "application/x-amz-json-1.0".parse().unwrap());
    reply
}
