//! A TCP proxy that fails in chosen ways. It has threads of its own: a test's runtime may be what it holds up.
#![expect(clippy::disallowed_methods, reason = "its threads are its own, and sleep")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What happens to what passes.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    None,
    /// Connections are refused, and open ones closed.
    Refuse,
    /// Connections are accepted and nothing is ever answered.
    Hang,
    /// Half of each reply, then the end.
    CutMidReply,
    /// What a client sends is answered with this, and not passed on.
    Answer(fn(&[u8]) -> String),
    /// Each reply comes so much later.
    Slow(Duration),
}

struct Shared {
    fault: Mutex<Fault>,
    connections: Mutex<Vec<(TcpStream, Arc<Passage>)>>,
    stop: AtomicBool,
    accepted: AtomicU64,
}

/// What one connection lets through.
#[derive(Default)]
struct Passage {
    forgotten: AtomicBool,
    held: AtomicBool,
}

/// A running proxy; it ends when dropped.
pub struct TcpProxy {
    shared: Arc<Shared>,
    pub port: u16,
}

impl TcpProxy {
    /// Starts before a port of the loopback.
    pub fn start(upstream: u16) -> Self {
        let listener = bind(0);
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            connections: Mutex::default(),
            stop: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
        });
        let proxy = Self { shared: Arc::clone(&shared), port };
        std::thread::spawn(move || listen(&shared, listener, port, upstream));
        proxy
    }

    /// How many connections were made to it.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(SeqCst)
    }

    /// From now on.
    pub fn set(&self, fault: Fault) {
        *locked(&self.shared.fault) = fault;
        if matches!(fault, Fault::Refuse) {
            self.cut();
            while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Closes what is open.
    pub fn cut(&self) {
        for (stream, _) in locked(&self.shared.connections).drain(..) {
            let _already_closed = stream.shutdown(Shutdown::Both);
        }
    }

    /// Forgets what is open, as a network does that drops a connection without a word: it stays open, and
    /// nothing passes any more. New connections work.
    pub fn forget(&self) {
        for (_, passage) in locked(&self.shared.connections).iter() {
            passage.forgotten.store(true, SeqCst);
        }
    }

    /// Holds what clients send on the connections that are open, as a network does that is slow on one way: [`Self::deliver`] lets it
    /// arrive, also what a client sent that has closed its end meanwhile. New connections work.
    pub fn hold(&self) {
        self.set_held(true);
    }

    /// Has arrive what was held.
    pub fn deliver(&self) {
        self.set_held(false);
    }

    fn set_held(&self, held: bool) {
        for (_, passage) in locked(&self.shared.connections).iter() {
            passage.held.store(held, SeqCst);
        }
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        self.cut();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

fn bind(port: u16) -> TcpListener {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    listener.set_nonblocking(true).expect("a socket");
    listener
}

fn listen(shared: &Arc<Shared>, listener: TcpListener, port: u16, upstream: u16) {
    let mut listener = Some(listener);
    while !shared.stop.load(SeqCst) {
        std::thread::sleep(Duration::from_micros(500));
        if matches!(*locked(&shared.fault), Fault::Refuse) {
            listener = None;
            continue;
        }
        let open = listener.get_or_insert_with(|| bind(port));
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
    let passage = Arc::<Passage>::default();
    let copy = |stream: &TcpStream| stream.try_clone().expect("a socket");
    for (from, to, is_client) in [(&client, &server, true), (&server, &client, false)] {
        from.set_nonblocking(false).and_then(|()| from.set_nodelay(true)).expect("a socket");
        locked(&shared.connections).push((copy(from), Arc::clone(&passage)));
        let (shared, passage, from, to) = (Arc::clone(shared), Arc::clone(&passage), copy(from), copy(to));
        std::thread::spawn(move || pump(&shared, &passage, from, to, is_client));
    }
}

/// Moves bytes from one side to the other, as the fault of the moment has it.
fn pump(shared: &Shared, passage: &Passage, mut from: TcpStream, mut to: TcpStream, is_client: bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        while is_client && passage.held.load(SeqCst) && !shared.stop.load(SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let fault = *locked(&shared.fault);
        let moved = match (fault, is_client) {
            _ if passage.forgotten.load(SeqCst) => Ok(()),
            (Fault::Hang, _) => Ok(()),
            (Fault::Answer(answer), true) => from.write_all(answer(bytes).as_bytes()),
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
