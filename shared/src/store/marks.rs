//! New marks for a user's memberships, which end the sessions in them, and what is asked of the user that they were read with.

use super::keys::Key;
use super::role_check::RoleCondition;
use super::{Attributes, Store, number, string};
use crate::error::ApiError;
use crate::model::mark::MembershipMark;
use crate::model::org::{MembershipRecord, Role};
use crate::model::user::UserRecord;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};

/// Most memberships that get their marks in the transaction: it takes 100 writes, among them the log-in record, the session, and the job
/// of the mail that says so. From before there was a bound a user may have more.
const AT_ONCE: usize = 60;
const ROLES: [Role; 3] = [Role::Member, Role::Admin, Role::Owner];

/// Whether some of these get their marks before the transaction of the others.
pub(super) fn is_beyond(memberships: &[MembershipRecord]) -> bool {
    memberships.len() >= AT_ONCE
}

impl Store {
    /// Gives new marks to the memberships that one transaction has no room for, and returns the others; `None` if one of those has
    /// ended. The one joined first is among the others.
    pub(super) async fn mark_beyond(
        &self,
        mut memberships: Vec<MembershipRecord>,
    ) -> Result<Option<Vec<MembershipRecord>>, ApiError> {
        memberships.sort_by_key(|membership| std::cmp::Reverse(membership.joined_at));
        let last = memberships.split_off(memberships.len().saturating_sub(AT_ONCE - 1));
        for some in memberships.chunks(AT_ONCE) {
            let marks = some.iter().map(|membership| self.update(remarked(membership)?.0));
            let marked = timed(Part::Db, self.transact(marks.collect::<Result<_, ApiError>>()?)).await?;
            if !marked.is_done() {
                return Ok(None);
            }
        }
        Ok(Some(last))
    }

    /// Checks that a user is as it was read with its memberships ([`as_read`]).
    pub(super) fn is_as_read(&self, user: &UserRecord) -> Result<TransactWriteItem, ApiError> {
        let (condition, values) = as_read(user);
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(Key::user(user.user_id).attributes()))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
}

/// The condition that a user has the address that was read, and has been given no membership since, with its values.
pub(super) fn as_read(user: &UserRecord) -> (&'static str, Attributes) {
    let mut values = Attributes::from([(":email".to_owned(), string(&user.email))]);
    match user.memberships_made {
        0 => ("email = :email AND attribute_not_exists(memberships_made)", values),
        made => {
            values.insert(":made".to_owned(), number(made));
            ("email = :email AND memberships_made = :made", values)
        }
    }
}

/// The write that gives a membership a new mark while it lasts, whatever mark it has got since it was read: whoever is in an account that
/// is not its own could have it marked anew all the time.
pub(super) fn remarked(membership: &MembershipRecord) -> Result<(UpdateBuilder, MembershipMark), ApiError> {
    remarked_if(membership, RoleCondition::joined(membership, &ROLES))
}

/// The same, while it has the mark that was read: that of the session that acts.
pub(super) fn remarked_as_read(membership: &MembershipRecord) -> Result<(UpdateBuilder, MembershipMark), ApiError> {
    remarked_if(membership, RoleCondition::one_of(membership, &ROLES))
}

fn remarked_if(
    membership: &MembershipRecord,
    mut still: RoleCondition,
) -> Result<(UpdateBuilder, MembershipMark), ApiError> {
    let mark = MembershipMark::generate().map_err(ApiError::internal)?;
    still.values.insert(":new".to_owned(), string(mark.as_str()));
    let update = Update::builder()
        .set_key(Some(Key::membership(membership.user_id, membership.org_id).attributes()))
        .update_expression("SET #mark = :new")
        .condition_expression(still.condition)
        .set_expression_attribute_names(Some(still.names))
        .set_expression_attribute_values(Some(still.values))
        .expression_attribute_names("#mark", "mark");
    Ok((update, mark))
}
