//! A server under test, reached through the SDK's client, and how time passes on it.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::Credentials;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName};
use local::Clock;
use local::sqs::Sqs;
use shared::aws::AwsConfig;
use testkit::processes::Running;

const REGION: &str = "us-east-1";

/// How long MiniStack may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Target {
    pub(super) client: Client,
    pub(super) aws: AwsConfig,
    /// The server's clock, where it has one that can be moved.
    clock: Option<Clock>,
}

impl Target {
    /// A new embedded server.
    pub(super) async fn embedded() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let clock = Clock::system();
        let sqs = Sqs::new(&url, REGION, clock.clone());
        // Ends with the test's runtime.
        tokio::spawn(async move { sqs.serve(listener, std::future::pending()).await });
        Self::at(&url, Some(clock))
    }

    /// A new MiniStack.
    pub(super) async fn ministack() -> (Self, Running) {
        let python = std::env::var("MINISTACK_PYTHON").expect("MINISTACK_PYTHON names a Python with MiniStack");
        let port = testkit::ports::free_port();
        let child = Command::new(python)
            .args(["-m", "ministack"])
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("MiniStack starts");
        let mut running = Running(child);
        let target = Self::at(&format!("http://127.0.0.1:{port}"), None);
        let answering = async {
            while target.client.list_queues().send().await.is_err() {
                let ended = running.0.try_wait().expect("it is our child");
                assert!(ended.is_none(), "MiniStack ended: {ended:?}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(START_TIMEOUT, answering).await.expect("MiniStack answers");
        (target, running)
    }

    fn at(url: &str, clock: Option<Clock>) -> Self {
        let aws = AwsConfig {
            region: REGION.to_owned(),
            endpoint_url: Some(url.to_owned()),
            credentials: Credentials::new("local", "local", None, None, "test"),
            extra_roots: None,
            http_layer: None,
        };
        let config = aws_sdk_sqs::config::Builder::from(&aws.sdk_config().expect("no roots are given"))
            .retry_config(aws_sdk_sqs::config::retry::RetryConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), aws, clock }
    }

    /// Lets time pass on the server: at once where its clock can be moved, else by waiting.
    pub(super) async fn pass(&self, seconds: u64) {
        match &self.clock {
            Some(clock) => clock.jump(Duration::from_secs(seconds)),
            None => tokio::time::sleep(Duration::from_secs(seconds) + Duration::from_millis(100)).await,
        }
    }

    /// A name that no other feature uses.
    pub(super) fn name() -> String {
        format!("suite-{}", uuid::Uuid::now_v7().simple())
    }

    /// A new queue with these attributes.
    pub(super) async fn queue(&self, attributes: &[(QueueAttributeName, &str)]) -> String {
        let attributes: HashMap<_, _> =
            attributes.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        let create = self.client.create_queue().queue_name(Self::name()).set_attributes(Some(attributes));
        create.send().await.expect("a new queue").queue_url.expect("it has a URL")
    }

    pub(super) async fn send(&self, url: &str, body: &str) -> String {
        let send = self.client.send_message().queue_url(url).message_body(body);
        send.send().await.expect("a valid message").message_id.expect("it has an id")
    }

    /// What is visible now, at most ten, with all system attributes.
    pub(super) async fn receive(&self, url: &str) -> Vec<Message> {
        let receive = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .message_system_attribute_names(MessageSystemAttributeName::All);
        receive.send().await.expect("the queue exists").messages.unwrap_or_default()
    }

    /// The one message that is visible now.
    pub(super) async fn receive_one(&self, url: &str) -> Message {
        let messages = self.receive(url).await;
        let [message] = messages.try_into().expect("exactly one message is visible");
        message
    }
}

/// The ARN of the queue at a URL, whose last two parts are the account and the name.
pub(super) fn arn(url: &str) -> String {
    let mut parts = url.rsplit('/');
    let (name, account) = (parts.next().expect("a name"), parts.next().expect("an account"));
    format!("arn:aws:sqs:{REGION}:{account}:{name}")
}

/// The receipt handle of a received message.
pub(super) fn receipt(message: &Message) -> &str {
    message.receipt_handle().expect("a received message has a receipt handle")
}

pub(super) fn system<'a>(message: &'a Message, name: &MessageSystemAttributeName) -> &'a str {
    let attributes = message.attributes().expect("they were asked for");
    attributes.get(name).map_or("", String::as_str)
}

/// The code of a refusal, as SDK users match on it.
pub(super) fn refusal<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    outcome: Result<T, SdkError<E, R>>,
) -> String {
    let error = outcome.expect_err("it is refused");
    error.as_service_error().expect("the service answered").code().unwrap_or_default().to_owned()
}
