//! A user's place outside of all organizations, for the sessions of whoever belongs to none. It is stored as a membership is, with a mark
//! of its own, under [`OrgId::NONE`]: sessions count for it, and end with it, as for any other.

use super::keys::Key;
use super::{Store, attributes, number};
use crate::error::ApiError;
use crate::ids::{OrgId, UserId};
use crate::model::mark::MembershipMark;
use crate::model::org::{MembershipRecord, Role};
use aws_sdk_dynamodb::types::Update;
use platform::telemetry::{Part, timed};

/// How often it is looked for while another log-in makes it.
const ATTEMPTS: u32 = 2;

impl Store {
    /// The user's place outside. It is made by the first log-in that needs it, and stays. It counts as a membership that was made: whoever is
    /// about to end all sessions of the memberships that were read before sees that there is one more.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn outside(&self, user: UserId) -> Result<MembershipRecord, ApiError> {
        timed(Part::Db, async {
            let key = Key::membership(user, OrgId::NONE);
            for _ in 0..ATTEMPTS {
                if let Some(found) = self.get(key.clone()).await? {
                    return Ok(found);
                }
                let new = MembershipRecord {
                    user_id: user,
                    org_id: OrgId::NONE,
                    org_name: String::new(),
                    role: Role::Member,
                    joined_at: self.now(),
                    mark: Some(MembershipMark::generate().map_err(ApiError::internal)?),
                };
                let grown = Update::builder()
                    .set_key(Some(Key::user(user).attributes()))
                    .update_expression("ADD #version :one, memberships_made :one")
                    .condition_expression("attribute_exists(pk)")
                    .expression_attribute_names("#version", "version")
                    .expression_attribute_values(":one", number(1));
                let writes = vec![self.put_new(attributes(key.clone(), &new)?)?, self.update(grown)?];
                if self.transact(writes).await?.is_done() {
                    return Ok(new);
                }
            }
            Err(ApiError::Contended)
        })
        .await
    }
}
