//! Names that AWS or CloudFormation would choose.

use shared::model::job::JobKind;

/// The account that everything here belongs to.
pub const ACCOUNT_ID: &str = "000000000000";

/// The region of everything here.
pub const REGION: &str = "us-east-1";

/// The table's name. In AWS, CloudFormation chooses one.
pub const TABLE_NAME: &str = "citizen-app";

/// The queue of a kind of jobs, by its logical id in the template.
#[must_use]
pub const fn queue_of(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Analyze => "AnalysesQueue",
        JobKind::SendEmail => "EmailsQueue",
        JobKind::AccountMail => "AccountMailQueue",
    }
}

/// The queue of what the mail service says, by its logical id.
pub const MAIL_EVENTS_QUEUE: &str = "MailEventsQueue";

/// Where the messages of all of them go that were received too often.
pub const DEAD_LETTER_QUEUE: &str = "JobsDeadLetterQueue";
