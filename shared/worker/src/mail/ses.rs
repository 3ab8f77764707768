//! Delivers through Amazon SES (v2 API). A request goes out once: the SDK's own retries are off, because a
//! request whose answer was lost may have been taken.

use super::{MailError, Sender, Sent};
use crate::transport;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, MessageTag};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_types::SdkConfig;
use jiff::Timestamp;
use shared::error::chain;
use shared::ids::{JobId, OrgId};
use shared::model::email::Message;
use std::time::Duration;

/// The tags that SES's events carry back, so that an unknown outcome can be settled.
pub const JOB_TAG: &str = "job_id";
/// See [`JOB_TAG`].
pub const ORG_TAG: &str = "org_id";
/// SES answers within a second; what takes longer than this is given up, and its outcome unknown.
pub const TIMEOUT: Duration = Duration::from_secs(15);

const QUOTA: &str = "this service's sending quota is used up for now";
const SENDER_UNVERIFIED: &str = "the mail service does not take this service's own address for verified";
const LIMITED: &str = "the mail service limits this service's rate";

/// Amazon SES with a verified identity.
#[derive(Debug)]
pub struct Ses {
    client: aws_sdk_sesv2::Client,
    sender: Sender,
    configuration_set: Option<String>,
}

impl Ses {
    /// Sends as `sender`; `configuration_set` names where SES reports what became of an e-mail.
    #[must_use]
    pub fn new(client: aws_sdk_sesv2::Client, sender: Sender, configuration_set: Option<String>) -> Self {
        Self { client, sender, configuration_set }
    }

    /// Hands `message` to SES, tagged with its job.
    ///
    /// # Errors
    /// See [`MailError`].
    pub async fn send(&self, org_id: OrgId, job_id: JobId, message: &Message) -> Result<Sent, MailError> {
        let built = (content(message), tag(JOB_TAG, job_id), tag(ORG_TAG, org_id));
        let (Ok(content), Ok(job_tag), Ok(org_tag)) = built else {
            return Err(MailError::Permanent { code: "email_invalid", detail: "the e-mail could not be built".into() });
        };
        let to = message.to.as_slice().iter().map(|email| email.as_str().to_owned()).collect();
        let sent = self
            .client
            .send_email()
            .from_email_address(self.sender.to_string())
            .destination(Destination::builder().set_to_addresses(Some(to)).build())
            .content(content)
            .email_tags(job_tag)
            .email_tags(org_tag)
            .set_configuration_set_name(self.configuration_set.clone())
            .send()
            .await;
        match sent {
            // A yes without an id is a yes: the id only helps to find the e-mail again.
            Ok(reply) => Ok(Sent { provider_id: reply.message_id().unwrap_or_default().to_owned() }),
            Err(error) => {
                let outcome = classify(&error, &self.sender);
                tracing::warn!(outcome = %outcome, code = error.code(), cause = cause(&error), "SES did not confirm an e-mail");
                Err(outcome)
            }
        }
    }
}

/// An SES client. `aws` must not repeat requests ([`shared::aws::AwsConfig::sdk_config_without_repetition`]).
#[must_use]
pub fn client(aws: &SdkConfig) -> aws_sdk_sesv2::Client {
    client_with_timeout(aws, TIMEOUT)
}

fn client_with_timeout(aws: &SdkConfig, timeout: Duration) -> aws_sdk_sesv2::Client {
    let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(3)).operation_timeout(timeout);
    aws_sdk_sesv2::Client::from_conf(aws_sdk_sesv2::config::Builder::from(aws).timeout_config(timeouts.build()).build())
}

fn content(message: &Message) -> Result<EmailContent, BuildError> {
    let utf8 = |text: &str| Content::builder().data(text).charset("UTF-8").build();
    let body = Body::builder().text(utf8(message.text.as_str())?).build();
    let simple = aws_sdk_sesv2::types::Message::builder().subject(utf8(message.subject.as_str())?).body(body).build();
    Ok(EmailContent::builder().simple(simple).build())
}

/// Names and values of tags take letters, digits, `_` and `-`: an id has no others.
fn tag(name: &str, id: impl ToString) -> Result<MessageTag, BuildError> {
    MessageTag::builder().name(name).value(id.to_string()).build()
}

const CREDENTIALS: &str = "the mail service refused this service's credentials";
/// AWS's words for that, whatever their status is: the common errors of its query services have them with `400` too
/// (<https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html>).
const CREDENTIAL_CODES: [&str; 13] = [
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// What a failed call means. Whatever is not surely a refusal may have been taken.
fn classify(error: &SdkError<SendEmailError, HttpResponse>, sender: &Sender) -> MailError {
    match error {
        // Credentials, endpoint, serialization: nothing left this process.
        SdkError::ConstructionFailure(_) => {
            later("mail_unreachable", "the request to the mail service could not be made", None)
        }
        SdkError::DispatchFailure(_) if transport::never_sent(error) => {
            later("mail_unreachable", "the mail service could not be reached", None)
        }
        SdkError::DispatchFailure(_) => unknown("the connection to the mail service failed"),
        SdkError::TimeoutError(_) => unknown("the mail service did not answer in time"),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let wait = transport::retry_after(service.raw().headers().get("retry-after"), Timestamp::now());
            refused(service.err(), status, wait, sender)
        }
        // A reply that could not be read, a yes among them.
        _ => unknown("the mail service's answer could not be read"),
    }
}

fn refused(error: &SendEmailError, status: u16, wait: Option<Duration>, sender: &Sender) -> MailError {
    use SendEmailError as E;
    let never = |code, detail: &str| MailError::Permanent { code, detail: detail.into() };
    match error {
        E::TooManyRequestsException(_) => throttled(error, wait),
        E::LimitExceededException(_) => later("mail_quota", QUOTA, wait),
        // An operator mends these, and nothing was sent.
        E::AccountSuspendedException(_) => later("mail_suspended", "the mail service suspended this service", wait),
        E::SendingPausedException(_) => later("mail_paused", "sending is paused at the mail service", wait),
        E::MailFromDomainNotVerifiedException(_) => later("mail_sender_unverified", SENDER_UNVERIFIED, wait),
        E::NotFoundException(_) => {
            later("mail_configuration", "this service's mail configuration does not exist", wait)
        }
        E::MessageRejected(rejected) => rejection(rejected.message().unwrap_or_default(), sender),
        E::BadRequestException(_) => never("email_refused", "the mail service refused the e-mail"),
        other => match (other.code(), status) {
            // Refused before it was looked at; an operator mends it.
            (_, 401 | 403) => later("mail_credentials", CREDENTIALS, wait),
            (Some(code), _) if CREDENTIAL_CODES.contains(&code) => later("mail_credentials", CREDENTIALS, wait),
            // The clocks differ, or it was under way for a quarter of an hour.
            (Some("RequestExpired"), _) => later("mail_unreachable", "the request came too late", wait),
            // It did not come whole, or its end was not awaited: nobody says what was read of it.
            (Some("RequestTimeout" | "RequestTimeoutException" | "RequestAbortedException"), _) | (_, 408) => {
                unknown("the mail service gave the request up")
            }
            (Some("ThrottlingException" | "Throttling"), _) | (_, 429) => throttled(other, wait),
            (_, 503) => later("mail_overloaded", "the mail service is overloaded", wait),
            (_, 400..=499) => never("email_refused", "the mail service refused the e-mail"),
            // 500, 502, 504: whether it was taken before things went wrong, nobody says.
            _ => unknown("the mail service failed"),
        },
    }
}

/// SES has one error for its rate and for the day's quota; only its words tell them apart
/// (<https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html>).
fn throttled(error: &SendEmailError, wait: Option<Duration>) -> MailError {
    let is_quota = error.message().is_some_and(|words| words.to_ascii_lowercase().contains("quota"));
    if is_quota { later("mail_quota", QUOTA, wait) } else { later("mail_rate_limited", LIMITED, wait) }
}

/// SES has one error for several refusals; only its words tell them apart, and they quote addresses.
fn rejection(words: &str, sender: &Sender) -> MailError {
    let words = words.to_ascii_lowercase();
    // It names the identities that it means; a recipient is one of them as long as the account is in SES's sandbox.
    let sender = sender.email().as_str().to_ascii_lowercase();
    let mut named = words.split(|char: char| char.is_whitespace() || ",:;<>".contains(char));
    if words.contains("not verified") && named.any(|word| word == sender) {
        return later("mail_sender_unverified", SENDER_UNVERIFIED, None);
    }
    let (code, detail) = if words.contains("suppress") || words.contains("blacklist") {
        ("recipient_suppressed", "a recipient is on the suppression list")
    } else if words.contains("not verified") {
        ("address_unverified", "an address is not verified with the mail service")
    } else {
        ("email_refused", "the mail service refused the e-mail")
    };
    MailError::Permanent { code, detail: detail.into() }
}

fn later(code: &'static str, detail: &str, retry_after: Option<Duration>) -> MailError {
    MailError::Transient { code, retry_after, detail: detail.into() }
}

fn unknown(detail: &str) -> MailError {
    MailError::Unknown { detail: detail.into() }
}

/// The SDK's account of what happened, without a service's words: those quote addresses.
fn cause(error: &SdkError<SendEmailError, HttpResponse>) -> String {
    match error {
        SdkError::ServiceError(service) => format!("status {}", service.raw().status().as_u16()),
        other => chain(other),
    }
}

#[cfg(test)]
mod tests;
