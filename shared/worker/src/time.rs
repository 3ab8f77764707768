//! The time that an invocation has left.

use shared::Context;
use shared::model::time::Moment;
use std::time::Duration;

/// Kept back from the time left, for writing the outcome.
const TIME_TO_WRITE: Duration = Duration::from_secs(3);
/// Kept back from that, for the reply of the invocation.
const TIME_TO_REPLY: Duration = Duration::from_millis(300);

/// Until when an invocation may call a provider, and until when it may write.
#[derive(Debug)]
pub struct TimeLeft<'c> {
    context: &'c Context,
    deadline: Moment,
    longest_call: Duration,
}

impl<'c> TimeLeft<'c> {
    pub(crate) fn until(context: &'c Context, deadline_ms: u64, longest_call: Duration) -> Self {
        let deadline = Moment::from_millis(i64::try_from(deadline_ms).unwrap_or(i64::MAX));
        Self { context, deadline, longest_call }
    }

    /// Until when a call may begin.
    pub(crate) fn last_call(&self) -> Moment {
        self.deadline.minus(TIME_TO_WRITE + self.longest_call)
    }

    /// How long a call may take that begins now. `None` if the longest one would not end in time: a call that is cut off costs
    /// all that it may cost, and gives nothing.
    #[must_use]
    pub fn for_a_call(&self) -> Option<Duration> {
        let left = self.context.now().until(self.deadline).saturating_sub(TIME_TO_WRITE);
        (left >= self.longest_call).then_some(left)
    }

    /// How long an outcome may be written that is there now.
    pub(crate) fn for_writing(&self) -> Duration {
        self.context.now().until(self.last_write())
    }

    /// Until when an outcome may be written.
    pub(crate) fn last_write(&self) -> Moment {
        self.deadline.minus(TIME_TO_REPLY)
    }
}
