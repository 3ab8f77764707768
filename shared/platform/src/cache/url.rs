//! Where the cache is: `redis://…`, `rediss://…`, `memory:` or `off:`.

use super::memory::Memory;
use crate::percent;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A cache's address. Its `Debug` and `Display` never show the password.
///
/// - `redis://[user:password@]host[:port][/database]`: plain TCP, for a trusted network only; an IPv6 address stands in brackets;
/// - `rediss://[user[:password]@]host[:port][/database][?iam=cache-name]`: TLS; with `iam` the user logs in with a
///   token made from the process's AWS credentials, for the ElastiCache Serverless cache of that name;
/// - either with `name=cache-name`: an ElastiCache cache. Without a host its endpoint is found by this name;
///   with one it is looked up once that endpoint stops answering;
/// - `memory:`: in the process's own memory, for one process only;
/// - `off:`: none; every lookup reads the origin.
#[derive(Clone)]
pub enum CacheUrl {
    Server(Server),
    /// A clone of the address is the same memory.
    Memory(Memory),
    Off,
}

/// A server that speaks the Redis protocol.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// None where `name` has to be looked up.
    pub endpoint: Option<Endpoint>,
    pub tls: bool,
    /// The number of the database to select. Clusters, ElastiCache Serverless among them, have 0 alone.
    pub database: u16,
    pub user: Option<String>,
    pub password: Option<String>,
    /// The name of the ElastiCache Serverless cache to log in to with IAM.
    pub iam: Option<String>,
    /// The name by which ElastiCache's control plane knows it.
    pub name: Option<String>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Why a text is no cache address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a cache address ({0}): give redis://host:port, rediss://host:port, memory: or off:")]
pub struct CacheUrlError(&'static str);

impl FromStr for CacheUrl {
    type Err = CacheUrlError;

    fn from_str(text: &str) -> Result<Self, CacheUrlError> {
        match text {
            "memory:" => return Ok(Self::Memory(Memory::default())),
            "off:" => return Ok(Self::Off),
            _ => {}
        }
        let (tls, rest) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(CacheUrlError("unknown scheme")),
        };
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (address, database) = match rest.split_once('/') {
            None | Some((_, "")) => (rest.trim_end_matches('/'), 0),
            Some((address, number)) => (address, database_of(number)?),
        };
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (text_of(user)?, text_of(password)?),
            None => (None, None),
        };
        let (mut iam, mut name) = (None, None);
        for parameter in query.into_iter().flat_map(|query| query.split('&')) {
            match parameter.split_once('=') {
                Some((_, value)) if value.is_empty() || !value.chars().all(is_name) => {
                    return Err(CacheUrlError("a parameter that is no name"));
                }
                Some(("iam", value)) => iam = Some(value.to_owned()),
                Some(("name", value)) => name = Some(value.to_owned()),
                _ => return Err(CacheUrlError("the only parameters are iam=cache-name and name=cache-name")),
            }
        }
        let endpoint = if address.is_empty() && name.is_some() { None } else { Some(endpoint_of(address)?) };
        if iam.is_some() && (!tls || user.is_none() || password.is_some()) {
            return Err(CacheUrlError("iam needs rediss://, a user and no password"));
        }
        Ok(Self::Server(Server { endpoint, tls, database, user, password, iam, name }))
    }
}

/// What hosts and ElastiCache's names are made of.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

/// `host[:port]`, or `[address][:port]` of IPv6 (RFC 3986, 3.2.2).
fn endpoint_of(address: &str) -> Result<Endpoint, CacheUrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(CacheUrlError("a bracket that is not closed"))?;
            let host: Ipv6Addr = host.parse().map_err(|_| CacheUrlError("no IPv6 address in brackets"))?;
            (host.to_string(), if port.is_empty() { Some("6379") } else { port.strip_prefix(':') })
        }
        None => {
            let (host, port) = address.rsplit_once(':').unwrap_or((address, "6379"));
            (host.to_owned(), Some(port).filter(|_| !host.is_empty() && host.chars().all(is_name)))
        }
    };
    let port = port.ok_or(CacheUrlError("no host"))?;
    Ok(Endpoint { host, port: number(port).ok_or(CacheUrlError("the port is no number"))? })
}

/// The number of a database. Redis has 16 unless told otherwise.
fn database_of(text: &str) -> Result<u16, CacheUrlError> {
    number(text).ok_or(CacheUrlError("what follows the / is no database's number"))
}

fn number(digits: &str) -> Option<u16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// A percent-encoded part; `None` when empty.
fn text_of(part: &str) -> Result<Option<String>, CacheUrlError> {
    let text = percent::decode(part).ok_or(CacheUrlError("a login that is not UTF-8, or a % that encodes nothing"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

impl fmt::Display for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => {
                write!(f, "redis{}://", if server.tls { "s" } else { "" })?;
                server.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, "{endpoint}"))?;
                if server.database > 0 {
                    write!(f, "/{}", server.database)?;
                }
                server.name.as_ref().map_or(Ok(()), |name| write!(f, "?name={name}"))
            }
            Self::Memory(_) => f.write_str("memory:"),
            Self::Off => f.write_str("off:"),
        }
    }
}

impl fmt::Debug for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        match text.parse() {
            Ok(CacheUrl::Server(server)) => server,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn addresses_are_read() {
        assert!(matches!("memory:".parse(), Ok(CacheUrl::Memory(_))));
        assert!(matches!("off:".parse(), Ok(CacheUrl::Off)));
        let endpoint = |host: &str, port| Some(Endpoint { host: host.to_owned(), port });
        let plain = server("redis://127.0.0.1:7000");
        assert_eq!((&plain.endpoint, plain.tls), (&endpoint("127.0.0.1", 7000), false));
        let full = server("rediss://app:p%40ss@cache.example");
        assert_eq!((&full.endpoint, full.tls), (&endpoint("cache.example", 6379), true));
        assert_eq!((full.user.as_deref(), full.password.as_deref()), (Some("app"), Some("p@ss")));
        assert_eq!(server("rediss://app@h?iam=prod").iam.as_deref(), Some("prod"));
        let found = server("rediss://app@?iam=prod&name=prod");
        assert_eq!((found.endpoint, found.iam.as_deref(), found.name.as_deref()), (None, Some("prod"), Some("prod")));
        for (text, host, port, database) in [
            ("redis://localhost:6379/0", "localhost", 6379, 0),
            ("redis://localhost/15", "localhost", 6379, 15),
            ("redis://[::1]:6379", "::1", 6379, 0),
            ("redis://:p@[2001:db8::1]/3", "2001:db8::1", 6379, 3),
            ("rediss://u:p%2F@h:7000/", "h", 7000, 0),
        ] {
            let read = server(text);
            assert_eq!((read.endpoint, read.database), (endpoint(host, port), database), "{text}");
        }
        assert_eq!("redis://[0:0::1]:7000/2".parse::<CacheUrl>().expect("valid").to_string(), "redis://[::1]:7000/2");
        let both = server("redis://h:7000/?name=staging");
        assert_eq!((both.endpoint, both.name.as_deref()), (endpoint("h", 7000), Some("staging")));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "memory",
            "redis:",
            "redis://",
            "http://h",
            "redis://h:x",
            "redis://h:99999",
            "redis://h:+1",
            "redis://h/x",
            "redis://h/-1",
            "redis://h/0/1",
            "redis://h/99999",
            "redis://::1:6379",
            "redis://[::1",
            "redis://[::1]7000",
            "redis://[h]",
            "redis://[]",
            "redis://a b",
            "redis://%zz@h",
            "redis://h?iam=c",
            "rediss://h?iam=c",
            "rediss://u:p@h?iam=c",
            "rediss://u@h?iam=",
            "rediss://u@h?x=1",
            "rediss://u@?iam=c",
            "redis://?name=",
            "redis://?name=a/b",
            "redis://?name",
            "redis://:7000?name=c",
        ] {
            assert!(text.parse::<CacheUrl>().is_err(), "{text}");
        }
    }

    /// `deploy/environments.py` is held to the same list: what a deployment takes stops no function at its start.
    #[test]
    fn an_address_is_read_as_deployments_expect() {
        let list = include_str!("../../../../deploy/caches.txt");
        for line in list.lines().filter(|line| !line.starts_with("# ")) {
            let mut words = line.split(' ');
            let (given, expected) = (words.next().unwrap_or_default(), words.next());
            let says = match given.parse() {
                Ok(CacheUrl::Server(Server { endpoint: Some(_), .. })) => Some("endpoint"),
                Ok(CacheUrl::Server(Server { endpoint: None, .. })) => Some("name"),
                _ => None,
            };
            assert_eq!(says, expected, "{given}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url: CacheUrl = "rediss://app:hush@h".parse().expect("valid");
        assert!(!format!("{url:?} {url}").contains("hush"));
    }
}
