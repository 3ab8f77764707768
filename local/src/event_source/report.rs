//! Which messages or records of a batch a function says it failed on, read as Lambda reads it.

use std::collections::HashSet;

use serde_json::Value;

/// A response that Lambda takes as the failure of the whole batch.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the response is not a JSON object")]
    NotAnObject,
    #[error("batchItemFailures is not a list")]
    NotAList,
    #[error("an entry of batchItemFailures has no itemIdentifier")]
    NoIdentifier,
    #[error("an itemIdentifier names no message of the batch")]
    Unknown,
}

/// The failed message ids of a `ReportBatchItemFailures` response. No response, no list, a null
/// list and an empty one mean that all succeeded
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting>).
///
/// # Errors
/// Entries that name no message of the batch: the whole batch has failed.
pub(crate) fn failures(response: &Value, batch: &HashSet<&str>) -> Result<HashSet<String>, Malformed> {
    let listed = match response {
        Value::Null => return Ok(HashSet::new()),
        Value::Object(response) => response.get("batchItemFailures"),
        _ => return Err(Malformed::NotAnObject),
    };
    let entries = match listed {
        None | Some(Value::Null) => return Ok(HashSet::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(Malformed::NotAList),
    };
    let identifiers = entries.iter().map(|entry| {
        let identifier = entry.get("itemIdentifier").and_then(Value::as_str);
        match identifier {
            None | Some("") => Err(Malformed::NoIdentifier),
            Some(id) if !batch.contains(id) => Err(Malformed::Unknown),
            Some(id) => Ok(id.to_owned()),
        }
    });
    identifiers.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(response: Value) -> Result<Vec<String>, Malformed> {
        let batch = HashSet::from(["a", "b", "c"]);
        let failed = failures(&response, &batch)?;
        let mut failed: Vec<_> = failed.into_iter().collect();
        failed.sort();
        Ok(failed)
    }

    #[test]
    fn nothing_listed_is_success() {
        for response in [
            json!(null),
            json!({}),
            json!({ "batchItemFailures": null }),
            json!({ "batchItemFailures": [] }),
            json!({ "failures": ["a"] }),
        ] {
            assert_eq!(read(response.clone()), Ok(vec![]), "{response}");
        }
    }

    #[test]
    fn listed_messages_failed() {
        let entry = |id: &str| json!({ "itemIdentifier": id });
        let response = json!({ "batchItemFailures": [entry("c"), entry("a"), entry("a")] });
        assert_eq!(read(response), Ok(vec!["a".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn a_malformed_list_fails_the_batch() {
        for (response, malformed) in [
            (json!("done"), Malformed::NotAnObject),
            (json!(["a"]), Malformed::NotAnObject),
            (json!({ "batchItemFailures": "a" }), Malformed::NotAList),
            (json!({ "batchItemFailures": ["a"] }), Malformed::NoIdentifier),
            (json!({ "batchItemFailures": [{ "itemIdentifier": "" }] }), Malformed::NoIdentifier),
            (json!({ "batchItemFailures": [{ "itemIdentifier": null }] }), Malformed::NoIdentifier),
            (json!({ "batchItemFailures": [{ "id": "a" }] }), Malformed::NoIdentifier),
            (
                json!({ "batchItemFailures": [{ "itemIdentifier": "a" }, { "itemIdentifier": "x" }] }),
                Malformed::Unknown,
            ),
        ] {
            assert_eq!(read(response.clone()), Err(malformed), "{response}");
        }
    }
}
