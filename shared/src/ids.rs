//! Ids: a type prefix and the 32 hex digits of a UUIDv7 (RFC 9562), so they sort by creation time.
//! Within one process they are strictly increasing. They go by the machine's clock, whatever the context's is.

use crate::model::time::Moment;
use deserr::Deserr;
use platform::telemetry::IdParts;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// A text that is no id of the wanted type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct InvalidId;

/// What a caller is told of a text that is none.
fn parsed<T: std::str::FromStr>(text: String) -> Result<T, &'static str> {
    text.parse().map_err(|_| "must be an id of the right kind")
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserr)]
        #[deserr(try_from(String) = parsed -> &'static str)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, later than all before it.
            #[must_use]
            #[expect(clippy::new_without_default, reason = "each call gives another value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl From<$name> for IdParts {
            fn from(id: $name) -> Self {
                ($prefix, id.0.as_u128())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut buffer = [0; 32];
                f.write_str($prefix)?;
                f.write_str(self.0.as_simple().encode_lower(&mut buffer))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            /// Only the canonical form is an id: 32 lower-case hex digits behind the prefix.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let digits = text.strip_prefix($prefix).ok_or(InvalidId)?;
                let canonical = digits.len() == 32
                    && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
                if !canonical {
                    return Err(InvalidId);
                }
                Uuid::try_parse(digits).map(Self).map_err(|_| InvalidId)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "[0-9a-f]{32}$")))
                    .examples([serde_json::json!(concat!($prefix, "0199c8a0f5e27b3c8d4e5f6a7b8c9d0e"))])
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {}
    };
}

id!(/// A user.
    UserId, "usr_");
id!(/// An organization: the tenant.
    OrgId, "org_");
id!(/// An invitation to an organization. Names it; does not open it.
    InvitationId, "inv_");
id!(/// An item of an organization.
    ItemId, "itm_");
id!(/// A job of an organization.
    JobId, "job_");
id!(/// A session of a user in an organization. Names it; does not authorise.
    SessionId, "ses_");

impl OrgId {
    /// No organization: where a session is whose user belonged to none when it logged in. No organization has this id.
    pub const NONE: Self = Self(Uuid::nil());
}

macro_rules! spread_id {
    ($name:ident, $partitions:ident) => {
        impl $name {
            /// A new id of one that is spread: a `UUIDv8` (RFC 9562, section 5.8) that is laid out as a `UUIDv7`, so it sorts by
            /// creation among both.
            #[must_use]
            pub fn new_spread() -> Self {
                let mut bytes = *Uuid::now_v7().as_bytes();
                bytes[6] = bytes[6] & 0x0f | 0x80;
                Self(Uuid::from_bytes(bytes))
            }

            /// When it was made, by the clock of whoever made it.
            #[must_use]
            pub(crate) fn made_at(self) -> Moment {
                Moment::from_millis(i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX))
            }

            /// The partition that it lies in; `None` for one of those that lie together.
            #[must_use]
            pub fn partition(self) -> Option<u8> {
                (self.0.get_version_num() == 8).then(|| self.0.as_bytes()[15] % $partitions)
            }
        }
    };
}

/// How many partitions the items of one organization are spread over, where they are
/// (`docs/decisions/0086-an-items-id-says-where-it-lies.md`). Ids that were given say which: it cannot change.
pub const ITEM_PARTITIONS: u8 = 8;
/// The same of jobs, each of which is written some six times.
pub const JOB_PARTITIONS: u8 = 16;

spread_id!(ItemId, ITEM_PARTITIONS);
spread_id!(JobId, JOB_PARTITIONS);

impl ItemId {
    /// The lowest bit of the last byte but one: of those that are random, and not in the byte that says the partition.
    const IN_BATCH: u128 = 1 << 8;

    /// The same id of an item that is created with others, or alone.
    #[must_use]
    pub(crate) fn created(self, in_batch: bool) -> Self {
        let bits = self.0.as_u128();
        Self(Uuid::from_u128(if in_batch { bits | Self::IN_BATCH } else { bits & !Self::IN_BATCH }))
    }

    /// Whether the item may have been created in a batch. Of items that are older than this distinction every other one may.
    #[must_use]
    pub(crate) fn may_be_of_a_batch(self) -> bool {
        self.0.as_u128() & Self::IN_BATCH != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_kinds_sort_by_creation_and_say_where_an_item_lies() {
        assert!((0..1_000).all(|_| ItemId::new().partition().is_none()));
        let ids: Vec<ItemId> = (0..10_000).map(|_| ItemId::new_spread()).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        for partition in 0..ITEM_PARTITIONS {
            let there = ids.iter().filter(|id| id.partition() == Some(partition)).count();
            assert!((1_000..1_500).contains(&there), "{there} of 10,000 in {partition}");
        }
        let (first, second) = (ItemId::new(), ItemId::new_spread());
        assert!(first.to_string() < second.to_string());
        assert_eq!(second.to_string().parse(), Ok(second));
    }

    #[test]
    fn an_items_id_says_whether_it_came_in_a_batch() {
        for id in (0..100).flat_map(|_| [ItemId::new(), ItemId::new_spread()]) {
            let (alone, in_batch) = (id.created(false), id.created(true));
            assert!(!alone.may_be_of_a_batch() && in_batch.may_be_of_a_batch());
            assert!(id == alone || id == in_batch, "nothing else of it changes");
            assert_eq!((alone.partition(), in_batch.made_at()), (id.partition(), id.made_at()));
        }
    }

    #[test]
    fn ids_sort_by_creation() {
        let ids: Vec<String> = (0..10_000).map(|_| ItemId::new().to_string()).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn only_the_canonical_form_is_an_id() {
        let id = UserId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        let text = id.to_string();
        for wrong in
            [text.to_uppercase(), text.replace("usr_", "org_"), format!("{text}0"), String::new(), "usr_".into()]
        {
            assert_eq!(wrong.parse::<UserId>(), Err(InvalidId), "{wrong}");
        }
    }
}
