//! What configuration takes, and what it names.

use super::*;

const COMPLETE: [(&str, &str); 8] = [
    ("TABLE_NAME", "t"),
    ("ALLOWED_ORIGINS", "https://a.example, http://localhost:5173"),
    ("CACHE_URL", "memory:"),
    ("SESSION_REQUESTS_PER_SECOND", "50"),
    ("ORG_REQUESTS_PER_SECOND", "50,500,10000"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "k"),
    ("AWS_SECRET_ACCESS_KEY", "s"),
];

fn with(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_lookup(|name| {
        let value = changes.iter().chain(&COMPLETE).find(|(key, _)| *key == name);
        value.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn what_is_missing_is_named() {
    assert!(with(&[]).is_ok());
    for (name, _) in COMPLETE {
        for nothing in ["", " ", "\t\n"] {
            assert_eq!(with(&[(name, nothing)]).expect_err("missing"), ConfigError::Missing(name));
        }
    }
    let blank = with(&[("ANTHROPIC_SECRET_ID", " "), ("MAIL_FROM", "a@a.example"), ("SES_CONFIGURATION_SET", " ")]);
    let blank = blank.expect("they are not needed everywhere");
    assert_eq!(blank.anthropic(), Err(ConfigError::Missing("ANTHROPIC_SECRET_ID")));
    assert_eq!(blank.mail().expect("there").configuration_set, None);
}

#[test]
fn addresses_are_of_the_web_and_have_a_host() {
    let needed = [("ANTHROPIC_SECRET_ID", "key"), ("MAIL_FROM", "a@a.example")];
    let services =
        ["DYNAMODB", "ELASTICACHE", "SECRETS_MANAGER", "SESV2", "SQS"].map(|of| format!("AWS_ENDPOINT_URL_{of}"));
    let others =
        JobKind::ALL.map(JobKind::queue_variable).into_iter().chain(["AWS_ENDPOINT_URL", "ANTHROPIC_BASE_URL"]);
    for name in services.iter().map(String::as_str).chain(others) {
        let at = |url| with(&[needed[0], needed[1], (name, url)]);
        for wrong in
            ["nonsense", "a.example", "//a.example", "ftp://a.example", "https://", "http:///queue", "http://a b"]
                .into_iter()
                .chain(["https://a.example:", "http://a:99999", "http://a:port"])
        {
            let error = at(wrong).expect_err(wrong).to_string();
            assert!(error.contains(name) && error.contains(wrong), "{wrong}: {error}");
        }
        for right in
            ["https://sqs.eu-west-1.amazonaws.com/1/Queue", "http://127.0.0.1:4566", "http://[::1]:1/", "HTTP://a"]
        {
            assert!(at(right).is_ok(), "{name}: {right}");
        }
    }
    let one = ("AWS_ENDPOINT_URL_SQS", "http://one.example");
    let config = with(&[("AWS_ENDPOINT_URL", "http://all.example"), one]).expect("valid");
    assert_eq!(config.sqs_endpoint_url.as_deref(), Some("http://one.example"));
    assert_eq!(config.aws.endpoint_url.as_deref(), Some("http://all.example"));
}

/// `deploy/test_environments.py` is held to the same list: what a deployment takes stops no function at its start.
#[test]
fn the_largest_numbers_that_are_deployed_are_read() {
    let list = include_str!("../../../deploy/numbers.txt");
    let numbers = list.lines().filter(|line| !line.starts_with("# "));
    for (name, most) in numbers.filter_map(|line| line.split_once(' ')) {
        let read = |number| {
            let account_mail = [("ACCOUNT_MAILS_PER_DAY", "1"), ("ACCOUNT_MAIL_BOUNCE_PERCENT", "4")];
            with(&[(name, number), ("APP_URL", "https://a.example"), account_mail[0], account_mail[1]])
        };
        assert_eq!(read(most).err(), None, "{name}={most}");
        assert!(read("many").expect_err("it is read").to_string().contains(name), "{name}");
    }
}

#[test]
fn what_only_some_functions_need_is_named_too() {
    let config = with(&[]).expect("valid");
    assert_eq!(config.queue_url(JobKind::Analyze), Err(ConfigError::Missing("ANALYSES_QUEUE_URL")));
    assert_eq!(config.analysis_provider(), Err(ConfigError::Missing("ANALYSIS_PROVIDER")));
    assert_eq!(config.anthropic(), Err(ConfigError::Missing("ANTHROPIC_SECRET_ID")));
    assert_eq!(config.waiting_places(), Err(ConfigError::Missing("WAITING_PLACES")));
    assert_eq!(config.rate_of_analyses(), Err(ConfigError::Missing("ANALYSES_PER_MINUTE")));
    assert_eq!(config.rate_of_emails(), Err(ConfigError::Missing("EMAILS_PER_SECOND")));
    assert_eq!(config.invitations_per_day(), Err(ConfigError::Missing("INVITATIONS_PER_DAY")));
    for name in ["WAITING_PLACES", "ANALYSES_PER_MINUTE", "EMAILS_PER_SECOND", "INVITATIONS_PER_DAY"] {
        let error = with(&[(name, "many")]).expect_err("no number").to_string();
        assert!(error.contains(name), "{error}");
    }
    assert_eq!(config.mail(), Err(ConfigError::Missing("MAIL_FROM")));
    for limit in NetworkLimit::ALL {
        assert_eq!(config.network_limit(limit), Err(ConfigError::Missing(limit.variable())));
        let error = with(&[(limit.variable(), "-1")]).expect_err("less than nothing").to_string();
        assert!(error.contains(limit.variable()), "{error}");
        assert_eq!(with(&[(limit.variable(), "0")]).expect("closed").network_limit(limit), Ok(0));
    }
    let error = with(&[("ANALYSIS_PROVIDER", "pigeons")]).expect_err("unknown").to_string();
    assert!(error.contains("ANALYSIS_PROVIDER") && error.contains("pigeons"), "{error}");
}

#[test]
fn links_lead_to_an_allowed_origin() {
    let at = |url| with(&[("APP_URL", url), ("ACCOUNT_MAILS_PER_DAY", "1000"), ("ACCOUNT_MAIL_BOUNCE_PERCENT", "4")]);
    assert_eq!(with(&[]).expect("valid").account_mail(), Err(ConfigError::Missing("APP_URL")));
    let config = at("HTTPS://a.example:443").expect("an allowed one");
    assert_eq!(config.account_mail().expect("there").app_url, "https://a.example");
    for wrong in ["https://b.example", "http://a.example", "https://a.example/path", "a.example"] {
        assert!(at(wrong).expect_err(wrong).to_string().contains("APP_URL"), "{wrong}");
    }
    assert!(with(&[("APP_URL", "https://a.example")]).expect_err("no cap").to_string().contains("PER_DAY"));
}

#[test]
fn origins_are_exact() {
    for origin in [
        "",
        "*",
        "https://",
        "https://a/",
        "https://*.a.example",
        "a.example",
        "https://a,",
        "null",
        "https:a",
        "file://a",
        "https://u@a",
        "https://a?",
        "https://a#",
        "https://a\\b",
        "https://a:",
        "https://a:99999",
        "https://a b",
        "https://[::1",
        "https://%61",
        "ftp://a.example",
    ] {
        let error = parse_origins(origin).expect_err(origin).to_string();
        assert!(error.contains("is not an origin"), "{error}");
    }
    assert!(with(&[("ALLOWED_ORIGINS", "*")]).expect_err("any").to_string().contains("ALLOWED_ORIGINS"));
}

#[test]
fn origins_are_as_browsers_send_them() {
    for (given, sent) in [
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://App.Example.com:80", "http://app.example.com"),
        ("HTTPS://münchen.de", "https://xn--mnchen-3ya.de"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ] {
        assert_eq!(parse_origins(given).expect(given), [sent], "{given}");
    }
}

#[test]
fn authorities_are_certificates() {
    let file = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
    let path = file.to_str().expect("a path of text");
    for garbage in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, garbage).expect("a file");
        let error = with(&[("AWS_CA_BUNDLE", path)]).expect_err("no certificate").to_string();
        assert!(error.contains("AWS_CA_BUNDLE"), "{error}");
    }
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("a file");
    assert!(with(&[("AWS_CA_BUNDLE", path)]).is_ok());
    std::fs::remove_file(&file).expect("there");
    assert!(with(&[("AWS_CA_BUNDLE", path)]).is_err());
}

#[test]
fn levels_are_known() {
    assert!(with(&[("LOG_LEVEL", "loud")]).is_err());
    assert_eq!(with(&[("LOG_LEVEL", "debug")]).expect("valid").log_level, tracing::Level::DEBUG);
}

#[test]
fn secrets_are_not_shown() {
    let config = with(&[("AWS_SECRET_ACCESS_KEY", "hush-hush")]).expect("valid");
    assert!(!format!("{config:?}").contains("hush-hush"));
}
