//! Pages of a list, newest first, merged from all its partitions.

use super::keys::Partition;
use super::keys::SK;
use super::{Store, classify, record, string};
use crate::error::{ApiError, chain};
use futures_util::future::try_join_all;
use serde::de::DeserializeOwned;
use std::cmp::Reverse;
use std::fmt::Display;

/// What was read of a partition, newest first.
struct Run<T> {
    pk: String,
    /// How many records it is asked for next.
    ask: usize,
    read: Vec<T>,
    /// The sort key of the oldest that was seen, readable or not.
    seen: Option<String>,
    /// Nothing is older than what was read.
    ended: bool,
}

impl Store {
    /// Up to `limit` records of all `partitions`, whose sort keys are their ids, newest first, those before `after`; and the id to go on
    /// after, if there are more.
    pub(super) async fn newest<T: DeserializeOwned, I: Copy + Ord + Display>(
        &self,
        partitions: Vec<Partition>,
        limit: u8,
        after: Option<I>,
        id: impl Fn(&T) -> I,
    ) -> Result<(Vec<T>, Option<I>), ApiError> {
        let limit = usize::from(limit);
        let run = |Partition { pk, first }| Run { pk, ask: first, read: Vec::new(), seen: None, ended: false };
        let mut runs: Vec<Run<T>> = partitions.into_iter().map(run).collect();
        let oldest = |run: &Run<T>| run.read.last().map(&id);
        loop {
            let mut page: Vec<I> = runs.iter().flat_map(|run| &run.read).map(&id).collect();
            page.sort_unstable_by_key(|id| Reverse(*id));
            // Only a record beyond the page says that there is another one.
            let more = page.len() > limit;
            page.truncate(limit);
            let end = page.last().copied();
            let next = end.filter(|_| more);
            // A partition has to be read further if something in it may be newer than the page's last, or be the one beyond it.
            let is_open =
                |run: &Run<T>| !run.ended && (next.is_none() || oldest(run).is_none_or(|oldest| Some(oldest) > next));
            if !runs.iter().any(is_open) {
                let mut found: Vec<T> = runs.into_iter().flat_map(|run| run.read).collect();
                found.retain(|one| Some(id(one)) >= end);
                found.sort_unstable_by_key(|one| Reverse(id(one)));
                return Ok((found, next));
            }
            let reading = runs.iter_mut().filter(|run| is_open(run)).map(|run| {
                let before = run.seen.clone().or_else(|| after.map(|id| id.to_string()));
                self.read_on(run, before)
            });
            try_join_all(reading).await?;
            // A second look is the last one, unless what it finds is more than a megabyte. A page has no more of one partition than `limit`,
            // and one further record says whether there is another page.
            runs.iter_mut().for_each(|run| run.ask = (limit + 1).saturating_sub(run.read.len()));
        }
    }

    /// Reads on where a run ends.
    async fn read_on<T: DeserializeOwned>(&self, run: &mut Run<T>, before: Option<String>) -> Result<(), ApiError> {
        let condition = if before.is_some() { "pk = :pk AND sk < :before" } else { "pk = :pk" };
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(run.ask).unwrap_or(i32::MAX))
            .key_condition_expression(condition)
            .expression_attribute_values(":pk", string(&run.pk));
        if let Some(before) = before {
            query = query.expression_attribute_values(":before", string(before));
        }
        let page = query.send().await.map_err(classify)?;
        run.ended = page.last_evaluated_key.is_none();
        for found in page.items.unwrap_or_default() {
            run.seen = found.get(SK).and_then(|sk| sk.as_s().ok()).cloned().or(run.seen.take());
            match record(found) {
                Ok(found) => run.read.push(found),
                // Another version wrote it, and is gone: the others are listed all the same.
                Err(error) => {
                    tracing::error!(
                        pk = run.pk,
                        sk = run.seen,
                        cause = chain(&error),
                        "a record of a list cannot be read"
                    );
                }
            }
        }
        Ok(())
    }
}
