//! Passwords: argon2id at OWASP's first recommendation (Password Storage Cheat Sheet: 19 MiB, 2 passes,
//! 1 lane), computed off the async threads, as many at once as there are processors.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::LazyLock;
use tokio::sync::Semaphore;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Each hash holds 19 MiB and a processor while it runs, so more at once would only wait and fill memory.
static RUNNING: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)));

/// The hash of no password at all: comparing with it costs an unknown user's log-in what a known one's costs.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y2l0aXplbmFwcG5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashing failed for a reason that is ours.
#[derive(Debug, thiserror::Error)]
#[error("password hashing failed: {0}")]
pub struct HashingError(String);

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).expect("the constants are valid");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn compute(password: &[u8]) -> Result<String, HashingError> {
    argon2().hash_password(password).map(|hash| hash.to_string()).map_err(|error| HashingError(error.to_string()))
}

/// The PHC string of a password with a fresh salt.
///
/// # Errors
/// [`HashingError`] when there is no memory or no randomness.
pub async fn hash(password: String) -> Result<String, HashingError> {
    off_thread(move || compute(password.as_bytes())).await?
}

/// Whether a password belongs to a stored hash; without one, the same work is done for nothing and the
/// answer is no.
///
/// # Errors
/// [`HashingError`] when the stored hash is no PHC string.
pub async fn verify(password: String, stored: Option<String>) -> Result<bool, HashingError> {
    off_thread(move || {
        let known = stored.is_some();
        let stored = stored.as_deref().unwrap_or(NOBODY);
        let hash = PasswordHash::new(stored).map_err(|error| HashingError(error.to_string()))?;
        Ok(argon2().verify_password(password.as_bytes(), &hash).is_ok() && known)
    })
    .await?
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashingError> {
    let _permit = RUNNING.acquire().await.map_err(|error| HashingError(error.to_string()))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| HashingError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_verifies() {
        let stored = hash("correct horse".into()).await.expect("hashed");
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(verify("correct horse".into(), Some(stored.clone())).await.expect("verified"));
        assert!(!verify("correct Horse".into(), Some(stored)).await.expect("verified"));
        assert!(!verify("correct horse".into(), None).await.expect("the stand-in has the same parameters"));
        assert!(NOBODY.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$")));
    }
}
