//! A batch of the table's stream as Lambda hands it over, and the reply that says how far it came.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>

use serde::{Deserialize, Serialize};
use serde_dynamo::Item;

/// Changes of the table's records; those of one record are in the order in which they were made.
#[derive(Debug, Deserialize)]
pub struct StreamEvent {
    #[serde(rename = "Records")]
    pub(crate) records: Vec<StreamRecord>,
}

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
    pub(crate) old_image: Option<Item>,
    pub(crate) new_image: Option<Item>,
    pub(crate) sequence_number: String,
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
    /// This record and all after it are to come again.
    pub(crate) fn failed_at(sequence_number: String) -> Self {
        Self { batch_item_failures: vec![Failure { item_identifier: sequence_number }] }
    }
}
