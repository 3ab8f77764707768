//! The operator's caps: what all organizations together may bring about in a day (UTC), and which part of that one organization may, by
//! its plan. The store counts ([`crate::store::Store::take_of_cap`]).

use crate::config::{ConfigError, whole};
use crate::model::by_plan::ByPlan;
use crate::model::org::Plan;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

const EMAILS: &str = "EMAILS_PER_DAY";
const DOLLARS: &str = "DOLLARS_PER_DAY";
/// The variable of the parts that organizations have.
pub const CAP_SHARES: &str = "CAP_SHARES";
const NANOS_OF_A_DOLLAR: u64 = 1_000_000_000;

/// What is capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// Recipients of e-mails that organizations send.
    Emails,
    /// What models cost, in nano-dollars.
    Dollars,
}

impl Cap {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Emails, Self::Dollars];

    /// The variable that says how much it is; 0 closes.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::Emails => EMAILS,
            Self::Dollars => DOLLARS,
        }
    }

    /// Its name in the keys of its records.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Emails => "emails",
            Self::Dollars => "dollars",
        }
    }

    /// The unit that callers are shown, and how much so many units are in it.
    pub(crate) const fn told(self, units: u64) -> (&'static str, u64) {
        match self {
            Self::Emails => ("emails", units),
            Self::Dollars => ("cents", units / (NANOS_OF_A_DOLLAR / 100)),
        }
    }
}

/// The caps of this deployment; none in functions that take nothing of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    emails: Option<u64>,
    nanos: Option<u64>,
    /// Percent of a cap that one organization may take.
    shares: Option<ByPlan>,
}

impl Caps {
    /// `EMAILS_PER_DAY`, `DOLLARS_PER_DAY` and `CAP_SHARES`.
    pub(crate) fn from_lookup(variable: &impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        Ok(Self {
            emails: variable(EMAILS).map(|text| whole(EMAILS, &text)).transpose()?,
            nanos: variable(DOLLARS).map(|text| nanos(&text)).transpose()?,
            shares: variable(CAP_SHARES).map(|text| shares(&text)).transpose()?,
        })
    }

    /// How many units all organizations together may take in a day.
    ///
    /// # Errors
    /// Its variable is missing.
    pub fn most(self, cap: Cap) -> Result<u64, ConfigError> {
        let most = match cap {
            Cap::Emails => self.emails,
            Cap::Dollars => self.nanos,
        };
        most.ok_or(ConfigError::Missing(cap.variable()))
    }

    /// How many of them one organization may take.
    ///
    /// # Errors
    /// A variable is missing.
    pub fn share(self, cap: Cap, plan: Plan) -> Result<u64, ConfigError> {
        let shares = self.shares.ok_or(ConfigError::Missing(CAP_SHARES))?;
        let share = u128::from(self.most(cap)?) * u128::from(shares.of(plan)) / 100;
        Ok(u64::try_from(share).unwrap_or(u64::MAX))
    }
}

/// Dollars in nano-dollars. 18,446,744,073 fit; the template takes 1,000,000,000 at most.
fn nanos(text: &str) -> Result<u64, ConfigError> {
    let dollars = text.parse().ok().and_then(|dollars: Decimal| dollars.checked_mul(NANOS_OF_A_DOLLAR.into()));
    let invalid = || ConfigError::Invalid { name: DOLLARS, reason: format!("{text} is no sum of dollars") };
    dollars.and_then(|nanos| nanos.to_u64()).ok_or_else(invalid)
}

fn shares(text: &str) -> Result<ByPlan, ConfigError> {
    let shares = ByPlan::parse(CAP_SHARES, text)?;
    let invalid = || ConfigError::Invalid { name: CAP_SHARES, reason: format!("{text} is not three percentages") };
    (shares.most() <= 100).then_some(shares).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(emails: &str, dollars: &str, shares: &str) -> Result<Caps, ConfigError> {
        Caps::from_lookup(&|name| {
            Some(
                if name == EMAILS {
                    emails
                } else if name == DOLLARS {
                    dollars
                } else {
                    shares
                }
                .to_owned(),
            )
        })
    }

    #[test]
    fn a_plan_has_its_part() {
        let caps = with("1000", "20", "5,25,100").expect("valid");
        let of = |cap| [Plan::Free, Plan::Pro, Plan::Enterprise].map(|plan| caps.share(cap, plan).expect("there"));
        assert_eq!(of(Cap::Emails), [50, 250, 1000]);
        assert_eq!(of(Cap::Dollars), [1_000_000_000, 5_000_000_000, 20_000_000_000]);
        assert_eq!(Cap::Dollars.told(of(Cap::Dollars)[1]), ("cents", 500));
        assert_eq!(with("0", "0.05", "0,0,0").expect("closed").most(Cap::Dollars), Ok(50_000_000));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let none = Caps::default();
        for cap in Cap::ALL {
            assert_eq!(none.most(cap), Err(ConfigError::Missing(cap.variable())));
            assert_eq!(none.share(cap, Plan::Pro), Err(ConfigError::Missing(CAP_SHARES)));
        }
        for (emails, dollars, shares) in [
            ("-1", "1", "1,1,1"),
            ("1", "-1", "1,1,1"),
            ("1", "much", "1,1,1"),
            ("1", "1", "1,1"),
            ("1", "1", "1,1,101"),
        ] {
            assert!(with(emails, dollars, shares).is_err(), "{emails} {dollars} {shares}");
        }
    }
}
