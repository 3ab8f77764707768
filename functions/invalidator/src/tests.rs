//! What is told to the cache, record by record.

use super::*;
use serde_json::{Value, json};
use shared::ids::UserId;
use shared::model::org::Plan;
use shared::runtime::event::Event as _;

const ORG: &str = "org_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e";
const USER: &str = "usr_0199c8a0f5e27b3c8d4e5f6a7b8c9d0e";

/// A change as DynamoDB writes it.
fn record(number: u32, pk: String, sk: &str, old: Option<Value>, new: Option<Value>) -> Value {
    let mut images = json!({
        "Keys": {"pk": {"S": pk}, "sk": {"S": sk}},
        "SequenceNumber": format!("{number:021}"),
        "SizeBytes": 100,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
        "ApproximateCreationDateTime": 1_795_000_000.0,
    });
    for (name, image) in [("OldImage", old), ("NewImage", new)] {
        if let Some(image) = image {
            images[name] = image;
        }
    }
    json!({"eventID": "1", "eventName": "MODIFY", "eventSource": "aws:dynamodb", "dynamodb": images})
}

fn user(number: u32, versions: [Option<u32>; 2]) -> Value {
    let image = |version: u32| {
        json!({"pk": {"S": format!("USER#{USER}")}, "sk": {"S": "PROFILE"}, "user_id": {"S": USER},
            "name": {"S": format!("Name {version}")}, "email": {"S": "ada@example.com"},
            "created_at": {"N": "1795000000000"}, "version": {"N": version.to_string()}})
    };
    let [old, new] = versions.map(|version| version.map(image));
    record(number, format!("USER#{USER}"), "PROFILE", old, new)
}

fn org(number: u32, old: (u32, u32), new: (u32, u32)) -> Value {
    let image = |(version, items): (u32, u32)| {
        json!({"pk": {"S": format!("ORG#{ORG}")}, "sk": {"S": "ORG"}, "org_id": {"S": ORG}, "name": {"S": "Acme"},
            "plan": {"S": if version == 1 { "free" } else { "pro" }}, "plan_version": {"N": version.to_string()},
            "item_count": {"N": items.to_string()}, "member_count": {"N": "1"}, "owner_count": {"N": "1"},
            "cursor_key": {"S": "0123456789abcdef0123456789abcdef"}, "created_at": {"N": "1795000000000"}})
    };
    record(number, format!("ORG#{ORG}"), "ORG", Some(image(old)), Some(image(new)))
}

fn item(number: u32) -> Value {
    let image = json!({"name": {"S": "whatever an item holds"}});
    record(number, format!("ITEMS#{ORG}"), &format!("item_{number:032x}"), None, Some(image))
}

fn told(records: &[Value]) -> Vec<(u32, Change)> {
    let StreamEvent(records) = StreamEvent::read(&json!({ "Records": records }).to_string());
    changes(records.expect("a batch"))
        .into_iter()
        .map(|(number, change)| (number.parse().expect("a number"), change))
        .collect()
}

fn given(records: &[Value]) -> Vec<(OrgId, OrgPlan)> {
    given_before(records, None)
}

/// What is noted of a batch whose record of this number could not be told to the cache.
fn given_before(records: &[Value], lost: Option<u32>) -> Vec<(OrgId, OrgPlan)> {
    let StreamEvent(records) = StreamEvent::read(&json!({ "Records": records }).to_string());
    let given = |record: &StreamRecord| (record.dynamodb.sequence_number.clone(), given_plan(record));
    let lost = lost.map(|number| format!("{number:021}"));
    known(records.expect("a batch").iter().map(given).collect(), lost.as_deref()).collect()
}

fn org_id() -> OrgId {
    ORG.parse().expect("an id")
}

fn user_id() -> UserId {
    USER.parse().expect("an id")
}

#[test]
fn a_record_that_is_read_is_renewed_and_one_that_is_not_is_removed() {
    let [(1, Change::Profile(profile))] = &told(&[user(1, [Some(1), Some(2)])])[..] else { panic!("a profile") };
    assert_eq!((profile.version, profile.name.as_str(), profile.user_id), (2, "Name 2", user_id()));
    let removed = Change::Removed(CachedRecord::User(user_id()));
    assert_eq!(told(&[user(1, [Some(2), None])]), [(1, removed)], "deleted");
    let mut unreadable = org(1, (1, 5), (2, 5));
    unreadable["dynamodb"]["NewImage"]["plan"] = json!({"S": "a plan of the next version"});
    assert_eq!(told(&[unreadable]), [(1, Change::Removed(CachedRecord::Org(org_id())))], "of another version");
    for versions in [(2, 2), (9, 8)] {
        let mut other = user(1, [Some(versions.0), Some(versions.1)]);
        other["dynamodb"]["NewImage"]["name"] = json!({"S": "of another region"});
        let removed = Change::Removed(CachedRecord::User(user_id()));
        assert_eq!(told(&[other]), [(1, removed)], "another value under no higher version: {versions:?}");
    }
    let mut unread = org(1, (1, 5), (2, 5));
    unread["dynamodb"]["OldImage"]["plan"] = json!({"S": "a plan of the version before"});
    let plan = OrgPlan { plan: Plan::Pro, version: 2 };
    assert_eq!(told(&[unread]), [(1, Change::OrgPlan(org_id(), plan))]);
}

/// An organization's record changes with each of its items: a thousand of them are no call of the cache.
#[test]
fn an_organization_whose_plan_is_the_same_is_nothing_to_tell() {
    let counted: Vec<Value> = (1..1000).map(|number| org(number, (1, number), (1, number + 1))).collect();
    assert_eq!(told(&counted), []);
    let plan = OrgPlan { plan: Plan::Pro, version: 2 };
    assert_eq!(told(&[org(7, (1, 5), (2, 5))]), [(7, Change::OrgPlan(org_id(), plan))]);
}

/// The security log has a line of each, whoever changed the record, and under whatever version.
#[test]
fn each_plan_that_is_given_is_known_whatever_the_cache_is_told() {
    let by_hand = |version: u32, plan: &str| {
        let mut changed = org(version, (version, 5), (version, 5));
        changed["dynamodb"]["NewImage"]["plan"] = json!({ "S": plan });
        changed
    };
    let of = |plan: Plan, version: u64| (org_id(), OrgPlan { plan, version });
    assert_eq!(given(&[org(1, (1, 5), (2, 5))]), [of(Plan::Pro, 2)]);
    let batch = [by_hand(1, "pro"), by_hand(2, "enterprise"), by_hand(3, "free")];
    assert_eq!(told(&batch), [(1, Change::Removed(CachedRecord::Org(org_id())))]);
    assert_eq!(given(&batch), [of(Plan::Pro, 1), of(Plan::Enterprise, 2), of(Plan::Free, 3)]);
    let mut unread = org(1, (1, 5), (2, 5));
    unread["dynamodb"]["OldImage"]["plan"] = json!({"S": "a plan of the version before"});
    assert_eq!(given(&[unread]), [of(Plan::Pro, 2)]);
    let mut first = org(1, (1, 0), (1, 0));
    first["dynamodb"]["OldImage"] = json!(null);
    assert_eq!(given(&[first, org(2, (2, 5), (2, 6)), user(3, [Some(1), Some(2)]), item(4)]), [], "nobody gave one");
}

/// While the cache is away the same batch comes often. A line of each time would be one event that is many.
#[test]
fn a_plan_is_noted_once_though_its_batch_comes_again() {
    let batch = [user(1, [Some(1), Some(2)]), org(2, (1, 5), (2, 5)), item(3)];
    let plan = (org_id(), OrgPlan { plan: Plan::Pro, version: 2 });
    for lost in [1, 1, 2] {
        assert_eq!(given_before(&batch, Some(lost)), [], "it comes again, from {lost} on");
    }
    assert_eq!(given_before(&batch[1..], Some(3)), [plan], "only what follows comes again");
    assert_eq!(given_before(&batch[2..], None), []);
}

#[test]
fn what_is_removed_is_removed_once_for_a_batch() {
    let items: Vec<Value> = (1..=100).map(item).collect();
    assert_eq!(told(&items), [(1, Change::Removed(CachedRecord::Items(org_id())))]);
}

/// The renewal could put back what a region's lower version has replaced meanwhile.
#[test]
fn what_is_removed_in_a_batch_is_not_renewed_by_it() {
    let batch = [user(1, [Some(4), Some(2)]), user(2, [Some(2), Some(5)]), user(3, [Some(5), Some(3)])];
    assert_eq!(told(&batch), [(1, Change::Removed(CachedRecord::User(user_id())))]);
}

#[test]
fn records_that_concern_no_cache_are_passed_over() {
    let session = record(1, format!("USER#{USER}"), "SESSION#0", None, Some(json!({"ttl": {"N": "1"}})));
    let nobody = record(2, "ITEMS#nobody".to_owned(), "x", None, None);
    assert_eq!(told(&[session, nobody]), []);
}

#[test]
fn a_reply_names_the_record_to_begin_at_as_lambda_reads_it() {
    let reply = serde_json::to_value(StreamReply::failed_at("42".to_owned())).expect("JSON");
    assert_eq!(reply, json!({"batchItemFailures": [{"itemIdentifier": "42"}]}));
    assert_eq!(serde_json::to_value(StreamReply::default()).expect("JSON"), json!({"batchItemFailures": []}));
}

/// What another version or no stream sends costs no other record its turn.
#[test]
fn a_record_that_cannot_be_read_is_alone_in_that() {
    let removed = |user: &str| Change::Removed(CachedRecord::User(user.parse().expect("an id")));
    let mut image = user(1, [Some(1), Some(2)]);
    image["dynamodb"]["NewImage"] = json!([]);
    assert_eq!(told(&[image]), [(1, removed(USER))], "an image that is none");
    for broken in
        [json!(null), json!({"dynamodb": null}), json!({"dynamodb": {"Keys": {"pk": {"N": "1"}}}}), json!({"s3": {}})]
    {
        assert_eq!(told(&[broken.clone(), user(2, [Some(1), None]), broken]), [(2, removed(USER))]);
    }
    assert_eq!(StreamEvent::read("{}").0.err(), Some(NoRecords::Foreign));
    assert_eq!(StreamEvent::read(r#"{"Records":{}}"#).0.err(), Some(NoRecords::Unreadable));
}
