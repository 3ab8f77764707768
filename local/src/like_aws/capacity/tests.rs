//! The layer over the embedded database, asked by the SDK's client as production asks.

use super::*;
use crate::like_aws::LikeAws;
use crate::like_aws::tests_rig::{Rig, key};
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Put, PutRequest, TransactWriteItem, WriteRequest};
use std::collections::HashMap;

fn rig(capacity: Capacity) -> (Rig, Arc<Ledger>) {
    let mut noted = None;
    let rig = Rig::new(|clock| {
        let ledger = noted.insert(Arc::new(Ledger::new(clock.clone())));
        LikeAws { capacity: Some(capacity), ledger: Some(Arc::clone(ledger)), ..LikeAws::nothing() }
    });
    (rig, noted.expect("it is made"))
}

/// One partition for all.
fn one() -> Capacity {
    Capacity { partitions: 1, ..Capacity::default() }
}

fn of_bytes(name: &str, bytes: usize) -> HashMap<String, AttributeValue> {
    let mut item = key(name);
    item.insert("text".to_owned(), AttributeValue::S("x".repeat(bytes)));
    item
}

async fn put(rig: &Rig, name: &str, bytes: usize) -> Result<(), Option<String>> {
    let put = rig.client().put_item().table_name(rig.table()).set_item(Some(of_bytes(name, bytes))).send().await;
    put.map(|_| ()).map_err(|error| error.code().map(str::to_owned))
}

/// Writes more than all that the partition has left, which is then owed for some 0.1 s.
async fn exhaust(rig: &Rig) {
    for number in 0..10 {
        let put = put(rig, &format!("large{number}"), 100 << 10).await;
        assert_eq!(put, Ok(()));
    }
}

#[tokio::test]
async fn what_a_partition_has_not_left_is_throttled_by_name_and_given_later() {
    let (rig, ledger) = rig(one());
    exhaust(&rig).await;
    let refused = rig.client().put_item().table_name(rig.table()).set_item(Some(key("a"))).send().await;
    let refused = refused.expect_err("throttled").into_service_error();
    assert_eq!(refused.code(), Some("ThrottlingException"));
    let aws_sdk_dynamodb::operation::put_item::PutItemError::ThrottlingException(throttled) = &refused else {
        panic!("{refused:?}")
    };
    let reasons: Vec<_> = throttled.throttling_reasons().iter().map(|reason| reason.reason()).collect();
    assert_eq!(reasons, [Some("TableWriteKeyRangeThroughputExceeded")]);
    assert!(rig.get("a").await.is_none(), "reads have units of their own");
    assert_eq!(ledger.refusals().values().sum::<u64>(), 1);
    rig.clock.jump(Duration::from_secs(1));
    assert_eq!(put(&rig, "a", 1).await, Ok(()));
}

#[tokio::test]
async fn a_throttled_transaction_says_so_by_position() {
    let (rig, _) = rig(one());
    exhaust(&rig).await;
    let put = Put::builder().table_name(rig.table()).set_item(Some(key("a"))).build().expect("a put");
    let transaction = rig.client().transact_write_items().transact_items(TransactWriteItem::builder().put(put).build());
    let refused = transaction.send().await.expect_err("throttled").into_service_error();
    let TransactWriteItemsError::TransactionCanceledException(canceled) = refused else { panic!("{refused:?}") };
    assert_eq!(canceled.cancellation_reasons()[0].code(), Some("ThrottlingError"));
}

/// Four records of one partition key, 250 units each as single writes: there is no second in which a transaction of them has room.
#[tokio::test]
async fn a_transaction_of_more_than_a_partition_gives_in_a_second_is_refused_however_long_it_waits() {
    let (rig, _) = rig(Capacity::settled());
    let transaction = |shares_key: bool| {
        let puts = (0..4).map(|number| {
            let pk = if shares_key { "one".to_owned() } else { format!("of its own {number}") };
            let mut item = of_bytes(&pk, 249 << 10);
            item.insert("sk".to_owned(), AttributeValue::S(number.to_string()));
            let put = Put::builder().table_name(rig.table()).set_item(Some(item)).build().expect("a put");
            TransactWriteItem::builder().put(put).build()
        });
        rig.client().transact_write_items().set_transact_items(Some(puts.collect()))
    };
    for _ in 0..3 {
        let refused = transaction(true).send().await.expect_err("throttled").into_service_error();
        let TransactWriteItemsError::TransactionCanceledException(canceled) = refused else { panic!("{refused:?}") };
        let codes: Vec<_> = canceled.cancellation_reasons().iter().map(|reason| reason.code()).collect();
        assert_eq!(codes, [Some("ThrottlingError"); 4]);
        rig.clock.jump(Duration::from_secs(60));
    }
    transaction(false).send().await.expect("each has a second's units");
}

/// The units that were taken, of reads and of writes.
fn units(ledger: &Ledger) -> (f64, f64) {
    let (second, found) = (ledger.seconds(), ledger.hottest(100));
    let total = |units: fn(&Units) -> f64| found.iter().map(|(_, each)| units(each) * second).sum::<f64>().round();
    (total(|units| units.read), total(|units| units.write))
}

#[tokio::test]
async fn a_transaction_that_is_done_takes_reads_when_it_is_sent_again_and_is_not_refused() {
    let (rig, ledger) = rig(one());
    let once = || {
        let put = Put::builder().table_name(rig.table()).set_item(Some(key("a"))).build().expect("a put");
        let put = TransactWriteItem::builder().put(put).build();
        rig.client().transact_write_items().transact_items(put).client_request_token("one").send()
    };
    once().await.expect("it is done");
    assert_eq!(units(&ledger), (0.0, 2.0));
    exhaust(&rig).await;
    ledger.clear();
    once().await.expect("answered as before, though nothing can be written");
    assert_eq!(units(&ledger), (2.0, 0.0));
}

#[tokio::test]
async fn writes_take_a_unit_a_kilobyte_and_twice_that_in_a_transaction() {
    let (rig, ledger) = rig(one());
    put(&rig, "a", 1500).await.expect("it is there");
    assert_eq!(units(&ledger), (0.0, 2.0));
    let put = Put::builder().table_name(rig.table()).set_item(Some(key("a"))).build().expect("a put");
    let transaction = rig.client().transact_write_items().transact_items(TransactWriteItem::builder().put(put).build());
    transaction.send().await.expect("it is done");
    assert_eq!(units(&ledger), (0.0, 6.0), "twice what it was before, which is more than what it is now");
    let refused = rig.client().put_item().table_name(rig.table()).set_item(Some(key("a")));
    let refused = refused.condition_expression("attribute_not_exists(pk)").send().await;
    assert_eq!(refused.expect_err("it is there").code(), Some("ConditionalCheckFailedException"));
    assert_eq!(units(&ledger), (0.0, 7.0), "a refused condition costs as much");
    put_of_five_kilobytes_is_read(&rig).await;
    assert_eq!(units(&ledger), (3.0, 12.0), "two units, and one for what is not there");
}

async fn put_of_five_kilobytes_is_read(rig: &Rig) {
    put(rig, "b", 5000).await.expect("it is there");
    for name in ["b", "nobody"] {
        let get = rig.client().get_item().table_name(rig.table()).set_key(Some(key(name))).consistent_read(true);
        get.send().await.expect("it is read");
    }
}

#[tokio::test]
async fn a_batch_goes_through_as_far_as_its_partition_has_units() {
    let (rig, _) = rig(one());
    let writes = (0..25).map(|number| {
        let item = of_bytes(&number.to_string(), 99 << 10);
        let put = PutRequest::builder().set_item(Some(item)).build().expect("a put");
        WriteRequest::builder().put_request(put).build()
    });
    // A hundred units each, of a thousand.
    let batch = rig.client().batch_write_item().request_items(rig.table(), writes.collect());
    let left = batch.send().await.expect("taken").unprocessed_items.expect("some are left");
    assert_eq!(left[rig.table()].len(), 15);
    assert!(rig.exists("9").await && !rig.exists("10").await);
}

#[tokio::test]
async fn what_of_a_batch_is_throttled_comes_back() {
    let (rig, _) = rig(Capacity::settled());
    for _ in 0..10 {
        put(&rig, "hot", 100 << 10).await.expect("given or owed");
    }
    let write = |name: &str| {
        let put = PutRequest::builder().set_item(Some(key(name))).build().expect("a put");
        WriteRequest::builder().put_request(put).build()
    };
    let batch = rig.client().batch_write_item().request_items(rig.table(), vec![write("hot"), write("cold")]);
    let left = batch.send().await.expect("taken").unprocessed_items.expect("some are left");
    assert_eq!(left[rig.table()], [write("hot")]);
    // 13 units each, as an eventually consistent read is half of 26.
    for _ in 0..231 {
        rig.get("hot").await;
    }
    let keys = KeysAndAttributes::builder().keys(key("cold")).keys(key("hot")).build().expect("keys");
    let batch = rig.client().batch_get_item().request_items(rig.table(), keys).send().await.expect("answered");
    assert_eq!(batch.responses.expect("some")[rig.table()].len(), 1);
    assert_eq!(batch.unprocessed_keys.expect("some are left")[rig.table()].keys(), [key("hot")]);
    let query = rig.client().query().table_name(rig.table()).key_condition_expression("pk = :pk");
    let refused = query.expression_attribute_values(":pk", AttributeValue::S("hot".into())).send().await;
    assert_eq!(refused.expect_err("throttled").code(), Some("ThrottlingException"));
}
