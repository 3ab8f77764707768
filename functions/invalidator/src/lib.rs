//! Reads the table's stream, and has the cache hold nothing older than what it says: a second invalidation beside
//! the one of each write, for writers that die, lose their connection, or stand outside the cache's network.
//! docs/cache-consistency.md, "The stream".

mod change;
mod event;
#[cfg(test)]
mod tests;

use change::{Change, given_plan};
use event::{StreamRecord, StreamReply};
use futures_util::{StreamExt as _, stream};
use shared::Context;
use shared::cache::Delivery;
use shared::ids::OrgId;
use shared::model::org::OrgPlan;
use shared::runtime::event::NoRecords;
use shared::security_log::{self, SecurityEvent};
use shared::store::keys::CachedRecord;
use std::collections::HashSet;

pub use event::StreamEvent;

/// Operations on the cache at a time: they share a connection.
const AT_ONCE: usize = 32;

/// A record's sequence number, and the plan that it gave.
type Given = (String, Option<(OrgId, OrgPlan)>);

/// Tells the cache of a batch of changes. If the cache is away, it says from which record on the batch is to come again:
/// Lambda brings it until it is older than anything that could still be cached.
pub async fn handle(context: &Context, event: StreamEvent, _deadline_ms: u64) -> StreamReply {
    let records = match event.0 {
        Ok(records) => records,
        Err(NoRecords::Foreign) => {
            tracing::info!("an event that is no batch of changes was left alone");
            return StreamReply::default();
        }
        Err(NoRecords::Unreadable) => {
            tracing::error!("the records of a batch are no list: all of it returns");
            return StreamReply::failed();
        }
    };
    let cache = context.cache();
    // Of each record, whatever the cache is told: of what is removed that is once for a batch.
    let given: Vec<Given> =
        records.iter().map(|record| (record.dynamodb.sequence_number.clone(), given_plan(record))).collect();
    let changes = changes(records);
    if !changes.is_empty() && cache.breaker_is_open() {
        // A writer that finds it open is short with the cache, since this function comes after it. Nothing comes after this one: it waits for
        // a connection.
        let _answers = cache.ping().await;
    }
    let operations = changes
        .into_iter()
        .map(|(sequence_number, change)| async move { (sequence_number, change.apply(cache).await) });
    // In the order of the records: the first that is lost is the one to begin at again.
    let told = stream::iter(operations).buffered(AT_ONCE);
    let mut losses = std::pin::pin!(told.filter_map(|(sequence_number, delivery)| async move {
        (delivery == Delivery::Lost).then_some(sequence_number)
    }));
    let lost = losses.next().await;
    for (org, plan) in known(given, lost.as_deref()) {
        security_log::note(context, SecurityEvent::PlanChanged { org, plan }).await;
    }
    let reply = match lost {
        Some(sequence_number) => {
            tracing::warn!(sequence_number, "the cache could not be told of a change: it comes again");
            StreamReply::failed_at(sequence_number)
        }
        None => StreamReply::default(),
    };
    // What was lost comes again. By itself it would go on when this environment wakes, too late, and say that nobody was told.
    cache.abandon();
    cache.report();
    reply
}

/// The plans that were given before the record at which the batch begins again: the others come with it, and would be noted twice.
fn known(given: Vec<Given>, lost: Option<&str>) -> impl Iterator<Item = (OrgId, OrgPlan)> {
    given.into_iter().take_while(move |(number, _)| lost != Some(number.as_str())).filter_map(|(_, plan)| plan)
}

/// What the cache is to be told, and the record that says so first. What is removed at all is removed once for a batch and not renewed: all
/// its changes are committed before it is read, and operations that go side by side keep no order.
fn changes(records: Vec<StreamRecord>) -> Vec<(String, Change)> {
    let all = records.into_iter().filter_map(|record| {
        let sequence_number = record.dynamodb.sequence_number.clone();
        Some((sequence_number, Change::of(record)?))
    });
    let all: Vec<_> = all.collect();
    let is_removal = |change: &Change| matches!(change, Change::Removed(_));
    let removed: HashSet<CachedRecord> =
        all.iter().filter(|(_, change)| is_removal(change)).map(|(_, change)| change.source()).collect();
    let mut told = HashSet::new();
    let once = all.into_iter().filter_map(|(number, change)| match change.source() {
        source if !removed.contains(&source) => Some((number, change)),
        source => told.insert(source).then_some((number, Change::Removed(source))),
    });
    once.collect()
}
