//! What both providers do at a time.

use super::{Manner, Trouble};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What both do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Whatever comes is done at once.
    Well,
    /// 50 analyses and 30,000 input tokens a minute, of 8 seconds each, and 14 e-mails a second: a new account's.
    Busy,
    /// Of the day's calls, ten are left to each.
    QuotaUsedUp,
    /// Both say that they are overloaded (529 and 503).
    Overloaded,
    /// Nobody listens.
    Unreachable,
    /// The account of the models has no credit, and sending is paused.
    Suspended,
    /// An analysis takes 40 seconds; e-mails go well.
    Hanging,
}

impl Scene {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Well,
        Self::Busy,
        Self::QuotaUsedUp,
        Self::Overloaded,
        Self::Unreachable,
        Self::Suspended,
        Self::Hanging,
    ];

    /// Its name on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Busy => "busy",
            Self::QuotaUsedUp => "quota-used-up",
            Self::Overloaded => "overloaded",
            Self::Unreachable => "unreachable",
            Self::Suspended => "suspended",
            Self::Hanging => "hanging",
        }
    }

    /// How the models are treated, and the mail service.
    pub(super) fn manners(self) -> (Manner, Manner) {
        let both = |manner: Manner| (manner.clone(), manner);
        match self {
            Self::Well | Self::Unreachable => both(Manner::default()),
            Self::Busy => {
                let (per_minute, tokens_per_minute) = (Some(50), Some(30_000));
                let latency = Duration::from_secs(8);
                let model = Manner { per_minute, tokens_per_minute, latency, ..Manner::default() };
                (model, Manner { per_minute: Some(14 * 60), ..Manner::default() })
            }
            Self::QuotaUsedUp => both(Manner { per_day: Some(10), ..Manner::default() }),
            Self::Overloaded => both(Manner { trouble: Some(Trouble::Overloaded), ..Manner::default() }),
            Self::Suspended => both(Manner { trouble: Some(Trouble::Suspended), ..Manner::default() }),
            Self::Hanging => (Manner { latency: Duration::from_secs(40), ..Manner::default() }, Manner::default()),
        }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no scene.
#[derive(Debug, thiserror::Error)]
#[error("no scene; there are well, busy, quota-used-up, overloaded, unreachable, suspended and hanging")]
pub struct UnknownScene;

impl FromStr for Scene {
    type Err = UnknownScene;

    fn from_str(name: &str) -> Result<Self, UnknownScene> {
        Self::ALL.into_iter().find(|scene| scene.name() == name.trim()).ok_or(UnknownScene)
    }
}
