//! The backlog of an organization at a provider: when the last of its jobs there has its turn, when one of them had a call ahead, and by which
//! rate their places were given.

use super::super::keys::{self, Key};
use super::super::single::send_at_most_once;
use super::super::{Store, contended, number, record};
use super::{ATTEMPTS, BACKLOG_KEPT, told, updated, with_record};
use crate::error::ApiError;
use crate::ids::OrgId;
use crate::model::job::{BacklogPlace, JobRecord};
use crate::model::limiter::{Provider, Rate};
use crate::model::time::Moment;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use platform::telemetry::{Part, timed};
use serde::Deserialize;
use std::time::Duration;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BacklogRecord {
    ends_at: Option<Moment>,
    /// When the last call came, or comes, that one of its jobs had ahead. Records from before this was noted have none.
    call_at: Option<Moment>,
    /// The time from one call to the next by which its places were given. Records from before this was noted have none.
    interval_ms: Option<u64>,
}

/// Where a job stands among those of its organization.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Behind the others.
    Last,
    /// The same, where the others got their places by another rate, which is that of this time from one call to the next. The backlog ended then.
    Rescaled(Moment, u64),
    /// It is alone, and has the next call.
    First,
    /// Its turn has come, and others have been called instead for too long: it has the next call. The backlog ended then.
    Next(Moment),
}

impl BacklogRecord {
    /// The place of a job, whose turn has come if it has a `patience`.
    fn place(&self, rate: Rate, patience: Option<Duration>, now: Moment) -> Place {
        let is_passed = |patience: Duration| self.call_at.is_none_or(|at| at.plus(patience) <= now);
        let other_rate = self.interval_ms.filter(|interval_ms| *interval_ms != rate.as_millis());
        match (self.ends_at.filter(|at| *at > now), other_rate) {
            (None, _) => Place::First,
            (Some(ends_at), _) if patience.is_some_and(is_passed) => Place::Next(ends_at),
            (Some(ends_at), Some(interval_ms)) => Place::Rescaled(ends_at, interval_ms),
            (Some(_), None) => Place::Last,
        }
    }
}

/// A job that joins a backlog.
struct Joining {
    rate: Rate,
    /// So long the provider is busy with it.
    takes: Duration,
    /// The provider's next call.
    call: Moment,
    patience: Option<Duration>,
    now: Moment,
}

impl Joining {
    /// The update that gives the job its place, if it can still be had. The call that is next takes its time.
    fn taking(&self, update: UpdateItemFluentBuilder, place: Place) -> UpdateItemFluentBuilder {
        match place {
            Place::Last => self.last(update),
            Place::Rescaled(ended, interval_ms) => {
                let left = rescaled(self.now.until(ended), interval_ms, self.rate);
                update
                    .update_expression("SET ends_at = :ends, interval_ms = :interval, #ttl = :ttl")
                    .condition_expression("ends_at = :read AND interval_ms = :before")
                    .expression_attribute_values(":ends", number(self.now.plus(left).plus(self.takes).as_millis()))
                    .expression_attribute_values(":interval", number(self.rate.as_millis()))
                    .expression_attribute_values(":read", number(ended.as_millis()))
                    .expression_attribute_values(":before", number(interval_ms))
            }
            Place::First => update
                .update_expression("SET ends_at = :ends, call_at = :call, interval_ms = :interval, #ttl = :ttl")
                .condition_expression("attribute_not_exists(ends_at) OR ends_at <= :now")
                .expression_attribute_values(":ends", number(self.call.plus(self.takes).as_millis()))
                .expression_attribute_values(":call", number(self.call.as_millis()))
                .expression_attribute_values(":interval", number(self.rate.as_millis()))
                .expression_attribute_values(":now", number(self.now.as_millis())),
            Place::Next(ended) => update
                .update_expression("SET ends_at = :ends, call_at = :call, #ttl = :ttl")
                .condition_expression("ends_at = :read AND (attribute_not_exists(call_at) OR call_at <= :passed)")
                .expression_attribute_values(":ends", number(self.call.plus(self.takes).max(ended).as_millis()))
                .expression_attribute_values(":call", number(self.call.as_millis()))
                .expression_attribute_values(":passed", number(self.passed().as_millis()))
                .expression_attribute_values(":read", number(ended.as_millis())),
        }
    }

    fn last(&self, update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let is_there = "ends_at > :now AND (attribute_not_exists(interval_ms) OR interval_ms = :interval)";
        let update = update
            .update_expression("SET ends_at = ends_at + :takes, interval_ms = :interval, #ttl = :ttl")
            .expression_attribute_values(":now", number(self.now.as_millis()))
            .expression_attribute_values(":takes", number(self.takes.as_millis()))
            .expression_attribute_values(":interval", number(self.rate.as_millis()));
        if self.patience.is_none() {
            return update.condition_expression(is_there);
        }
        update
            .condition_expression(format!("{is_there} AND call_at > :passed"))
            .expression_attribute_values(":passed", number(self.passed().as_millis()))
    }

    /// Who had its last call ahead by then has been passed over for too long.
    fn passed(&self) -> Moment {
        self.now.minus(self.patience.unwrap_or_default())
    }
}

/// How long what takes a time at a rate with this time from one call to the next takes at another one.
fn rescaled(time: Duration, interval_ms: u64, to: Rate) -> Duration {
    let millis = time.as_millis().saturating_mul(u128::from(to.as_millis())) / u128::from(interval_ms.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

impl Store {
    /// Adds a job to those of its organization that wait for a provider with a rate, which counts it for `units`: its place if the provider serves
    /// nobody else, or `None` if none waits before it. It is then taken to have the provider's `next` call, and others come after that.
    /// So it is with one whose turn has come, where none of them has had a call ahead for its `patience`. Where the others got their places by another
    /// rate, what is left of these takes as long as it does by this one.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn join_backlog(
        &self,
        org: OrgId,
        provider: &Provider,
        next: Moment,
        (rate, units): (Rate, u64),
        patience: Option<Duration>,
    ) -> Result<Option<BacklogPlace>, ApiError> {
        let takes = rate.time_of(units);
        let joined = async {
            let mut place = Place::Last;
            for _ in 0..ATTEMPTS {
                let now = self.now();
                let joining = Joining { rate, takes, call: next.max(now), patience, now };
                match (updated(joining.taking(self.backlog(org, provider), place)).await?, place) {
                    (Ok(after), Place::Last | Place::Rescaled(..)) => {
                        let BacklogRecord { ends_at, .. } = record(after)?;
                        let turn = ends_at.map(|ends_at| ends_at.minus(takes));
                        return Ok(turn.map(|turn| BacklogPlace { turn, interval_ms: rate.as_millis() }));
                    }
                    (Ok(_), Place::First | Place::Next(_)) => return Ok(None),
                    (Err(found), _) => place = record::<BacklogRecord>(found)?.place(rate, patience, now),
                }
            }
            Err(contended())
        };
        timed(Part::Db, joined).await
    }

    /// Has a backlog end `takes` after a call at a moment, or later: one of the organization's jobs has that call.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn extend_backlog(
        &self,
        org: OrgId,
        provider: &Provider,
        call: Moment,
        takes: Duration,
    ) -> Result<(), ApiError> {
        let (until, call) = (number(call.plus(takes).as_millis()), number(call.as_millis()));
        let longer = self
            .backlog(org, provider)
            .update_expression("SET ends_at = :until, call_at = :call, #ttl = :ttl")
            .condition_expression("attribute_not_exists(ends_at) OR ends_at < :until")
            .expression_attribute_values(":until", until)
            .expression_attribute_values(":call", call.clone());
        if timed(Part::Db, updated(longer)).await?.is_ok() {
            return Ok(());
        }
        // Others stand beyond that already.
        let noted = self
            .backlog(org, provider)
            .update_expression("SET call_at = :call, #ttl = :ttl")
            .expression_attribute_values(":call", call);
        timed(Part::Db, updated(noted)).await.map(drop)
    }

    /// Gives back the place of a job that calls nobody in it: who joins the backlog later comes that much earlier. It is given back once or, where
    /// that fails, not at all: then it passes like one that was used.
    pub async fn leave_backlog(&self, job: &JobRecord, place: BacklogPlace) {
        if let Err(error) = timed(Part::Db, self.try_to_leave(job, place)).await {
            tracing::warn!(%error, "a place in a backlog could not be given back");
        }
    }

    async fn try_to_leave(&self, job: &JobRecord, place: BacklogPlace) -> Result<(), ApiError> {
        let Some(provider) = job.waits_for_provider() else { return Ok(()) };
        let mut interval_ms = place.interval_ms;
        for _ in 0..ATTEMPTS {
            let takes = interval_ms.saturating_mul(u64::from(job.recipients.max(1)));
            let update = self
                .backlog(job.org_id, &provider)
                .update_expression("SET ends_at = ends_at - :takes, #ttl = :ttl")
                .condition_expression("ends_at > :now AND interval_ms = :interval")
                .expression_attribute_values(":now", number(self.now().as_millis()))
                .expression_attribute_values(":takes", number(takes))
                .expression_attribute_values(":interval", number(interval_ms));
            let Err(found) = told(send_at_most_once(with_record(update)).await)? else { return Ok(()) };
            match record::<BacklogRecord>(found)?.interval_ms {
                // All that is left of it takes as long as it does by another rate.
                Some(other) if other != interval_ms => interval_ms = other,
                _ => return Ok(()),
            }
        }
        Err(contended())
    }

    /// An update of a backlog, whose expression sets `#ttl` to `:ttl`.
    fn backlog(&self, org: OrgId, provider: &Provider) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::backlog(org, provider).attributes()))
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":ttl", number(self.now().plus(BACKLOG_KEPT).as_ttl_seconds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_it_does_at_the_rate_of_now() {
        let a_second = Rate::of(60, Duration::from_secs(60));
        let hour = Duration::from_secs(3_600);
        assert_eq!(rescaled(hour, 60_000, a_second), Duration::from_secs(60));
        assert_eq!(rescaled(Duration::from_secs(60), 1_000, Rate::of(1, Duration::from_secs(60))), hour);
        assert_eq!(rescaled(hour, 0, a_second), hour * 1_000, "no record has it, and it divides by nothing");
    }
}
