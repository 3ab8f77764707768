//! A redis-server of a test's own, on a free port of 127.0.0.1, without persistence.

use crate::records::Failure;
use platform::cache::{Cache, CacheUrl, Class, JITTER_PERCENT, Key, Options, Rule};
use redis::Value;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;
use testkit::ports::free_port;
use testkit::processes::Running;

/// A running server; it is killed when dropped.
pub(crate) struct RedisServer {
    _process: Running,
    pub(crate) port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a plain server.
    pub(crate) fn start() -> Self {
        let port = free_port();
        Self::start_with(port, tempfile::tempdir().expect("a folder"), &["--port", &port.to_string()])
    }

    /// Starts a server with arguments that make it listen on `port`, and waits until it does.
    pub(crate) fn start_with(port: u16, folder: TempDir, arguments: &[&str]) -> Self {
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes"])
            .args(arguments)
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server runs (apt-get install redis-server)");
        let process = Running(process);
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Self { _process: process, port, folder };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("redis-server does not listen on port {port}");
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> String {
        url(self.port)
    }

    /// A cache of its own connection and flights, as another process would have; patient.
    pub(crate) fn cache(&self) -> Cache {
        open_patient(&self.url())
    }

    /// The bare client, for setting a scene and for looking behind the cache.
    pub(crate) fn bare(&self) -> redis::Connection {
        redis::Client::open(self.url()).and_then(|client| client.get_connection()).expect("the server answers")
    }

    /// Waits until something lies under a key, or nothing.
    pub(crate) async fn wait_until(&self, key: &str, there: bool) {
        for _ in 0..5000 {
            if self.command(&["EXISTS", key]) == Value::Int(there.into()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{key}: there is {} still", if there { "nothing" } else { "something" });
    }

    /// Runs one command on a connection of its own.
    pub(crate) fn command(&self, words: &[&str]) -> Value {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut self.bare()).expect("the command is valid")
    }
}

/// The address of a server, or of a proxy before it.
pub(crate) fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// A cache at an address.
pub(crate) fn open(url: &str) -> Cache {
    Cache::with(&url.parse::<CacheUrl>().expect("a cache address"), Options::default())
}

/// A cache that waits for its server however busy this machine is: for tests of everything but deadlines.
pub(crate) fn open_patient(url: &str) -> Cache {
    let patience = Duration::from_secs(5);
    let options = Options { patience, write_patience: patience, ..Options::default() };
    Cache::with(&url.parse::<CacheUrl>().expect("a cache address"), options)
}

/// The value that is stored and fresh, if there is one.
pub(crate) async fn cached<K: Key + 'static>(cache: &Cache, key: &K) -> Option<K::Value> {
    cache.get_or_fill(key, || async { Err(Failure::Origin) }).await.ok().flatten()
}

/// What a cache has counted, from the first question on.
pub(crate) struct Counts<'a> {
    cache: &'a Cache,
    seen: Mutex<HashMap<(&'static str, &'static str), u64>>,
}

impl<'a> Counts<'a> {
    pub(crate) fn of(cache: &'a Cache) -> Self {
        Self { cache, seen: Mutex::default() }
    }

    /// How often an event of this name has happened in a class.
    pub(crate) fn count(&self, class: &Class, event: &'static str) -> u64 {
        let mut seen = self.seen.lock().expect("no test panics here");
        for (class, counts) in self.cache.take_counts() {
            for (event, count) in counts {
                *seen.entry((class, event.0)).or_default() += count.as_u64().expect("a count");
            }
        }
        seen.get(&(class.name, event)).copied().unwrap_or_default()
    }
}

/// How old a value can be that a reader gets when an invalidation could not be delivered.
pub(crate) fn bound(class: &Class) -> Duration {
    match class.rule {
        Rule::RenewedOnUpdate => class.fresh + class.fresh * JITTER_PERCENT / 100,
        Rule::StaleAcceptable { stale } => stale,
    }
}

/// Sends a signal to a process that this test has started.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}
