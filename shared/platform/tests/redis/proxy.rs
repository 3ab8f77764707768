//! A TCP proxy in front of a Redis server that fails in chosen ways.

use super::server::free_port;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Connections are refused, and open ones closed.
    Refuse,
    /// Connections are accepted and nothing is ever answered.
    Hang,
    /// Half of each reply, then the end.
    CutMidReply,
    /// Each command is answered with this error.
    Answer(&'static str),
    /// Each reply comes so much later.
    Slow(Duration),
}

struct Shared {
    fault: Mutex<Fault>,
    connections: Mutex<Vec<(TcpStream, Arc<AtomicBool>)>>,
    stop: AtomicBool,
    accepted: AtomicU64,
}

/// A running proxy; it ends when dropped.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    pub(crate) port: u16,
}

impl Proxy {
    pub(crate) fn start(upstream: u16) -> Self {
        let port = free_port();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            connections: Mutex::default(),
            stop: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
        });
        let proxy = Self { shared: Arc::clone(&shared), port };
        std::thread::spawn(move || listen(&shared, port, upstream));
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        while proxy.accepted() == 0 {
            std::thread::sleep(Duration::from_millis(1)); // the connection just above
        }
        proxy.shared.accepted.store(0, SeqCst);
        proxy
    }

    /// How many connections were made to it.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.shared.fault.lock().expect("no panic") = fault;
        if fault == Fault::Refuse {
            self.cut();
            while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Closes what is open.
    pub(crate) fn cut(&self) {
        for (stream, _) in self.shared.connections.lock().expect("no panic").drain(..) {
            let _already_closed = stream.shutdown(Shutdown::Both);
        }
    }

    /// Forgets what is open, as a network does that drops a connection without a word: it stays open, and
    /// nothing passes any more. New connections work.
    pub(crate) fn forget(&self) {
        for (_, forgotten) in self.shared.connections.lock().expect("no panic").iter() {
            forgotten.store(true, SeqCst);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.cut();
    }
}

fn listen(shared: &Arc<Shared>, port: u16, upstream: u16) {
    let mut listener = None;
    while !shared.stop.load(SeqCst) {
        std::thread::sleep(Duration::from_micros(500));
        if *shared.fault.lock().expect("no panic") == Fault::Refuse {
            listener = None;
            continue;
        }
        let open = listener.get_or_insert_with(|| {
            let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is this proxy's");
            listener.set_nonblocking(true).expect("a socket");
            listener
        });
        match open.accept() {
            Ok((client, _)) => {
                shared.accepted.fetch_add(1, SeqCst);
                serve(shared, client, upstream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("accept: {error}"),
        }
    }
}

fn serve(shared: &Arc<Shared>, client: TcpStream, upstream: u16) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { return };
    let forgotten = Arc::new(AtomicBool::new(false));
    let copy = |stream: &TcpStream| stream.try_clone().expect("a socket");
    for stream in [&client, &server] {
        stream.set_nonblocking(false).and_then(|()| stream.set_nodelay(true)).expect("a socket");
        shared.connections.lock().expect("no panic").push((copy(stream), Arc::clone(&forgotten)));
    }
    let (client_too, server_too) = (copy(&client), copy(&server));
    let (shared_too, forgotten_too) = (Arc::clone(shared), Arc::clone(&forgotten));
    let shared = Arc::clone(shared);
    std::thread::spawn(move || pump(&shared, &forgotten, client, server, true));
    std::thread::spawn(move || pump(&shared_too, &forgotten_too, server_too, client_too, false));
}

/// Moves bytes from one side to the other, as the fault of the moment has it.
fn pump(shared: &Shared, forgotten: &AtomicBool, mut from: TcpStream, mut to: TcpStream, is_client: bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        let fault = *shared.fault.lock().expect("no panic");
        let moved = match (fault, is_client) {
            _ if forgotten.load(SeqCst) => Ok(()),
            (Fault::Hang, _) => Ok(()),
            (Fault::Answer(error), true) => from.write_all(format!("{error}\r\n").repeat(commands(bytes)).as_bytes()),
            (Fault::CutMidReply, false) => {
                let _half = to.write_all(&bytes[..length / 2]);
                break;
            }
            (Fault::Slow(delay), false) => {
                std::thread::sleep(delay);
                to.write_all(bytes)
            }
            _ => to.write_all(bytes),
        };
        if moved.is_err() {
            break;
        }
    }
    let _already_closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// How many commands (RESP arrays of bulk strings) begin in `bytes`.
fn commands(bytes: &[u8]) -> usize {
    let number = |at: usize| -> Option<(usize, usize)> {
        let end = at + bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        Some((std::str::from_utf8(bytes.get(at + 1..end)?).ok()?.parse().ok()?, end + 2))
    };
    let (mut count, mut at) = (0, 0);
    while bytes.get(at) == Some(&b'*') {
        let Some((words, mut next)) = number(at) else { break };
        count += 1;
        for _ in 0..words {
            let Some((length, start)) = number(next.min(bytes.len())) else { return count };
            next = start + length + 2;
        }
        at = next;
    }
    count
}
