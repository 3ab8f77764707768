//! Writes the roots that AWS's endpoints chain to as PEM, so that a client trusts exactly those and a
//! cold start neither scans nor parses the host's certificate store.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;

/// Names in the subjects of Amazon Trust Services' roots (source: the repository page of Amazon Trust Services).
const AMAZON_ROOTS: [&[u8]; 2] = [b"Amazon Root CA ", b"Starfield Services Root Certificate Authority - G2"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut pem = String::new();
    for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
        let der: &[u8] = root;
        if AMAZON_ROOTS.iter().any(|name| der.windows(name.len()).any(|window| window == *name)) {
            write!(pem, "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", wrapped(der))
                .expect("writing to a string cannot fail");
        }
    }
    let count = pem.matches("BEGIN").count();
    assert!(count >= 4, "expected Amazon's roots in webpki-root-certs, found {count}");
    let folder = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(format!("{folder}/amazon-roots.pem"), pem).expect("OUT_DIR is writable");
}

/// Base64 in lines of 64 characters (RFC 7468).
fn wrapped(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    lines.join("\n")
}
