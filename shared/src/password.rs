//! Passwords: argon2id at OWASP's first recommendation (Password Storage Cheat Sheet: 19 MiB, 2 passes,
//! 1 lane), computed off the async threads, as many at once as there are processors.

use crate::error::ApiError;
use crate::model::password::{NewPassword, PasswordAttempt};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use platform::request::Rejection;
use platform::response::FieldError;
use std::sync::{LazyLock, Mutex, PoisonError};
use tokio::sync::Semaphore;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Each hash holds 19 MiB and a processor while it runs, so more at once would only wait and fill memory.
static RUNNING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// The memory of hashes that have ended, for the next ones. An allocator that gets it back keeps it for the thread that gave it,
/// and each hash may run on another thread: 435 MB after 60 registrations, where this is 19 MiB a processor.
static MEMORY: Mutex<Vec<Vec<Block>>> = Mutex::new(Vec::new());

/// The hash of no password at all: comparing with it costs an unknown user's log-in what a known one's costs.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y2l0aXplbmFwcG5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashing failed for a reason that is ours.
#[derive(Debug, thiserror::Error)]
#[error("password hashing failed: {0}")]
struct HashingError(String);

fn params() -> Params {
    Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are valid")
}

/// What argon2id makes of a password.
fn derive(password: &[u8], salt: &Salt, params: Params, length: usize) -> Result<Output, argon2::Error> {
    let kept = || MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut memory = kept().pop().unwrap_or_default();
    memory.resize(argon2.params().block_count(), Block::new());
    let mut derived = [0; Output::MAX_LENGTH];
    let result = argon2.hash_password_into_with_memory(password, salt, &mut derived[..length], &mut memory);
    kept().push(memory);
    result.map(|()| Output::new(&derived[..length]).expect("a length that argon2 accepts"))
}

fn compute(password: &[u8]) -> Result<String, HashingError> {
    let (salt, params) = (Salt::generate(), params());
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(failed)?,
        salt: Some(salt),
        hash: Some(derive(password, &salt, params, Params::DEFAULT_OUTPUT_LEN).map_err(failed)?),
    };
    Ok(hash.to_string())
}

fn check(password: &[u8], stored: &str) -> Result<bool, HashingError> {
    let stored = PasswordHash::new(stored).map_err(failed)?;
    let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else { return Ok(false) };
    let params = Params::try_from(&stored).map_err(failed)?;
    // `Output` compares in constant time.
    Ok(derive(password, salt, params, expected.len()).map_err(failed)? == *expected)
}

fn failed(error: impl std::fmt::Display) -> HashingError {
    HashingError(error.to_string())
}

/// The PHC string of an account's new password, with a fresh salt. `own_words` are the account's address and names.
///
/// # Errors
/// `422` at `/password` for a password made of those; [`ApiError::Internal`] when there is no memory or no randomness.
pub async fn hash(password: NewPassword, own_words: &[&str]) -> Result<String, ApiError> {
    let refused = |message: &str| FieldError { pointer: "/password".to_owned(), message: message.to_owned() };
    let password = password.without(own_words).map_err(|message| Rejection::Invalid(vec![refused(message)]))?;
    let hashed = off_thread(move || compute(password.as_bytes())).await;
    hashed.and_then(|hash| hash).map_err(ApiError::internal)
}

/// Whether a password belongs to a stored hash; without one, the same work is done for nothing and the answer is no. One that
/// is not in its normal form is compared as it was received, too: hashes from before 0.2 are of what was received.
///
/// # Errors
/// [`ApiError::Internal`] when the stored hash is no PHC string.
pub async fn verify(password: PasswordAttempt, stored: Option<String>) -> Result<bool, ApiError> {
    let compared = off_thread(move || {
        let hash = stored.as_deref().unwrap_or(NOBODY);
        for form in password.forms() {
            if check(form.as_bytes(), hash)? && stored.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    });
    compared.await.and_then(|compared| compared).map_err(ApiError::internal)
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashingError> {
    let _permit = RUNNING.acquire().await.map_err(failed)?;
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn hashed(password: &str) -> String {
        hash(NewPassword::try_from(password.to_owned()).expect("a password"), &[]).await.expect("hashed")
    }

    async fn verified(password: &str, stored: Option<&str>) -> bool {
        let attempt = PasswordAttempt::try_from(password.to_owned()).expect("may be compared");
        verify(attempt, stored.map(str::to_owned)).await.expect("compared")
    }

    #[tokio::test]
    async fn only_the_password_verifies() {
        let stored = hashed("correct horse").await;
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verified("correct horse", Some(&stored)).await);
        assert!(!verified("correct Horse", Some(&stored)).await);
        assert!(!verified("correct horse", None).await, "the stand-in has the same parameters");
        // Made by the reference implementation (argon2-cffi).
        let stored =
            "$argon2id$v=19$m=19456,t=2,p=1$eUqE9vWvqRz8/R3nQ4mpqQ$oq3iNEB4Vib+FGURL+VLhMI3kPlKJ8kgjzIc2Jju/WQ";
        assert!(verified("correct horse", Some(stored)).await);
        assert!(NOBODY.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$")));
    }

    /// One keyboard sends `é` as one character, another as two.
    #[tokio::test]
    async fn however_it_is_typed_a_password_is_the_same() {
        let (composed, decomposed) = ("caf\u{e9} caf\u{e9}", "cafe\u{301} cafe\u{301}");
        for (chosen, typed) in [(composed, decomposed), (decomposed, composed)] {
            assert!(verified(typed, Some(&hashed(chosen).await)).await);
        }
        let of_before = compute(decomposed.as_bytes()).expect("hashed as it was received");
        assert!(verified(decomposed, Some(&of_before)).await);
        assert!(!verified(decomposed, None).await);
    }

    #[tokio::test]
    async fn the_memory_of_a_hash_serves_the_next() {
        for _ in 0..3 {
            hashed("correct horse").await;
        }
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let kept = MEMORY.lock().expect("no hash panicked").len();
        assert!((1..=at_once).contains(&kept), "{kept} blocks are kept for {at_once} hashes at once");
    }
}
