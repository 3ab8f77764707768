//! Marks of memberships: which sessions count for which membership.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// 128 random bits, base64url: new when a membership is made. A session carries the mark of the membership that it was
/// made under and counts only while they are equal, so it does not come back to life when its user is added again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MembershipMark(String);

impl MembershipMark {
    /// A new mark.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// As the database holds it.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
