//! One connection to the cache server: made on first use, shared by every caller, made anew when it is
//! lost. No operation outlasts its deadline, whatever the server or the network does.

use super::breaker::{Access, Breaker};
use super::entry::now_ms;
use super::url::Server;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{timeout, timeout_at};

/// A connection that was not used for so long may have died unseen, as it does while an environment is
/// frozen: the first try on it gets [`FIRST_TRY`] only, which leaves time for another on a new connection.
const IDLE_MS: u64 = 1000;
const FIRST_TRY: Duration = Duration::from_millis(8);

/// Making a connection goes on in the background past the deadline of who asked for it, for this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Why an operation gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
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
pub(super) struct Link {
    server: Server,
    state: Arc<Mutex<State>>,
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
    _driver: Arc<Driver>,
    used_ms: u64,
}

/// The task that moves a connection's bytes. It ends with the last user of the connection, also when the
/// server never answers what it was sent.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Link {
    pub(super) fn new(server: Server) -> Self {
        Self { server, state: Arc::default(), breaker: Breaker::default(), started: Instant::now() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn elapsed_ms(&self) -> u64 {
        super::entry::millis(self.started.elapsed())
    }

    /// Runs one command within `patience`, unless the breaker forbids it. `insist` tries all the same: what
    /// a reader may skip, a writer must deliver.
    pub(super) async fn run(
        &self,
        command: &Cmd,
        access: Access,
        patience: Duration,
        insist: bool,
    ) -> Result<Value, LinkError> {
        if !self.breaker.admits(self.elapsed_ms()) && !insist {
            return Err(LinkError::Open);
        }
        let result = self.attempt_twice(command, Instant::now() + patience).await;
        match &result {
            Ok(_) => {
                if self.breaker.succeeded(access) {
                    tracing::info!("the cache answers again");
                }
            }
            Err(LinkError::Refused(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {}
            Err(error) => {
                if self.breaker.failed(access, self.elapsed_ms()) {
                    tracing::warn!(%error, "the cache fails; doing without it");
                }
            }
        }
        result
    }

    async fn attempt_twice(&self, command: &Cmd, deadline: Instant) -> Result<Value, LinkError> {
        let current = self.connection(deadline).await?;
        let doubtful = now_ms().saturating_sub(current.used_ms) > IDLE_MS;
        let first = if doubtful { deadline.min(Instant::now() + FIRST_TRY) } else { deadline };
        match self.attempt(command, current, first).await {
            Err(LinkError::Lost(_)) => {}
            Err(LinkError::Late) if doubtful => {}
            other => return other,
        }
        let current = self.connection(deadline).await?;
        self.attempt(command, current, deadline).await
    }

    async fn attempt(&self, command: &Cmd, mut current: Current, deadline: Instant) -> Result<Value, LinkError> {
        let reply = timeout_at(deadline.into(), current.connection.send_packed_command(command)).await;
        let error = match reply.map(|reply| reply.and_then(Value::extract_error)) {
            Ok(Ok(value)) => return Ok(value),
            Err(_elapsed) => LinkError::Late,
            Ok(Err(error)) => match error.kind() {
                ErrorKind::Server(ServerErrorKind::NoScript) => return Err(LinkError::Refused(error)),
                ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::AuthenticationFailed => {
                    LinkError::Refused(error)
                }
                _ => LinkError::Lost(error),
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

    /// The current connection, or a new one.
    async fn connection(&self, deadline: Instant) -> Result<Current, LinkError> {
        let mut ending = {
            let mut state = self.state();
            if let Some(current) = &mut state.current {
                let found = current.clone();
                current.used_ms = now_ms();
                return Ok(found);
            }
            match &state.connecting {
                Some(ending) => ending.clone(),
                None => self.start_connecting(&mut state),
            }
        };
        match timeout_at(deadline.into(), ending.changed()).await {
            Err(_elapsed) => return Err(LinkError::Late),
            Ok(Ok(())) => {}
            // The task that connected went down with its runtime.
            Ok(Err(_gone)) => self.state().connecting = None,
        }
        if let Some(current) = &self.state().current {
            return Ok(current.clone());
        }
        let error = ending.borrow().clone();
        Err(error.map_or(LinkError::Late, LinkError::Connect))
    }

    fn start_connecting(&self, state: &mut State) -> watch::Receiver<Option<Arc<RedisError>>> {
        let (sender, receiver) = watch::channel(None);
        state.connecting = Some(receiver.clone());
        let (server, state) = (self.server.clone(), Arc::clone(&self.state));
        tokio::spawn(async move {
            let outcome = match timeout(CONNECT_WITHIN, connect(&server)).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            };
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.connecting = None;
            match outcome {
                Ok((connection, driver)) => {
                    state.made += 1;
                    let serial = state.made;
                    state.current = Some(Current { serial, connection, _driver: Arc::new(driver), used_ms: now_ms() });
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

async fn connect(server: &Server) -> Result<(MultiplexedConnection, Driver), RedisError> {
    let stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
    stream.set_nodelay(true)?;
    let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(user) = &server.user {
        info = info.set_username(user);
    }
    if let Some(password) = &server.password {
        info = info.set_password(password);
    }
    // The deadline is ours: one timer per operation, not two.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
    Ok((connection, Driver(tokio::spawn(driver))))
}
