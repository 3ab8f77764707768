//! One connection to the cache server: made on first use, shared by every caller, made anew when it is
//! lost. No operation outlasts its deadline, whatever the server or the network does.

use super::breaker::{Access, Breaker};
use super::endpoint_resolver::EndpointResolver;
use super::entry::now_ms;
use super::url::{Endpoint, Server};
use super::{Options, iam};
use crate::aws::AMAZON_ROOTS;
use crate::telemetry::chain;
use futures_util::FutureExt as _;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

/// A connection that was not used for so long may have died unseen, as it does while an environment is
/// frozen: the first try on it gets [`FIRST_TRY`] only, which leaves time for another on a new connection.
const IDLE_MS: u64 = 1000;
const FIRST_TRY: Duration = Duration::from_millis(8);

/// Turns of the scheduler that a late reply gets.
const TURNS: usize = 3;

/// Making a connection goes on in the background past the deadline of whoever asked for it, for this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Why an operation gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("no answer in time")]
    Late,
    #[error("connecting failed: {0}")]
    Connect(Arc<RedisError>),
    #[error("the connection was lost: {0}")]
    Lost(RedisError),
    #[error("the server refused: {0}")]
    Refused(RedisError),
    #[error("not tried: it failed just now")]
    Open,
}

/// The way to one server.
pub(super) struct Connection {
    server: Server,
    options: Options,
    pub(super) endpoint_resolver: Arc<EndpointResolver>,
    state: Arc<Mutex<State>>,
    timers: Timers,
    pub(super) breaker: Breaker,
    started: Instant,
}

#[derive(Default)]
struct State {
    current: Option<Current>,
    /// Set while a connection is being made; changes when that ended.
    connecting: Option<watch::Receiver<Option<Arc<RedisError>>>>,
    made: u64,
}

#[derive(Clone)]
struct Current {
    serial: u64,
    connection: MultiplexedConnection,
    driver: Arc<Driver>,
    made_ms: u64,
}

/// The task that moves a connection's bytes. It ends with the last user of the connection, also when the
/// server never answers what it was sent.
struct Driver {
    task: JoinHandle<()>,
    /// When the server last answered. Several operations that begin at once after a long time all doubt it.
    answered_ms: AtomicU64,
}

impl Driver {
    /// One whose server has just answered to the login.
    fn new(task: JoinHandle<()>) -> Self {
        Self { task, answered_ms: AtomicU64::new(now_ms()) }
    }

    fn is_doubtful(&self) -> bool {
        now_ms().saturating_sub(self.answered_ms.load(Relaxed)) > IDLE_MS
    }

    fn answered(&self) {
        self.answered_ms.store(now_ms(), Relaxed);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Timers that are kept from one operation to the next. Setting a timer wakes the runtime's driver (a system
/// call, and a turn for nothing); one that is still set is moved to a later time for free.
#[derive(Default)]
struct Timers(Mutex<Vec<Pin<Box<Sleep>>>>);

impl Timers {
    /// What `future` gives by `deadline`, if it does.
    async fn within<F: Future + Unpin>(&self, deadline: Instant, mut future: F) -> Option<F::Output> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut timer = match kept {
            Some(mut timer) => {
                timer.as_mut().reset(deadline.into());
                timer
            }
            None => Box::pin(sleep_until(deadline.into())),
        };
        let output = tokio::select! {
            biased;
            output = &mut future => Some(output),
            () = &mut timer => None,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(timer);
        output
    }
}

impl Connection {
    pub(super) fn new(server: Server, options: Options) -> Self {
        Self {
            endpoint_resolver: Arc::new(EndpointResolver::new(&server, options.control_plane.clone())),
            server,
            options,
            state: Arc::default(),
            timers: Timers::default(),
            breaker: Breaker::default(),
            started: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed_ms(&self) -> u64 {
        super::entry::millis(self.started.elapsed())
    }

    /// Whether its breaker is open, and it has failed within so long.
    pub(super) fn failed_within(&self, within: Duration) -> bool {
        self.breaker.failed_within(super::entry::millis(within), self.elapsed_ms())
    }

    /// Runs one command within `patience`, unless the breaker forbids it. `insist` tries all the same: what
    /// a reader may skip, a writer must deliver. `command` makes it for each try: a connection that was given up
    /// may still deliver what was sent on it, later.
    pub(super) async fn run(
        &self,
        command: &mut (dyn FnMut() -> Cmd + Send),
        access: Access,
        patience: Duration,
        insist: bool,
    ) -> Result<Value, ConnectionError> {
        if !self.breaker.admits(self.elapsed_ms()) && !insist {
            return Err(ConnectionError::Open);
        }
        let result = self.attempt_twice(command, Instant::now() + patience).await;
        match &result {
            Ok(_) => {
                if self.breaker.succeeded(access) {
                    tracing::info!("the cache answers again");
                }
            }
            Err(ConnectionError::Refused(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {}
            Err(error) => {
                if self.breaker.failed(access, self.elapsed_ms()) {
                    tracing::warn!(cause = chain(&error), "the cache fails; doing without it");
                }
                if self.breaker.is_open() {
                    self.endpoint_resolver.doubt();
                }
            }
        }
        result
    }

    async fn attempt_twice(
        &self,
        command: &mut (dyn FnMut() -> Cmd + Send),
        deadline: Instant,
    ) -> Result<Value, ConnectionError> {
        let current = self.connection(deadline).await?;
        let doubtful = current.driver.is_doubtful();
        let first = if doubtful { deadline.min(Instant::now() + FIRST_TRY) } else { deadline };
        match self.attempt(&command(), current, first).await {
            Err(ConnectionError::Lost(_)) => {}
            Err(ConnectionError::Late) if doubtful => {}
            other => return other,
        }
        let current = self.connection(deadline).await?;
        self.attempt(&command(), current, deadline).await
    }

    async fn attempt(&self, command: &Cmd, mut current: Current, deadline: Instant) -> Result<Value, ConnectionError> {
        let mut reply = pin!(current.connection.send_packed_command(command));
        let mut answer = self.timers.within(deadline, reply.as_mut()).await;
        // A process that was not run for a while finds the deadline passed and the reply arrived: the task
        // that reads it gets its turn first.
        for _ in 0..TURNS {
            if answer.is_none() {
                tokio::task::yield_now().await;
                answer = reply.as_mut().now_or_never();
            }
        }
        let error = match answer.map(|reply| reply.and_then(Value::extract_error)) {
            Some(Ok(value)) => {
                current.driver.answered();
                return Ok(value);
            }
            None => ConnectionError::Late,
            Some(Err(error)) => match error.kind() {
                ErrorKind::Server(ServerErrorKind::NoScript) => return Err(ConnectionError::Refused(error)),
                ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                    ConnectionError::Refused(error)
                }
                _ => ConnectionError::Lost(error),
            },
        };
        // A server that is loading, was demoted or hangs may have a successor under the same name.
        self.discard(current.serial);
        Err(error)
    }

    fn discard(&self, serial: u64) {
        let mut state = self.state();
        if state.current.as_ref().is_some_and(|current| current.serial == serial) {
            state.current = None;
        }
    }

    /// Begins to make a connection where there is none.
    pub(super) fn connect(&self) {
        let mut state = self.state();
        self.drop_old(&mut state);
        if state.current.is_none() && state.connecting.is_none() {
            self.start_connecting(&mut state);
        }
    }

    fn drop_old(&self, state: &mut State) {
        let oldest_ms = now_ms().saturating_sub(super::entry::millis(self.options.connection_age));
        if state.current.as_ref().is_some_and(|current| current.made_ms < oldest_ms) {
            state.current = None;
        }
    }

    /// The current connection, or a new one.
    async fn connection(&self, deadline: Instant) -> Result<Current, ConnectionError> {
        let mut ending = {
            let mut state = self.state();
            self.drop_old(&mut state);
            if let Some(current) = &state.current {
                return Ok(current.clone());
            }
            match &state.connecting {
                Some(ending) => ending.clone(),
                None => self.start_connecting(&mut state),
            }
        };
        match timeout_at(deadline.into(), ending.changed()).await {
            Err(_elapsed) => return Err(ConnectionError::Late),
            Ok(Ok(())) => {}
            // The task that connected went down with its runtime.
            Ok(Err(_gone)) => self.state().connecting = None,
        }
        if let Some(current) = &self.state().current {
            return Ok(current.clone());
        }
        let error = ending.borrow().clone();
        Err(error.map_or(ConnectionError::Late, ConnectionError::Connect))
    }

    fn start_connecting(&self, state: &mut State) -> watch::Receiver<Option<Arc<RedisError>>> {
        let (sender, receiver) = watch::channel(None);
        state.connecting = Some(receiver.clone());
        let (server, options, state) = (self.server.clone(), self.options.clone(), Arc::clone(&self.state));
        let endpoint_resolver = Arc::clone(&self.endpoint_resolver);
        tokio::spawn(async move {
            let outcome = match endpoint_resolver.endpoint().await {
                Err(error) => Err(error),
                Ok(endpoint) => match timeout(CONNECT_WITHIN, connect(&server, &endpoint, &options)).await {
                    Ok(outcome) => outcome,
                    Err(_elapsed) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                },
            };
            if outcome.is_err() {
                endpoint_resolver.doubt();
            }
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.connecting = None;
            match outcome {
                Ok((connection, driver)) => {
                    state.made += 1;
                    let serial = state.made;
                    state.current = Some(Current { serial, connection, driver: Arc::new(driver), made_ms: now_ms() });
                    sender.send_replace(None);
                }
                Err(error) => {
                    sender.send_replace(Some(Arc::new(error)));
                }
            }
        });
        receiver
    }
}

/// Makes a connection and logs in.
async fn connect(
    server: &Server,
    endpoint: &Endpoint,
    options: &Options,
) -> Result<(MultiplexedConnection, Driver), RedisError> {
    let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(server.database.into());
    if let Some(user) = &server.user {
        info = info.set_username(user);
    }
    let token = options.iam.as_ref().and_then(|iam| iam::token(iam, server, SystemTime::now()));
    if let Some(password) = token.as_ref().or(server.password.as_ref()) {
        info = info.set_password(password);
    }
    if server.tls {
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        let stream = tls(options.extra_roots.as_deref())?.connect(name, stream).await?;
        drive(&info, stream).await
    } else {
        drive(&info, stream).await
    }
}

async fn drive<S>(info: &RedisConnectionInfo, stream: S) -> Result<(MultiplexedConnection, Driver), RedisError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The deadline is ours: one timer per operation, not two.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(info, stream, config).await?;
    Ok((connection, Driver::new(tokio::spawn(driver))))
}

/// TLS that trusts Amazon's roots and the configured extra ones (PEM) only.
fn tls(extra_roots: Option<&[u8]>) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for pem in [Some(AMAZON_ROOTS.as_bytes()), extra_roots].into_iter().flatten() {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
