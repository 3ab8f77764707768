//! The catalogue of model prices: a manifest that names a version, and that version's chunks, each well
//! below DynamoDB's 400 KB per item. A new version is written whole before the manifest points at it.

use super::keys::{self, Key};
use super::single::SingleWrite as _;
use super::{Store, attributes, classify, record, string};
use crate::error::ApiError;
use crate::model::price::{Catalogue, ModelPrice};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use futures_util::future::try_join_all;
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The most JSON in one chunk, in bytes.
const CHUNK_BYTES: usize = 200_000;
/// How long chunks outlive the manifest's turning to a newer version: longer than any read of them.
const SUPERSEDED_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Serialize, Deserialize)]
struct Manifest {
    as_of: String,
    unit: String,
    version: String,
    chunks: usize,
}

/// A chunk: a JSON array of models.
#[derive(Serialize, Deserialize)]
struct Chunk {
    models: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<i64>,
}

impl Store {
    /// Writes a catalogue; readers see the old one or the new one, never a mixture.
    ///
    /// # Errors
    /// When the database is away; [`ApiError::Contended`] if somebody else writes one meanwhile.
    pub async fn seed_catalogue(&self, catalogue: &Catalogue) -> Result<(), ApiError> {
        let Catalogue { as_of, unit, data } = catalogue;
        let before: Option<Manifest> = self.get(Key::catalogue_manifest()).await?;
        let version = uuid::Uuid::now_v7().simple().to_string();
        let chunks = chunks(data)?;
        let count = chunks.len();
        try_join_all(
            chunks
                .into_iter()
                .enumerate()
                .map(|(number, models)| self.put(Key::catalogue_chunk(&version, number), Chunk { models, ttl: None })),
        )
        .await?;
        let manifest = Manifest { as_of: as_of.clone(), unit: unit.clone(), version, chunks: count };
        self.turn(before.as_ref(), &manifest).await?;
        if let Some(before) = before {
            let ttl = self.now().plus(SUPERSEDED_LIFETIME).as_ttl_seconds();
            try_join_all(
                (0..before.chunks).map(|number| self.expire(Key::catalogue_chunk(&before.version, number), ttl)),
            )
            .await?;
        }
        Ok(())
    }

    /// The catalogue; `None` before the first seeding.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn catalogue(&self) -> Result<Option<Catalogue>, ApiError> {
        timed(Part::Db, async {
            let Some(manifest) = self.get::<Manifest>(Key::catalogue_manifest()).await? else { return Ok(None) };
            let query = self
                .client
                .query()
                .key_condition_expression("pk = :pk")
                .expression_attribute_values(":pk", string(keys::catalogue_pk(&manifest.version)));
            let chunks = self.all(query).await?;
            if chunks.len() != manifest.chunks {
                let found = chunks.len();
                return Err(ApiError::internal(format!("{found} of the catalogue's {} chunks", manifest.chunks)));
            }
            let mut data: Vec<ModelPrice> = Vec::new();
            for item in chunks {
                let chunk: Chunk = record(item)?;
                data.extend(serde_json::from_str::<Vec<_>>(&chunk.models).map_err(ApiError::unreadable)?);
            }
            Ok(Some(Catalogue { as_of: manifest.as_of, unit: manifest.unit, data }))
        })
        .await
    }

    /// Points the manifest at a new version, while it points at the one of before: a write whose reply was lost may land when it points at a
    /// newer one, and the chunks of older ones go.
    async fn turn(&self, before: Option<&Manifest>, new: &Manifest) -> Result<(), ApiError> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(attributes(Key::catalogue_manifest(), new)?))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match before {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(before) => put
                .condition_expression("#version = :before")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":before", string(&before.version)),
        };
        let Err(error) = put.send_unless_held().await else { return Ok(()) };
        let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() else {
            return Err(classify(error));
        };
        // Its own is there where the SDK repeats what was done.
        let found = refused.item.as_ref().and_then(|item| item.get("version"));
        (found == Some(&string(&new.version))).then_some(()).ok_or(ApiError::Contended)
    }

    async fn put<T: Serialize>(&self, key: Key, value: T) -> Result<(), ApiError> {
        let item = attributes(key, &value)?;
        self.client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send_unless_held()
            .await
            .map_err(classify)?;
        Ok(())
    }

    async fn expire(&self, key: Key, ttl: i64) -> Result<(), ApiError> {
        self.client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key.attributes()))
            .update_expression("SET #ttl = :ttl")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":ttl", super::number(ttl))
            .send_unless_held()
            .await
            .map_err(classify)?;
        Ok(())
    }
}

/// The models as JSON arrays of at most [`CHUNK_BYTES`] each (one model alone may exceed it).
fn chunks(models: &[ModelPrice]) -> Result<Vec<String>, ApiError> {
    let mut chunks = Vec::new();
    let mut chunk = String::from("[");
    for model in models {
        let json = serde_json::to_string(model).map_err(ApiError::internal)?;
        if chunk.len() > 1 && chunk.len() + json.len() > CHUNK_BYTES {
            chunk.push(']');
            chunks.push(std::mem::replace(&mut chunk, String::from("[")));
        }
        if chunk.len() > 1 {
            chunk.push(',');
        }
        chunk.push_str(&json);
    }
    chunk.push(']');
    chunks.push(chunk);
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_every_model_once_in_order() {
        let model = |number: usize| ModelPrice {
            provider: "p".into(),
            model: format!("m{number}"),
            name: Some("x".repeat(1000)),
            context_window: None,
            prices_usd_per_mtok: Default::default(),
        };
        let models: Vec<_> = (0..1000).map(model).collect();
        let chunks = chunks(&models).expect("chunks");
        assert!(chunks.len() > 4 && chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES + 1));
        let back: Vec<ModelPrice> =
            chunks.iter().flat_map(|chunk| serde_json::from_str::<Vec<ModelPrice>>(chunk).expect("JSON")).collect();
        assert_eq!(back, models);
    }
}
