//! The project's own template, whole and broken in many ways.

use axum::http::{HeaderValue, Method, header};
use lambda_http::aws_lambda_events::apigw::ApiGatewayProxyRequest;

use super::*;

const TEMPLATE: &str = include_str!("../../../template.yaml");

fn parse(text: &str) -> Template {
    Template::parse(text).expect("the project's template is whole")
}

#[test]
fn routes_come_from_the_functions_events() {
    let template = parse(TEMPLATE);
    let route = |method: Method, path: &str| {
        template
            .routes
            .iter()
            .find(|route| route.method == method && route.path == path)
            .map(|route| route.function.as_str())
    };
    assert_eq!(route(Method::GET, "/users/{user_id}"), Some("get-user"));
    assert_eq!(route(Method::DELETE, "/orgs/{org_id}/members/{user_id}"), Some("delete-member"));
    assert_eq!(route(Method::GET, "/docs"), Some("docs"));
    assert_eq!(route(Method::GET, "/openapi.json"), Some("docs"));
    assert_eq!(route(Method::POST, "/users/{user_id}"), None);
    assert_eq!(template.functions.iter().filter(|name| *name == "docs").count(), 1);
}

#[test]
fn a_functions_methods_take_what_its_environments_answer() {
    let template = parse(TEMPLATE);
    assert_eq!(template.method_limits.len(), template.routes.len());
    for (name, settings) in &template.settings {
        let routes = template.routes.iter().filter(|route| route.function == *name);
        let limits = routes.map(|route| {
            let of_route = |limit: &&MethodLimit| limit.method == route.method && limit.path == route.path;
            template.method_limits.iter().find(of_route).expect("each route has one")
        });
        let (mut a_second, mut burst) = (0, 0);
        for limit in limits {
            assert!(limit.a_second > 0 && limit.burst > 0, "{limit:?}");
            (a_second, burst) = (a_second + limit.a_second, burst + limit.burst);
        }
        let reserved = settings.reserved.expect("each function reserves");
        assert!(a_second <= 10 * reserved && burst <= reserved, "{name}: {a_second} a second, {burst} at once");
    }
}

#[test]
fn the_rest_comes_from_the_api_the_parameters_and_the_table() {
    let template = parse(TEMPLATE);
    assert_eq!(template.stage, "v1");
    assert_eq!(template.minimum_compression_size, Some(1000));
    assert_eq!(template.allowed_origins, ["http://localhost:5173", "http://localhost:3000"]);
    assert_eq!(template.table.ttl_attribute.as_deref(), Some("ttl"));
    assert_eq!(
        template.table.definition["KeySchema"],
        json!([
            { "AttributeName": "pk", "KeyType": "HASH" },
            { "AttributeName": "sk", "KeyType": "RANGE" },
        ])
    );
    for preflight in &template.preflights {
        assert_eq!(preflight.status, StatusCode::OK);
        assert_eq!(preflight.headers[header::ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert!(!preflight.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        for (name, value) in shared::runtime::SECURITY_HEADERS {
            assert_eq!(preflight.headers[&name], value, "{}", preflight.path);
        }
    }
}

#[test]
fn a_preflight_that_passes_bodies_through_fails() {
    let unmapped = |behavior: &str| {
        let text = TEMPLATE.replace("passthroughBehavior: never", &format!("passthroughBehavior: {behavior}"));
        parse(&text).preflights[0].unmapped
    };
    assert_eq!(unmapped("never"), ResponseType::UnsupportedMediaType);
    assert_eq!(unmapped("WHEN_NO_TEMPLATES"), ResponseType::UnsupportedMediaType);
    assert_eq!(unmapped("when_no_match"), ResponseType::InternalError);
}

#[test]
fn a_broken_preflight_says_what_and_where() {
    let integration =
        "Resources.Api.Properties.DefinitionBody.paths./auth/register.options.x-amazon-apigateway-integration";
    for (from, to, message) in [
        (
            "passthroughBehavior: never",
            "passthroughBehavior: sometimes",
            "passthroughBehavior: must be never, when_no_templates or when_no_match",
        ),
        (
            "{\"statusCode\": 200}",
            "{\"statusCode\": 204}",
            "requestTemplates.application/json: must be {\"statusCode\":200}, the status of the default response",
        ),
        (
            "header.X-Request-Id: context.requestId",
            "header.X-Request-Id: context.nonsense",
            "responses.default.responseParameters.method.response.header.X-Request-Id: must be a header value in single \
             quotes, or context.requestId",
        ),
        (
            "X-Request-Id: { type: string }",
            "X-Trace-Id: { type: string }",
            "responses.default.responseParameters.method.response.header.X-Request-Id: must be \
             method.response.header.<name> of a header that the response declares",
        ),
    ] {
        assert_eq!(broken(from, to), format!("{integration}.{message}"), "{from:?} -> {to:?}");
    }
}

#[test]
fn no_gateway_response_repeats_what_the_gateway_says_of_a_request() {
    let fixed = "\"detail\":\"The gateway does not take this request.\"";
    for variable in ["messageString", "validationErrorString"] {
        assert_eq!(
            broken(fixed, &format!("\"detail\":$context.error.{variable}")),
            "Resources.Api.Properties.GatewayResponses.DEFAULT_4XX.ResponseTemplates.application/json: must not repeat \
             the gateway's message, which quotes parts of the request"
        );
    }
}

/// A page that is told of a failure without its origin cannot read it.
#[test]
fn every_gateway_response_names_the_origin_as_browsers_send_it() {
    let request = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static("https://app.example.com"))]);
    let named = |text: &str| {
        let responses = parse(text).gateway_responses;
        let origin = |(name, response): (&str, &GatewayResponse)| {
            let answer = response.answer(&request, "an id");
            (name.to_owned(), answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN) == request.get(header::ORIGIN))
        };
        responses.all().map(origin).collect::<BTreeMap<String, bool>>()
    };
    let all = named(TEMPLATE);
    assert!(all.len() > 10 && all.values().all(|named| *named), "{all:?}");
    // API Gateway finds no header by a name in another case.
    let capital = named(&TEMPLATE.replace("method.request.header.origin", "method.request.header.Origin"));
    assert!(capital.values().all(|named| !named), "{capital:?}");
}

#[test]
fn compression_may_be_off() {
    let text = TEMPLATE.replace("      MinimumCompressionSize: 1000\n", "");
    assert_eq!(parse(&text).minimum_compression_size, None);
}

/// The message for the template with its first `from` turned into `to`, without the line.
fn broken(from: &str, to: &str) -> String {
    assert!(TEMPLATE.contains(from), "the template has no {from:?}");
    let error = Template::parse(&TEMPLATE.replacen(from, to, 1)).expect_err("a broken template is refused");
    assert!(error.line > 0, "{error} names no line");
    let text = error.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, rest)| rest.to_owned())
}

#[test]
fn a_broken_template_says_what_and_where() {
    let events = "Resources.GetUserFunction.Properties.Events.Http.Properties";
    for (from, to, message) in [
        ("  Api:\n", "  Gateway:\n", "Resources: Api is missing".to_owned()),
        (
            "Type: AWS::Serverless::Api\n",
            "Type: AWS::Serverless::HttpApi\n",
            "Resources.Api.Type: must be AWS::Serverless::Api".to_owned(),
        ),
        (
            "Method: GET, Path: \"/users/{user_id}\"",
            "Path: \"/users/{user_id}\"",
            format!("{events}: Method is missing"),
        ),
        (
            "Method: GET, Path: \"/users/{user_id}\"",
            "Method: GET, Path: \"users\"",
            format!("{events}.Path: must start with a slash"),
        ),
        (
            "RestApiId: !Ref Api, Method: GET, Path: \"/users",
            "RestApiId: Api, Method: GET, Path: \"/users",
            format!("{events}.RestApiId: must be !Ref Api"),
        ),
        (
            "CodeUri: target/lambda/get-user/",
            "CodeUri: target/lambda/get-me/",
            "Resources.GetUserFunction.Properties.CodeUri: GetUserFunction must run its own \
             function, but this is that of GetMeFunction"
                .to_owned(),
        ),
        (
            "CodeUri: target/lambda/get-user/",
            "CodeUri: !Sub target/lambda/get-user/",
            "Resources.GetUserFunction.Properties.CodeUri: must be a plain text here, not !Sub".to_owned(),
        ),
        (
            "          /me: { options: *preflight }\n",
            "",
            "Resources.Api.Properties.DefinitionBody.paths: /me has no preflight".to_owned(),
        ),
        (
            "          /me: {",
            "          /you: { options: *preflight }\n          /me: {",
            "Resources.Api.Properties.DefinitionBody.paths: /you has a preflight but no function".to_owned(),
        ),
        (
            "MinimumCompressionSize: 1000",
            "MinimumCompressionSize: many",
            "Resources.Api.Properties.MinimumCompressionSize: must be a whole number, not \"many\"".to_owned(),
        ),
        (
            "StageName: !Ref StageName",
            "StageName: !ImportValue stage",
            "Resources.Api.Properties.StageName: !ImportValue is known to a deployment only".to_owned(),
        ),
        (
            "StageName: !Ref StageName",
            "StageName: !Sub \"${Nobody}\"",
            "Resources.Api.Properties.StageName: Nobody is not a parameter with a Default".to_owned(),
        ),
        (
            "    Default: http://localhost:5173,http://localhost:3000\n",
            "",
            "Parameters.AllowedOrigins: Default is missing".to_owned(),
        ),
        (
            "X-Request-Id: context.requestId\n              A",
            "X-Request-Id: context.nonsense\n              A",
            "Resources.Api.Properties.GatewayResponses.MISSING_AUTHENTICATION_TOKEN.\
             ResponseParameters.Headers.X-Request-Id: \"context.nonsense\" is neither a 'quoted \
             text', nor method.request.header.…, nor context.requestId"
                .to_owned(),
        ),
        (
            "Method: HEAD, Path: \"/usage\"",
            "Method: POST, Path: \"/usage\"",
            "Resources: GET /usage has no HEAD".to_owned(),
        ),
        (
            "        DEFAULT_4XX:\n",
            "        DEFAULT_4YY:\n",
            "Resources.Api.Properties.GatewayResponses: DEFAULT_4XX is missing".to_owned(),
        ),
        (
            "#set($allowed = \"${AllowedOrigins}\")",
            "#set($allowed = \"*\")",
            "Resources.Api.Properties.DefinitionBody.paths./auth/register.options.\
             x-amazon-apigateway-integration.responses.default.responseTemplates.application/json: \
             must choose Access-Control-Allow-Origin from AllowedOrigins"
                .to_owned(),
        ),
        ("      KeySchema:\n", "      Keys:\n", "Resources.Table.Properties: KeySchema is missing".to_owned()),
    ] {
        assert_eq!(broken(from, to), message, "{from:?} -> {to:?}");
    }
}

#[test]
fn a_route_belongs_to_one_function() {
    let message = broken("Method: PATCH, Path: \"/me\"", "Method: get, Path: \"/me\"");
    assert!(message.ends_with("GET /me is already routed to get-me"), "{message}");
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    for (text, line) in [("", 1), ("a: [b\nc: d", 2), ("a: 1\na: 2\n", 2)] {
        let error = Template::parse(text).expect_err("not a template");
        assert_eq!(error.line, line, "{text:?}: {error}");
    }
}

#[test]
fn a_missing_file_is_an_error() {
    let error = Template::read(Path::new("/nonexistent/template.yaml")).expect_err("no such file");
    assert!(error.to_string().contains("No such file"), "{error}");
}

#[test]
fn every_function_has_an_event_of_one_of_its_routes() {
    let template = parse(TEMPLATE);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    // What a queue or a schedule calls has no route; `tests` hands those their events.
    let is_called = |function: &str| template.event_functions.iter().any(|event| event.function == function);
    for function in template.functions.iter().filter(|function| !is_called(function)) {
        let path = folder.join(format!("{function}.json"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let event: ApiGatewayProxyRequest =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let resource = event.resource.expect("an event names its resource");
        let route = template
            .routes
            .iter()
            .find(|route| route.function == *function && route.method == event.http_method && route.path == resource);
        assert!(route.is_some(), "{function} has no route {} {resource}", event.http_method);
        let mut filled = resource;
        for (name, value) in &event.path_parameters {
            filled = filled.replace(&format!("{{{name}}}"), value);
        }
        assert_eq!(event.path, Some(filled), "{function}");
    }
}

#[test]
fn grants_are_single_actions_on_named_resources() {
    let grants = parse(TEMPLATE).grants;
    let of = |function: &str| -> Vec<String> {
        grants[function].iter().map(|grant| format!("{} {}", grant.action, grant.resource)).collect()
    };
    assert_eq!(of("docs"), Vec::<String>::new());
    assert_eq!(
        of("get-user"),
        [
            "dynamodb:GetItem Table",
            "elasticache:Connect serverlesscache:citizen-${Environment}",
            "elasticache:Connect user:citizen-${Environment}",
        ]
    );
    assert!(of("analysis-worker").contains(&"secretsmanager:GetSecretValue AnthropicApiKey".to_owned()));
    let mail: Vec<_> = grants["email-worker"].iter().filter(|grant| grant.is_for_sender).collect();
    assert_eq!(
        mail.iter().map(|grant| grant.resource.as_str()).collect::<Vec<_>>(),
        ["identity/*", "configuration-set/${MailConfiguration}"]
    );
}

#[test]
fn what_cannot_be_held_to_is_no_grant() {
    let role = "Resources.RegisterFunction.Properties.Policies[0].Statement[0]";
    for (from, to, message) in [
        (
            "[dynamodb:BatchGetItem, dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:PutItem, dynamodb:UpdateItem]",
            "[\"dynamodb:*\"]",
            format!("{role}.Action[0]: must be one action by its name"),
        ),
        (
            "[dynamodb:BatchGetItem, dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:PutItem, dynamodb:UpdateItem]",
            "\"*\"",
            format!("{role}.Action: must be one action by its name"),
        ),
        ("Effect: Allow", "Effect: Deny", format!("{role}.Effect: must be Allow")),
        (
            "Action: [dynamodb:BatchGetItem, dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:PutItem, dynamodb:UpdateItem]",
            "NotAction: [dynamodb:BatchGetItem, dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:PutItem, dynamodb:UpdateItem]",
            format!("{role}.NotAction: is not known locally"),
        ),
        (
            "&table-arn !If [OwnTable, !GetAtt Table.Arn,",
            "&table-arn !If [OwnTable, \"*\",",
            format!("{role}.Resource[1]: must be !GetAtt <id>.Arn, !Ref <id> or !Sub of a whole ARN"),
        ),
        (
            "Action: [dynamodb:BatchGetItem, dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:PutItem, dynamodb:UpdateItem]",
            "Action: [dynamodb:BatchGetItem, dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:PutItem, dynamodb:UpdateItem]\n              Condition: { StringEquals: { \"aws:RequestedRegion\": x } }",
            format!("{role}.Condition: is not known locally"),
        ),
    ] {
        let (before, function) = TEMPLATE.split_once("  RegisterFunction:\n").expect("registration");
        let changed = format!("{before}  RegisterFunction:\n{}", function.replacen(from, to, 1));
        let error = Template::parse(&changed).expect_err("refused").to_string();
        assert!(error.ends_with(&message), "{error}");
    }
}

#[test]
fn the_networks_endpoint_lets_through_what_is_needed_inside() {
    let place = "Resources.DynamoDbEndpoint.Properties.PolicyDocument";
    assert_eq!(
        broken(
            "dynamodb:BatchWriteItem, dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:GetItem, dynamodb:PutItem, dynamodb:Query",
            "dynamodb:GetItem"
        ),
        format!("{place}: lets no dynamodb:BatchWriteItem through, which a function in its network may do")
    );
    assert_eq!(
        broken(
            "dynamodb:UpdateItem]\n            Resource: *table-arn\n\n  FunctionsSecurityGroup",
            "dynamodb:UpdateItem, dynamodb:Scan]\n            Resource: *table-arn\n\n  FunctionsSecurityGroup"
        ),
        format!("{place}: lets dynamodb:Scan through, which no function in its network may do")
    );
}
