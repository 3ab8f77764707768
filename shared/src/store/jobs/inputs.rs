//! What jobs work on. A small input is written in the transaction that accepts its job. A large one is written before that, in calls of its
//! own: it costs half as much, the transaction stays short, and no partition is asked for more than it gives in a second, once its pieces may lie
//! apart (`docs/decisions/0128-large-inputs-before-the-acceptance.md`). Where its job is not accepted it stays until it expires, and nobody is
//! told of it.

use super::super::keys::{self, Key, PK, SK};
use super::super::pieces::pieces;
use super::super::single::SingleWrite as _;
use super::super::{Attributes, CONFLICT_ATTEMPTS, Store, backoff, classify, not_written, number, string};
use crate::error::ApiError;
use crate::ids::{JobId, OrgId};
use crate::model::job::JobRecord;
use crate::model::org::Plan;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use futures_util::future::try_join_all;
use platform::telemetry::{Part, timed};
use std::collections::HashMap;

/// Bytes of the largest input that is written with its job: a call more would cost its caller more time than it saves money.
const SMALL_BYTES: usize = 32_000;
const _: () = assert!(Plan::Free.limits().input_bytes <= SMALL_BYTES as u64);

/// The attribute of a piece's text.
const TEXT: &str = "text";

/// How many pieces an input takes.
#[must_use]
pub fn piece_count(input: &str) -> u32 {
    u32::try_from(pieces(input).len()).unwrap_or(u32::MAX)
}

/// Whether an input is written before its job.
pub(super) fn is_large(input: &str) -> bool {
    input.len() > SMALL_BYTES
}

impl Store {
    /// The write of a small input, for the transaction of its job.
    pub(super) fn put_small_input(&self, job: &JobRecord, input: &str) -> Result<Option<TransactWriteItem>, ApiError> {
        if input.is_empty() || is_large(input) {
            return Ok(None);
        }
        self.put_over(piece_of(job, Key::job_input(job.org_id, job.job_id, 0), input)).map(Some)
    }

    /// Writes a large input, before the transaction of its job: where it fails, no job is written.
    pub(super) async fn write_large_input(&self, job: &JobRecord, input: &str) -> Result<(), ApiError> {
        self.write_pieces(job, input).await.map_err(not_written)
    }

    async fn write_pieces(&self, job: &JobRecord, input: &str) -> Result<(), ApiError> {
        let lies_apart = job.input_pieces > 1 && self.pieces_may_lie_apart(job.job_id).await?;
        let place: fn(OrgId, JobId, u32) -> Key = if lies_apart { Key::input_apart } else { Key::job_input };
        let puts = (0..).zip(pieces(input)).map(|(number, text)| {
            let piece = piece_of(job, place(job.org_id, job.job_id, number), text);
            self.put_piece(piece)
        });
        try_join_all(puts).await.map(drop)
    }

    /// Whether every version that serves looks for pieces under keys of their own. Those that look for jobs in partitions do.
    async fn pieces_may_lie_apart(&self, job: JobId) -> Result<bool, ApiError> {
        Ok(job.partition().is_some() || self.partitions_known_from().await? <= self.now())
    }

    /// Writes a piece, and waits for a partition that has no units left for it. Whoever writes it twice writes the same.
    async fn put_piece(&self, piece: Attributes) -> Result<(), ApiError> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(piece));
        for attempt in 1..CONFLICT_ATTEMPTS {
            match put.clone().send_unless_held().await {
                Err(error) if is_throttled(&error) => {}
                outcome => return outcome.map(drop).map_err(classify),
            }
            tokio::time::sleep(backoff(attempt)).await;
        }
        put.send_unless_held().await.map(drop).map_err(classify)
    }

    /// What a job works on.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when it is no longer kept, or not whole.
    pub async fn job_input(&self, job: &JobRecord) -> Result<String, ApiError> {
        let wanted: Vec<Vec<Key>> = (0..job.input_pieces).map(|piece| places(job, piece)).collect();
        let asked = wanted.iter().flatten().cloned().map(Key::attributes).collect();
        let mut texts = HashMap::new();
        for mut piece in timed(Part::Db, self.get_all(asked)).await? {
            if let (Some(AttributeValue::S(pk)), Some(AttributeValue::S(sk)), Some(AttributeValue::S(text))) =
                (piece.remove(PK), piece.remove(SK), piece.remove(TEXT))
            {
                texts.insert((pk, sk), text);
            }
        }
        let mut input = String::new();
        for places in wanted {
            let text = places.into_iter().find_map(|place| texts.remove(&(place.pk, place.sk)));
            input.push_str(&text.ok_or(ApiError::NotFound)?);
        }
        Ok(input)
    }
}

/// Where a piece may lie: those of one input all lie in one partition, or each in its own.
fn places(job: &JobRecord, piece: u32) -> Vec<Key> {
    let together = Key::job_input(job.org_id, job.job_id, piece);
    if job.input_pieces > 1 { vec![Key::input_apart(job.org_id, job.job_id, piece), together] } else { vec![together] }
}

fn piece_of(job: &JobRecord, place: Key, text: &str) -> Attributes {
    let mut piece = place.attributes();
    piece.insert(TEXT.to_owned(), string(text));
    piece.insert(keys::TTL.to_owned(), number(job.input_kept_until().as_ttl_seconds()));
    piece
}

/// Whether a partition had no units left.
fn is_throttled(error: &SdkError<PutItemError, HttpResponse>) -> bool {
    const CODES: [&str; 3] = ["ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException"];
    error.code().is_some_and(|code| CODES.contains(&code))
}
