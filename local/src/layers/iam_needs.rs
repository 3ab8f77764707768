//! What a call needs: an action on a resource, or several. As AWS's service authorization reference has it
//! (<https://docs.aws.amazon.com/service-authorization/latest/reference/>).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Call;
use crate::mail_service;

/// One permission that a call needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Need<'a> {
    /// As IAM names it: `dynamodb:GetItem`.
    pub(super) action: Cow<'a, str>,
    pub(super) resource: Resource<'a>,
    /// The address that a mail is from.
    pub(super) sender: Option<String>,
    /// The request, where it changes one record.
    pub(super) update: Option<&'a [u8]>,
}

/// What a call names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    Table(Cow<'a, str>),
    /// The table's stream.
    Stream,
    Queue(Cow<'a, str>),
    Secret(Cow<'a, str>),
    MailIdentity,
    MailConfiguration(Cow<'a, str>),
}

/// A table, as a request or a part of it names it.
#[derive(Deserialize)]
struct OfTable<'a> {
    #[serde(rename = "TableName", borrow)]
    table: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(rename = "RequestItems", borrow)]
    tables: BTreeMap<Cow<'a, str>, IgnoredAny>,
}

#[derive(Deserialize)]
struct Transaction<'a> {
    /// Each is a mapping of one entry: what is done, and to what.
    #[serde(rename = "TransactItems", borrow)]
    items: Vec<BTreeMap<Cow<'a, str>, OfTable<'a>>>,
}

#[derive(Deserialize)]
struct OfQueue<'a> {
    #[serde(rename = "QueueUrl", borrow)]
    url: Cow<'a, str>,
}

#[derive(Deserialize)]
struct OfSecret<'a> {
    #[serde(rename = "SecretId", borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Mail<'a> {
    #[serde(rename = "FromEmailAddress", borrow)]
    from: Cow<'a, str>,
    #[serde(rename = "ConfigurationSetName", borrow)]
    configuration: Option<Cow<'a, str>>,
}

/// All that a call needs; `None` for one that is not known here, which nobody may make.
pub(super) fn needs<'a>(call: &Call<'a>) -> Option<Vec<Need<'a>>> {
    match (call.service, call.operation()) {
        ("dynamodb", Some(operation)) => of_table(operation, call.body),
        ("sqs", Some(operation)) => {
            let request: OfQueue<'_> = serde_json::from_slice(call.body).ok()?;
            let queue = request.url.rsplit('/').next()?.to_owned().into();
            // A batch needs the permission of its parts.
            let action = operation.strip_suffix("Batch").unwrap_or(operation);
            Some(vec![Need::new("sqs", action, Resource::Queue(queue))])
        }
        ("secretsmanager", Some(operation)) => {
            let request: OfSecret<'_> = serde_json::from_slice(call.body).ok()?;
            Some(vec![Need::new("secretsmanager", operation, Resource::Secret(request.id))])
        }
        ("ses", None) if call.method == "POST" && call.path.ends_with(mail_service::PATH) => of_mail(call.body),
        _ => None,
    }
}

fn of_table<'a>(operation: &str, body: &'a [u8]) -> Option<Vec<Need<'a>>> {
    let on = |operation: &str, table: Cow<'a, str>| Need::new("dynamodb", operation, Resource::Table(table));
    match operation {
        "BatchGetItem" | "BatchWriteItem" => {
            let request: Batch<'_> = serde_json::from_slice(body).ok()?;
            Some(request.tables.into_keys().map(|table| on(operation, table)).collect())
        }
        // A transaction needs no permission of its own but that of each part.
        "TransactGetItems" | "TransactWriteItems" => {
            let request: Transaction<'_> = serde_json::from_slice(body).ok()?;
            let parts = request.items.into_iter().flatten();
            Some(parts.map(|(what, of)| on(&format!("{what}Item"), of.table)).collect())
        }
        _ => {
            let request: OfTable<'_> = serde_json::from_slice(body).ok()?;
            let update = (operation == "UpdateItem").then_some(body);
            Some(vec![Need { update, ..on(operation, request.table) }])
        }
    }
}

fn of_mail(body: &[u8]) -> Option<Vec<Need<'_>>> {
    let request: Mail<'_> = serde_json::from_slice(body).ok()?;
    let configuration = request.configuration.map(Resource::MailConfiguration);
    let needs = [Some(Resource::MailIdentity), configuration].into_iter().flatten().map(|resource| Need {
        sender: Some(address(&request.from).to_owned()),
        ..Need::new("ses", "SendEmail", resource)
    });
    Some(needs.collect())
}

/// The address of `Name <address>`.
pub(super) fn address(mailbox: &str) -> &str {
    mailbox.rsplit_once('<').map_or(mailbox, |(_, rest)| rest.trim_end_matches('>'))
}

impl<'a> Need<'a> {
    fn new(service: &str, operation: &str, resource: Resource<'a>) -> Self {
        Self { action: format!("{service}:{operation}").into(), resource, sender: None, update: None }
    }
}
