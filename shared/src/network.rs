//! Where a request comes from, as the gateway saw it (`identity.sourceIp`); never what a header says.

use lambda_http::Request;
use lambda_http::http::header::USER_AGENT;
use platform::runtime::event::SourceIp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// What one subscriber has: an IPv4 address, or an IPv6 address's /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// The network of a request. Nothing but the console's test calls has none.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        request.extensions().get::<SourceIp>().map(|source| source.0.into())
    }

    /// The part of the network that a session may show: an IPv4 /24, or an IPv6 /48.
    #[must_use]
    pub fn coarse(self) -> String {
        match self.0 {
            IpAddr::V4(v4) => format!("{}/24", std::net::Ipv4Addr::from_bits(v4.to_bits() & !0xff)),
            IpAddr::V6(v6) => format!("{}/48", cut(v6, 48)),
        }
    }
}

impl Network {
    /// The /48 that an IPv6 network is in; a site gets one of those, with 65,536 networks in it.
    #[must_use]
    pub(crate) fn wider(self) -> Option<String> {
        match self.0 {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(format!("{}/48", cut(v6, 48))),
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(cut(v6, 64)),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first bits of an address.
fn cut(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> (128 - bits) << (128 - bits))
}

/// Who began a session, as coarsely as its user can still tell devices apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

impl Origin {
    /// That of a request.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let agent = request.headers().get(USER_AGENT).and_then(|value| value.to_str().ok());
        Self { network: Network::of(request).map(Network::coarse), agent: agent.and_then(coarse_agent) }
    }
}

/// Words of ours for what a `User-Agent` says: nothing of it is kept. Those that others contain, too, come last.
fn coarse_agent(text: &str) -> Option<String> {
    let first =
        |known: &[(&str, &'static str)]| known.iter().find(|(mark, _)| text.contains(mark)).map(|(_, name)| *name);
    let program = first(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("CriOS/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
        ("python", "Python"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iOS"),
        ("iPad", "iOS"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system) {
        (Some(program), Some(system)) => Some(format!("{program} on {system}")),
        (one, other) => one.or(other).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_network() {
        let of = |address: &str| Network::from(address.parse::<IpAddr>().expect("an address"));
        for (address, network, coarse) in [
            ("203.0.113.10", "203.0.113.10", "203.0.113.0/24"),
            ("::ffff:203.0.113.10", "203.0.113.10", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::/48"),
        ] {
            assert_eq!((of(address).to_string(), of(address).coarse()), (network.to_owned(), coarse.to_owned()));
        }
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn agents_are_told_in_words_of_ours() {
        for (text, told) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Some("Firefox on Linux")),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140",
                Some("Edge on Windows"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
                Some("Chrome on Android"),
            ),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", Some("Safari on iOS")),
            ("curl/8.5.0", Some("curl")),
            ("<script>alert(1)</script>", None),
            ("", None),
        ] {
            assert_eq!(coarse_agent(text).as_deref(), told, "{text}");
        }
    }
}
