//! Ports of the loopback, for processes that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};

/// A port that nobody listens on just now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}
