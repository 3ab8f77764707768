use super::*;
use crate::aws::user_agent;
use aws_sdk_sqs::config::{BehaviorVersion, Region};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const REGION: &str = "eu-west-1";
const SERVICE: &str = "sqs";

fn request(url: &str, headers: &[(&'static str, &str)], body: &[u8]) -> HttpRequest {
    let mut request = HttpRequest::new(SdkBody::from(body));
    request.set_method("POST").expect("a method");
    request.set_uri(url).expect("a URI");
    for (name, value) in headers {
        request.headers_mut().try_insert(*name, (*value).to_owned()).expect("a header");
    }
    request
}

/// What the kept library says the `Authorization` of a request is, with these of its headers.
fn by_the_library(request: &HttpRequest, names: &[&str], credentials: &Credentials, at: SystemTime) -> String {
    let identity = credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(SERVICE)
        .time(at)
        .settings(SigningSettings::default())
        .build()
        .expect("all set")
        .into();
    let headers = request.headers().iter().filter(|(name, _)| names.contains(name));
    let body = SignableBody::Bytes(request.body().bytes().expect("in memory"));
    let signable = SignableRequest::new(request.method(), request.uri(), headers, body).expect("can be signed");
    let (instructions, _) = sign(signable, &parameters).expect("signed").into_parts();
    let (headers, _) = instructions.into_parts();
    let found = headers.into_iter().find(|header| header.name() == "authorization").expect("a signature");
    found.value().to_owned()
}

fn credentials(secret: &str, token: Option<&str>) -> Credentials {
    Credentials::new("AKIAIOSFODNN7EXAMPLE", secret, token.map(str::to_owned), None, "test")
}

proptest! {
    /// One signer, as in an environment's life: days end, credentials are replaced.
    #[test]
    fn signatures_are_those_of_the_library(
        calls in prop::collection::vec((
            prop::collection::vec(any::<u8>(), 0..300),
            "[a-z0-9.-]{1,60}(:[1-9][0-9]{2,4})?",
            "[!-~]([ -~]{0,30}[!-~])?".prop_filter("single spaces", |text| !text.contains("  ")),
            prop::option::of("[A-Za-z0-9+/=]{1,600}"),
            "[A-Za-z0-9+/]{1,80}",
            prop_oneof![0u64..4_000_000_000, 1_750_000_000u64..1_750_100_000],
            0u64..3,
        ), 1..6),
    ) {
        let signer = Signer::new(REGION.to_owned(), SERVICE);
        for (body, host, target, token, secret, second, repeats) in calls {
            let credentials = credentials(&secret, token.as_deref());
            for repeat in 0..=repeats {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(second + repeat * 40_000);
                let url = format!("https://{host}/");
                let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
                let request = request(&url, &headers, &body);
                let Some(parts) = parts(&request) else {
                    prop_assert!(host.ends_with(":443"));
                    continue;
                };
                let signed = signer.sign(&parts, &credentials, Timestamp::try_from(at).expect("a time"));
                let expected = by_the_library(&request, &["content-type", "x-amz-target"], &credentials, at);
                prop_assert_eq!(signed.authorization, expected);
            }
        }
    }
}

#[test]
fn other_requests_are_left_to_the_sdk() {
    let usual = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "DynamoDB_20120810.GetItem")];
    assert!(parts(&request("https://h/", &usual, b"{}")).is_some());
    assert!(parts(&request("http://127.0.0.1:4000", &usual, b"{}")).is_some());
    for url in ["https://h/a", "https://h/?a=b", "https://h?a=b", "https://h:443/", "http://h:80/", "https://u@h/", "/"]
    {
        assert!(parts(&request(url, &usual, b"{}")).is_none(), "{url}");
    }
    for more in [("x-amz-user-agent", "a"), ("x-amz-security-token", "a"), ("host", "a")] {
        assert!(parts(&request("https://h/", &[usual[0], usual[1], more], b"{}")).is_none(), "{more:?}");
    }
    for one in usual {
        assert!(parts(&request("https://h/", &[one], b"{}")).is_none(), "only {one:?}");
    }
    let mut get = request("https://h/", &usual, b"{}");
    get.set_method("GET").expect("a method");
    assert!(parts(&get).is_none());
}

/// Keeps what it is sent, and says of the first request that the service is not well.
#[derive(Debug, Clone, Default)]
struct Recorder(Arc<Mutex<Vec<HttpRequest>>>);

impl HttpConnector for Recorder {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut seen = self.0.lock().expect("not poisoned");
        seen.push(request);
        let status = if seen.len() == 1 { 500 } else { 200 };
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            StatusCode::try_from(status).expect("a status"),
            SdkBody::from("{}"),
        )))
    }
}

impl HttpClient for Recorder {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// Of a whole client: the first attempt is signed here, the second one by the SDK, and both are right.
#[tokio::test]
async fn a_client_signs_every_attempt() {
    let (recorder, credentials) = (Recorder::default(), credentials("secret", Some("token")));
    let mut config = aws_sdk_sqs::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .credentials_provider(credentials.clone())
        .push_auth_scheme(Signer::new(REGION.to_owned(), SERVICE))
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(aws_smithy_async::rt::sleep::TokioSleep::new()))
        .http_client(recorder.clone());
    config.push_interceptor(user_agent());
    let client = aws_sdk_sqs::Client::from_conf(config.build());
    client.send_message().queue_url("https://h/q").message_body("a").send().await.expect("answered");

    let requests = std::mem::take(&mut *recorder.0.lock().expect("not poisoned"));
    assert_eq!(requests.len(), 2);
    for (request, names) in requests.iter().zip([&["content-type", "x-amz-target"][..], &[]]) {
        let header = |name: &str| request.headers().get(name).unwrap_or_default();
        assert_eq!(header("user-agent"), concat!("citizen-app/", env!("CARGO_PKG_VERSION"), " aws-sdk-rust"));
        assert_eq!((header("x-amz-user-agent"), header("x-amz-security-token")), ("", "token"));
        let (_, signed) = header("authorization").split_once("SignedHeaders=").expect("a signature");
        let signed: Vec<&str> = signed.split(',').next().expect("names").split(';').collect();
        let ours = ["content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target"];
        assert_eq!(signed == ours, !names.is_empty(), "{signed:?}");
        let at: Timestamp = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", header("x-amz-date"))
            .and_then(|time| time.to_datetime())
            .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
            .expect("a time")
            .timestamp();
        let expected = by_the_library(request, &signed, &credentials, at.into());
        assert_eq!(header("authorization"), expected);
    }
}
