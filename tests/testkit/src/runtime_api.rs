//! Lambda's Runtime API, for one process of a function: it asks for an event, answers it, and asks for the next.

use crate::http::{self, Bytes, Call, Cut, Reply, Server, StatusCode};
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

struct Event {
    payload: Bytes,
    deadline_ms: i64,
    answer: oneshot::Sender<Bytes>,
}

struct State {
    function: &'static str,
    asked: Notify,
    waiting: Mutex<mpsc::Receiver<Event>>,
    running: Mutex<Option<oneshot::Sender<Bytes>>>,
}

/// The API, as long as it is not dropped.
pub struct RuntimeApi {
    state: Arc<State>,
    events: mpsc::Sender<Event>,
    address: String,
    server: JoinHandle<()>,
}

impl RuntimeApi {
    pub async fn start(function: &'static str) -> Self {
        let server = Server::bind().await;
        let address = server.url.replace("http://", "");
        let (events, waiting) = mpsc::channel(1);
        let (asked, waiting, running) = (Notify::new(), Mutex::new(waiting), Mutex::default());
        let state = Arc::new(State { function, asked, waiting, running });
        Self { state: state.clone(), events, address, server: server.start(state, answer) }
    }

    /// What Lambda sets in the process's environment.
    pub fn environment(&self) -> [(&'static str, &str); 6] {
        [
            ("AWS_LAMBDA_RUNTIME_API", &self.address),
            ("AWS_LAMBDA_FUNCTION_NAME", self.state.function),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "g"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "s"),
        ]
    }

    /// Waits until the process asks for its next event.
    pub async fn asked(&self) {
        self.state.asked.notified().await;
    }

    /// Hands the process an event and gives its answer; none where it reports an error. Waits for ever where it dies.
    pub async fn invoke(&self, payload: impl Into<Bytes>, deadline_ms: i64) -> Option<Bytes> {
        let (answer, answered) = oneshot::channel();
        self.events.send(Event { payload: payload.into(), deadline_ms, answer }).await.ok()?;
        answered.await.ok()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(state: Arc<State>, call: Call) -> Result<Reply, Cut> {
    if call.uri().path().ends_with("/invocation/next") {
        state.asked.notify_one();
        let Event { payload, deadline_ms, answer } = state.waiting.lock().await.recv().await.ok_or(Cut)?;
        *state.running.lock().await = Some(answer);
        let mut next = http::json(StatusCode::OK, "").map(|_| payload);
        let headers = next.headers_mut();
        headers.insert("lambda-runtime-aws-request-id", 1.into());
        headers.insert("lambda-runtime-deadline-ms", deadline_ms.into());
        let arn = format!("arn:aws:lambda:us-east-1:0:function:{}", state.function);
        headers.insert("lambda-runtime-invoked-function-arn", arn.parse().expect("a name"));
        return Ok(next);
    }
    let running = state.running.lock().await.take();
    if let Some(running) = running.filter(|_| call.uri().path().ends_with("/response")) {
        // Whoever asked may have gone.
        let _ = running.send(call.into_body());
    }
    Ok(http::empty(StatusCode::ACCEPTED))
}
