//! The cache on a Redis or Valkey server: a plain command to look up, one script per change. Every command
//! touches one key, as cluster mode wants it.

use super::breaker::Access;
use super::class::EntryAddress;
use super::connection::{Connection, ConnectionError};
use super::entry::{self, Fence, HEADER, millis};
use super::operation::{Acquisition, Kept, Read};
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};
use std::sync::LazyLock;
use std::time::Duration;

/// Most pages of one group; one more starts it anew.
const PAGES: u32 = 200;

struct Script {
    code: &'static str,
    sha: LazyLock<String>,
}

macro_rules! script {
    ($file:literal) => {
        Script {
            code: include_str!(concat!("scripts/", $file)),
            sha: LazyLock::new(|| redis::Script::new(include_str!(concat!("scripts/", $file))).get_hash().to_owned()),
        }
    };
}

static ACQUIRE: Script = script!("acquire.lua");
static STORE: Script = script!("store.lua");
static RENEW: Script = script!("renew.lua");
static COUNT: Script = script!("count.lua");

pub(super) async fn read(
    connection: &Connection,
    address: &EntryAddress,
    patience: Duration,
) -> Result<Option<Vec<u8>>, ConnectionError> {
    let mut command = || {
        let mut command = Cmd::with_capacity(3, 8 + address.key().len() + address.page().len());
        if address.page().is_empty() {
            command.arg("GET").arg(address.key());
        } else {
            command.arg("HGET").arg(address.key()).arg(address.page());
        }
        command
    };
    match connection.run(&mut command, Access::Read, patience, false).await? {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Ok(None),
    }
}

/// Reads a value that stands alone; where there is none, puts a lease there for `lease_for`, by the same command.
/// `NX` together with `GET` is Redis 7's and Valkey's. <https://redis.io/docs/latest/commands/set/>
pub(super) async fn read_or_acquire(
    connection: &Connection,
    address: &EntryAddress,
    schema: u8,
    lease_for: Duration,
    patience: Duration,
) -> Result<Read, ConnectionError> {
    let (mut earlier, mut fence) = (Fence::NONE, Fence::NONE);
    let mut command = || {
        earlier = std::mem::replace(&mut fence, Fence::unique());
        let lease = entry::of_lease(schema, fence);
        let mut command = Cmd::with_capacity(7, 20 + address.key().len() + HEADER);
        command.arg("SET").arg(address.key()).arg(&lease[..]).arg("NX").arg("GET").arg("PX").arg(millis(lease_for));
        command
    };
    let reply = connection.run(&mut command, Access::Write, patience, false).await?;
    Ok(match reply {
        // The lease of its first try is what the second finds where only the reply was lost. That try is over: it cannot come again.
        Value::BulkString(bytes) if earlier != Fence::NONE && bytes == entry::of_lease(schema, earlier) => {
            Read::Leased(earlier)
        }
        Value::BulkString(bytes) => Read::Found(bytes),
        _ => Read::Leased(fence),
    })
}

pub(super) async fn acquire(
    connection: &Connection,
    address: &EntryAddress,
    schema: u8,
    lease_for: Duration,
    now_ms: u64,
    patience: Duration,
) -> Result<Acquisition, ConnectionError> {
    let mut fence = Fence::NONE;
    let reply = run(connection, &ACQUIRE, address.key(), patience, false, &mut |command| {
        let earlier = std::mem::replace(&mut fence, Fence::unique());
        let lease = entry::of_lease(schema, fence);
        command.arg(address.page()).arg(&lease[..]).arg(millis(lease_for)).arg(now_ms).arg(&earlier.0[..]);
    })
    .await?;
    Ok(match reply {
        Value::BulkString(bytes) => Acquisition::Present(bytes),
        Value::Int(left) if left > 0 => Acquisition::Held(Duration::from_millis(left.unsigned_abs())),
        _ => Acquisition::Granted(fence),
    })
}

/// Gives whether the lease stood.
pub(super) async fn store(
    connection: &Connection,
    address: &EntryAddress,
    fence: Fence,
    kept: Option<Kept<'_>>,
    patience: Duration,
) -> Result<bool, ConnectionError> {
    let (entry, keep) = kept.map_or((&[][..], 0), |kept| (kept.entry, millis(kept.keep)));
    let reply = run(connection, &STORE, address.key(), patience, false, &mut |command| {
        command.arg(address.page()).arg(&fence.0).arg(entry).arg(keep).arg(PAGES);
    })
    .await?;
    Ok(reply == Value::Int(1))
}

pub(super) async fn renew(
    connection: &Connection,
    address: &EntryAddress,
    new: Kept<'_>,
    patience: Duration,
) -> Result<(), ConnectionError> {
    run(connection, &RENEW, address.key(), patience, true, &mut |command| {
        command.arg(address.page()).arg(new.entry).arg(millis(new.keep));
    })
    .await
    .map(drop)
}

pub(super) async fn invalidate(
    connection: &Connection,
    address: &EntryAddress,
    patience: Duration,
) -> Result<(), ConnectionError> {
    let mut command = || {
        let mut command = redis::cmd("UNLINK");
        command.arg(address.key());
        command
    };
    connection.run(&mut command, Access::Write, patience, true).await.map(drop)
}

/// How much was counted under a key within a window, this included.
pub(super) async fn count(
    connection: &Connection,
    key: &str,
    window: Duration,
    patience: Duration,
) -> Result<Option<u64>, ConnectionError> {
    let reply = run(connection, &COUNT, key, patience, false, &mut |command| {
        command.arg(millis(window));
    })
    .await?;
    Ok(if let Value::Int(count) = reply { u64::try_from(count).ok() } else { None })
}

pub(super) async fn ping(connection: &Connection, patience: Duration) -> Result<(), ConnectionError> {
    connection.run(&mut || redis::cmd("PING"), Access::Read, patience, true).await.map(drop)
}

/// Runs a script by its hash, and by its text where the server does not know it yet. The breaker admits both as one:
/// the first may be its only probe of this second.
async fn run(
    connection: &Connection,
    script: &Script,
    key: &str,
    patience: Duration,
    insist: bool,
    arguments: &mut (dyn FnMut(&mut Cmd) + Send),
) -> Result<Value, ConnectionError> {
    let mut command = |verb: &str, script: &str| {
        let mut command = redis::cmd(verb);
        command.arg(script).arg(1).arg(key);
        arguments(&mut command);
        command
    };
    let by_hash = connection.run(&mut || command("EVALSHA", &script.sha), Access::Write, patience, insist).await;
    match by_hash {
        Err(ConnectionError::Refused(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            connection.run(&mut || command("EVAL", script.code), Access::Write, patience, true).await
        }
        other => other,
    }
}
