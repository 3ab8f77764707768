//! Writes that need a role: they check it in their own transaction. Between a request's authority read and its write its
//! caller may have been removed or have lost the role, and a write may come late: after conflicts, throttling, a slow network.

use super::keys::Key;
use super::{Attributes, Store, Transaction, condition_failed, number, record, string};
use crate::error::ApiError;
use crate::ids::{OrgId, UserId};
use crate::model::org::{MembershipRecord, Role};
use crate::token::TokenHash;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use std::collections::HashMap;

/// That a caller has a role, as its authority read said, to be checked again with the write that needs it. Made by
/// [`Caller::at_least`](crate::caller::Caller::at_least), and by the store for a session's own check; it names the organization that is written to.
#[derive(Debug, Clone, Copy)]
#[must_use = "the write is to check the role again"]
pub struct RoleCheck<'a> {
    membership: &'a MembershipRecord,
    /// The session's, by which its caller is known.
    token: &'a TokenHash,
    needed: Role,
}

impl<'a> RoleCheck<'a> {
    /// # Errors
    /// [`ApiError::ForbiddenRole`] if the role does not suffice.
    pub(crate) fn new(membership: &'a MembershipRecord, token: &'a TokenHash, needed: Role) -> Result<Self, ApiError> {
        if membership.role >= needed { Ok(Self { membership, token, needed }) } else { Err(ApiError::ForbiddenRole) }
    }

    /// The same for a write that needs another role.
    ///
    /// # Errors
    /// [`ApiError::ForbiddenRole`] if the role does not suffice.
    pub fn needing(self, needed: Role) -> Result<Self, ApiError> {
        Self::new(self.membership, self.token, needed)
    }

    /// The same under the mark that the membership has by now.
    pub(super) fn under<'b>(self, renewed: &'b MembershipRecord) -> RoleCheck<'b>
    where
        'a: 'b,
    {
        RoleCheck { membership: renewed, token: self.token, needed: self.needed }
    }

    /// The organization in which the caller has the role.
    pub(crate) fn org_id(&self) -> OrgId {
        self.membership.org_id
    }

    /// The caller.
    pub(crate) fn user_id(&self) -> UserId {
        self.membership.user_id
    }

    /// Checks a later reading of the caller's membership.
    ///
    /// # Errors
    /// [`ApiError::InvalidToken`] if it has ended, [`ApiError::ForbiddenRole`] if the role no longer suffices.
    pub(crate) fn allows(&self, now: Option<&MembershipRecord>) -> Result<(), ApiError> {
        match now {
            Some(now) if now.is_still(self.membership) && now.role >= self.needed => Ok(()),
            Some(now) if now.is_still(self.membership) => Err(ApiError::ForbiddenRole),
            _ => Err(ApiError::InvalidToken),
        }
    }

    /// The check as a part of a transaction.
    pub(super) fn write(&self, table: &str) -> Result<TransactWriteItem, ApiError> {
        let roles: Vec<Role> =
            [Role::Member, Role::Admin, Role::Owner].into_iter().filter(|role| *role >= self.needed).collect();
        let still = RoleCondition::one_of(self.membership, &roles);
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(Key::membership(self.user_id(), self.org_id()).attributes()))
            .condition_expression(still.condition)
            .set_expression_attribute_names(Some(still.names))
            .set_expression_attribute_values(Some(still.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(ApiError::internal)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }
}

/// A condition on the user's copy of a membership: that it is the one that was read, with one of these roles.
pub(crate) struct RoleCondition {
    pub(crate) condition: String,
    pub(crate) names: HashMap<String, String>,
    pub(crate) values: Attributes,
}

impl RoleCondition {
    /// The same of the organization's copy, which has no mark.
    pub(crate) fn listed(role: Role) -> Self {
        Self {
            condition: "#role = :role".to_owned(),
            names: HashMap::from([("#role".to_owned(), "role".to_owned())]),
            values: HashMap::from([(":role".to_owned(), string(role.as_str()))]),
        }
    }

    /// The same, by the time of joining: whatever mark the membership has got since it was read.
    pub(crate) fn joined(membership: &MembershipRecord, roles: &[Role]) -> Self {
        let operands: Vec<String> = (0..roles.len()).map(|at| format!(":role{at}")).collect();
        let condition = format!("#role IN ({}) AND joined_at = :joined_at", operands.join(", "));
        let mut values: Attributes = operands.into_iter().zip(roles.iter().map(|role| string(role.as_str()))).collect();
        values.insert(":joined_at".to_owned(), number(membership.joined_at.as_millis()));
        Self { condition, names: HashMap::from([("#role".to_owned(), "role".to_owned())]), values }
    }

    pub(crate) fn one_of(membership: &MembershipRecord, roles: &[Role]) -> Self {
        let named = |(at, role): (usize, &Role)| (format!(":role{at}"), string(role.as_str()));
        let mut values: Attributes = roles.iter().enumerate().map(named).collect();
        let operands: Vec<String> = (0..roles.len()).map(|at| format!(":role{at}")).collect();
        let (same, value): (_, (&str, AttributeValue)) = match &membership.mark {
            Some(mark) => ("#mark = :mark", (":mark", string(mark.as_str()))),
            None => {
                let joined_at = number(membership.joined_at.as_millis());
                ("attribute_not_exists(#mark) AND joined_at = :joined_at", (":joined_at", joined_at))
            }
        };
        values.insert(value.0.to_owned(), value.1);
        Self {
            condition: format!("#role IN ({}) AND {same}", operands.join(", ")),
            names: [("#role", "role"), ("#mark", "mark")].map(|(name, of)| (name.to_owned(), of.to_owned())).into(),
            values,
        }
    }
}

impl Store {
    /// Runs a transaction on condition that the caller still has the role, in the membership that its session was made
    /// under. The outcome is that of `writes` alone.
    ///
    /// # Errors
    /// As [`RoleCheck::allows`], besides those of [`Store::transact`].
    pub(crate) async fn transact_as(
        &self,
        by: RoleCheck<'_>,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Transaction, ApiError> {
        match self.transact_checked(by, writes.clone()).await {
            Err(ApiError::InvalidToken) => {
                let membership = self.renewed(by).await?;
                Box::pin(self.transact_checked(by.under(&membership), writes)).await
            }
            ended => ended,
        }
    }

    /// The caller's membership as it is by now, where only its mark speaks against the check ([`Store::counts_still`]).
    ///
    /// # Errors
    /// [`ApiError::InvalidToken`] if the session has ended.
    pub(super) async fn renewed(&self, by: RoleCheck<'_>) -> Result<MembershipRecord, ApiError> {
        self.counts_still(by.user_id(), by.org_id(), by.token).await.map(|(_, membership)| membership)
    }

    async fn transact_checked(
        &self,
        by: RoleCheck<'_>,
        writes: Vec<TransactWriteItem>,
    ) -> Result<Transaction, ApiError> {
        let mut all = vec![by.write(&self.table)?];
        all.extend(writes);
        let Transaction::Refused(mut reasons) = self.transact(all).await? else { return Ok(Transaction::Done) };
        let check = reasons.remove(0);
        if condition_failed(&check) {
            let now = check.item.map(record::<MembershipRecord>).transpose()?;
            by.allows(now.as_ref())?;
        }
        Ok(Transaction::Refused(reasons))
    }
}
