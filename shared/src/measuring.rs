//! What `local` may do to measure, and a deployed function cannot: take one lesson away, and count the calls to the
//! database. Without the feature `measuring`, which no function has, nothing of it is there.

/// Something that makes the system faster, and that `just before-after` takes away to see by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// None: what the others are compared with.
    Nothing,
    /// Reads come from the cache.
    Cache,
    /// Items are written 25 a call.
    Batches,
    /// Replies are compressed.
    Compression,
    /// Slow work is done after the reply, by a worker behind a queue.
    Queue,
    /// Clients live as long as their environment.
    ClientReuse,
    /// Session and membership are read in one call.
    SingleAuthorityRead,
}

impl Lesson {
    /// All of them, with the names that `local --without` takes.
    pub const ALL: [(Self, &str); 7] = [
        (Self::Nothing, "nothing"),
        (Self::Cache, "cache"),
        (Self::Batches, "batches"),
        (Self::Compression, "compression"),
        (Self::Queue, "queue"),
        (Self::ClientReuse, "client-reuse"),
        (Self::SingleAuthorityRead, "single-authority-read"),
    ];
}

impl std::str::FromStr for Lesson {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known.map(|(lesson, _)| *lesson).ok_or_else(|| format!("is none of {:?}", Self::ALL.map(|(_, name)| name)))
    }
}

/// Whether this process runs without a lesson. Never, without the feature.
#[inline]
#[must_use]
pub fn is_without(lesson: Lesson) -> bool {
    #[cfg(feature = "measuring")]
    return switched::WITHOUT.get() == Some(&lesson);
    #[cfg(not(feature = "measuring"))]
    {
        let _ = lesson;
        false
    }
}

/// What counts the calls that a client sends; nothing, without the feature.
pub(crate) fn interceptor() -> Option<aws_sdk_dynamodb::config::SharedInterceptor> {
    #[cfg(feature = "measuring")]
    return Some(aws_sdk_dynamodb::config::SharedInterceptor::new(switched::DatabaseCalls));
    #[cfg(not(feature = "measuring"))]
    None
}

#[cfg(feature = "measuring")]
pub use switched::{count_database_call, database_calls, take_away};

#[cfg(feature = "measuring")]
mod switched {
    use super::Lesson;
    use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextRef;
    use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
    use aws_sdk_dynamodb::error::BoxError;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    pub(super) static WITHOUT: OnceLock<Lesson> = OnceLock::new();
    static DATABASE_CALLS: AtomicU64 = AtomicU64::new(0);

    /// Takes a lesson away from this process, for as long as it lives; only the first call counts.
    pub fn take_away(lesson: Lesson) {
        let _first = WITHOUT.get_or_init(|| lesson);
    }

    /// Counts a call to a database in this process.
    pub fn count_database_call() {
        DATABASE_CALLS.fetch_add(1, Relaxed);
    }

    /// How many calls this process has made to the database, repetitions included.
    #[must_use]
    pub fn database_calls() -> u64 {
        DATABASE_CALLS.load(Relaxed)
    }

    /// Counts what a client sends.
    #[derive(Debug)]
    pub(super) struct DatabaseCalls;

    impl Intercept for DatabaseCalls {
        fn name(&self) -> &'static str {
            "DatabaseCalls"
        }

        fn read_before_transmit(
            &self,
            _: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            count_database_call();
            Ok(())
        }
    }
}
