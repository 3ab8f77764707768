//! Receipt handles: which message, in which queue, at which of its receives.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::error::{ErrorKind, SqsError};
use super::lanes::Key;

/// What a receipt handle says. A later receive of the same message gives another one, which makes
/// this one stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    /// Random number of the queue, drawn when it was created.
    pub(super) queue_nonce: u64,
    pub(super) key: Key,
    /// The message's receive count when it was handed out.
    pub(super) receive_count: u32,
}

impl Receipt {
    pub(super) fn encode(self) -> String {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.queue_nonce.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.key.to_be_bytes());
        bytes[16..].copy_from_slice(&self.receive_count.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a handle given out by the queue with `queue_nonce`.
    ///
    /// # Errors
    /// `MissingParameter` if it is empty, `ReceiptHandleIsInvalid` if this queue never made it.
    pub(super) fn decode(handle: &str, queue_nonce: u64) -> Result<Self, SqsError> {
        if handle.is_empty() {
            return Err(SqsError::missing("ReceiptHandle"));
        }
        Self::parse(handle).filter(|receipt| receipt.queue_nonce == queue_nonce).ok_or_else(|| {
            ErrorKind::ReceiptHandleIsInvalid.because("The input receipt handle is not a valid receipt handle.")
        })
    }

    fn parse(handle: &str) -> Option<Self> {
        let bytes: [u8; 20] = URL_SAFE_NO_PAD.decode(handle).ok()?.try_into().ok()?;
        Some(Self {
            queue_nonce: u64::from_be_bytes(bytes[..8].try_into().ok()?),
            key: u64::from_be_bytes(bytes[8..16].try_into().ok()?),
            receive_count: u32::from_be_bytes(bytes[16..].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_queue_that_made_a_handle_reads_it() {
        let receipt = Receipt { queue_nonce: 7, key: 42, receive_count: 3 };
        let handle = receipt.encode();
        assert_eq!(Receipt::decode(&handle, 7), Ok(receipt));
        for (handle, nonce) in [(handle.as_str(), 8), ("garbage", 7), ("AAAA", 7), ("é", 7)] {
            let refusal = Receipt::decode(handle, nonce).map_err(|error| error.kind);
            assert_eq!(refusal, Err(ErrorKind::ReceiptHandleIsInvalid), "{handle}");
        }
    }
}
