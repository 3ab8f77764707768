//! Takes batches of messages off the queue of account mail, writes each mail, and hands it to the mail service: at most
//! `ACCOUNT_MAILS_PER_DAY` a day. While too many bounce, only addresses that are proven get mail.

mod letter;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use letter::Letter;
use shared::config::{AccountMailConfig, Config, ConfigError};
use shared::ids::JobId;
use shared::model::account_mail::{AccountMail, MailDay};
use shared::model::analysis::Cost;
use shared::model::job::{JobError, JobKind, JobRecord, JobState};
use shared::model::limiter::Provider;
use shared::model::text::Email;
use shared::queue::batch::Batch;
use shared::store::suppression::Reason;
use shared::telemetry::metrics::{Metric, metrics};
use shared::{ApiError, Context};
use std::time::Duration;
use worker::mail::{Mailer, ses};
use worker::{Limiter, RunOutcome, TimeLeft, Work};

/// How long mail waits for another look, after the day's number was used up or too much of it bounced.
const WAIT: Duration = Duration::from_secs(60 * 60);

/// A fifth of the day's mails is kept for addresses that are proven, so that strangers cannot use it up.
const KEPT_FOR_PROVEN: u64 = 5;

/// What this function's environment holds.
pub type Worker = worker::Worker<AccountMails>;

/// Sends the mail of a batch until `deadline_ms` (epoch milliseconds), and names the messages that are to come again.
pub async fn handle(worker: &Worker, batch: Batch, deadline_ms: u64) -> SqsBatchResponse {
    worker::handle(worker, batch, deadline_ms).await
}

/// The work of this queue: the mail service, its rate, and the limits of account mail.
pub struct AccountMails {
    mailer: Mailer,
    limiter: Limiter,
    config: AccountMailConfig,
}

impl Work for AccountMails {
    const KIND: JobKind = JobKind::AccountMail;
    const FUNCTION: &'static str = "account-mail-worker";
    const AT_ONCE: usize = 5;
    const LONGEST_CALL: Duration = ses::TIMEOUT;

    fn of(config: &Config) -> Result<Self, ConfigError> {
        let (mailer, limiter) = (Mailer::of(config)?, Limiter::new(config.rate_of_emails()?));
        Ok(Self { mailer, limiter, config: config.account_mail()?.clone() })
    }

    fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    fn provider(&self, _: &JobRecord) -> Option<Provider> {
        Some(Provider::AccountMail)
    }

    async fn run(
        &self,
        context: &Context,
        job: JobRecord,
        time: &TimeLeft<'_>,
    ) -> Result<Option<(JobRecord, RunOutcome)>, ApiError> {
        let due = match self.due(context, &job).await? {
            Ok(due) => due,
            Err(ended) => return Ok(Some((job, ended))),
        };
        // Others may have taken the last meanwhile.
        let Some(taken) = context.store().take_mail_of_day(self.most_of_day(&due)).await? else {
            return Ok(Some((job, no_room())));
        };
        let ran = self.write_and_hand_over(context, job, due, time).await;
        if may_be_out(&ran) {
            metrics("CitizenApp/AccountMail", None, &[(Metric("AccountMailHandedOver"), 1.into())]);
        } else {
            context.store().give_mail_of_day_back(taken).await;
        }
        ran
    }

    /// Each of these jobs has an organization of its own, so each would lease a call ahead: strangers could fill the time to come with calls
    /// that nobody makes.
    async fn without_call(&self, context: &Context, job: &JobRecord) -> Result<Option<RunOutcome>, ApiError> {
        Ok(self.due(context, job).await?.err())
    }
}

impl AccountMails {
    /// The mail that is to go out now, or what becomes of its job without it. Whoever looks at a job again finds what it has taken.
    async fn due(&self, context: &Context, job: &JobRecord) -> Result<Result<Letter, RunOutcome>, ApiError> {
        let mail: AccountMail = match context.store().job_input(job).await {
            Err(ApiError::NotFound) => return Ok(Err(RunOutcome::expired())),
            text => serde_json::from_str(&text?).map_err(ApiError::unreadable)?,
        };
        let is_late = job.created_at.plus(mail.useful_for()) < context.now();
        let letter = if is_late { None } else { wanted(context, &mail, job.job_id).await? };
        let Some(letter) = letter else { return Ok(Err(not_needed())) };
        // Taken before there is a call for it: of many that are asked for at once, each would lease one.
        if !is_within_limit(context, job, &letter).await? {
            return Ok(Err(not_needed()));
        }
        if !self.has_room(context, &letter).await? {
            metrics("CitizenApp/AccountMail", None, &[(Metric("AccountMailWaits"), 1.into())]);
            return Ok(Err(no_room()));
        }
        Ok(Ok(letter))
    }

    /// How much of all mail may go out in a day before the day has none left for this: a stranger can use up all that goes to addresses that
    /// are not proven, so they get none of the last fifth.
    fn most_of_day(&self, due: &Letter) -> u64 {
        let per_day = self.config.per_day;
        if due.is_to_a_proven_address() { per_day } else { per_day - per_day / KEPT_FOR_PROVEN }
    }

    /// Whether the day has one left for it, as things stand: whoever sends it takes it. Addresses that are not proven get none while too much
    /// bounces.
    async fn has_room(&self, context: &Context, due: &Letter) -> Result<bool, ApiError> {
        let (today, yesterday) = context.store().mail_days().await?;
        let is_paused = MailDay::is_paused(today, yesterday, self.config.bounce_percent);
        Ok(today.handed_over < self.most_of_day(due) && (due.is_to_a_proven_address() || !is_paused))
    }

    async fn write_and_hand_over(
        &self,
        context: &Context,
        job: JobRecord,
        due: Letter,
        time: &TimeLeft<'_>,
    ) -> Result<Option<(JobRecord, RunOutcome)>, ApiError> {
        match due.write(context, &self.config.app_url).await? {
            Some(letter) => self.mailer.hand_over(context, job, &letter, time).await,
            None => Ok(Some((job, not_needed()))),
        }
    }
}

/// The mail, if it is still wanted: the account is there and has not done meanwhile what the mail is for.
async fn wanted(context: &Context, mail: &AccountMail, job: JobId) -> Result<Option<Letter>, ApiError> {
    let store = context.store();
    let letter = match mail {
        AccountMail::Verification { user_id } => {
            let user = store.user(*user_id).await?;
            user.filter(|user| user.email_verified_at.is_none()).map(Letter::Verification)
        }
        AccountMail::PasswordReset { email } => {
            let email = Email::stored(email.clone()).map_err(ApiError::internal)?;
            match store.user_of(&email).await? {
                Some(user) => {
                    let user = store.user(user).await?;
                    user.filter(|user| user.email == email.as_str()).map(Letter::PasswordReset)
                }
                // What was mailed when it was changed may be lost.
                None => {
                    let moved = store.moved_from(&email).await?;
                    moved.map(|(user, at)| Letter::EmailUndo(user, email.as_str().to_owned(), at))
                }
            }
        }
        AccountMail::PasswordChanged { email } => Some(Letter::PasswordChanged(email.clone())),
        AccountMail::Invitation { org_id, invitation_id } => {
            let invitation = store.invitation(*org_id, *invitation_id).await?;
            match invitation.filter(|invitation| invitation.expires_at > context.now()) {
                None => None,
                Some(invitation) => {
                    let inviter = store.inviter(&invitation).await?;
                    inviter.map(|inviter| Letter::Invitation(invitation, inviter))
                }
            }
        }
        AccountMail::EmailChange { user_id, session_id, email } => {
            let to = Email::stored(email.clone()).map_err(ApiError::internal)?;
            // Somebody else's is not written to: its code would confirm nothing. Nor would that of one that was asked for before another.
            let is_free =
                store.is_asked_last(*user_id, job).await? && !store.is_anothers_address(&to, *user_id).await?;
            let user = store.user(*user_id).await?.filter(|user| is_free && user.email != *email);
            user.map(|user| Letter::EmailChange(user, *session_id, email.clone(), job))
        }
        AccountMail::EmailChanged { user_id, email, changed_at } => {
            Some(Letter::EmailChanged(*user_id, email.clone(), *changed_at))
        }
        AccountMail::EmailUndone { email } => Some(Letter::EmailUndone(email.clone())),
    };
    let Some(letter) = letter else { return Ok(None) };
    let to = Email::stored(letter.to().to_owned()).map_err(ApiError::internal)?;
    let is_held_back = store.suppressed(&[to]).await?.iter().any(|(_, reason)| holds_back(*reason, &letter));
    Ok((!is_held_back).then_some(letter))
}

/// Whether what an address is listed for holds a letter to it back. Whoever called a newsletter unwanted has said nothing of what keeps the own
/// account.
fn holds_back(reason: Reason, letter: &Letter) -> bool {
    match reason {
        Reason::Bounce | Reason::Person => true,
        Reason::Complaint => !letter.is_to_a_proven_address(),
    }
}

/// Whether the address may have one more of this kind. A job that comes again has its one while the window runs in which it took it: what
/// waited for longer counts in the window in which it goes out.
async fn is_within_limit(context: &Context, job: &JobRecord, letter: &Letter) -> Result<bool, ApiError> {
    match letter.limit() {
        Some(limit) => context.store().take_mail(letter.to(), limit, job.job_id).await,
        None => Ok(true),
    }
}

/// Whether the mail service has the mail, or may have it.
fn may_be_out(ran: &Result<Option<(JobRecord, RunOutcome)>, ApiError>) -> bool {
    matches!(ran, Ok(Some((_, RunOutcome::Final(JobState::Succeeded | JobState::Unknown, ..)))))
}

/// Nothing is to be sent, and nothing is wrong.
fn not_needed() -> RunOutcome {
    let error = JobError::new("not_needed", "The mail is no longer wanted, or its address is not to be written to.");
    RunOutcome::Final(JobState::Cancelled, Err(error), Cost::Nothing)
}

/// It waits. No run of its five is used up: it has only been looked at.
fn no_room() -> RunOutcome {
    let detail = "The day's account mail is used up, or too much of it bounced.".to_owned();
    RunOutcome::Refused { code: "account_mail_full", retry_after: Some(WAIT), detail }
}
