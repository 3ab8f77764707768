//! What is kept beside a log-in record, and read with it: the devices that are known to the account.

use super::keys::{self, Key};
use super::single::SingleWrite as _;
use super::{Attributes, Store, attributes, classify, number, record, string};
use crate::device::{DEVICE_DAYS, Device, DeviceCookie, DeviceHash};
use crate::error::{ApiError, chain};
use crate::ids::UserId;
use crate::model::text::Email;
use crate::model::time::Moment;
use crate::store::accounts::LoginRecord;
use crate::store::authority::sort_key;
use crate::store::guesses::OldAttempts;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use platform::telemetry::{Part, timed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most devices that an account knows; a new one is in the place of the one whose last log-in is longest ago, as far as that is noted.
const DEVICES_MAX: usize = 10;
/// A log-in of a known device is noted once in this time, and when so many others have come since it was noted last.
const NOTED_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const NOTED_AFTER: usize = DEVICES_MAX / 2;
/// How long devices are known after the last that was noted of them.
const KEPT: Duration = Duration::from_secs(DEVICE_DAYS * 24 * 60 * 60);
/// How often a device is noted whose account notes others meanwhile.
const TRIES: u32 = 3;

/// Devices as stored. They count for the user and the version of the log-in record that they were noted under: with a new password, or
/// for another account of the same address, none is known. Where only the other sessions end, or the address changes, the one that acts is
/// noted anew.
#[derive(Clone, Serialize, Deserialize)]
struct DevicesRecord {
    user_id: UserId,
    login_version: u64,
    /// The one that was noted longest ago first.
    devices: Vec<DeviceHash>,
    revision: u64,
    #[serde(default)]
    ttl: i64,
}

/// What is read of an address before a password is compared, whether an account has it or not.
#[derive(Default)]
pub struct LoginLookup {
    pub login: Option<LoginRecord>,
    devices: Option<DevicesRecord>,
    pub(crate) old_attempts: Option<OldAttempts>,
}

impl LoginLookup {
    /// Whether the account knows the device.
    pub(crate) fn knows(&self, device: &Device) -> bool {
        let Some((login, known)) = self.login.as_ref().zip(self.devices.as_ref()) else { return false };
        known.is_of(login) && known.devices.contains(&device.hash())
    }
}

impl DevicesRecord {
    /// As it counts now: after its time no device is known, whenever the database removes it. One from before times were noted has no end.
    fn read(stored: Attributes, now: Moment) -> Result<Self, ApiError> {
        let mut read: Self = record(stored)?;
        if read.ttl != 0 && read.ttl <= now.as_ttl_seconds() {
            read.devices.clear();
        }
        Ok(read)
    }

    fn is_of(&self, login: &LoginRecord) -> bool {
        (self.user_id, self.login_version) == (login.user_id, login.version)
    }

    /// With another device of an account, as its log-in record is. One that it has goes to the end.
    fn with(before: Option<&Self>, device: DeviceHash, login: &LoginRecord, now: Moment) -> Self {
        let revision = before.map_or(0, |before| before.revision) + 1;
        let mut known =
            before.filter(|before| before.is_of(login)).map(|before| before.devices.clone()).unwrap_or_default();
        known.retain(|one| *one != device);
        let beyond = (known.len() + 1).saturating_sub(DEVICES_MAX);
        let devices = known.into_iter().skip(beyond).chain([device]).collect();
        let ttl = now.plus(KEPT).as_ttl_seconds();
        Self { user_id: login.user_id, login_version: login.version, devices, revision, ttl }
    }

    /// Whether a log-in of a device that it has is to be noted, lest those that log in later take its place.
    fn is_to_be_noted(&self, device: &DeviceHash, now: Moment) -> bool {
        let since = self.devices.iter().rev().take_while(|one| *one != device).count();
        since >= NOTED_AFTER || self.ttl <= now.plus(KEPT).minus(NOTED_EVERY).as_ttl_seconds()
    }
}

impl Store {
    /// Reads what is needed before a password is compared, in one read.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn login_lookup(&self, email: &Email) -> Result<LoginLookup, ApiError> {
        let email = email.as_str();
        let keys = [Key::login(email), Key::devices(email), Key::attempts(email)].map(Key::attributes);
        let mut lookup = LoginLookup::default();
        for found in timed(Part::Db, self.get_all(keys.to_vec())).await? {
            match sort_key(&found) {
                keys::DEVICES => lookup.devices = Some(DevicesRecord::read(found, self.now())?),
                keys::ATTEMPTS => lookup.old_attempts = Some(OldAttempts::of(&found)),
                _ => lookup.login = Some(record(found)?),
            }
        }
        lookup.login = lookup.login.filter(|login: &LoginRecord| !login.has_ended(self.now()));
        Ok(lookup)
    }

    /// Notes a device of an account that has just been made.
    pub(crate) fn first_device(
        &self,
        email: &str,
        login: &LoginRecord,
        device: &Device,
    ) -> Result<Attributes, ApiError> {
        attributes(Key::devices(email), &DevicesRecord::with(None, device.hash(), login, self.now()))
    }

    /// Notes a new device of an account, as its log-in record was read. Returns it unless that fails, which is logged: the device is
    /// then not known.
    pub async fn remember_device(&self, email: &Email, login: &LoginRecord, lookup: &LoginLookup) -> Option<Device> {
        let device = Device::generate().ok()?;
        let mut before = lookup.devices.clone();
        for _ in 0..TRIES {
            // The password has changed since: nothing that was known before it is known.
            if before
                .as_ref()
                .is_some_and(|before| before.user_id == login.user_id && before.login_version > login.version)
            {
                return None;
            }
            let after = DevicesRecord::with(before.as_ref(), device.hash(), login, self.now());
            let read = before.as_ref().map_or(0, |before| before.revision);
            match timed(Part::Db, self.put_devices(email, read, &after)).await {
                Ok(true) => return Some(device),
                Ok(false) => before = self.login_lookup(email).await.ok()?.devices,
                Err(error) => {
                    tracing::warn!(cause = chain(&error), "a device was not noted");
                    return None;
                }
            }
        }
        None
    }

    /// Notes that a known device of an account logs in: it is known for as long again, and no log-ins of others take its place soon. A
    /// failure is nothing, and no request waits longer for it than for what is done beside it.
    pub async fn note_known_device(&self, email: &Email, login: &LoginRecord, lookup: &LoginLookup, device: &Device) {
        let (hash, now) = (device.hash(), self.now());
        let Some(before) = lookup.devices.as_ref().filter(|before| before.is_to_be_noted(&hash, now)) else { return };
        let after = DevicesRecord::with(Some(before), hash, login, now);
        if let Err(error) = timed(Part::Db, self.put_devices(email, before.revision, &after)).await {
            tracing::warn!(cause = chain(&error), "a device's log-in was not noted");
        }
    }

    /// The write that keeps the acting device known under the log-in record's next version, if the account knows it. All others are forgotten.
    pub(super) async fn still_known(
        &self,
        email: &str,
        login: &LoginRecord,
        devices: &DeviceCookie,
    ) -> Result<Option<TransactWriteItem>, ApiError> {
        let Some(hash) = self.known_of(devices, email, login).await? else { return Ok(None) };
        let noted = Update::builder()
            .set_key(Some(Key::devices(email).attributes()))
            .update_expression("SET login_version = :next, devices = :devices, #ttl = :ttl ADD revision :one")
            .condition_expression("user_id = :user AND login_version = :version")
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":user", string(login.user_id))
            .expression_attribute_values(":version", number(login.version))
            .expression_attribute_values(":next", number(login.version + 1))
            .expression_attribute_values(":devices", AttributeValue::L(vec![string(hash.as_str())]))
            .expression_attribute_values(":ttl", number(self.now().plus(KEPT).as_ttl_seconds()))
            .expression_attribute_values(":one", number(1));
        self.update(noted).map(Some)
    }

    /// The same when the log-in record gets its next version under another address.
    pub(super) async fn still_known_at(
        &self,
        (before, to): (&str, &str),
        login: &LoginRecord,
        devices: &DeviceCookie,
    ) -> Result<Option<TransactWriteItem>, ApiError> {
        let Some(hash) = self.known_of(devices, before, login).await? else { return Ok(None) };
        let moved = DevicesRecord {
            user_id: login.user_id,
            login_version: login.version + 1,
            devices: vec![hash],
            revision: 1,
            ttl: self.now().plus(KEPT).as_ttl_seconds(),
        };
        self.put_over(attributes(Key::devices(to), &moved)?).map(Some)
    }

    /// The one of these devices that the account of an address, whose log-in record was read, knows. For none, nothing is read.
    async fn known_of(
        &self,
        devices: &DeviceCookie,
        email: &str,
        login: &LoginRecord,
    ) -> Result<Option<DeviceHash>, ApiError> {
        if devices.is_empty() {
            return Ok(None);
        }
        let found = timed(Part::Db, self.get_attributes(Key::devices(email))).await?;
        let known = found.map(|found| DevicesRecord::read(found, self.now())).transpose()?;
        let known = known.filter(|known| known.is_of(login));
        Ok(known.and_then(|known| devices.hashes().find(|hash| known.devices.contains(hash))))
    }

    async fn put_devices(&self, email: &Email, read: u64, after: &DevicesRecord) -> Result<bool, ApiError> {
        let devices = after.devices.iter().map(|device| string(device.as_str())).collect();
        let put = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(Key::devices(email.as_str()).attributes()))
            .update_expression(
                "SET user_id = :user, login_version = :version, devices = :devices, revision = :next, #ttl = :ttl",
            )
            // A reset begins with the first revision again: that of a later password is not one that was read before it.
            .condition_expression(
                "attribute_not_exists(pk) OR (revision = :read AND (user_id <> :user OR login_version <= :version))",
            )
            .expression_attribute_names("#ttl", keys::TTL)
            .expression_attribute_values(":user", string(after.user_id))
            .expression_attribute_values(":version", number(after.login_version))
            .expression_attribute_values(":devices", AttributeValue::L(devices))
            .expression_attribute_values(":next", number(after.revision))
            .expression_attribute_values(":read", number(read))
            .expression_attribute_values(":ttl", number(after.ttl))
            .send_unless_held();
        match put.await {
            Ok(_) => Ok(true),
            Err(error)
                if matches!(error.as_service_error(), Some(UpdateItemError::ConditionalCheckFailedException(_))) =>
            {
                Ok(false)
            }
            Err(error) => Err(classify(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_devices_are_known_of_one_password() {
        let device =
            |number: usize| Device::generate().map(|device| device.hash()).unwrap_or_else(|_| panic!("{number}"));
        let hashes: Vec<_> = (0..12).map(device).collect();
        let now = Moment::from_millis(0);
        let login =
            |user_id, version| LoginRecord { user_id, password_hash: String::new(), version, unproven_until: None };
        let user = UserId::new();
        let with = |before: Option<&DevicesRecord>, hash: &DeviceHash, login: &LoginRecord| {
            DevicesRecord::with(before, hash.clone(), login, now)
        };
        let record = hashes.iter().fold(None, |before, hash| Some(with(before.as_ref(), hash, &login(user, 3))));
        assert!(record.as_ref().is_some_and(|record| record.devices == hashes[2..] && record.revision == 12));
        for other in [login(user, 4), login(UserId::new(), 3)] {
            assert!(with(record.as_ref(), &hashes[0], &other).devices == hashes[..1]);
        }
        // One that is known goes to the end, and takes nobody's place.
        let again = with(record.as_ref(), &hashes[4], &login(user, 3)).devices;
        assert!(again[..2] == hashes[2..4] && again[2..9] == hashes[5..] && again[9] == hashes[4]);
    }

    #[test]
    fn a_log_in_is_noted_once_a_day_and_before_others_take_its_place() {
        let hash = || Device::generate().map(|device| device.hash()).unwrap_or_else(|_| panic!("no randomness"));
        let devices: Vec<_> = (0..DEVICES_MAX).map(|_| hash()).collect();
        let (then, login_version) = (Moment::from_millis(0), 1);
        let ttl = then.plus(KEPT).as_ttl_seconds();
        let record = DevicesRecord { user_id: UserId::new(), login_version, devices, revision: 1, ttl };
        let noted = |now: Moment| -> Vec<usize> {
            (0..DEVICES_MAX).filter(|number| record.is_to_be_noted(&record.devices[*number], now)).collect()
        };
        let almost = then.plus(NOTED_EVERY).minus(Duration::from_secs(1));
        assert_eq!(noted(then), [0, 1, 2, 3, 4]);
        assert_eq!(noted(almost), [0, 1, 2, 3, 4]);
        assert_eq!(noted(then.plus(NOTED_EVERY)).len(), DEVICES_MAX);
    }
}
