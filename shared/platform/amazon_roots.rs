//! The roots that AWS's endpoints chain to, picked by what they are and not by what they are called. For the build script, and for
//! the test of what it wrote.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// SHA-256 of each root certificate of Amazon Trust Services, DER. Amazon advises to trust all five
/// (<https://www.amazontrust.com/repository/>). The hashes of the public keys in them are those that its page lists; its sovereign
/// cloud in Europe has roots of its own, which chain to 1, 3 and 4 as well.
pub(crate) const AMAZON_ROOTS: [(&str, &str); 5] = [
    ("Amazon Root CA 1", "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e"),
    ("Amazon Root CA 2", "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4"),
    ("Amazon Root CA 3", "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4"),
    ("Amazon Root CA 4", "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092"),
    (
        "Starfield Services Root Certificate Authority - G2",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
    ),
];

/// The roots of Amazon Trust Services among these certificates (DER), as PEM.
///
/// # Errors
/// The name of the first that is missing.
pub(crate) fn pem(certificates: &[&[u8]]) -> Result<String, &'static str> {
    let mut pem = String::new();
    for (name, fingerprint) in AMAZON_ROOTS {
        let root = certificates.iter().find(|der| hex(&Sha256::digest(der)) == fingerprint).ok_or(name)?;
        write!(pem, "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", wrapped(root))
            .expect("writing to a string cannot fail");
    }
    Ok(pem)
}

/// Base64 in lines of 64 characters (RFC 7468).
fn wrapped(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    lines.join("\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
