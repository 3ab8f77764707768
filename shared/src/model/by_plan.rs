//! A number for each plan, as configuration says it: `50,500,10000` for `free`, `pro` and `enterprise`.

use crate::config::{ConfigError, whole};
use crate::model::org::Plan;

/// A whole number for each plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByPlan {
    free: u64,
    pro: u64,
    enterprise: u64,
}

impl ByPlan {
    /// Reads the variable `name`, whose value is `text`.
    pub(crate) fn parse(name: &'static str, text: &str) -> Result<Self, ConfigError> {
        let numbers: Result<Vec<u64>, _> = text.split(',').map(|number| whole(name, number.trim())).collect();
        match numbers?.as_slice() {
            &[free, pro, enterprise] => Ok(Self { free, pro, enterprise }),
            _ => Err(ConfigError::Invalid { name, reason: format!("{text} is not three numbers") }),
        }
    }

    pub(crate) fn of(self, plan: Plan) -> u64 {
        match plan {
            Plan::Free => self.free,
            Plan::Pro => self.pro,
            Plan::Enterprise => self.enterprise,
        }
    }

    pub(crate) fn least(self) -> u64 {
        self.free.min(self.pro).min(self.enterprise)
    }

    pub(crate) fn most(self) -> u64 {
        self.free.max(self.pro).max(self.enterprise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_for_each_plan() {
        let numbers = ByPlan::parse("NUMBERS", "50, 500,10000").expect("valid");
        assert_eq!([Plan::Free, Plan::Pro, Plan::Enterprise].map(|plan| numbers.of(plan)), [50, 500, 10_000]);
        assert_eq!((numbers.least(), numbers.most()), (50, 10_000));
        for wrong in ["", "50", "50,500", "50,500,10000,1", "50,,10000", "50,500,-1", "50,500,1.5", "many,more,most"] {
            let error = ByPlan::parse("NUMBERS", wrong).expect_err(wrong).to_string();
            assert!(error.contains("NUMBERS"), "{error}");
        }
    }
}
