//! The layer over the embedded database, asked by the SDK's client as production asks.

use super::*;
use crate::like_aws::tests_rig::{Rig, key};
use crate::like_aws::{Capacity, LikeAws, Lognormal};
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update, WriteRequest};

/// 10 ms, of a clock that stands still.
const HOLD: Lognormal = Lognormal::ms(10.0, 10.0);

fn rig() -> (Rig, Arc<Ledger>) {
    let transactions = Some(Transactions { hold: HOLD, lost_coordinators: 0.0, ..Transactions::default() });
    let mut noted = None;
    let rig = Rig::new(|clock| {
        let ledger = noted.insert(Arc::new(Ledger::new(clock.clone())));
        LikeAws { transactions, ledger: Some(Arc::clone(ledger)), ..LikeAws::nothing() }
    });
    (rig, noted.expect("it is made"))
}

/// Lets all transactions commit that hold records now.
async fn end(rig: &Rig, running: Running) {
    rig.clock.jump(Duration::from_millis(11));
    assert_eq!(running.await.expect("no panic"), Ok(()));
}

type Running = tokio::task::JoinHandle<Result<(), Vec<String>>>;

fn put(rig: &Rig, name: &str) -> TransactWriteItem {
    let put = Put::builder().table_name(rig.table()).set_item(Some(key(name)));
    TransactWriteItem::builder().put(put.build().expect("a put")).build()
}

fn check(rig: &Rig, name: &str, condition: &str) -> TransactWriteItem {
    let check = ConditionCheck::builder().table_name(rig.table()).set_key(Some(key(name)));
    let check = check.condition_expression(condition).build().expect("a check");
    TransactWriteItem::builder().condition_check(check).build()
}

/// Begins a transaction; its records, of which this is one, are held from now on.
async fn begin(rig: &Rig, writes: Vec<TransactWriteItem>, name: &str) -> Running {
    let client = rig.client().clone();
    let running = tokio::spawn(async move { transact(&client, writes).await });
    while !is_held(rig, name).await {
        tokio::task::yield_now().await;
    }
    running
}

async fn is_held(rig: &Rig, name: &str) -> bool {
    let nothing = rig.client().delete_item().table_name(rig.table()).set_key(Some(key(name)));
    let refused = nothing.condition_expression("pk = sk").send().await.expect_err("no record is so");
    refused.code() == Some("TransactionConflictException")
}

/// Runs a transaction; the codes of its reasons if it is cancelled.
async fn transact(client: &aws_sdk_dynamodb::Client, writes: Vec<TransactWriteItem>) -> Result<(), Vec<String>> {
    match client.transact_write_items().set_transact_items(Some(writes)).send().await {
        Ok(_) => Ok(()),
        Err(error) => match error.into_service_error() {
            TransactWriteItemsError::TransactionCanceledException(canceled) => {
                let code =
                    |reason: &aws_sdk_dynamodb::types::CancellationReason| reason.code().unwrap_or("?").to_owned();
                Err(canceled.cancellation_reasons().iter().map(code).collect())
            }
            error => panic!("{error:?}"),
        },
    }
}

/// What becomes of a transaction within its own time, however long those that it meets take.
async fn in_its_time(rig: &Rig, writes: Vec<TransactWriteItem>) -> Result<(), Vec<String>> {
    let running = under_way(rig, writes).await;
    rig.clock.jump(Duration::from_millis(11));
    running.await.expect("no panic")
}

/// A transaction that meets another and is not cancelled yet.
async fn under_way(rig: &Rig, writes: Vec<TransactWriteItem>) -> Running {
    let client = rig.client().clone();
    let running = tokio::spawn(async move { transact(&client, writes).await });
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished(), "it is answered before it is cancelled");
    running
}

fn reasons(codes: &[&str]) -> Result<(), Vec<String>> {
    Err(codes.iter().map(|code| (*code).to_owned()).collect())
}

#[tokio::test]
async fn a_transaction_that_meets_another_is_refused_by_position() {
    let (rig, _) = rig();
    let first = begin(&rig, vec![put(&rig, "a"), put(&rig, "b")], "a").await;
    let second = in_its_time(&rig, vec![put(&rig, "c"), put(&rig, "b")]).await;
    assert_eq!(second, reasons(&["None", "TransactionConflict"]));
    end(&rig, first).await;
    assert!(!is_held(&rig, "a").await && !is_held(&rig, "b").await, "nothing is left of it");
}

#[tokio::test]
async fn one_that_is_refused_holds_its_other_records_until_it_is_cancelled() {
    let (rig, _) = rig();
    let first = begin(&rig, vec![put(&rig, "a")], "a").await;
    rig.clock.jump(Duration::from_millis(5));
    let second = under_way(&rig, vec![put(&rig, "b"), put(&rig, "a")]).await;
    assert!(is_held(&rig, "b").await);
    let third = under_way(&rig, vec![put(&rig, "b"), put(&rig, "c")]).await;
    rig.clock.jump(Duration::from_millis(6));
    assert_eq!(first.await.expect("no panic"), Ok(()));
    assert!(is_held(&rig, "b").await && !is_held(&rig, "a").await, "of the first nothing is held");
    rig.clock.jump(Duration::from_millis(6));
    assert_eq!(second.await.expect("no panic"), reasons(&["None", "TransactionConflict"]));
    assert_eq!(third.await.expect("no panic"), reasons(&["TransactionConflict", "None"]));
    for name in ["b", "c"] {
        assert!(!is_held(&rig, name).await && !rig.exists(name).await);
    }
}

#[tokio::test]
async fn a_check_holds_and_is_refused_as_a_write_is() {
    let (rig, _) = rig();
    rig.put("parent").await;
    let first = begin(&rig, vec![check(&rig, "parent", "attribute_exists(pk)"), put(&rig, "a")], "a").await;
    let second = vec![check(&rig, "parent", "attribute_exists(pk)"), put(&rig, "b")];
    assert_eq!(in_its_time(&rig, second).await, reasons(&["TransactionConflict", "None"]));
    end(&rig, first).await;
}

#[tokio::test]
async fn conditions_are_looked_at_first() {
    let (rig, _) = rig();
    let first = begin(&rig, vec![put(&rig, "a"), put(&rig, "b")], "a").await;
    let writes =
        vec![check(&rig, "a", "attribute_exists(pk)"), put(&rig, "b"), check(&rig, "c", "attribute_exists(pk)")];
    let refused = in_its_time(&rig, writes).await;
    assert_eq!(refused, reasons(&["ConditionalCheckFailed", "TransactionConflict", "ConditionalCheckFailed"]));
    end(&rig, first).await;
    assert!(!rig.exists("c").await, "the question wrote nothing");
}

#[tokio::test]
async fn a_single_write_of_a_held_record_is_refused_and_another_is_not() {
    let (rig, ledger) = rig();
    let first = begin(&rig, vec![put(&rig, "a")], "a").await;
    let before = ledger.refusals().values().sum::<u64>();
    let refused = rig.client().put_item().table_name(rig.table()).set_item(Some(key("a"))).send().await;
    assert_eq!(refused.expect_err("held").code(), Some("TransactionConflictException"));
    let refused = rig.client().delete_item().table_name(rig.table()).set_key(Some(key("a"))).send().await;
    assert_eq!(refused.expect_err("held").code(), Some("TransactionConflictException"));
    let update = rig.client().update_item().table_name(rig.table()).set_key(Some(key("a")));
    let update =
        update.update_expression("ADD n :one").expression_attribute_values(":one", AttributeValue::N("1".into()));
    assert_eq!(update.send().await.expect_err("held").code(), Some("TransactionConflictException"));
    rig.put("b").await;
    let refusals = ledger.refusals().values().sum::<u64>();
    assert!(!rig.exists("a").await, "readers see what was there before");
    end(&rig, first).await;
    assert!(rig.exists("a").await);
    assert_eq!(refusals - before, 3);
}

#[tokio::test]
async fn of_a_batch_only_what_is_held_comes_back() {
    let (rig, _) = rig();
    let first = begin(&rig, vec![put(&rig, "a")], "a").await;
    let write = |name: &str| {
        let put = aws_sdk_dynamodb::types::PutRequest::builder().set_item(Some(key(name))).build().expect("a put");
        WriteRequest::builder().put_request(put).build()
    };
    let batch = rig.client().batch_write_item().request_items(rig.table(), vec![write("b"), write("a"), write("c")]);
    let reply = batch.send().await.expect("the batch is taken");
    let unprocessed = reply.unprocessed_items.expect("some are left");
    assert_eq!(unprocessed[rig.table()], [write("a")]);
    assert!(rig.exists("b").await && rig.exists("c").await && !rig.exists("a").await);
    let alone = rig.client().batch_write_item().request_items(rig.table(), vec![write("a")]).send().await;
    assert_eq!(alone.expect("taken").unprocessed_items.expect("all are left")[rig.table()], [write("a")]);
    end(&rig, first).await;
}

/// What has no units left is kept back in front of what is held, and neither hides the other.
#[tokio::test]
async fn of_a_batch_what_is_short_and_what_is_held_come_back() {
    let transactions = Some(Transactions { hold: HOLD, lost_coordinators: 0.0, ..Transactions::default() });
    let rig = Rig::new(|_| LikeAws { transactions, capacity: Some(Capacity::settled()), ..LikeAws::nothing() });
    let mut large = key("short");
    large.insert("text".to_owned(), AttributeValue::S("x".repeat(300 << 10)));
    for _ in 0..4 {
        // The last of them takes more than its partition has left in this second.
        let put = rig.client().put_item().table_name(rig.table()).set_item(Some(large.clone()));
        put.send().await.expect("something is left");
    }
    let first = begin(&rig, vec![put(&rig, "held")], "held").await;
    let write = |name: &str| {
        let put = aws_sdk_dynamodb::types::PutRequest::builder().set_item(Some(key(name))).build().expect("a put");
        WriteRequest::builder().put_request(put).build()
    };
    let batch = vec![write("short"), write("held"), write("free")];
    let reply = rig.client().batch_write_item().request_items(rig.table(), batch).send().await;
    let unprocessed = reply.expect("the batch is taken").unprocessed_items.expect("some are left");
    assert_eq!(unprocessed[rig.table()], [write("short"), write("held")]);
    assert!(rig.exists("free").await && !rig.exists("held").await);
    end(&rig, first).await;
}

/// Documented: "Handling concurrent updates". What is not in a transaction queues.
#[tokio::test]
async fn plain_updates_of_one_record_all_succeed() {
    let (rig, _) = rig();
    let mut updates = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let update = rig.client().update_item().table_name(rig.table()).set_key(Some(key("counter")));
        let update = update.update_expression("ADD n :one");
        updates.spawn(update.expression_attribute_values(":one", AttributeValue::N("1".into())).send());
    }
    while let Some(update) = updates.join_next().await {
        update.expect("no panic").expect("it succeeds");
    }
    let counter = rig.get("counter").await.expect("it is there");
    assert_eq!(counter["n"], AttributeValue::N("100".into()));
}

#[tokio::test]
async fn a_transaction_goes_on_without_who_began_it_and_its_token_is_known() {
    let (rig, _) = rig();
    let once = || {
        let update = Update::builder().table_name(rig.table()).set_key(Some(key("counter")));
        let update =
            update.update_expression("ADD n :one").expression_attribute_values(":one", AttributeValue::N("1".into()));
        let update = TransactWriteItem::builder().update(update.build().expect("an update")).build();
        rig.client().transact_write_items().transact_items(update).client_request_token("one").send()
    };
    let gone = tokio::spawn(once());
    while !is_held(&rig, "counter").await {
        tokio::task::yield_now().await;
    }
    gone.abort();
    let running = once().await.expect_err("it still runs");
    assert_eq!(running.code(), Some("TransactionInProgressException"));
    rig.clock.jump(Duration::from_millis(11));
    while is_held(&rig, "counter").await {
        tokio::task::yield_now().await;
    }
    // Held by another: what has been done is answered all the same.
    let other = begin(&rig, vec![put(&rig, "counter")], "counter").await;
    once().await.expect("answered as before");
    assert_eq!(rig.get("counter").await.expect("it is there")["n"], AttributeValue::N("1".into()));
    end(&rig, other).await;
}
