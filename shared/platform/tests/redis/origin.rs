//! An origin in another process than its readers: a TCP server that counts what it is asked. The count is
//! taken here, where the database would be, not in the code that reads.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct Seen {
    reads: AtomicU64,
    version: AtomicU64,
    readers: Mutex<Vec<u32>>,
}

/// The origin. Each read takes `delay`.
pub(crate) struct Origin {
    seen: Arc<Seen>,
    pub(crate) port: u16,
}

impl Origin {
    pub(crate) fn start(delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let seen = Arc::new(Seen { version: AtomicU64::new(1), ..Seen::default() });
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                std::thread::spawn(move || answer(&seen, stream, delay));
            }
        });
        Self { seen, port }
    }

    /// How many reads have begun.
    pub(crate) fn reads(&self) -> u64 {
        self.seen.reads.load(Ordering::SeqCst)
    }

    /// The processes that have begun to read, in order.
    pub(crate) fn readers(&self) -> Vec<u32> {
        self.seen.readers.lock().expect("no panic").clone()
    }

    pub(crate) fn set_version(&self, version: u64) {
        self.seen.version.store(version, Ordering::SeqCst);
    }
}

fn answer(seen: &Seen, stream: TcpStream, delay: Duration) {
    let mut line = String::new();
    if BufReader::new(&stream).read_line(&mut line).is_err() {
        return;
    }
    seen.readers.lock().expect("no panic").push(line.trim().parse().unwrap_or_default());
    seen.reads.fetch_add(1, Ordering::SeqCst);
    std::thread::sleep(delay);
    let _reader_gone = writeln!(&stream, "{}", seen.version.load(Ordering::SeqCst));
}

/// Reads the origin's version, as process `std::process::id()`.
pub(crate) async fn read(port: u16) -> Result<u64, super::records::Failure> {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};
    let failed = |_| super::records::Failure::Origin;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(failed)?;
    stream.write_all(format!("{}\n", std::process::id()).as_bytes()).await.map_err(failed)?;
    let mut line = String::new();
    tokio::io::BufReader::new(stream).read_line(&mut line).await.map_err(failed)?;
    line.trim().parse().map_err(|_| super::records::Failure::Origin)
}
