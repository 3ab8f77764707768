//! What time it is. Everything that ends, is due or belongs to a month goes by the context's clock.

use crate::model::time::Moment;
use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource, TimeSource};

/// A source of the current time. A clone is the same clock.
#[derive(Debug, Clone)]
pub struct Clock(SharedTimeSource);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(SystemTimeSource::new())
    }

    /// A clock that asks `source`.
    #[must_use]
    pub fn new(source: impl TimeSource + 'static) -> Self {
        Self(SharedTimeSource::new(source))
    }

    /// Now, to the millisecond.
    #[must_use]
    pub fn now(&self) -> Moment {
        Moment::from(self.0.now())
    }
}
