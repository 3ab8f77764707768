//! Comparing a password or a code: wherever that is done, the same limits hold. `docs/security.md` has them.

use crate::context::Context;
use crate::device::{Device, DeviceCookie, DeviceHash};
use crate::error::ApiError;
use crate::ids::UserId;
use crate::limits::{Claim, NetworkLimit};
use crate::model::org::MembershipRecord;
use crate::model::password::PasswordAttempt;
use crate::model::text::Email;
use crate::model::user::UserRecord;
use crate::network::Network;
use crate::password;
use crate::store::accounts::LoginRecord;
use crate::store::devices::LoginLookup;
use crate::store::guesses::{Guessed, Guesser};
use lambda_http::Request;

/// Who gives a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Anybody: its network is limited.
    Anyone,
    /// The user of a session.
    Session,
}

/// How a comparison of a password ended.
pub enum Guess {
    Right(Box<Account>),
    /// Whose password it is not; nobody has the address otherwise.
    Wrong(Option<UserId>),
}

/// What a right password opens.
pub struct Account {
    pub login: LoginRecord,
    pub user: UserRecord,
    pub memberships: Vec<MembershipRecord>,
    /// The device that gave it, if the account knows it.
    pub device: Option<Device>,
    /// What was read before; without the log-in record.
    pub lookup: LoginLookup,
}

/// The account that a password belongs to, if it is that of an address. A guess is taken before it is compared. Only a wrong password uses
/// the guess up: whatever else happens, here or afterwards, it is given back. If that fails (the database is away, the process ends),
/// it counts until the window ends, and the log-in goes on.
///
/// A device that the account knows is refused for its own wrong guesses only: neither for those of others, nor for its network's.
///
/// # Errors
/// [`ApiError::TooManyAttempts`] for the account, [`ApiError::RateLimited`] for the network.
pub async fn compare(
    context: &Context,
    request: &Request,
    email: &Email,
    password: PasswordAttempt,
    by: By,
) -> Result<Guess, ApiError> {
    let (store, network) = (context.store(), Network::of(request));
    let claim = async {
        match by {
            By::Anyone => Claim::take(context, network, &[NetworkLimit::FailedLogInsPerMinute]).await,
            By::Session => Ok(Claim::none(context)),
        }
    };
    let (lookup, claim) = tokio::join!(Box::pin(store.login_lookup(email)), Box::pin(claim));
    let (mut lookup, claim) = match (lookup, claim) {
        (Ok(lookup), claim) => (lookup, claim),
        (Err(error), claim) => {
            if let Ok(claim) = claim {
                claim.give_back().await;
            }
            return Err(error);
        }
    };
    let device = DeviceCookie::of(request).known(|device| lookup.knows(device));
    let claim = match claim {
        Err(ApiError::RateLimited { limit: 1.., .. }) if device.is_some() => Claim::none(context),
        claim => claim?,
    };

    let hash = device.as_ref().map(Device::hash);
    let from = hash.as_ref().map_or(Guesser::Network(network), Guesser::Known);
    let closed = lookup.old_attempts.as_ref().filter(|_| device.is_none()).and_then(|old| old.refusal(context.now()));
    let taken = match closed {
        Some(error) => Err(error),
        None => Box::pin(store.take_guess(Guessed::Password(email), from)).await,
    };
    let taken = match taken {
        Ok(taken) => taken,
        Err(error) => {
            claim.give_back().await;
            return Err(error);
        }
    };
    let known_hash = lookup.login.as_ref().map(|login| login.password_hash.clone());
    match (password::verify(password, known_hash).await, lookup.login.take()) {
        (Ok(true), Some(login)) => {
            let found = Box::pin(store.user_with_memberships(login.user_id));
            let (found, (), ()) = tokio::join!(found, Box::pin(store.give_back(&taken)), Box::pin(claim.give_back()));
            let (user, memberships) = found?.ok_or_else(|| ApiError::internal("a log-in record without its user"))?;
            Ok(Guess::Right(Box::new(Account { login, user, memberships, device, lookup })))
        }
        (Ok(_), login) => {
            tokio::join!(Box::pin(store.note_wrong(&taken)), Box::pin(claim.failed()));
            Ok(Guess::Wrong(login.map(|login| login.user_id)))
        }
        (Err(error), _) => {
            tokio::join!(Box::pin(store.give_back(&taken)), Box::pin(claim.give_back()));
            Err(error)
        }
    }
}

/// What comes of a code that a user's session gives. A guess is taken before it is compared: of the device's own, if the account knows it by
/// its address, else of the account's from this network. Only a wrong code uses it up.
///
/// # Errors
/// [`ApiError::TooManyAttempts`]; those of `compared`, of which [`ApiError::InvalidLink`] says that the code is wrong.
pub async fn compare_code<T>(
    context: &Context,
    request: &Request,
    (user, address): (UserId, &str),
    compared: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let store = context.store();
    let device = Box::pin(known_device(context, request, (user, address))).await?;
    let from = device.as_ref().map_or_else(|| Guesser::Network(Network::of(request)), Guesser::Known);
    let taken = Box::pin(store.take_guess(Guessed::Code(user), from)).await?;
    let outcome = compared.await;
    let is_wrong = matches!(outcome, Err(ApiError::InvalidLink));
    if is_wrong {
        Box::pin(store.note_wrong(&taken)).await;
    } else {
        Box::pin(store.give_back(&taken)).await;
    }
    outcome
}

/// The device that a request comes from, if the account that has an address knows it. For a request without one, nothing is read.
async fn known_device(
    context: &Context,
    request: &Request,
    (user, address): (UserId, &str),
) -> Result<Option<DeviceHash>, ApiError> {
    let devices = DeviceCookie::of(request);
    if devices.is_empty() {
        return Ok(None);
    }
    let email = Email::stored(address.to_owned()).map_err(ApiError::internal)?;
    let lookup = Box::pin(context.store().login_lookup(&email)).await?;
    let is_its_own = lookup.login.as_ref().is_some_and(|login| login.user_id == user);
    Ok(devices.known(|device| is_its_own && lookup.knows(device)).map(|device| device.hash()))
}
