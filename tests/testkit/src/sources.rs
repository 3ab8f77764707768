//! Addresses of this machine to call from: the local gateway takes each for a network of its own. All of `127.0.0.0/8` are, on Linux.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where this process begins to count: other processes call the same system.
static NEXT: LazyLock<AtomicU32> = LazyLock::new(|| AtomicU32::new(std::process::id().wrapping_mul(2_654_435_761)));

/// An address that nobody else in this process has been given.
#[must_use]
pub fn address() -> IpAddr {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    // From 127.1.0.1 on; none ends in .0 or .255.
    let (upper, last) = (number / 254 % (255 * 256), number % 254 + 1);
    Ipv4Addr::from_bits(0x7f01_0000 + (upper << 8) + last).into()
}
