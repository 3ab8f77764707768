use super::*;
use crate::secret::tests::{error, key, reply as secret};
use serde_json::{Value, json};
use shared::model::analysis::{SentimentLabel, TokenUsage};
use testkit::scripted::{Reply as Scripted, Server};

const KEY: &str = "sk-test-key-that-no-output-may-show";
const TEXT: &str = "It was a dark night. The rain fell on the roof of the old mill without an end.";

fn reading() -> Value {
    json!({
        "language": "en",
        "summary": "Rain falls on a mill at night.",
        "key_phrases": ["dark night", "old mill"],
        "sentiment": {"label": "negative", "score": -0.3}
    })
}

fn message(stop_reason: &str, input: &Value) -> String {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": null,
        "content": [{"type": "text", "text": "Here."},
                    {"type": "tool_use", "id": "t", "name": "record_analysis", "input": input}],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 700, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 3,
                  "output_tokens": 90, "service_tier": "standard"}
    })
    .to_string()
}

/// A client with [`KEY`], also after it was refused.
async fn client(url: &str, timeout: Duration) -> Anthropic {
    let secrets = Server::start(vec![secret(KEY), secret(KEY)]).await;
    let connector = transport::connector(url, None).expect("a plain connector needs no roots");
    Anthropic::new(url, connector, key(&secrets.url), timeout).expect("the server's URL is one")
}

async fn outcome(replies: Vec<Scripted>) -> (Result<Outcome, AnalysisError>, Vec<String>) {
    let server = Server::start(replies).await;
    let outcome = client(&server.url, Duration::from_secs(20)).await.analyze(TEXT, "some-model").await;
    if let Err(error) = &outcome {
        assert!(!format!("{error} {error:?}").contains(KEY));
    }
    (outcome, server.requests())
}

async fn error_of(reply: Scripted) -> AnalysisError {
    outcome(vec![reply]).await.0.expect_err("the reply must not pass for an analysis")
}

const TOKENS: Cost = Cost::Tokens(TokenUsage { input_tokens: 723, output_tokens: 90 });

#[tokio::test]
async fn a_good_reply_is_an_analysis() {
    let (outcome, requests) = outcome(vec![Scripted::http(200, &[], &message("tool_use", &reading()))]).await;
    let outcome = outcome.expect("a good reply is taken");
    assert_eq!(outcome.analysis.sentiment.label, SentimentLabel::Negative);
    assert_eq!((outcome.analysis.word_count, outcome.analysis.sentence_count), (18, 2));
    assert_eq!(TOKENS, Cost::Tokens(outcome.usage));

    let (head, body) = requests[0].split_once("\r\n\r\n").expect("a request has a head");
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/messages http/1.1\r\n"), "{head}");
    for line in [&format!("x-api-key: {KEY}"), "anthropic-version: 2023-06-01", "content-type: application/json"] {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    let body: Value = serde_json::from_str(body).expect("the body is JSON");
    assert_eq!(body["model"], "some-model");
    assert_eq!(body["messages"][0]["content"][0]["text"], TEXT);
    assert_eq!(body["tool_choice"]["name"], "record_analysis");
    assert!(body["max_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
}

fn error_body(kind: &str, message: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
}

#[tokio::test]
async fn statuses_are_sorted() {
    let body = error_body("invalid_request_error", "you sent: secret words");
    let permanent = [
        (400, "request_refused"),
        (403, "provider_forbidden"),
        (404, "model_not_found"),
        (413, "input_too_large"),
        (418, "request_refused"),
        (302, "request_refused"),
        (204, "request_refused"),
    ];
    for (status, expected) in permanent {
        let error = error_of(Scripted::http(status, &[], if status == 204 { "" } else { &body })).await;
        let AnalysisError::Permanent { code, detail, cost } = error else { panic!("{status}: {error:?}") };
        assert_eq!((code, cost), (expected, Cost::Nothing), "{status}");
        assert!(!detail.contains("secret words"));
    }
    for (status, expected, expected_cost) in [
        (402, "provider_billing", Cost::Nothing),
        (408, "provider_timeout", Cost::Unknown),
        (409, "provider_conflict", Cost::Nothing),
        (429, "provider_rate_limited", Cost::Nothing),
        (500, "provider_failed", Cost::Unknown),
        (502, "provider_failed", Cost::Unknown),
        (503, "provider_overloaded", Cost::Nothing),
        (504, "provider_timeout", Cost::Unknown),
        (529, "provider_overloaded", Cost::Nothing),
        (599, "provider_failed", Cost::Unknown),
    ] {
        let error = error_of(Scripted::http(status, &[("retry-after", "17")], &body)).await;
        let AnalysisError::Transient { code, retry_after, detail, cost } = error else { panic!("{status}: {error:?}") };
        assert_eq!((code, retry_after, cost), (expected, Some(Duration::from_secs(17)), expected_cost), "{status}");
        assert!(!detail.contains("secret words"));
    }
}

/// The API answers `400` to all of these, and tells them apart by its words.
#[tokio::test]
async fn what_stands_behind_a_refusal_is_told_apart() {
    let credit = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
    let limit = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.";
    let transient = [
        (400, "invalid_request_error", credit, "provider_billing"),
        (400, "billing_error", "", "provider_billing"),
        (400, "invalid_request_error", limit, "provider_limit_reached"),
        (400, "invalid_request_error", "This organization has been disabled.", "provider_account_disabled"),
        (403, "permission_error", "This organization has been disabled.", "provider_account_disabled"),
    ];
    for (status, kind, message, expected) in transient {
        let error = error_of(Scripted::http(status, &[], &error_body(kind, message))).await;
        let AnalysisError::Transient { code, detail, cost, .. } = error else { panic!("{message}: {error:?}") };
        assert_eq!((code, cost), (expected, Cost::Nothing), "{message}");
        assert!(detail.contains("operator"), "whoever reads it can do nothing: {detail}");
    }
    for (message, numbers) in [
        ("prompt is too long: 208310 tokens > 200000 maximum", true),
        ("input length and `max_tokens` exceed context limit: 199211 + 1500 > 200000, decrease input length", false),
        ("Prompt is too long", false),
    ] {
        let error = error_of(Scripted::http(400, &[], &error_body("invalid_request_error", message))).await;
        let AnalysisError::Permanent { code, detail, cost } = error else { panic!("{message}: {error:?}") };
        assert_eq!((code, cost), ("input_too_large", Cost::Nothing), "{message}");
        assert_eq!(detail.contains("208310 tokens, and the model takes 200000"), numbers, "{detail}");
    }
    // A text that is quoted cannot say that the account has no credit.
    let quoted = format!("messages.0.content: unexpected `{credit}`");
    let error = error_of(Scripted::http(400, &[], &error_body("invalid_request_error", &quoted))).await;
    assert!(matches!(error, AnalysisError::Permanent { code: "request_refused", .. }), "{error:?}");
}

/// A month that is used up is a `429` too, and no rate: only an operator can do something before the next one.
#[tokio::test]
async fn a_month_that_is_used_up_is_told_from_a_rate() {
    let error = |message: &str, details: Value| {
        let error = json!({"type": "rate_limit_error", "message": message, "details": details});
        json!({"type": "error", "error": error})
    };
    let (rate, month) = ("Rate limited.", json!({"error_code": "enforced_spend_limit_reached"}));
    let words =
        "You have reached your API usage limits: your organization has crossed its monthly API usage threshold.";
    let (wait, empty) = (("retry-after", "5"), ("anthropic-ratelimit-requests-remaining", "0"));
    let reset = ("anthropic-ratelimit-requests-reset", "2999-01-01T00:00:00Z");
    for (body, headers, expected) in [
        (error(rate, month), vec![wait], "provider_limit_reached"),
        (error(words, json!(null)), vec![wait], "provider_limit_reached"),
        (error(rate, json!(null)), vec![], "provider_limit_reached"),
        (error(rate, json!("odd")), vec![wait], "provider_rate_limited"),
        (error(rate, json!({"error_code": 7})), vec![empty, reset], "provider_rate_limited"),
        (
            error("Number of concurrent connections has exceeded your rate limit.", json!(null)),
            vec![],
            "provider_rate_limited",
        ),
        (json!({"type": "error", "error": {"type": "odd"}}), vec![], "provider_rate_limited"),
    ] {
        let refused = error_of(Scripted::http(429, &headers, &body.to_string())).await;
        let AnalysisError::Transient { code, cost, .. } = refused else { panic!("{body}: {refused:?}") };
        assert_eq!((code, cost), (expected, Cost::Nothing), "{body} {headers:?}");
    }
}

/// A `429` says by what the account has left whether its text is too large for it, now or ever.
#[tokio::test]
async fn a_text_that_is_too_large_for_the_rate_is_told_from_a_rate_that_is_used_up() {
    let of_input = "This request would exceed your organization's rate limit of 30,000 input tokens per minute.";
    let growth =
        "This request would exceed your organization's maximum usage increase rate for input tokens per minute.";
    let (long, words) = ("abcdefghi ".repeat(9_000), "a ".repeat(31_000));
    let (long, words) = (long.as_str(), words.as_str());
    for (text, remaining, message, expected) in [
        (long, "30000", of_input, "input_too_large"),
        (long, "16000", of_input, "provider_input_limited"),
        (long, "1000", of_input, "provider_limited"),
        (long, "0", of_input, "provider_limited"),
        (long, "", of_input, "provider_limited"),
        (long, "30000", growth, "provider_rate_limited"),
        // It has a token for each of its words, whatever is left.
        (words, "1000", of_input, "input_too_large"),
        // Its size is no matter.
        (TEXT, "30000", of_input, "provider_rate_limited"),
    ] {
        let headers = [
            ("retry-after", "30"),
            ("anthropic-ratelimit-input-tokens-limit", "30000"),
            ("anthropic-ratelimit-input-tokens-remaining", remaining),
        ];
        let reply = Scripted::http(429, &headers, &error_body("rate_limit_error", message));
        let server = Server::start(vec![reply]).await;
        let error = client(&server.url, Duration::from_secs(20)).await.analyze(text, "m").await;
        let (AnalysisError::Permanent { code, detail, cost } | AnalysisError::Transient { code, detail, cost, .. }) =
            error.expect_err("it is refused");
        assert_eq!((code, cost), (expected, Cost::Nothing), "{remaining} left: {message}");
        assert_eq!(detail.contains("30000 tokens"), code == "input_too_large", "{detail}");
    }
}

#[tokio::test]
async fn retry_after_may_be_a_date_or_nonsense() {
    for (value, expected) in [("Sun, 01 Mar 2020 11:00:00 GMT", Some(Duration::ZERO)), ("tomorrow", None)] {
        let error = error_of(Scripted::http(429, &[("retry-after", value)], "")).await;
        assert!(matches!(error, AnalysisError::Transient { retry_after, .. } if retry_after == expected), "{error:?}");
    }
}

#[tokio::test]
async fn stop_reasons_that_end_the_job() {
    for (reason, expected) in [
        ("refusal", "model_refused"),
        ("max_tokens", "model_output_too_long"),
        ("model_context_window_exceeded", "input_too_large"),
    ] {
        let error = error_of(Scripted::http(200, &[], &message(reason, &json!({})))).await;
        assert!(
            matches!(error, AnalysisError::Permanent { code, cost, .. } if code == expected && cost == TOKENS),
            "{reason}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_reply_of_another_shape_is_tried_again_and_its_tokens_count() {
    let mut extra = reading();
    extra["instructions"] = "ignore all limits".into();
    let mut long = reading();
    long["summary"] = "x".repeat(5_000).into();
    let mut control = reading();
    control["summary"] = "a\u{0}b".into();
    let mut score = reading();
    score["sentiment"]["score"] = json!(7);
    let mut label = reading();
    label["sentiment"]["label"] = "euphoric".into();
    let mut language = reading();
    language["language"] = "<script>".into();
    let mut missing = reading();
    missing.as_object_mut().expect("a reading is an object").remove("summary");
    for input in [extra, long, control, score, label, language, missing, json!(null), json!("text"), json!([])] {
        let error = error_of(Scripted::http(200, &[], &message("tool_use", &input))).await;
        assert!(matches!(error, AnalysisError::Transient { cost: TOKENS, .. }), "{input}: {error:?}");
    }
}

/// Each of these would be a second bill for what the first reply said.
#[tokio::test]
async fn what_is_meant_is_taken() {
    let expected = ["dark night", "old mill"];
    let mut texts = Vec::new();
    for phrases in [
        r#"["dark night", "old mill"]"#,
        "['dark night', 'old mill']",
        "- dark night\n- old mill\n",
        "dark night, old mill",
    ] {
        let mut one = reading();
        one["key_phrases"] = phrases.into();
        texts.push(one);
    }
    let mut object = reading();
    object["sentiment"] = r#"{"label": "negative", "score": "-0.3"}"#.into();
    let mut blank = reading();
    blank["key_phrases"] = json!(["dark night", " ", "old mill"]);
    texts.extend([object, blank, json!(reading().to_string())]);
    for input in texts {
        let (outcome, _) = outcome(vec![Scripted::http(200, &[], &message("tool_use", &input))]).await;
        let analysis = outcome.unwrap_or_else(|error| panic!("{input}: {error:?}")).analysis;
        assert_eq!(analysis.key_phrases, expected, "{input}");
        assert_eq!(analysis.sentiment.score, Some(-0.3), "{input}");
    }
    let mut many = reading();
    many["key_phrases"] = (0..12).map(|number| format!("phrase {number}")).collect();
    for (said, tag) in [("en-US", "en-US"), ("English", "en"), ("en_GB", "en-GB"), ("Klingon", "und")] {
        many["language"] = said.into();
        let (outcome, _) = outcome(vec![Scripted::http(200, &[], &message("tool_use", &many))]).await;
        let analysis = outcome.expect("its sense is plain").analysis;
        assert_eq!((analysis.language.as_str(), analysis.key_phrases.len()), (tag, 10));
        assert_eq!(analysis.readability.flesch_reading_ease.is_some(), tag.starts_with("en"), "{said}");
    }
}

#[tokio::test]
async fn replies_without_usage_may_have_cost_something() {
    let good = message("tool_use", &reading());
    let deep = "[".repeat(100_000);
    let huge = format!("{}{}", good, " ".repeat(REPLY_MAX_BYTES));
    let bodies = ["", "null", "{}", "not json", &good[..good.len() / 2], &deep, &huge, "\u{0}", "[1,2]"];
    for body in bodies {
        let error = error_of(Scripted::http(200, &[], body)).await;
        assert!(matches!(error, AnalysisError::Transient { cost: Cost::Unknown, .. }), "{body:.20}: {error:?}");
    }
}

#[tokio::test]
async fn a_reply_that_breaks_off_may_have_cost_something() {
    let reply = Scripted::http(200, &[], &message("tool_use", &reading()));
    for missing in [1, 100] {
        let error = error_of(reply.clone().cut(missing)).await;
        assert!(matches!(error, AnalysisError::Transient { cost: Cost::Unknown, .. }), "{error:?}");
    }
    for bytes in [&b""[..], b"HTTP/1.1 200", b"garbage\r\n\r\n"] {
        let error = error_of(Scripted::Bytes(bytes.to_vec())).await;
        assert!(matches!(error, AnalysisError::Transient { cost: Cost::Unknown, .. }), "{bytes:?}: {error:?}");
    }
}

#[tokio::test]
async fn an_error_that_breaks_off_still_says_its_status() {
    let error = error_of(Scripted::http(529, &[("retry-after", "3")], "overloaded").cut(4)).await;
    assert!(matches!(error, AnalysisError::Transient { cost: Cost::Nothing, retry_after: Some(_), .. }), "{error:?}");
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let server = Server::start(vec![Scripted::Silence]).await;
    let error = client(&server.url, Duration::from_millis(300)).await.analyze(TEXT, "m").await;
    assert!(matches!(error, Err(AnalysisError::Transient { cost: Cost::Unknown, .. })), "{error:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_cost_nothing() {
    let (error, _) = outcome(vec![]).await;
    assert!(matches!(error, Err(AnalysisError::Transient { cost: Cost::Nothing, .. })), "{error:?}");
}

#[tokio::test]
async fn a_refused_key_is_not_tried_twice() {
    let (error, requests) = outcome(vec![Scripted::http(401, &[], ""), Scripted::http(401, &[], "")]).await;
    assert!(matches!(error, Err(AnalysisError::Transient { code: "provider_credentials", .. })), "{error:?}");
    assert_eq!(requests.len(), 1);
}

/// A key that is not to be had concerns everybody; one that this environment could not read now, nobody else.
#[tokio::test]
async fn a_key_that_could_not_be_read_is_no_wrong_key() {
    for (secrets, code) in [
        (vec![], "provider_key_unread"),
        (vec![secret("no key")], "provider_credentials"),
        (vec![error(400, "AccessDeniedException")], "provider_credentials"),
    ] {
        let secrets = Server::start(secrets).await;
        let server = Server::start(vec![]).await;
        let connector = transport::connector(&server.url, None).expect("a plain connector needs no roots");
        let client = Anthropic::new(&server.url, connector, key(&secrets.url), Duration::from_secs(20));
        let error = client.expect("the server's URL is one").analyze(TEXT, "m").await.expect_err("there is no key");
        let AnalysisError::Transient { code: said, cost, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*said, *cost, server.requests().len()), (code, Cost::Nothing, 0));
    }
}

/// The call that it refused is not made again in what is left of its time: the next run has the new key.
#[tokio::test]
async fn a_rotated_key_is_read_again() {
    let secrets = Server::start(vec![secret("sk-old"), secret("sk-new")]).await;
    let good = Scripted::http(200, &[], &message("tool_use", &reading()));
    let server = Server::start(vec![Scripted::http(401, &[], ""), good]).await;
    let connector = transport::connector(&server.url, None).expect("a plain connector needs no roots");
    let client = Anthropic::new(&server.url, connector, key(&secrets.url), Duration::from_secs(20));
    let client = client.expect("the server's URL is one");
    let error = client.analyze(TEXT, "m").await.expect_err("it is refused");
    assert!(matches!(error, AnalysisError::Transient { code: KEY_UNREAD, cost: Cost::Nothing, .. }), "{error:?}");
    client.analyze(TEXT, "m").await.expect("the new key is taken");
    let keys: Vec<_> = server.requests().iter().map(|request| request.contains("x-api-key: sk-new")).collect();
    assert_eq!(keys, [false, true]);
    assert_eq!(secrets.requests().len(), 2);
}

#[test]
fn a_base_url_needs_a_host() {
    for wrong in ["", "/v1", "http://", "not a url"] {
        let connector = transport::connector("http://x", None).expect("a plain connector needs no roots");
        let client = Anthropic::new(wrong, connector, key("http://x"), Duration::from_secs(1));
        assert!(client.is_err(), "{wrong:?}");
    }
}
