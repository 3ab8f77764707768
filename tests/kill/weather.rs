//! Providers on a bad day: each takes so much a minute, and for an hour nothing at all. Without them everything is taken.

use std::sync::Mutex;
use std::time::Duration;
use testkit::http::{Call, Origin, Reply};
use testkit::providers::{Manner, Providers, Scene, Trouble};

/// What becomes of calls, from so many minutes after the begin.
const HOURS: [(u64, Option<Trouble>); 4] =
    [(0, None), (10, Some(Trouble::Overloaded)), (40, Some(Trouble::Suspended)), (70, None)];

pub(crate) struct Weather {
    providers: Providers,
    origin: Origin,
    /// Which of [`HOURS`] it is.
    hour: Mutex<usize>,
}

impl Weather {
    pub(crate) async fn start(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let providers = Providers::start(Scene::Well, None, now_ms).await;
        let weather = Self { origin: Origin::at(&providers.url()), providers, hour: Mutex::default() };
        weather.treat(None);
        weather
    }

    /// At the rates that a new account has, and that the functions keep to.
    fn treat(&self, trouble: Option<Trouble>) {
        let manner = |per_minute| Manner { per_minute: Some(per_minute), trouble, ..Manner::default() };
        self.providers.treat(manner(50), manner(14 * 60));
    }

    /// So much time has passed since the begin.
    pub(crate) fn changes(&self, passed: Duration) {
        let now = HOURS.iter().rposition(|(from, _)| passed >= Duration::from_secs(from * 60)).unwrap_or_default();
        let before = std::mem::replace(&mut *self.hour.lock().unwrap(), now);
        if before != now {
            self.treat(HOURS[now].1);
        }
    }

    /// Calls one of the two.
    pub(crate) async fn call(&self, call: Call) -> Reply {
        self.origin.pass(call).await
    }

    /// How many analyses and e-mails were refused.
    pub(crate) fn refused(&self) -> (usize, usize) {
        self.providers.refused()
    }
}
