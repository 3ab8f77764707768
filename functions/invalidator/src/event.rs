//! A batch of the table's stream as Lambda hands it over, and the reply that says how far it came.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>

use serde::{Deserialize, Serialize};
use serde_dynamo::Item;
use shared::runtime::event::{Event, NoRecords, readable, records};

/// Changes of the table's records; those of one record are in the order in which they were made.
#[derive(Debug)]
pub struct StreamEvent(pub(crate) Result<Vec<StreamRecord>, NoRecords>);

/// A change of a record.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamRecord {
    pub(crate) dynamodb: Images,
}

/// The record before and after; one that is made has no old image, one that is deleted no new one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Images {
    pub(crate) keys: Keys,
    /// An image that cannot be read is none: what is cached of the record is removed.
    #[serde(default, deserialize_with = "readable")]
    pub(crate) old_image: Option<Item>,
    #[serde(default, deserialize_with = "readable")]
    pub(crate) new_image: Option<Item>,
    pub(crate) sequence_number: String,
}

impl Event for StreamEvent {
    /// What is no change of a record of ours comes from no stream, and is passed over.
    fn read(json: &str) -> Self {
        Self(records(json).map(|records| {
            let all = records.len();
            let changes: Vec<_> = records.into_iter().flatten().collect();
            if changes.len() < all {
                tracing::error!(records = all - changes.len(), "records of a batch are no changes of the table");
            }
            changes
        }))
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Keys {
    pub(crate) pk: Text,
    pub(crate) sk: Text,
}

/// A string of DynamoDB's JSON.
#[derive(Debug, Deserialize)]
pub(crate) struct Text {
    #[serde(rename = "S")]
    pub(crate) text: String,
}

/// Where Lambda is to go on: at the first record named, or behind the batch if none is.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StreamReply {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl StreamReply {
    /// All of it is to come again: an empty name says so.
    pub(crate) fn failed() -> Self {
        Self::failed_at(String::new())
    }

    /// This record and all after it are to come again.
    pub(crate) fn failed_at(sequence_number: String) -> Self {
        Self { batch_item_failures: vec![Failure { item_identifier: sequence_number }] }
    }
}
