//! Writes the roots that AWS's endpoints chain to as PEM, so that a client trusts exactly those and a
//! cold start neither scans nor parses the host's certificate store.

mod amazon_roots;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=amazon_roots.rs");
    let known: Vec<&[u8]> = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(AsRef::as_ref).collect();
    let pem = amazon_roots::pem(&known).unwrap_or_else(|missing| {
        panic!("webpki-root-certs lacks the root that AWS's endpoints may chain to: {missing}")
    });
    let folder = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    std::fs::write(format!("{folder}/amazon-roots.pem"), pem).expect("OUT_DIR is writable");
}
