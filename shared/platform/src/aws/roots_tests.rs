//! What AWS's clients trust is what the build script was to pick.

#[path = "../../amazon_roots.rs"]
mod amazon_roots;

use amazon_roots::pem;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

#[test]
fn exactly_amazons_five_roots_are_trusted() {
    let trusted = CertificateDer::pem_slice_iter(super::AMAZON_ROOTS.as_bytes());
    let trusted: Vec<String> =
        trusted.map(|der| crate::hex::digits(&Sha256::digest(der.expect("a certificate")))).collect();
    assert_eq!(trusted, amazon_roots::AMAZON_ROOTS.map(|(_, fingerprint)| fingerprint));
}

#[test]
fn a_root_that_is_missing_is_named() {
    let all: Vec<&[u8]> = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref).collect();
    assert!(pem(&all).is_ok());
    for (name, _) in amazon_roots::AMAZON_ROOTS {
        // The same root with one byte changed is another, whatever it is called.
        let changed: Vec<Vec<u8>> = all
            .iter()
            .map(|der| {
                let mut copy = der.to_vec();
                *copy.last_mut().expect("a signature") ^= u8::from(is(der, name));
                copy
            })
            .collect();
        let changed: Vec<&[u8]> = changed.iter().map(Vec::as_slice).collect();
        assert_eq!(pem(&changed), Err(name));
    }
}

fn is(der: &[u8], name: &str) -> bool {
    let fingerprint = crate::hex::digits(&Sha256::digest(der));
    amazon_roots::AMAZON_ROOTS.contains(&(name, fingerprint.as_str()))
}
