//! The catalogue of AI model prices: public, changed by deployments only.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The catalogue file, and what a caller gets of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// A price in US dollars: a decimal text, or a base price and what applies above so many tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Price {
    Flat(String),
    Tiered { base: String, tiers: Vec<Tier> },
}

/// A price above so many tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tier {
    pub above_tokens: u64,
    pub price: String,
}
