//! What calls need, held against AWS's reference; and who may make them.

use super::*;

const TEMPLATE: &str = include_str!("../../../template.yaml");

fn privileges(template: &str) -> Privileges {
    let config = Config::from_lookup(|name| {
        let value = match name {
            "TABLE_NAME" => "our-table",
            "ALLOWED_ORIGINS" => "http://localhost",
            "SESSION_REQUESTS_PER_SECOND" => "1000000000",
            "ORG_REQUESTS_PER_SECOND" => "1000000000,1000000000,1000000000",
            "CACHE_URL" => "off:",
            "ANTHROPIC_SECRET_ID" => "our-secret",
            "SES_CONFIGURATION_SET" => "our-set",
            "MAIL_FROM" => "Citizen <us@example.com>",
            "AWS_REGION" | "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "x",
            _ => return None,
        };
        Some(value.to_owned())
    });
    Privileges::new(&Template::parse(template).expect("a whole template"), &config.expect("whole"))
}

/// Whether a function may make a call of an AWS JSON protocol.
fn may(privileges: &Privileges, function: &str, target: &str, body: &serde_json::Value) -> bool {
    let service = match target.split_once(['_', '.']).expect("a prefix").0 {
        "DynamoDB" => "dynamodb",
        "AmazonSQS" => "sqs",
        prefix => prefix,
    };
    let body = body.to_string().into_bytes();
    let call =
        Call { access_key: function, service, target: Some(target), method: "POST", path: "/", body: body.as_slice() };
    privileges.judge(&call).is_ok()
}

#[test]
fn a_call_needs_its_action_on_what_it_names() {
    let privileges = privileges(TEMPLATE);
    let ours = json!({"Key": {}, "TableName": "our-table"});
    assert!(may(&privileges, "get-user", "DynamoDB_20120810.GetItem", &ours));
    assert!(!may(&privileges, "get-user", "DynamoDB_20120810.PutItem", &ours));
    assert!(!may(&privileges, "get-user", "DynamoDB_20120810.GetItem", &json!({"TableName": "Table"})));
    assert!(!may(&privileges, "get-user", "DynamoDB_20120810.GetItem", &json!({})));
    assert!(!may(&privileges, "nobody", "DynamoDB_20120810.GetItem", &ours));
    assert!(!may(&privileges, "get-user", "kms.Decrypt", &json!({})));
}

#[test]
fn a_batch_needs_its_own_action_on_each_table() {
    let privileges = privileges(TEMPLATE);
    let of = |tables: &[&str]| {
        let tables: serde_json::Map<_, _> = tables.iter().map(|table| ((*table).to_owned(), json!([]))).collect();
        json!({"RequestItems": tables})
    };
    assert!(may(&privileges, "get-me", "DynamoDB_20120810.BatchGetItem", &of(&["our-table"])));
    assert!(!may(&privileges, "get-me", "DynamoDB_20120810.BatchGetItem", &of(&["our-table", "another"])));
    assert!(!may(&privileges, "get-me", "DynamoDB_20120810.BatchWriteItem", &of(&["our-table"])));
}

#[test]
fn a_transaction_needs_the_action_of_each_part() {
    let privileges = privileges(TEMPLATE);
    let of = |parts: &[&str]| {
        let parts: Vec<_> = parts.iter().map(|part| json!({*part: {"TableName": "our-table"}})).collect();
        json!({"ClientRequestToken": "t", "TransactItems": parts})
    };
    let target = "DynamoDB_20120810.TransactWriteItems";
    assert!(may(&privileges, "put-member", target, &of(&["ConditionCheck", "Update"])));
    assert!(!may(&privileges, "put-member", target, &of(&["Update", "Put"])));
    assert!(!may(&privileges, "login", target, &of(&["Put", "Delete"])));
    assert!(!may(&privileges, "register", "DynamoDB_20120810.TransactGetItems", &of(&["Get"])));
}

#[test]
fn a_batch_of_messages_needs_the_action_of_one() {
    let privileges = privileges(TEMPLATE);
    let to = |queue: &str| json!({"QueueUrl": format!("http://127.0.0.1:1/000000000000/{queue}"), "Entries": []});
    assert!(may(&privileges, "sweeper", "AmazonSQS.SendMessageBatch", &to("EmailsQueue")));
    assert!(may(&privileges, "analyze", "AmazonSQS.SendMessage", &to("AnalysesQueue")));
    assert!(!may(&privileges, "analyze", "AmazonSQS.SendMessage", &to("JobsDeadLetterQueue")));
    assert!(!may(&privileges, "analyze", "AmazonSQS.PurgeQueue", &to("AnalysesQueue")));
}

#[test]
fn the_workers_read_the_secret_and_send_as_the_sender() {
    let privileges = privileges(TEMPLATE);
    let target = "secretsmanager.GetSecretValue";
    assert!(may(&privileges, "analysis-worker", target, &json!({"SecretId": "our-secret"})));
    assert!(!may(&privileges, "analysis-worker", target, &json!({"SecretId": "another"})));
    let sends = |from: &str, set: &str| {
        let body = json!({"FromEmailAddress": from, "ConfigurationSetName": set}).to_string();
        let path = "/v2/email/outbound-emails";
        let call = Call {
            access_key: "email-worker",
            service: "ses",
            target: None,
            method: "POST",
            path,
            body: body.as_bytes(),
        };
        privileges.judge(&call).is_ok()
    };
    assert!(sends("us@example.com", "our-set"));
    assert!(sends("Whatever <us@example.com>", "our-set"));
    assert!(!sends("them@example.com", "our-set"));
    assert!(!sends("us@example.com", "another"));
}

#[test]
fn what_was_never_needed_is_unused() {
    let privileges = privileges(TEMPLATE);
    let get_user =
        || privileges.unused().into_iter().filter(|one| one.function == "get-user" && one.resource == "Table");
    assert_eq!(get_user().map(|one| one.to_string()).collect::<Vec<_>>(), ["get-user: dynamodb:GetItem on Table"]);
    may(&privileges, "get-user", "DynamoDB_20120810.GetItem", &json!({"TableName": "our-table"}));
    assert_eq!(get_user().count(), 0);
}

#[test]
fn no_event_source_polls_without_a_grant() {
    let text = TEMPLATE.replace(", sqs:ReceiveMessage]", "]");
    assert_ne!(text, TEMPLATE);
    let events = Template::parse(TEMPLATE).expect("whole").event_functions;
    for (template, allowed) in [(TEMPLATE, true), (text.as_str(), false)] {
        let privileges = privileges(template);
        assert_eq!(events.iter().all(|event| privileges.poll(event).is_ok()), allowed);
    }
}

#[test]
fn a_grant_for_part_of_a_table_is_for_no_more() {
    let privileges = privileges(TEMPLATE);
    let update = |pk: &str, update: &str, condition: &str, names: serde_json::Value, returned: &str| {
        json!({"TableName": "our-table", "Key": {"pk": {"S": pk}, "sk": {"S": "SESSION#x"}}, "UpdateExpression": update,
            "ConditionExpression": condition, "ExpressionAttributeNames": names, "ReturnValues": returned})
    };
    let mays = |body: &serde_json::Value| may(&privileges, "get-me", "DynamoDB_20120810.UpdateItem", body);
    let set = "SET last_used_at = :now";
    let unless = "attribute_exists(pk) AND (attribute_not_exists(last_used_at) OR last_used_at <= :before)";
    assert!(mays(&update("USER#u", set, unless, json!({}), "NONE")));
    assert!(mays(&update("USER#u", "SET #it = :now", "", json!({"#it": "last_used_at"}), "NONE")));
    for other in [
        update("ORG#o", set, unless, json!({}), "NONE"),
        update("USER#u", "SET last_used_at = :now, expires_at = :now", unless, json!({}), "NONE"),
        update("USER#u", "SET #it = :now", "", json!({"#it": "role"}), "NONE"),
        update("USER#u", "SET last_used_at = expires_at", "", json!({}), "NONE"),
        update("USER#u", "SET last_used_at = :now REMOVE mark", "", json!({}), "NONE"),
        update("USER#u", set, "attribute_exists(pk) AND mark = :mark", json!({}), "NONE"),
        update("USER#u", set, unless, json!({}), "ALL_OLD"),
    ] {
        assert!(!mays(&other), "{other}");
    }
    // Nor as a part of a transaction.
    let part = json!({"TransactItems": [{"Update": update("USER#u", set, unless, json!({}), "NONE")}]});
    assert!(!may(&privileges, "get-me", "DynamoDB_20120810.TransactWriteItems", &part));
}
