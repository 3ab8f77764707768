//! Copies of a busy organization's record. Each request reads plan and cursor key of its organization with its authority, and one record
//! gives 3,000 consistent reads a second. An organization whose items are spread has copies, which change in one transaction with its
//! record, so it does not matter which of them is read (`docs/decisions/0087-copies-of-a-busy-organization.md`).

use super::keys::Key;
use super::{Attributes, Store, changes, number, record, string, wait_before};
use crate::cursor::CursorKey;
use crate::error::{ApiError, chain};
use crate::ids::OrgId;
use crate::model::org::OrgRecord;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Copies of one record.
const COPIES: u8 = 8;
/// How many organizations a process remembers to have copies.
const REMEMBERED: usize = 1_000;
/// How often a change is tried while others change the record.
const ATTEMPTS: u32 = 6;

/// Whether two read records of an organization have requests go by the same.
fn says_the_same(one: &OrgRecord, other: &OrgRecord) -> bool {
    let key = |org: &OrgRecord| org.cursor_key.as_stored().to_owned();
    (one.plan, one.plan_version, one.spread_from, key(one))
        == (other.plan, other.plan_version, other.spread_from, key(other))
}

/// Which organizations have copies, as far as this process has met them. It says where to read, never what is so.
#[derive(Debug, Default, Clone)]
pub(super) struct Copied(Arc<Mutex<HashSet<OrgId>>>);

impl Copied {
    /// A key under which an organization's record is found, and whether it is that of a copy.
    pub(super) fn place(&self, org: OrgId) -> (Key, bool) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&org) {
            let copy = u8::try_from(getrandom::u64().unwrap_or(0) % u64::from(COPIES)).unwrap_or(0);
            (Key::org_copy(org, copy), true)
        } else {
            (Key::org(org), false)
        }
    }

    pub(super) fn note(&self, org: &OrgRecord) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if org.copied && !known.contains(&org.org_id) {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(org.org_id);
        }
    }
}

/// An organization's own record, as it was read: also what a newer version keeps in it.
pub(super) struct StoredOrg {
    pub(super) org: OrgRecord,
    stored: Attributes,
}

impl StoredOrg {
    /// An update of it that is made only if what requests go by is as it was read. Copies have all of that.
    fn unless_changed(&self, update: UpdateBuilder, is_copied: bool) -> UpdateBuilder {
        let OrgRecord { plan_version, copied, spread_from, cursor_key, .. } = &self.org;
        // Copies that are renewed change nothing in the record.
        let is_nothing = update.get_update_expression().as_deref() == Some("");
        let update = if is_nothing { update.update_expression("SET plan_version = :read") } else { update };
        let has_copies = if *copied { "attribute_exists(copied)" } else { "attribute_not_exists(copied)" };
        let condition = format!("plan_version = :read AND {has_copies}");
        let update = update.expression_attribute_values(":read", number(plan_version));
        if !is_copied {
            return update.condition_expression(condition);
        }
        let update = update.expression_attribute_values(":key", string(cursor_key.as_stored()));
        match spread_from {
            None => update.condition_expression(format!(
                "{condition} AND cursor_key = :key AND attribute_not_exists(spread_from)"
            )),
            Some(from) => update
                .condition_expression(format!("{condition} AND cursor_key = :key AND spread_from = :from"))
                .expression_attribute_values(":from", number(from.as_millis())),
        }
    }
}

impl Store {
    /// Reads an organization's own record, to change it.
    pub(super) async fn root(&self, org: OrgId) -> Result<StoredOrg, ApiError> {
        let stored = self.get_attributes(Key::org(org)).await?.ok_or(ApiError::NotFound)?;
        Ok(StoredOrg { org: record(stored.clone())?, stored })
    }

    /// Changes an organization's record and, if it has copies then, puts all of these anew, in one transaction; unless what requests go by
    /// has changed since it was read. The copies are not asked what they said: version 0.1 changes a plan in the record alone, and the
    /// next change puts them right. Returns the record as it is then, `None` if it was not changed.
    pub(super) async fn change_org(
        &self,
        read: &StoredOrg,
        change: impl FnOnce(&mut OrgRecord),
    ) -> Result<Option<OrgRecord>, ApiError> {
        let mut after = read.org.clone();
        change(&mut after);
        let key = Key::org(after.org_id);
        let mut writes = vec![self.update(read.unless_changed(changes(key, &read.org, &after)?, after.copied))?];
        if after.copied {
            for number in 0..COPIES {
                let mut copy = read.stored.clone();
                copy.extend(serde_dynamo::to_item::<_, Attributes>(&after).map_err(ApiError::internal)?);
                copy.extend(Key::org_copy(after.org_id, number).attributes());
                writes.push(self.put_copy(copy)?);
            }
        }
        Ok(self.transact(writes).await?.is_done().then_some(after))
    }

    /// Gives an organization another key for its cursors, for the operator: whichever copy a request reads, the cursors of before are
    /// refused.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if there is no such organization.
    pub async fn rotate_cursor_key(&self, org: OrgId) -> Result<(), ApiError> {
        let key = CursorKey::generate().map_err(ApiError::internal)?;
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let read = self.root(org).await?;
            if self.change_org(&read, |org| org.cursor_key = key.clone()).await?.is_some() {
                return Ok(());
            }
        }
        Err(ApiError::Contended)
    }

    /// Gives an organization copies of its record, or renews those that it has.
    pub(super) async fn copy_org(&self, org: OrgId) -> Result<(), ApiError> {
        for attempt in 0..ATTEMPTS {
            wait_before(attempt).await;
            let read = self.root(org).await?;
            if self.change_org(&read, |org| org.copied = true).await?.is_some() {
                return Ok(());
            }
        }
        Err(ApiError::Contended)
    }

    /// Renews the copies of an organization, if one that a request read said something else than its record does now. If this fails, the
    /// request goes on all the same.
    pub(super) async fn renew_copies(&self, copy: &OrgRecord, record: &OrgRecord) {
        if !copy.copied || !record.copied || says_the_same(copy, record) {
            return;
        }
        match self.copy_org(record.org_id).await {
            Ok(()) => tracing::info!("copies of an organization's record were renewed"),
            Err(error) => tracing::warn!(cause = chain(&error), "copies of an organization's record are not renewed"),
        }
    }

    fn put_copy(&self, item: Attributes) -> Result<TransactWriteItem, ApiError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        Ok(TransactWriteItem::builder().put(put.build().map_err(ApiError::internal)?).build())
    }
}
