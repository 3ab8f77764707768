//! The workers of a system, called with whatever a test has.

use local::System;
use shared::Context;
use shared::queue::batch::Batch;
use shared::runtime::event::Event as _;

/// Their functions' names.
pub(crate) const NAMES: [&str; 4] = ["analysis-worker", "email-worker", "account-mail-worker", "mail-event-worker"];

pub(crate) struct Workers {
    analyses: analysis_worker::Worker,
    emails: email_worker::Worker,
    account_mails: account_mail_worker::Worker,
    mail_events: &'static Context,
}

impl Workers {
    pub(crate) fn of(system: &System) -> Self {
        let context = |name| system.contexts().get(name).unwrap();
        let config = |name| context(name).config().clone();
        Self {
            analyses: analysis_worker::Worker::new(config("analysis-worker"), system.clock().into()).unwrap(),
            emails: email_worker::Worker::new(config("email-worker"), system.clock().into()).unwrap(),
            account_mails: account_mail_worker::Worker::new(config("account-mail-worker"), system.clock().into())
                .unwrap(),
            mail_events: context("mail-event-worker"),
        }
    }

    /// The messages that a worker returns of an event in JSON.
    pub(crate) async fn returned(&self, name: &str, event: &str, deadline_ms: u64) -> Vec<String> {
        let batch = Batch::read(event);
        let report = match name {
            "analysis-worker" => analysis_worker::handle(&self.analyses, batch, deadline_ms).await,
            "email-worker" => email_worker::handle(&self.emails, batch, deadline_ms).await,
            "account-mail-worker" => account_mail_worker::handle(&self.account_mails, batch, deadline_ms).await,
            "mail-event-worker" => mail_event_worker::handle(self.mail_events, batch, deadline_ms).await,
            other => panic!("{other} is no worker"),
        };
        report.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }
}
