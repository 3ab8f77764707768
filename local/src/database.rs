//! The embedded DynamoDB: `dynoxide` over SQLite. The functions' calls are answered in the
//! process (`layers::embedded`); scripts, tests and other processes reach it over HTTP, on a thread and a runtime of its own.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, uri::PathAndQuery};
use dynoxide::{Database as Dynoxide, DynoxideError, server::serve_with_shutdown};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::connections::{self, Abandoned, Limits};
use crate::{clock::Clock, layers::embedded::EmbeddedDatabase, table_stream, template::Table};

/// How often expired records are deleted. DynamoDB itself promises "within a few days".
const TTL_SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// How long requests under way may take to finish when the database is closed.
const CLOSING_TIME: Duration = Duration::from_secs(3);

/// Where the records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory: gone when the system stops.
    Memory,
    /// In files in this folder, which is created if need be.
    Folder(PathBuf),
}

/// Why the database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The folder cannot be created or its lock not be taken.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another running system has the folder.
    #[error("{} is in use by another running system", .0.display())]
    InUse(PathBuf),
    /// The folder's table was made from another template.
    #[error("the table in {} has other keys than the template's: remove the folder", .0.display())]
    OtherKeys(PathBuf),
    /// The database engine refused.
    #[error("embedded database: {0}")]
    Engine(#[from] DynoxideError),
    /// No port, thread or runtime to be had.
    #[error("embedded database: {0}")]
    Server(io::Error),
}

/// A running database. Dropping it closes it too, without waiting.
#[derive(Debug)]
pub struct Database {
    address: SocketAddr,
    in_process: EmbeddedDatabase,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
    /// Held as long as the folder is used.
    _lock: Option<File>,
}

impl Database {
    /// Opens the storage, makes sure that the table `name` is there, and serves it on a free port
    /// of the loopback interface. Records in memory expire by `clock`, those in a folder by the machine's: where `clock` is behind that,
    /// they stay, for to the system whose clock it is they live.
    ///
    /// # Errors
    /// See [`DatabaseError`].
    pub fn open(storage: &Storage, name: &str, table: &Table, clock: &Clock) -> Result<Self, DatabaseError> {
        let (engine, lock) = match storage {
            Storage::Memory => (table_stream::in_memory(clock)?, None),
            Storage::Folder(folder) => {
                let lock = lock(folder)?;
                let engine = table_stream::in_file(&folder.join("dynamodb.sqlite"))?;
                // Leaving bulk loading sets synchronous=NORMAL: several times faster writes, and
                // the write-ahead log still survives a killed process.
                engine.enable_bulk_loading()?;
                engine.disable_bulk_loading()?;
                (engine, Some(lock))
            }
        };
        ensure_table(&engine, storage, name, table)?;
        ensure_stream(&engine, name, table)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(DatabaseError::Server)?;
        listener.set_nonblocking(true).map_err(DatabaseError::Server)?;
        let address = listener.local_addr().map_err(DatabaseError::Server)?;
        let (stop, stopped) = oneshot::channel();
        let expiring = (*storage == Storage::Memory || !clock.is_behind()).then(|| engine.clone());
        let in_process = EmbeddedDatabase::new(format!("http://{address}"), engine.clone());
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DatabaseError::Server)?;
        let thread = thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || {
                runtime.block_on(serve(listener, engine, expiring, stopped));
                runtime.shutdown_timeout(CLOSING_TIME);
            })
            .map_err(DatabaseError::Server)?;
        Ok(Self { address, in_process, stop, thread, _lock: lock })
    }

    /// Where the SDK's client finds it.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The layer that answers calls to it in this process.
    #[must_use]
    pub fn in_process(&self) -> EmbeddedDatabase {
        self.in_process.clone()
    }

    /// Lets requests under way finish, writes everything to disk and closes.
    pub async fn close(self) {
        self.in_process.close();
        let _ = self.stop.send(());
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

/// Serves until `stopped`, sweeping the expired records of `expiring` meanwhile. The engine's own server answers pages of any origin, and has no place
/// for a layer: it listens where nobody looks, and whatever is asked for by this machine's names is passed on to it.
async fn serve(listener: TcpListener, engine: Dynoxide, expiring: Option<Dynoxide>, stopped: oneshot::Receiver<()>) {
    let (Ok(listener), Ok(hidden)) = (tokio::net::TcpListener::from_std(listener), hidden().await) else { return };
    let Ok(address) = hidden.local_addr() else { return };
    let sweeper = expiring.map(|expiring| tokio::spawn(sweep(expiring)));
    let (close, closed) = oneshot::channel::<()>();
    let behind = tokio::spawn(serve_with_shutdown(hidden, engine, async move {
        let _ = closed.await;
    }));
    let (closing, mut is_closing) = oneshot::channel();
    let stop = async move {
        let _ = stopped.await;
        let _ = closing.send(());
    };
    let before = connections::serve(vec![listener], passed_on(address), Limits::default(), Abandoned::Ends, stop);
    tokio::pin!(before);
    tokio::select! {
        () = &mut before => {}
        _ = &mut is_closing => {
            let _ = tokio::time::timeout(CLOSING_TIME, before).await;
        }
    }
    let _ = close.send(());
    let _ = tokio::time::timeout(CLOSING_TIME, behind).await;
    if let Some(sweeper) = sweeper {
        sweeper.abort();
    }
}

/// A port of a loopback address that is taken at random, of 16 million on Linux; elsewhere there may be only one.
async fn hidden() -> io::Result<tokio::net::TcpListener> {
    let [.., a, b, c] = *Uuid::new_v4().as_bytes();
    match tokio::net::TcpListener::bind((Ipv4Addr::new(127, a, b, c.clamp(1, 254)), 0)).await {
        Err(_) => tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        listener => listener,
    }
}

/// Hands each request to the server at `address`.
fn passed_on(address: SocketAddr) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    Router::new().fallback(async move |mut request: Request| {
        let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        *request.uri_mut() = format!("http://{address}{path}").parse().map_err(|_| StatusCode::BAD_REQUEST)?;
        let reply = client.request(request).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        Ok::<_, StatusCode>(reply.map(Body::new))
    })
}

async fn sweep(engine: Dynoxide) {
    let mut interval = tokio::time::interval(TTL_SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        let engine = engine.clone();
        let swept = tokio::task::spawn_blocking(move || engine.sweep_ttl()).await;
        if let Ok(Err(error)) = swept {
            eprintln!("embedded database: expired records stay: {error}");
        }
    }
}

fn lock(folder: &Path) -> Result<File, DatabaseError> {
    fs::create_dir_all(folder).map_err(|source| DatabaseError::Folder { path: folder.to_owned(), source })?;
    let path = folder.join("lock");
    let lock = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| DatabaseError::Folder { path: path.clone(), source })?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(DatabaseError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(DatabaseError::Folder { path, source }),
    }
}

/// Creates the table as the template defines it, or checks that the one there has its keys.
fn ensure_table(engine: &Dynoxide, storage: &Storage, name: &str, table: &Table) -> Result<(), DatabaseError> {
    if let Some(existing) = engine.get_table_metadata(name)? {
        let keys: Option<Json> = serde_json::from_str(&existing.key_schema).ok();
        return match storage {
            Storage::Folder(folder) if keys.as_ref() != Some(&table.definition["KeySchema"]) => {
                Err(DatabaseError::OtherKeys(folder.clone()))
            }
            _ => Ok(()),
        };
    }
    let mut request = table.definition.clone();
    request["TableName"] = name.into();
    engine.create_table(from_json(request)?)?;
    if let Some(attribute) = &table.ttl_attribute {
        engine.update_time_to_live(from_json(json!({
            "TableName": name,
            "TimeToLiveSpecification": { "AttributeName": attribute, "Enabled": true },
        }))?)?;
    }
    Ok(())
}

/// Gives the table its stream, also one that was made before it had one.
fn ensure_stream(engine: &Dynoxide, name: &str, table: &Table) -> Result<(), DatabaseError> {
    let Some(view_type) = &table.stream_view_type else { return Ok(()) };
    let existing = engine.get_table_metadata(name)?;
    if existing.is_some_and(|existing| existing.stream_enabled) {
        return Ok(());
    }
    let specification = json!({ "StreamEnabled": true, "StreamViewType": view_type });
    engine.update_table(from_json(json!({ "TableName": name, "StreamSpecification": specification }))?)?;
    Ok(())
}

/// A request of the database's own interface, checked like one that came over HTTP.
pub(crate) fn from_json<T: serde::de::DeserializeOwned>(request: Json) -> Result<T, DynoxideError> {
    serde_json::from_value(request).map_err(|error| DynoxideError::ValidationException(error.to_string()))
}

#[cfg(test)]
#[path = "database_tests.rs"]
mod tests;
