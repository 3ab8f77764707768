//! What the template states of itself: concurrency adds up to what cache, provider and account can take, and each
//! function is on the right side of the cache's network.

use local::system::project_folder;
use local::template::{Template, Trigger};
use shared::cache::Name as _;
use shared::model::cached::ItemPagesKey;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A function's part of the template, and its code.
struct Function {
    block: String,
    code: String,
}

impl Function {
    /// Environments that it may have.
    fn reserved(&self) -> u32 {
        let line = self.block.lines().find_map(|line| line.trim().strip_prefix("ReservedConcurrentExecutions: "));
        let number =
            line.and_then(|line| line.strip_prefix("!If [ReservesConcurrency, ")?.strip_suffix(", !Ref AWS::NoValue]"));
        number.unwrap_or_else(|| panic!("no concurrency in {}", self.block)).parse().unwrap()
    }

    /// Whether its code asks for the cache, and the template does not give it one of its own process.
    fn uses_cache(&self) -> bool {
        self.code.contains(".cache()") && !self.block.contains("CACHE_URL: \"memory:\"")
    }

    fn is_inside(&self) -> bool {
        self.block.contains("VpcConfig: ")
    }
}

fn template() -> String {
    fs::read_to_string(project_folder().join("template.yaml")).unwrap()
}

/// All functions that the template of a repository has, by the name of their folder.
fn functions_of(root: &Path) -> BTreeMap<String, Function> {
    let template = fs::read_to_string(root.join("template.yaml")).unwrap();
    let function = |block: &str| {
        let name = block.lines().find_map(|line| line.trim().strip_prefix("CodeUri: target/lambda/"))?;
        let name = name.trim_end_matches('/').to_owned();
        // A function without a folder is what coverage names.
        let sources = fs::read_dir(root.join("functions").join(&name).join("src")).ok()?;
        let files = sources.map(|file| file.unwrap().path()).filter(|path| path.is_file());
        let code = files.map(|path| fs::read_to_string(path).unwrap()).collect();
        Some((name, Function { block: block.to_owned(), code }))
    };
    template.split("\n\n").filter_map(function).collect()
}

fn functions() -> BTreeMap<String, Function> {
    functions_of(project_folder())
}

/// A number of the template's `Metadata`.
fn stated(section: &str, name: &str) -> u32 {
    let template = template();
    let start = format!("{section}: {{");
    let line = template.lines().find_map(|line| line.trim().strip_prefix(start.as_str())).unwrap();
    let number = line.split([',', '}']).find_map(|part| part.trim().strip_prefix(name)?.strip_prefix(": "));
    number.unwrap().parse().unwrap()
}

/// By how much the functions of a repository reserve more than an account has, and what to do.
pub(crate) fn over(root: &Path) -> Option<String> {
    let reserved = functions_of(root).into_iter().map(|(name, function)| (name, function.reserved())).collect();
    over_limit(reserved, stated("Environments", "Account") - stated("Environments", "Unreserved"))
}

fn over_limit(mut reserved: Vec<(String, u32)>, limit: u32) -> Option<String> {
    let sum: u32 = reserved.iter().map(|(_, environments)| environments).sum();
    let over = sum.checked_sub(limit).filter(|over| *over > 0)?;
    reserved.sort_by_key(|(_, environments)| std::cmp::Reverse(*environments));
    let most: Vec<_> =
        reserved.iter().take(3).map(|(name, environments)| format!("{name} has {environments}")).collect();
    Some(format!(
        "{sum} environments are reserved, of {limit} that can be: {over} over; take them from another function ({})",
        most.join(", ")
    ))
}

#[test]
fn tls_is_1_2_at_least() {
    let template = template();
    let (_, parameter) = template.split_once("\n  TlsPolicy:\n").unwrap();
    let said = |name: &str| parameter.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
    let policies: Vec<&str> = said("AllowedValues: ").trim_matches(['[', ']']).split(", ").collect();
    assert!(policies.contains(&said("Default: ")));
    for policy in policies {
        // The number behind TLS13 is the least version: "SecurityPolicy_TLS13_1_2_…" takes 1.2 and 1.3.
        let good =
            ["SecurityPolicy_TLS13_1_2_", "SecurityPolicy_TLS13_1_3_"].iter().any(|good| policy.starts_with(good));
        assert!(good, "{policy}");
    }
    for resource in ["\n  Api:\n", "\n  Domain:\n"] {
        let (_, front) = template.split_once(resource).unwrap();
        let said = |name: &str| front.lines().find_map(|line| line.trim().strip_prefix(name));
        assert_eq!(said("SecurityPolicy: "), Some("!Ref TlsPolicy"), "{resource}");
        assert!(matches!(said("EndpointAccessMode: "), Some("BASIC" | "STRICT")), "such a policy needs one");
    }
}

/// Plain HTTP is for this machine alone, and production must name its own origins.
#[test]
fn origins_of_a_deployment_are_safe() {
    let template = template();
    let parameter = template.split_once("\n  AllowedOrigins:\n").unwrap().1;
    let said = |name: &str| parameter.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap();
    let pattern = regex_lite::Regex::new(said("AllowedPattern: ")).unwrap();
    for good in [
        "https://a.example",
        "https://a.example,https://b.example:8443",
        "http://localhost:5173,https://a.example",
        said("Default: "),
    ] {
        assert!(pattern.is_match(good), "{good}");
    }
    for bad in [
        "http://a.example",
        "https://a.example,http://b.example",
        "http://localhost.evil.example",
        "https://a/",
        "https://*",
        "http://localhost:1@evil.example",
        "",
    ] {
        assert!(!pattern.is_match(bad), "{bad}");
    }
    let rule = template.split_once("\nRules:\n").unwrap().1.split_once("\nConditions:\n").unwrap().0;
    assert!(rule.contains("RuleCondition: !Not [!Equals [!Ref Environment, dev]]"));
    assert!(rule.contains(&format!("!Not [!Equals [!Ref AllowedOrigins, \"{}\"]]", said("Default: "))), "{rule}");
}

#[test]
fn an_account_has_the_environments_that_are_reserved() {
    // What Lambda keeps unreserved in each account, and what an account has unless it was raised.
    // <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>
    assert_eq!((stated("Environments", "Unreserved"), stated("Environments", "Account")), (100, 1000));
    let over = over(project_folder());
    assert!(over.is_none(), "template.yaml: {}", over.unwrap());
}

#[test]
fn whoever_reserves_too_much_is_told_by_how_much_and_who_has_it() {
    let reserved = |new| [("list-items", 120), ("get-user", 80), ("new", new)].map(|(name, n)| (name.to_owned(), n));
    assert_eq!(over_limit(reserved(10).into(), 210), None);
    assert_eq!(
        over_limit(reserved(20).into(), 210).unwrap(),
        "220 environments are reserved, of 210 that can be: 10 over; take them from another function (list-items has 120, \
         get-user has 80, new has 20)"
    );
}

#[test]
fn the_cache_can_hold_the_connections_of_all_environments() {
    let functions = functions();
    let cached: Vec<_> = functions.values().filter(|function| function.uses_cache()).collect();
    assert!(cached.len() >= 11, "{} functions use the cache: is it recognized?", cached.len());
    let environments: u32 = cached.iter().map(|function| function.reserved()).sum();
    let (each, limit) = (stated("CacheConnections", "PerEnvironment"), stated("CacheConnections", "Limit"));
    assert!(environments * each <= limit, "{environments} environments × {each} connections of {limit}");
}

/// Whoever fills the cache has the commands of everybody refused: readers wait in vain, and writers' renewals are lost. All pages of an
/// organization lie in one slot, which others may have keys in; one on the plan enterprise is known to the operator.
#[test]
fn pages_of_items_leave_room_in_the_cache_for_others() {
    let text = template();
    let limits = ["GET", "HEAD"].map(|method| {
        let setting = format!(r#"ResourcePath: "/~1items", HttpMethod: {method},"#);
        number_after(text.lines().find(|line| line.contains(&setting)).unwrap(), "UpTo")
    });
    let lists: u32 = limits.iter().sum();
    let parameters = Template::read(&project_folder().join("template.yaml")).unwrap().parameters;
    let plans: Vec<u32> = parameters["OrgRequestsPerSecond"].split(',').map(|rate| rate.parse().unwrap()).collect();
    let page = u32::try_from(ItemPagesKey::CLASS.max_bytes.div_ceil(1024)).unwrap();
    let (pro, slot) = (plans[1].min(lists), stated("CacheUnits", "Slot"));
    assert!(pro * page <= slot, "{pro} lists × {page} units of a slot's {slot}");
    let cache = number_after(&text, "ECPUPerSecond: { Maximum: ");
    assert!(lists * page <= cache, "{lists} lists × {page} units of the cache's {cache}");
}

/// The number that follows the first such words.
fn number_after(text: &str, words: &str) -> u32 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("{words} is not there"));
    rest.split(|one: char| !one.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn the_model_provider_takes_the_calls_of_all_workers() {
    let worker = &functions()["analysis-worker"];
    let line = worker.code.lines().find_map(|line| line.trim().strip_prefix("const AT_ONCE: usize = ")).unwrap();
    let at_once: u32 = line.trim_end_matches(';').parse().unwrap();
    let environments = worker.reserved();
    assert_eq!(stated("ProviderCalls", "PerEnvironment"), at_once, "template.yaml says what the worker does");
    let limit = stated("ProviderCalls", "Limit");
    assert!(environments * at_once <= limit, "{environments} environments × {at_once} calls of {limit}");
}

/// Else messages would be received for nobody.
#[test]
fn a_queue_is_polled_for_as_many_environments_as_its_worker_reserves() {
    let functions = functions();
    let mut workers = 0;
    for event in Template::read(&project_folder().join("template.yaml")).unwrap().event_functions {
        let Trigger::Queue { maximum_concurrency, .. } = event.trigger else { continue };
        workers += 1;
        assert_eq!(maximum_concurrency, functions[&event.function].reserved() as usize, "{}", event.function);
    }
    assert_eq!(workers, 4);
}

/// From inside the network only cache and database can be reached.
#[test]
fn whoever_uses_the_cache_is_in_its_network_and_whoever_uses_anything_else_is_not() {
    let mut wrong = Vec::new();
    for (name, function) in functions() {
        let others = ["QUEUE_URL", "sqs:", "ses:", "secretsmanager:"];
        let needs_internet = others.iter().any(|other| function.block.contains(other));
        let connects = function.block.contains("connect-to-cache");
        for (is_wrong, what) in [
            (!function.is_inside() && function.uses_cache(), "uses the cache: VpcConfig is missing"),
            (function.is_inside() && !function.uses_cache(), "has VpcConfig, and does not use the cache"),
            (function.is_inside() && needs_internet, "needs the cache's network and the internet, and can have one"),
            (connects != function.is_inside(), "has only one of VpcConfig and *connect-to-cache"),
        ] {
            if is_wrong {
                wrong.push(format!("{name} {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "template.yaml:\n  {}", wrong.join("\n  "));
}

/// A renewal does not wait for a connection that could have been made beside the authority read.
#[test]
fn whoever_writes_what_is_cached_connects_before_it_reads_authority() {
    let folder = project_folder().join("functions");
    let sources = fs::read_dir(folder).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        Some((path.clone(), fs::read_to_string(path.join("src/lib.rs")).ok()?))
    });
    let writers: Vec<_> = sources.filter(|(_, source)| source.contains(".publish(context.cache())")).collect();
    assert!(writers.len() >= 5, "the functions that write are not found by this text any more");
    for (path, source) in writers {
        let (connects, verifies) = (source.find("cache().connect();"), source.find("Caller::verify"));
        assert!(connects.is_some() && connects < verifies, "{}", path.display());
    }
}

/// What an alarm looks at and when it fires: its properties that are plain values.
fn alarm(name: &str) -> BTreeMap<String, String> {
    let template = template();
    let (_, block) = template.split_once(&format!("\n  {name}:\n")).unwrap_or_else(|| panic!("no {name}"));
    let properties = block.split("\n\n").next().unwrap().lines().filter_map(|line| line.strip_prefix("      "));
    let plain = properties.filter_map(|line| line.split_once(": ")).filter(|(name, _)| !name.starts_with([' ', '-']));
    plain.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The cache's bound is a second and its evidence these two: one lost renewal, and a stream that is read late for minutes.
#[test]
fn what_leaves_old_values_raises_an_alarm() {
    let renewals = [
        ("Namespace", "CitizenApp/Cache"),
        ("MetricName", "RenewalsLost"),
        ("Statistic", "Sum"),
        ("Period", "60"),
        ("EvaluationPeriods", "1"),
        ("DatapointsToAlarm", "1"),
        ("Threshold", "0"),
    ];
    let stream = [
        ("Namespace", "AWS/Lambda"),
        ("MetricName", "IteratorAge"),
        ("Statistic", "Maximum"),
        ("Period", "60"),
        ("EvaluationPeriods", "5"),
        ("DatapointsToAlarm", "3"),
        ("Threshold", "5000"),
    ];
    let either = [
        ("ComparisonOperator", "GreaterThanThreshold"),
        ("TreatMissingData", "notBreaching"),
        ("AlarmActions", "[!Ref AlarmTopic]"),
    ];
    for (name, own) in [("RenewalsLostAlarm", renewals), ("InvalidatorAlarm", stream)] {
        let alarm = alarm(name);
        for (property, value) in own.into_iter().chain(either) {
            assert_eq!(alarm.get(property).map(String::as_str), Some(value), "{name}: {property}");
        }
    }
}

/// The message of one job comes each six minutes to a worker that does not start: its alarm sees three of them.
#[test]
fn a_worker_that_fails_for_one_job_raises_an_alarm() {
    for kind in ["Analysis", "Email", "AccountMail"] {
        let alarm = alarm(&format!("{kind}WorkerErrorsAlarm"));
        let number = |name: &str| alarm[name].split(' ').next().unwrap().parse::<u32>().unwrap();
        assert!(number("Period") * number("EvaluationPeriods") >= number("DatapointsToAlarm") * 360, "{kind}");
    }
}

#[test]
fn a_message_is_hidden_for_six_times_the_time_that_its_worker_has() {
    let template = Template::read(&project_folder().join("template.yaml")).unwrap();
    let mut mapped = 0;
    for event in &template.event_functions {
        let Trigger::Queue { queue, .. } = &event.trigger else { continue };
        let queue = template.queues.iter().find(|one| one.id == *queue).unwrap();
        let hidden: u64 = queue.attributes["VisibilityTimeout"].parse().unwrap();
        assert!(hidden >= 6 * event.timeout.as_secs(), "{}", queue.id);
        mapped += 1;
    }
    assert_eq!(mapped, 4, "a queue for each kind of work");
}

/// What the mail service says is not lost where its queue refuses it: the command for dead letters reads it.
#[test]
fn what_the_queue_of_mail_events_refuses_is_kept() {
    let template = template();
    let block = |name: &str| template.split_once(&format!("\n  {name}:\n")).unwrap().1.split("\n\n").next().unwrap();
    let rule = block("MailEventsRule");
    assert!(rule.contains("DeadLetterConfig: { Arn: !GetAtt JobsDeadLetterQueue.Arn }"), "{rule}");
    let policy = block("JobsDeadLetterQueuePolicy");
    for said in ["Principal: { Service: events.amazonaws.com }", r#""aws:SourceArn": !GetAtt MailEventsRule.Arn"#] {
        assert!(policy.contains(said), "{said} in {policy}");
    }
}
