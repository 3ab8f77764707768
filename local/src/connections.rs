//! Listens on the loopback addresses and answers the requests of each connection. A caller who sends nothing more, one who takes
//! nothing of what is sent, and one who opens connections without end, run into [`Limits`].

mod impatient;

use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lambda_http::tower::ServiceExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::own_name;
use impatient::Impatient;

/// How often a free port is looked for that is free on both loopback addresses.
const PORTS_TRIED: u32 = 20;

/// Connections that may wait to be accepted; the system has a limit of its own too. The standard library's 128 are too few for a
/// thousand callers who begin at once.
const BACKLOG: u32 = 4_096;

/// How long accepting rests when the process has no file descriptor left.
const REST: Duration = Duration::from_secs(1);

/// Headers of a request that are read. More than 100, so that the gateway refuses by their length, as API Gateway does. To more,
/// and to a target of over 65,534 bytes, hyper's own answer has no body.
const MAX_HEADERS: usize = 1_024;

/// What callers may take of a server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a request's head may take, counted from the connection's opening or its last reply on, so that an idle
    /// connection is closed after it too; once more, how long its body may take; and how long what is sent may wait to be taken.
    pub patience: Duration,
    /// Most connections at a time; later ones wait until one ends.
    pub connections: usize,
}

impl Default for Limits {
    /// About the time that API Gateway gives a whole request (29 s; it keeps idle connections for 310 s), and more connections than
    /// tests and load tools open at once. Where the process has fewer file descriptors, accepting rests until some are free.
    fn default() -> Self {
        Self { patience: Duration::from_secs(30), connections: 4_000 }
    }
}

/// What becomes of a request whose caller goes away before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandoned {
    /// It runs to its end, as a function in AWS does, which does not hear of it. A caller that only sends no more gets its answer.
    RunsOn,
    /// It ends where it stands: what a long poll takes from a queue then would be nobody's.
    Ends,
}

/// Listens at a port of both loopback addresses, since `localhost` may be either; 0 takes a port that is free on both. A machine
/// without IPv6 has only the one.
///
/// # Errors
/// What the operating system says: `AddrInUse` when another program has the port on either.
pub(crate) fn loopback(port: u16) -> io::Result<(u16, Vec<TcpListener>)> {
    let mut tried = 1;
    loop {
        let first = listen((Ipv4Addr::LOCALHOST, port).into())?;
        let bound = first.local_addr()?.port();
        match listen((Ipv6Addr::LOCALHOST, bound).into()) {
            Ok(second) => return Ok((bound, vec![first, second])),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port != 0 || tried == PORTS_TRIED {
                    return Err(error);
                }
                tried += 1;
            }
            Err(_no_ipv6) => return Ok((bound, vec![first])),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As tokio does: a port is free again as soon as its program has ended.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers requests to this machine's names with `router` until `stop` completes; requests under way are answered, then it returns. Dropping it ends all.
/// Handlers find the caller's address as [`ConnectInfo`].
pub(crate) async fn serve(
    listeners: Vec<TcpListener>,
    router: Router,
    limits: Limits,
    abandoned: Abandoned,
    stop: impl Future<Output = ()> + Send,
) {
    let router = own_name::only(router);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let closing = watch::Sender::new(());
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.patience);
    // Otherwise hyper looks for the caller's end while a request is under way, and drops what answers it.
    http.half_close(abandoned == Abandoned::RunsOn).max_headers(MAX_HEADERS);
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes the slots");
            (slot, accept(&listeners).await)
        };
        let (slot, (stream, peer)) = tokio::select! {
            biased;
            () = &mut stop => break,
            next = next => next,
        };
        // Replies leave at once; without it some wait for the client's delayed ACK.
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let mut request: Request = request.map(|body| timed(body, limits.patience));
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let stream = TokioIo::new(Impatient::new(stream, limits.patience));
        let connection = http.serve_connection(stream, service);
        let mut closing = closing.subscribe();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            // An error is the caller's: it went away, sent what is no HTTP, or took too long.
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = closing.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listeners);
    closing.send_replace(());
    while connections.join_next().await.is_some() {}
}

async fn accept(listeners: &[TcpListener]) -> (TcpStream, SocketAddr) {
    loop {
        let next = poll_fn(|context| {
            let ready = listeners.iter().map(|listener| listener.poll_accept(context)).find(Poll::is_ready);
            ready.unwrap_or(Poll::Pending)
        });
        match next.await {
            Ok(accepted) => return accepted,
            // The caller went away before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

/// A body that fails when it takes longer than `patience`.
fn timed(body: Incoming, patience: Duration) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    Body::new(Timed { body, end: Box::pin(tokio::time::sleep(patience)) })
}

struct Timed {
    body: Incoming,
    end: Pin<Box<Sleep>>,
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(Some(Err("the body took too long".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[path = "connections_tests.rs"]
mod tests;
