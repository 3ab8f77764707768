//! The catalogue of AI model prices: public, changed by deployments only.

use crate::model::analysis::TokenUsage;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The catalogue file, and what a caller gets of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ModelCatalogue)]
pub struct Catalogue {
    /// The month the prices are of.
    pub as_of: String,
    /// What the prices are in.
    pub unit: String,
    #[serde(alias = "models")]
    pub data: Vec<ModelPrice>,
}

/// One model of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelPrice {
    pub provider: String,
    pub model: String,
    pub name: Option<String>,
    /// In tokens.
    pub context_window: Option<u64>,
    /// By kind of token (`input_mtok`, `output_mtok`, `cache_read_mtok`, …).
    pub prices_usd_per_mtok: BTreeMap<String, Price>,
}

/// A price in US dollars: a decimal text, or a base price and higher tiers that begin at a number of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Price {
    Flat(String),
    #[schema(title = "TieredPrice")]
    Tiered {
        base: String,
        tiers: Vec<Tier>,
    },
}

/// A price that applies above a number of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PriceTier)]
pub struct Tier {
    pub above_tokens: u64,
    pub price: String,
}

/// A model that is on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priced {
    /// As its provider is asked for it.
    pub model: String,
    pub rates: Rates,
    /// In tokens.
    pub context_window: Option<u64>,
}

/// What a model's tokens cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    pub input: Price,
    pub output: Price,
}

impl Rates {
    /// The rates of a model, if the catalogue has both.
    #[must_use]
    pub fn of(model: &ModelPrice) -> Option<Self> {
        let price = |kind: &str| model.prices_usd_per_mtok.get(kind).filter(|price| price.is_readable()).cloned();
        Some(Self { input: price("input_mtok")?, output: price("output_mtok")? })
    }

    /// What so many tokens cost, in nano-dollars, rounded up. The tier is that of the input.
    #[must_use]
    pub fn cost_nanos(&self, tokens: TokenUsage) -> u64 {
        nanos(self.input.at(tokens.input_tokens), tokens.input_tokens)
            .saturating_add(nanos(self.output.at(tokens.input_tokens), tokens.output_tokens))
    }

    /// The most that so many tokens or fewer can cost, in nano-dollars.
    #[must_use]
    pub fn cost_nanos_max(&self, tokens: TokenUsage) -> u64 {
        nanos(self.input.highest(), tokens.input_tokens)
            .saturating_add(nanos(self.output.highest(), tokens.output_tokens))
    }
}

impl Price {
    fn is_readable(&self) -> bool {
        let mut texts = match self {
            Self::Flat(price) => vec![price],
            Self::Tiered { base, tiers } => tiers.iter().map(|tier| &tier.price).chain([base]).collect(),
        };
        texts.retain(|text| text.parse::<Decimal>().is_err());
        texts.is_empty()
    }

    /// In dollars per million tokens.
    fn at(&self, tokens: u64) -> Decimal {
        match self {
            Self::Flat(price) => decimal(price),
            Self::Tiered { base, tiers } => {
                let tier = tiers.iter().filter(|tier| tokens > tier.above_tokens).max_by_key(|tier| tier.above_tokens);
                decimal(tier.map_or(base, |tier| &tier.price))
            }
        }
    }

    fn highest(&self) -> Decimal {
        match self {
            Self::Flat(price) => decimal(price),
            Self::Tiered { base, tiers } => {
                tiers.iter().map(|tier| decimal(&tier.price)).fold(decimal(base), Decimal::max)
            }
        }
    }
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap_or_default()
}

/// A dollar per million tokens is 1,000 nano-dollars a token.
fn nanos(price: Decimal, tokens: u64) -> u64 {
    (price * Decimal::from(1000))
        .checked_mul(Decimal::from(tokens))
        .and_then(|nanos| nanos.ceil().to_u64())
        .unwrap_or(u64::MAX)
}

/// Nano-dollars as a decimal text in dollars.
#[must_use]
pub fn usd(nanos: u64) -> String {
    Decimal::from_i128_with_scale(i128::from(nanos), 9).normalize().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_cost_what_their_tier_says() {
        let tiers = vec![Tier { above_tokens: 1000, price: "6".into() }];
        let rates = Rates { input: Price::Tiered { base: "3".into(), tiers }, output: Price::Flat("0.0001".into()) };
        let of = |input_tokens, output_tokens| TokenUsage { input_tokens, output_tokens };
        assert_eq!(rates.cost_nanos(of(1000, 0)), 3_000_000);
        assert_eq!(rates.cost_nanos(of(1001, 0)), 6_006_000);
        assert_eq!(rates.cost_nanos(of(0, 1)), 1, "rounded up");
        assert_eq!(rates.cost_nanos_max(of(1000, 0)), 6_000_000);
    }

    #[test]
    fn nano_dollars_read_as_dollars() {
        assert_eq!((usd(0), usd(1), usd(1_500_000_000)), ("0".into(), "0.000000001".into(), "1.5".into()));
    }
}
