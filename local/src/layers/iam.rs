//! IAM's part, in this process: each function may make the calls that its `Policies` in the template grant, and no other; and
//! which grants were ever used, and which were missing. Who calls is told by the access key that signs: a function's is its folder's
//! name.

#[path = "iam_needs.rs"]
mod needs;
#[cfg(test)]
#[path = "iam_tests.rs"]
mod tests;
#[path = "iam_within.rs"]
mod within;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::json;
use shared::config::Config;

use super::{Call, Layer, answer, unreadable};
use crate::template::{EventFunction, Grant, STREAM, Template, Trigger};
use needs::{Need, Resource, address, needs};

/// A grant of a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Privilege {
    /// Its folder's name.
    pub function: String,
    /// As IAM names it: `dynamodb:GetItem`.
    pub action: String,
    /// As in [`Grant::resource`].
    pub resource: String,
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} on {}", self.function, self.action, self.resource)
    }
}

/// The roles of all functions.
#[derive(Debug)]
pub struct Privileges {
    roles: BTreeMap<String, Vec<Held>>,
    /// The table's name, which a deployment chooses.
    table: String,
    secret: Option<String>,
    mail_configuration: Option<String>,
    sender: Option<String>,
    missing: Mutex<BTreeSet<Privilege>>,
}

#[derive(Debug)]
struct Held {
    grant: Grant,
    used: AtomicBool,
}

impl Privileges {
    /// The template's roles, for functions with this configuration.
    #[must_use]
    pub fn new(template: &Template, config: &Config) -> Self {
        let held = |grant: &Grant| Held { grant: grant.clone(), used: AtomicBool::new(false) };
        let roles = template.grants.iter().map(|(name, grants)| (name.clone(), grants.iter().map(held).collect()));
        Self {
            roles: roles.collect(),
            table: config.table_name.clone(),
            secret: config.anthropic.as_ref().map(|anthropic| anthropic.secret_id.clone()),
            mail_configuration: config.mail.as_ref().and_then(|mail| mail.configuration_set.clone()),
            sender: config.mail.as_ref().map(|mail| address(&mail.from).to_owned()),
            missing: Mutex::default(),
        }
    }

    /// Uses what Lambda itself needs of the role of a function that a queue or a stream calls: to poll in its name
    /// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>,
    /// <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html>).
    ///
    /// # Errors
    /// Lambda would not make such an event source.
    pub fn poll(&self, event: &EventFunction) -> Result<(), Refusal> {
        let take = |action: &str, resource| {
            self.take(&event.function, &Need { action: action.to_owned().into(), resource, sender: None, update: None })
        };
        match &event.trigger {
            Trigger::Queue { queue, .. } => {
                let actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
                actions.into_iter().try_for_each(|action| take(action, Resource::Queue(queue.into())))
            }
            Trigger::Stream(_) => {
                let actions = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];
                actions.into_iter().try_for_each(|action| take(&format!("dynamodb:{action}"), Resource::Stream))
            }
            Trigger::Schedule { .. } => Ok(()),
        }
    }

    /// Uses what a call needs.
    ///
    /// # Errors
    /// What AWS would answer to a caller who may not make it.
    fn judge(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let Some(needs) = needs(call) else {
            let operation = call.target.unwrap_or(call.path);
            return Err(refused(call.access_key, &format!("{}:{operation}", call.service), "*"));
        };
        needs.iter().try_for_each(|need| self.take(call.access_key, need))
    }

    /// The grants that no call has needed so far.
    #[must_use]
    pub fn unused(&self) -> BTreeSet<Privilege> {
        let privilege = |function: &str, grant: &Grant| Privilege {
            function: function.to_owned(),
            action: grant.action.clone(),
            resource: grant.resource.clone(),
        };
        let all = self.roles.iter().flat_map(|(function, role)| role.iter().map(move |held| (function, held)));
        let unused = all.filter(|(_, held)| !held.used.load(Relaxed));
        unused.map(|(function, held)| privilege(function, &held.grant)).collect()
    }

    /// What functions have called without a grant. A function may go on all the same, so no reply tells of it.
    #[must_use]
    pub fn missing(&self) -> BTreeSet<Privilege> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self, function: &str, need: &Need<'_>) -> Result<(), Refusal> {
        let resource = self.label(&need.resource);
        let grants = |held: &&Held| {
            held.grant.action == need.action
                && resource == Some(held.grant.resource.as_str())
                && (!held.grant.is_for_sender || need.sender == self.sender)
                && held
                    .grant
                    .within
                    .as_ref()
                    .is_none_or(|within| need.update.is_some_and(|body| within::allows(within, body)))
        };
        let Some(held) = self.roles.get(function).and_then(|role| role.iter().find(grants)) else {
            let resource = resource.unwrap_or("one that is not the template's");
            self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(Privilege {
                function: function.to_owned(),
                action: need.action.to_string(),
                resource: resource.to_owned(),
            });
            return Err(refused(function, &need.action, resource));
        };
        held.used.store(true, Relaxed);
        Ok(())
    }

    /// What the template calls a resource; `None` for one that is not the template's.
    fn label<'a>(&self, resource: &'a Resource<'_>) -> Option<&'a str> {
        let ours = |ours: Option<&str>, name: &str, label| (ours == Some(name)).then_some(label);
        match resource {
            Resource::Table(name) => ours(Some(&self.table), name, "Table"),
            Resource::Stream => Some(STREAM),
            // Here, queues have their logical ids as names.
            Resource::Queue(name) => Some(name),
            Resource::Secret(name) => ours(self.secret.as_deref(), name, "AnthropicApiKey"),
            Resource::MailIdentity => Some("identity/*"),
            Resource::MailConfiguration(name) => {
                ours(self.mail_configuration.as_deref(), name, "configuration-set/${MailConfiguration}")
            }
        }
    }
}

impl Layer for Privileges {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        let Some(call) = Call::of(&request) else { return unreadable() };
        match self.judge(&call) {
            Ok(()) => next.call(request),
            Err(refusal) => HttpConnectorFuture::ready(refusal.response()),
        }
    }
}

/// `AccessDeniedException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// HTTP status, which is not the same for all services.
    pub status: u16,
    pub message: String,
}

impl Refusal {
    fn response(&self) -> Result<HttpResponse, ConnectorError> {
        let name = "AccessDeniedException";
        let body = json!({"__type": format!("com.amazon.coral.service#{name}"), "Message": self.message});
        let mut response = answer(self.status, body.to_string())?;
        response.headers_mut().insert("x-amzn-errortype", name);
        Ok(response)
    }
}

fn refused(function: &str, action: &str, resource: &str) -> Refusal {
    tracing::error!(function, action, resource, "template.yaml does not grant this");
    Refusal {
        status: if action.starts_with("sqs:") || action.starts_with("ses:") { 403 } else { 400 },
        message: format!(
            "User: arn:aws:sts::000000000000:assumed-role/{function} is not authorized to perform: {action} on resource: \
             {resource} because no identity-based policy allows the {action} action"
        ),
    }
}
