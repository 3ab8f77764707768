//! Names that AWS or CloudFormation would choose.

/// The account that everything here belongs to.
pub const ACCOUNT_ID: &str = "000000000000";

/// The region of everything here.
pub const REGION: &str = "us-east-1";

/// The table's name. In AWS, CloudFormation chooses one.
pub const TABLE_NAME: &str = "citizen-app";

/// The queue of jobs, by its logical id in the template.
pub const JOBS_QUEUE: &str = "JobsQueue";

/// Where its messages go that were received too often.
pub const DEAD_LETTER_QUEUE: &str = "JobsDeadLetterQueue";
