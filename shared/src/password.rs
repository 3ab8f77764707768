//! Passwords: argon2id at OWASP's first recommendation (Password Storage Cheat Sheet: 19 MiB, 2 passes,
//! 1 lane), computed off the async threads, as many at once as there are processors.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
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
pub struct HashingError(String);

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
    off_thread(move || Ok(check(password.as_bytes(), stored.as_deref().unwrap_or(NOBODY))? && stored.is_some())).await?
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashingError> {
    let _permit = RUNNING.acquire().await.map_err(failed)?;
    tokio::task::spawn_blocking(work).await.map_err(failed)
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
        // Made by the reference implementation (argon2-cffi).
        let stored =
            "$argon2id$v=19$m=19456,t=2,p=1$eUqE9vWvqRz8/R3nQ4mpqQ$oq3iNEB4Vib+FGURL+VLhMI3kPlKJ8kgjzIc2Jju/WQ";
        assert!(verify("correct horse".into(), Some(stored.into())).await.expect("verified"));
        assert!(NOBODY.starts_with(&format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$")));
    }
    #[tokio::test]
    async fn the_memory_of_a_hash_serves_the_next() {
        for _ in 0..3 {
            hash("correct horse".into()).await.expect("hashed");
        }
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let kept = MEMORY.lock().expect("no hash panicked").len();
        assert!((1..=at_once).contains(&kept), "{kept} blocks are kept for {at_once} hashes at once");
    }
}
