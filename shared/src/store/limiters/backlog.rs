//! The backlog of an organization at a provider: when the last of its jobs there has its turn, when one of them had a call ahead, and by which
//! rate their places were given.

use super::super::keys::{self, Key};
use super::super::single::send_at_most_once;
use super::super::{Store, contended, number, record};
use super::{ATTEMPTS, BACKLOG_KEPT, told, updated, with_record};
use crate::error::{ApiError, chain};
use crate::ids::OrgId;
use crate::model::job::{BacklogPlace, JobRecord};
use crate::model::limiter::{Provider, Rate};
use crate::model::time::Moment;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use platform::telemetry::{Part, timed};
use serde::Deserialize;
use std::time::Duration;

/// None of a backlog's jobs has a later call ahead than `:call`.
const NO_LATER_CALL: &str = "(attribute_not_exists(call_at) OR call_at <= :call)";

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
    /// The same, where the others got their places by another rate, which is that of this time from one call to the next. The backlog ended then,
    /// and the last call was then that one of them had ahead.
    Rescaled { ended: Moment, interval_ms: u64, call: Moment },
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
            (Some(ended), Some(interval_ms)) => {
                Place::Rescaled { ended, interval_ms, call: self.call_at.unwrap_or(now) }
            }
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
            Place::Rescaled { ended, interval_ms, call } => {
                let left = rescaled(self.now.until(ended), interval_ms, self.rate);
                let turn = self.now.plus(left).max(behind(call, self.rate.interval(), self.now));
                update
                    .update_expression("SET ends_at = :ends, interval_ms = :interval, #ttl = :ttl")
                    .condition_expression(format!("ends_at = :read AND interval_ms = :before AND {NO_LATER_CALL}"))
                    .expression_attribute_values(":ends", number(turn.plus(self.takes).as_millis()))
                    .expression_attribute_values(":interval", number(self.rate.as_millis()))
                    .expression_attribute_values(":call", number(call.as_millis()))
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

    /// Whoever had its last call ahead by then has been passed over for too long.
    fn passed(&self) -> Moment {
        self.now.minus(self.patience.unwrap_or_default())
    }
}

/// A job that leaves a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leaving {
    /// The time from one call to the next by which the places of the backlog were given.
    interval: Duration,
    /// So many calls' time is its place.
    units: u32,
    /// No call comes later that one of the others has ahead.
    call: Moment,
    /// When the backlog ends, where not all of its place lies behind that call.
    ended: Option<Moment>,
}

impl Leaving {
    /// One whose place lies behind the call that one of them has ahead, as far as it knows.
    fn of(place: BacklogPlace, job: &JobRecord) -> Self {
        let interval = Duration::from_millis(place.interval_ms);
        Self { interval, units: job.recipients.max(1), call: place.turn.minus(interval), ended: None }
    }

    /// The same as the record says that refused it; `None` if nothing lies behind the call.
    fn corrected(self, found: &BacklogRecord, now: Moment) -> Option<Self> {
        let (ended, interval_ms) = (found.ends_at?, found.interval_ms?);
        let interval = Duration::from_millis(interval_ms);
        let leaving = Self { interval, call: found.call_at.unwrap_or(now), ended: None, ..self };
        let first = behind(leaving.call, interval, now);
        let is_whole = ended >= first.plus(leaving.takes());
        (ended > first).then_some(Self { ended: Some(ended).filter(|_| !is_whole), ..leaving })
    }

    fn takes(&self) -> Duration {
        self.interval.saturating_mul(self.units)
    }

    /// The update that gives its place back. The backlog ends no earlier than the call takes that one of them has ahead: whoever comes then would
    /// have another one beside it.
    fn giving_back(&self, update: UpdateItemFluentBuilder, now: Moment) -> UpdateItemFluentBuilder {
        let is_so = format!("interval_ms = :interval AND {NO_LATER_CALL}");
        let first = behind(self.call, self.interval, now);
        let update = update
            .expression_attribute_values(":interval", number(self.interval.as_millis()))
            .expression_attribute_values(":call", number(self.call.as_millis()));
        match self.ended {
            None => update
                .update_expression("SET ends_at = ends_at - :takes, #ttl = :ttl")
                .condition_expression(format!("{is_so} AND ends_at >= :least"))
                .expression_attribute_values(":takes", number(self.takes().as_millis()))
                .expression_attribute_values(":least", number(first.plus(self.takes()).as_millis())),
            Some(ended) => update
                .update_expression("SET ends_at = :first, #ttl = :ttl")
                .condition_expression(format!("{is_so} AND ends_at = :read"))
                .expression_attribute_values(":first", number(first.as_millis()))
                .expression_attribute_values(":read", number(ended.as_millis())),
        }
    }
}

/// The first turn behind a call that one of a backlog's jobs has ahead; now, if it has come.
fn behind(call: Moment, interval: Duration, now: Moment) -> Moment {
    if call > now { call.plus(interval) } else { now }
}

/// How long what takes a time at a rate with this time from one call to the next takes at another one.
fn rescaled(time: Duration, interval_ms: u64, to: Rate) -> Duration {
    let millis = time.as_millis().saturating_mul(u128::from(to.as_millis())) / u128::from(interval_ms.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

impl Store {
    /// Adds a job to its organization's backlog at a provider with a rate, which counts it for `units`. Returns its place, as if the provider
    /// served nobody else. `None`: it has the provider's `next` call, because no job of its organization waits before it, or none has had a call
    /// ahead for its `patience`; others come after that call. Places that were given by another rate are rescaled to this one.
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
                    (Ok(after), Place::Last | Place::Rescaled { .. }) => {
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

    /// Gives back the place of a job that calls nobody in it: whoever joins the backlog later comes that much earlier, but behind the call that one of
    /// them has ahead. It is given back once or, where that fails, not at all: then it passes like one that was used.
    pub async fn leave_backlog(&self, job: &JobRecord, place: BacklogPlace) {
        if let Err(error) = timed(Part::Db, self.try_to_leave(job, place)).await {
            tracing::warn!(cause = chain(&error), "a place in a backlog could not be given back");
        }
    }

    async fn try_to_leave(&self, job: &JobRecord, place: BacklogPlace) -> Result<(), ApiError> {
        let Some(provider) = job.waits_for_provider() else { return Ok(()) };
        let mut leaving = Leaving::of(place, job);
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let update = leaving.giving_back(self.backlog(job.org_id, &provider), now);
            let Err(found) = told(send_at_most_once(with_record(update)).await)? else { return Ok(()) };
            match leaving.corrected(&record::<BacklogRecord>(found)?, now) {
                Some(other) => leaving = other,
                None => return Ok(()),
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

    #[test]
    fn what_is_given_back_lies_behind_the_call_ahead() {
        let at = |seconds: i64| Moment::from_millis(seconds * 1_000);
        let interval = Duration::from_secs(10);
        let leaving = Leaving { interval, units: 3, call: at(0), ended: None };
        let found = |ends_at, call_at: Option<i64>| {
            let (ends_at, call_at) = (Some(at(ends_at)), call_at.map(at));
            leaving.corrected(&BacklogRecord { ends_at, call_at, interval_ms: Some(10_000) }, at(100))
        };
        assert_eq!(found(170, Some(130)), Some(Leaving { call: at(130), ..leaving }), "all of it");
        let part = Leaving { call: at(130), ended: Some(at(169)), ..leaving };
        assert_eq!((found(169, Some(130)), found(140, Some(130))), (Some(part), None));
        assert_eq!((found(101, Some(99)).is_some(), found(101, None).is_some(), found(100, None)), (true, true, None));
    }
}
