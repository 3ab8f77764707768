//! Every key of the table. Access patterns: `docs/access-patterns.md`.
//!
//! | record | pk | sk |
//! |---|---|---|
//! | user | `USER#<user>` | `PROFILE` |
//! | membership | `USER#<user>` | `ORG#<org>` |
//! | session | `USER#<user>` | `SESSION#<sha-256 of the token>` |
//! | log-in | `EMAIL#<address>` | `LOGIN` |
//! | devices that an account knows | `EMAIL#<address>` | `DEVICES` |
//! | wrong passwords from unknown devices | `EMAIL#<address>` | `GUESSES` |
//! | wrong passwords from one network, or from one device | `EMAIL#<address>` | `GUESSES#<network, or device>` |
//! | wrong codes of an account | `USER#<user>` | `GUESSES` |
//! | wrong codes from one network | `USER#<user>` | `GUESSES#<network>` |
//! | mail to an address about its account | `EMAIL#<address>` | `MAIL#<purpose>` |
//! | proof of an address, asked for | `USER#<user>` | `VERIFICATION` |
//! | proof of another address, asked for | `USER#<user>` | `TOKEN#EMAIL_CHANGE` |
//! | change of the address that may be undone | `USER#<user>` | `TOKEN#EMAIL_UNDO#<epoch ms, 13 digits>` |
//! | address that was an account's until lately | `EMAIL#<address>` | `RESERVED` |
//! | mail that a user had sent | `USER#<user>` | `MAIL#<purpose>` |
//! | link to choose another password, asked for | `USER#<user>` | `TOKEN#PASSWORD_RESET` |
//! | a day's account mail | `ACCOUNT_MAIL` | `<YYYY-MM-DD>` |
//! | organization | `ORG#<org>` | `ORG` |
//! | copy of an organization's record | `ORG#<org>#<copy, 0–7>` | `COPY` |
//! | settings | `ORG#<org>` | `SETTINGS` |
//! | member (copy of the membership) | `ORG#<org>` | `MEMBER#<user>` |
//! | invitation | `ORG#<org>` | `INVITATION#<invitation>` |
//! | item | `ITEMS#<org>` | `<item>` |
//! | item of an organization whose items are spread | `ITEMS#<org>#<partition, 0–7>` | `<item>` |
//! | lane: room for items that is given out | `ROOM#<org>#<partition, 0–7>` | `<lane, 3 digits>` |
//! | job | `JOBS#<org>` | `<job>` |
//! | job of an organization that is spread | `JOBS#<org>#<partition, 0–15>` | `<job>` |
//! | piece of a job's input | `INPUT#<org>#<job>` | `<number, 4 digits>` |
//! | piece of an input that has several | `INPUT#<org>#<job>#<number>` | `INPUT` |
//! | job to be looked at | `DUE#<shard, 00–15>` | `<epoch ms, 13 digits>#<job>` |
//! | batch of items to be looked at | `DUE#<shard, 00–15>` | `<epoch ms, 13 digits>#BATCH#<first item>` |
//! | deleted item of a batch | `DELETED#<org>#<item>` | `DELETED` |
//! | rate and breaker of a provider | `LIMITER#<provider>` | `LIMITER` |
//! | an organization's jobs that wait for a provider | `BACKLOG#<org>` | `<provider>` |
//! | job that failed | `FAILED#<shard, 00–15>` | `<epoch ms, 13 digits>#<job>` |
//! | month's usage | `USAGE#<org>` | `<YYYY-MM>` |
//! | lane of a month's usage | `USAGE#<org>#<partition, 0–7>` | `<YYYY-MM>#<what>#<lane, 3 digits>` |
//! | idempotency key | `IDEMPOTENCY#<org>#<endpoint>` | `<sha-256 of the key>` |
//! | piece of a kept reply | `REPLY#<org>#<endpoint>#<sha-256 of the key>#<number>` | `REPLY` |
//! | counter of what a network, an organization or an address does | `RATE#<purpose>#<network, organization or address>#<window's begin, epoch seconds>` | `RATE` |
//! | what is out of the operator's cap of a day | `CAP#<what>#<YYYY-MM-DD>` | `CAP` |
//! | an organization's part of it | `CAP#<what>#<YYYY-MM-DD>#<org>` | `CAP` |
//! | place of a caller that waits | `WAITING#<number>` | `PLACE` |
//! | suppressed address | `SUPPRESSED#<address>` | `SUPPRESSION` |
//! | which versions serve | `PARTITIONS` | `KNOWN` |
//! | key of the security log | `SECURITY_LOG` | `KEY` |
//! | catalogue's manifest | `PRICES` | `MANIFEST` |
//! | catalogue's chunk | `PRICES#<version>` | `<number, 4 digits>` |
//!
//! Version 0.1 counted failed log-ins at `EMAIL#<address>`, `ATTEMPTS`; that is read, and written no more.

mod cached_record;
mod partitions;

pub use cached_record::CachedRecord;
pub use partitions::*;

use crate::ids::{InvitationId, ItemId, JobId, OrgId, UserId};
use crate::model::limiter::Provider;
use crate::model::time::Moment;
use crate::store::slices::LANE_PARTITIONS;
use crate::token::TokenHash;
use aws_sdk_dynamodb::types::AttributeValue;
use partitions::part_of;
use platform::idempotency::IdempotencyKey;
use std::collections::HashMap;

/// The partition key's attribute.
pub const PK: &str = "pk";
/// The sort key's attribute.
pub const SK: &str = "sk";
/// The attribute that DynamoDB's time-to-live reads, in epoch seconds.
pub const TTL: &str = "ttl";

/// A record's primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub pk: String,
    pub sk: String,
}

/// What sort keys of a kind start with.
pub const MEMBER: &str = "MEMBER#";
pub(crate) const INVITATION: &str = "INVITATION#";
pub const MEMBERSHIP: &str = "ORG#";
/// Beside a log-in record.
pub(crate) const DEVICES: &str = "DEVICES";
const GUESSES: &str = "GUESSES";
/// What version 0.1 counted failed log-ins in.
pub(crate) const ATTEMPTS: &str = "ATTEMPTS";
pub const PROFILE: &str = "PROFILE";
pub const SESSION: &str = "SESSION#";
/// Sorts after the sessions.
pub(super) const EMAIL_UNDO: &str = "TOKEN#EMAIL_UNDO#";
/// The sort key of every organization.
pub const ORG: &str = "ORG";
/// The sort key of each copy of an organization's record.
pub const COPY: &str = "COPY";
pub(super) const SETTINGS: &str = "SETTINGS";
/// Between the time and the batch: a version that knows no batches passes over such an entry.
pub(super) const BATCH: &str = "#BATCH#";
/// The catalogue's partition key and its manifest's sort key.
const PRICES: &str = "PRICES";
const MANIFEST: &str = "MANIFEST";

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    #[must_use]
    pub fn user(user: UserId) -> Self {
        Self::new(user_pk(user), PROFILE)
    }

    #[must_use]
    pub fn waiting_place(number: u32) -> Self {
        Self::new(format!("WAITING#{number}"), "PLACE")
    }

    #[must_use]
    pub fn membership(user: UserId, org: OrgId) -> Self {
        Self::new(user_pk(user), format!("{MEMBERSHIP}{org}"))
    }

    #[must_use]
    pub fn session(user: UserId, hash: &TokenHash) -> Self {
        Self::new(user_pk(user), format!("{SESSION}{}", hash.as_str()))
    }

    #[must_use]
    pub fn login(email: &str) -> Self {
        Self::new(format!("EMAIL#{email}"), "LOGIN")
    }

    /// What version 0.1 counted failed log-ins in; nothing writes it any more.
    pub(crate) fn attempts(email: &str) -> Self {
        Self::new(format!("EMAIL#{email}"), ATTEMPTS)
    }

    #[must_use]
    pub fn devices(email: &str) -> Self {
        Self::new(format!("EMAIL#{email}"), DEVICES)
    }

    #[must_use]
    pub fn guesses(email: &str) -> Self {
        Self::new(format!("EMAIL#{email}"), GUESSES)
    }

    #[must_use]
    pub fn guesses_from(email: &str, from: &str) -> Self {
        Self::new(format!("EMAIL#{email}"), format!("{GUESSES}#{from}"))
    }

    /// Sorts before the memberships.
    #[must_use]
    pub fn code_guesses(user: UserId) -> Self {
        Self::new(user_pk(user), GUESSES)
    }

    #[must_use]
    pub fn code_guesses_from(user: UserId, from: &str) -> Self {
        Self::new(user_pk(user), format!("{GUESSES}#{from}"))
    }

    #[must_use]
    pub fn rate(purpose: &str, whose: &str, begins: Moment) -> Self {
        let begins = begins.as_millis().div_euclid(1000);
        Self::new(format!("RATE#{purpose}#{whose}#{begins}"), "RATE")
    }

    #[must_use]
    pub fn cap(what: &str, day: &str) -> Self {
        Self::new(format!("CAP#{what}#{day}"), "CAP")
    }

    #[must_use]
    pub fn cap_of_org(what: &str, day: &str, org: OrgId) -> Self {
        Self::new(format!("CAP#{what}#{day}#{org}"), "CAP")
    }

    #[must_use]
    pub fn mails_to(email: &str, purpose: &str) -> Self {
        Self::new(format!("EMAIL#{email}"), format!("MAIL#{purpose}"))
    }

    /// Sorts after the sessions, so that no list of memberships or sessions reads it.
    #[must_use]
    pub fn verification(user: UserId) -> Self {
        Self::new(user_pk(user), "VERIFICATION")
    }

    /// Sorts after the sessions too.
    #[must_use]
    pub fn password_reset(user: UserId) -> Self {
        Self::new(user_pk(user), "TOKEN#PASSWORD_RESET")
    }

    #[must_use]
    pub fn email_change(user: UserId) -> Self {
        Self::new(user_pk(user), "TOKEN#EMAIL_CHANGE")
    }

    /// One for each change of the address, in the order of their times.
    #[must_use]
    pub fn email_undo(user: UserId, at: Moment) -> Self {
        Self::new(user_pk(user), format!("{EMAIL_UNDO}{}", due_sk(at)))
    }

    #[must_use]
    pub fn reserved_address(email: &str) -> Self {
        Self::new(format!("EMAIL#{email}"), "RESERVED")
    }

    /// Sorts before the memberships.
    #[must_use]
    pub fn mails_of(user: UserId, purpose: &str) -> Self {
        Self::new(user_pk(user), format!("MAIL#{purpose}"))
    }

    #[must_use]
    pub fn account_mail_day(day: &str) -> Self {
        Self::new("ACCOUNT_MAIL".to_owned(), day)
    }

    #[must_use]
    pub fn org(org: OrgId) -> Self {
        Self::new(org_pk(org), ORG)
    }

    #[must_use]
    pub fn org_copy(org: OrgId, copy: u8) -> Self {
        Self::new(format!("{}#{copy}", org_pk(org)), COPY)
    }

    #[must_use]
    pub fn settings(org: OrgId) -> Self {
        Self::new(org_pk(org), SETTINGS)
    }

    #[must_use]
    pub fn member(org: OrgId, user: UserId) -> Self {
        Self::new(org_pk(org), format!("{MEMBER}{user}"))
    }

    #[must_use]
    pub fn invitation(org: OrgId, invitation: InvitationId) -> Self {
        Self::new(org_pk(org), format!("{INVITATION}{invitation}"))
    }

    /// The id says which partition the item is in.
    #[must_use]
    pub fn item(org: OrgId, item: ItemId) -> Self {
        match item.partition() {
            None => Self::new(items_pk(org), item.to_string()),
            Some(partition) => Self::spread_item(org, partition, item),
        }
    }

    #[must_use]
    pub fn spread_item(org: OrgId, partition: u8, item: ItemId) -> Self {
        Self::new(part_of(items_pk(org), partition), item.to_string())
    }

    #[must_use]
    pub fn item_room(org: OrgId, lane: u8) -> Self {
        Self::new(item_room_pk(org, lane % LANE_PARTITIONS), format!("{lane:03}"))
    }

    /// The id says which partition the job is in.
    #[must_use]
    pub fn job(org: OrgId, job: JobId) -> Self {
        match job.partition() {
            None => Self::new(jobs_pk(org), job.to_string()),
            Some(partition) => Self::spread_job(org, partition, job),
        }
    }

    #[must_use]
    pub fn spread_job(org: OrgId, partition: u8, job: JobId) -> Self {
        Self::new(part_of(jobs_pk(org), partition), job.to_string())
    }

    #[must_use]
    pub fn job_input(org: OrgId, job: JobId, piece: u32) -> Self {
        Self::new(format!("INPUT#{org}#{job}"), format!("{piece:04}"))
    }

    /// Each piece in a partition of its own: one takes 1,000 units a second, and all pieces of the largest input cost as much.
    #[must_use]
    pub fn input_apart(org: OrgId, job: JobId, piece: u32) -> Self {
        Self::new(format!("INPUT#{org}#{job}#{piece}"), "INPUT")
    }

    #[must_use]
    pub fn due(shard: u8, job: JobId, at: Moment) -> Self {
        Self::new(due_pk(shard), format!("{}#{job}", due_sk(at)))
    }

    #[must_use]
    pub fn pending_batch(shard: u8, batch: ItemId, at: Moment) -> Self {
        Self::new(due_pk(shard), format!("{}{BATCH}{batch}", due_sk(at)))
    }

    #[must_use]
    pub fn deleted_item(org: OrgId, item: ItemId) -> Self {
        Self::new(format!("DELETED#{org}#{item}"), "DELETED")
    }

    #[must_use]
    pub fn limiter(provider: &Provider) -> Self {
        Self::new(format!("LIMITER#{}", provider.name()), "LIMITER")
    }

    #[must_use]
    pub fn backlog(org: OrgId, provider: &Provider) -> Self {
        Self::new(format!("BACKLOG#{org}"), provider.name())
    }

    #[must_use]
    pub fn failed(shard: u8, job: JobId, at: Moment) -> Self {
        Self::new(failed_pk(shard), format!("{}#{job}", due_sk(at)))
    }

    #[must_use]
    pub fn usage(org: OrgId, month: &str) -> Self {
        Self::new(format!("USAGE#{org}"), month)
    }

    #[must_use]
    pub fn usage_lane(org: OrgId, month: &str, what: &str, lane: u8) -> Self {
        let pk = part_of(format!("USAGE#{org}"), lane % LANE_PARTITIONS);
        Self::new(pk, format!("{}{lane:03}", usage_prefix(month, what)))
    }

    #[must_use]
    pub fn idempotency(org: OrgId, key: &IdempotencyKey) -> Self {
        Self::new(format!("IDEMPOTENCY#{org}#{}", key.endpoint), key.key_hash.clone())
    }

    /// Each piece in a partition of its own: one takes 1,000 units a second, and a piece of a transaction costs 600.
    #[must_use]
    pub fn kept_reply(org: OrgId, key: &IdempotencyKey, piece: u32) -> Self {
        Self::new(format!("REPLY#{org}#{}#{}#{piece}", key.endpoint, key.key_hash), "REPLY")
    }

    #[must_use]
    pub fn suppression(address: &str) -> Self {
        Self::new(format!("SUPPRESSED#{address}"), "SUPPRESSION")
    }

    #[must_use]
    pub fn log_key() -> Self {
        Self::new("SECURITY_LOG".to_owned(), "KEY")
    }

    #[must_use]
    pub fn partitions_known() -> Self {
        Self::new("PARTITIONS".to_owned(), "KNOWN")
    }

    /// No record has it.
    pub(super) fn health() -> Self {
        Self::new("HEALTH".to_owned(), "HEALTH")
    }

    #[must_use]
    pub fn catalogue_manifest() -> Self {
        Self::new(PRICES.to_owned(), MANIFEST)
    }

    #[must_use]
    pub fn catalogue_chunk(version: &str, number: usize) -> Self {
        Self::new(catalogue_pk(version), format!("{number:04}"))
    }

    /// As the SDK wants it.
    #[must_use]
    pub fn attributes(self) -> HashMap<String, AttributeValue> {
        HashMap::from([(PK.to_owned(), AttributeValue::S(self.pk)), (SK.to_owned(), AttributeValue::S(self.sk))])
    }
}
