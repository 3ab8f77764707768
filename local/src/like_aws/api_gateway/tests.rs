use super::*;
use crate::like_aws::{Lambda, Slots};
use crate::template::FunctionSettings;
use lambda_http::Body;
use lambda_http::http::Method;
use shared::clock::Clock as ProductionClock;
use shared::config::Config;

fn context() -> &'static Context {
    let config = Config::from_lookup(|name| {
        let value = match name {
            "CACHE_URL" => "memory:",
            "ALLOWED_ORIGINS" => "https://app.example.com",
            "SESSION_REQUESTS_PER_SECOND" => "1000000000",
            "ORG_REQUESTS_PER_SECOND" => "1000000000,1000000000,1000000000",
            "TABLE_NAME" | "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test",
            _ => return None,
        };
        Some(value.to_owned())
    });
    Box::leak(Box::new(Context::new(config.expect("complete"), ProductionClock::system())))
}

/// A gateway without overhead before one function with one slot and a method of ten requests a second, one at once.
fn front(settings: ApiGateway, handler: Handler) -> (Integration, Clock) {
    let (clock, context, at_once) = (Clock::stopped(), context(), Lognormal::ms(1e-6, 1e-6));
    let lambda = Lambda { placement: at_once, initialization: at_once, freezes: false, ..Lambda::default() };
    let function = FunctionSettings { reserved: Some(1), timeout: Duration::from_secs(60), memory_mb: 512 };
    let make = move || Answering { handler: Arc::clone(&handler), context };
    let rng = SeededRng::new(1, 1);
    let account = Arc::new(Slots::of_account(&lambda, [&function], clock.now_ms()));
    let pool = Pool::new(&lambda, ("docs", &function), (rng.clone(), clock.clone()), &account, make);
    let pools = BTreeMap::from([("docs".to_owned(), pool)]);
    let settings = ApiGateway { overhead: at_once, ..settings };
    let docs = Route { method: Method::GET, path: "/docs".to_owned(), function: "docs".to_owned() };
    let limit = MethodLimit { method: docs.method.clone(), path: docs.path.clone(), a_second: 10, burst: 1 };
    let front = Front::new(settings, (rng, clock.clone()), pools, vec![limit]);
    (front.integration(&docs).expect("it has environments"), clock)
}

fn sized(bytes: usize) -> Handler {
    Arc::new(move |_| Box::pin(async move { Reply::new(Body::Text("x".repeat(bytes))) }))
}

fn endless() -> Handler {
    Arc::new(|_| Box::pin(std::future::pending()))
}

async fn ask(integration: &Integration) -> Result<u16, ResponseType> {
    integration(lambda_http::Request::default()).await.map(|reply| reply.status().as_u16())
}

#[tokio::test]
async fn beyond_its_own_limit_it_says_so() {
    let (docs, clock) = front(ApiGateway { requests: (10.0, 1.0), ..ApiGateway::default() }, sized(1));
    assert_eq!(ask(&docs).await, Ok(200));
    assert_eq!(ask(&docs).await, Err(ResponseType::Throttled));
    clock.jump(Duration::from_millis(100));
    assert_ne!(ask(&docs).await, Err(ResponseType::Throttled));
}

/// The smaller of the template's `RequestsPerSecond` and the method's own limit, where methods have limits.
#[tokio::test]
async fn beyond_a_methods_limit_it_says_so_too() {
    for (requests_per_second, ms) in [(1_000.0, 100), (5.0, 200)] {
        let settings = ApiGateway { requests_per_second: Some(requests_per_second), ..ApiGateway::default() };
        let (docs, clock) = front(settings, sized(1));
        assert_eq!(ask(&docs).await, Ok(200));
        assert_eq!(ask(&docs).await, Err(ResponseType::Throttled));
        clock.jump(Duration::from_millis(ms - 1));
        assert_eq!(ask(&docs).await, Err(ResponseType::Throttled));
        clock.jump(Duration::from_millis(1));
        assert_ne!(ask(&docs).await, Err(ResponseType::Throttled));
    }
    let (docs, _) = front(ApiGateway::default(), sized(1));
    assert_eq!(ask(&docs).await, Ok(200));
    assert_ne!(ask(&docs).await, Err(ResponseType::Throttled));
}

#[tokio::test]
async fn a_throttled_function_is_an_error_of_ours_to_callers() {
    let (docs, clock) = front(ApiGateway::default(), endless());
    let first = tokio::spawn(docs(lambda_http::Request::default()));
    tokio::task::yield_now().await;
    // One slot is busy.
    assert_eq!(ask(&docs).await, Err(ResponseType::InternalError));
    clock.jump(Duration::from_secs(30));
    assert!(matches!(first.await.expect("no panic"), Err(ResponseType::IntegrationTimeout)));
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_a_failure() {
    let most = ApiGateway::default().reply_bytes;
    let (docs, _) = front(ApiGateway::default(), sized(most + 1));
    assert_eq!(ask(&docs).await, Err(ResponseType::IntegrationFailure));
    let (docs, _) = front(ApiGateway::default(), sized(most));
    assert_eq!(ask(&docs).await, Ok(200));
}

#[tokio::test]
async fn a_function_that_is_killed_before_the_gateway_gives_up_is_a_failure() {
    let patience = Duration::from_secs(90);
    let (docs, clock) = front(ApiGateway { patience, ..ApiGateway::default() }, endless());
    let asked = tokio::spawn(docs(lambda_http::Request::default()));
    while !asked.is_finished() {
        clock.jump(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert!(matches!(asked.await.expect("no panic"), Err(ResponseType::IntegrationFailure)));
}
