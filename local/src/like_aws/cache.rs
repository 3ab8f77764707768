//! ElastiCache Serverless in place of a server next door: connections that take their time, replies a millisecond later, and a
//! failover now and then. Only for a server that is reached over TCP without TLS; the cache in memory has none of it, nor has
//! virtual time.
//!
//! Sources: aws/agent-toolkit-for-aws, serverless-vs-node.md (documented: "single-digit milliseconds", 5–20 ms for a new connection);
//! ElastiCache User Guide (failover of node-based clusters; that of serverless caches is published nowhere).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::random::{Lognormal, SeededRng};

/// A serverless cache's ways.
#[derive(Clone, Debug)]
pub struct Cache {
    /// A new connection, with its TLS. Documented.
    pub connect: Lognormal,
    /// A reply. Documented as "single-digit milliseconds"; the figures are inferred.
    pub reply: Lognormal,
    /// Time from one failover to the next. Folklore.
    pub failover_every: (Duration, Duration),
    /// How long there is nobody then. Inferred.
    pub failover: (Duration, Duration),
}

impl Default for Cache {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            connect: Lognormal::ms(10.0, 20.0),
            reply: Lognormal::ms(0.8, 4.0),
            failover_every: (minutes(10), minutes(60)),
            failover: (Duration::from_secs(1), Duration::from_secs(5)),
        }
    }
}

/// A way to a cache server that is as long as to AWS's. It ends when dropped.
#[derive(Debug)]
pub(crate) struct CacheProxy {
    /// Where it begins.
    pub(crate) port: u16,
    _tasks: JoinSet<()>,
}

/// Host and port of a `redis://` URL, with where they stand in it.
pub(crate) fn server(url: &str) -> Option<(String, std::ops::Range<usize>)> {
    let rest = url.strip_prefix("redis://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
    let (start, end) = (start + "redis://".len(), end + "redis://".len());
    let host = &url[start..end];
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
    Some((address, start..end))
}

impl CacheProxy {
    /// Begins before a server.
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start(settings: &Cache, rng: SeededRng, server: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (up, is_up) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(fail_over(settings.clone(), rng.clone(), up));
        tasks.spawn(listen(Arc::new((settings.clone(), rng)), listener, server, is_up));
        Ok(Self { port, _tasks: tasks })
    }
}

async fn fail_over(settings: Cache, rng: SeededRng, up: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(rng.between(settings.failover_every)).await;
        up.send_replace(false);
        tokio::time::sleep(rng.between(settings.failover)).await;
        up.send_replace(true);
    }
}

async fn listen(way: Arc<(Cache, SeededRng)>, listener: TcpListener, server: String, is_up: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        // Closed at once: nobody is there.
        if !*is_up.borrow() {
            continue;
        }
        let (way, server, mut is_up) = (Arc::clone(&way), server.clone(), is_up.clone());
        connections.spawn(async move {
            tokio::select! {
                // What was under way is lost: nobody is told how far it came.
                _ = is_up.wait_for(|is_up| !is_up) => {}
                _ = pass(&way.0, &way.1, client, &server) => {}
            }
        });
    }
}

/// Moves bytes both ways until either side ends.
async fn pass(settings: &Cache, rng: &SeededRng, client: TcpStream, server: &str) -> std::io::Result<()> {
    tokio::time::sleep(settings.connect.draw(rng)).await;
    let server = TcpStream::connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let ((mut client_reads, mut client_writes), (mut server_reads, mut server_writes)) =
        (client.into_split(), server.into_split());
    let asked = async { tokio::io::copy(&mut client_reads, &mut server_writes).await.map(|_| ()) };
    let answered = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = server_reads.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            tokio::time::sleep(settings.reply.draw(rng)).await;
            client_writes.write_all(&buffer[..length]).await?;
        }
    };
    tokio::select! {
        ended = asked => ended,
        ended = answered => ended,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each connection with what it sends.
    async fn echo() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut reads, mut writes) = stream.split();
                    tokio::io::copy(&mut reads, &mut writes).await
                });
            }
        });
        address
    }

    async fn asked(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(b"PING").await?;
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn what_is_asked_is_answered_until_a_failover_cuts_it_and_again_after() {
        let at_once = Lognormal::ms(1e-6, 1e-6);
        let hour = Duration::from_secs(3_600);
        let settings = Cache { connect: at_once, reply: at_once, failover_every: (hour, hour), ..Cache::default() };
        let (up, is_up) = watch::channel(true);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let way = Arc::new((settings, SeededRng::new(1, 1)));
        let _listening = tokio::spawn(listen(way, listener, echo().await, is_up));
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        assert_eq!(&asked(&mut stream).await.expect("answered"), b"PING");
        up.send_replace(false);
        assert!(asked(&mut stream).await.is_err(), "cut");
        let mut refused = TcpStream::connect(address).await.expect("the port is there");
        assert!(asked(&mut refused).await.is_err(), "nobody is there");
        up.send_replace(true);
        let mut again = TcpStream::connect(address).await.expect("it listens");
        assert_eq!(&asked(&mut again).await.expect("answered"), b"PING");
    }

    #[tokio::test]
    async fn connecting_and_each_reply_take_their_time() {
        let slow = Lognormal::ms(40.0, 40.0);
        let settings = Cache { connect: slow, reply: slow, ..Cache::default() };
        let cache_proxy = CacheProxy::start(&settings, SeededRng::new(1, 1), echo().await).await.expect("a port");
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", cache_proxy.port)).await.expect("it listens");
        assert_eq!(&asked(&mut stream).await.expect("answered"), b"PING");
        assert!(begun.elapsed() >= Duration::from_millis(80), "no sooner");
    }

    #[test]
    fn a_servers_place_is_found_in_its_url() {
        for (url, address) in [
            ("redis://127.0.0.1:6380/2", "127.0.0.1:6380"),
            ("redis://user:word@cache.example:6380", "cache.example:6380"),
            ("redis://localhost?x=y", "localhost:6379"),
        ] {
            assert_eq!(server(url).map(|(address, _)| address).as_deref(), Some(address));
        }
        let (_, place) = server("redis://user:word@cache.example:6380/1").expect("it is one");
        assert_eq!(&"redis://user:word@cache.example:6380/1"[place], "cache.example:6380");
        assert!(server("memory:").is_none() && server("rediss://a").is_none());
    }
}
