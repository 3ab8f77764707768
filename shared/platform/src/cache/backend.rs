//! Where entries lie: on a server, in this process's memory, or nowhere.

use super::class::EntryAddress;
use super::connection::{Connection, ConnectionError};
use super::entry::Fence;
use super::memory::Memory;
use super::operation::{Acquisition, Kept, Read};
use super::server;
use crate::telemetry::{Part, timed};
use std::future::Future;
use std::time::Duration;

pub(super) enum Backend {
    Server(Box<Connection>),
    Memory(Memory),
    Off,
}

/// How long this caller waits for an operation. Once one has failed, not at all: one failure per caller is
/// enough.
pub(super) struct Budget(pub(super) Duration);

impl Budget {
    /// Runs one operation, unless one has failed.
    async fn spend<T, F>(&mut self, operation: impl FnOnce(Duration) -> F) -> Result<T, ConnectionError>
    where
        F: Future<Output = Result<T, ConnectionError>>,
    {
        if self.0.is_zero() {
            return Err(ConnectionError::Open);
        }
        let result = timed(Part::Cache, operation(self.0)).await;
        if result.is_err() {
            self.0 = Duration::ZERO;
        }
        result
    }
}

impl Backend {
    pub(super) async fn read(
        &self,
        address: &EntryAddress,
        budget: &mut Budget,
    ) -> Result<Option<Vec<u8>>, ConnectionError> {
        match self {
            Self::Server(connection) => budget.spend(|patience| server::read(connection, address, patience)).await,
            Self::Memory(memory) => Ok(memory.read(address)),
            Self::Off => Ok(None),
        }
    }

    /// Reads, and where there is nothing puts a lease there for `lease_for`. Pages are only read: no command of
    /// the server does both for them.
    pub(super) async fn read_or_acquire(
        &self,
        address: &EntryAddress,
        schema: u8,
        lease_for: Duration,
        budget: &mut Budget,
    ) -> Result<Read, ConnectionError> {
        match self {
            Self::Server(connection) if address.page().is_empty() => {
                budget.spend(|patience| server::read_or_acquire(connection, address, schema, lease_for, patience)).await
            }
            Self::Memory(memory) if address.page().is_empty() => Ok(memory.read_or_acquire(address, schema, lease_for)),
            _ => Ok(self.read(address, budget).await?.map_or(Read::Nothing, Read::Found)),
        }
    }

    /// Asks for a lease; what is fresh by the clock `now_ms` is given instead.
    pub(super) async fn acquire(
        &self,
        address: &EntryAddress,
        schema: u8,
        lease_for: Duration,
        now_ms: u64,
        budget: &mut Budget,
    ) -> Result<Acquisition, ConnectionError> {
        match self {
            Self::Server(connection) => {
                budget.spend(|patience| server::acquire(connection, address, schema, lease_for, now_ms, patience)).await
            }
            Self::Memory(memory) => Ok(memory.acquire(address, schema, lease_for, now_ms)),
            Self::Off => Err(ConnectionError::Open),
        }
    }

    /// Gives whether the lease stood.
    pub(super) async fn store(
        &self,
        address: &EntryAddress,
        fence: Fence,
        kept: Option<Kept<'_>>,
        budget: &mut Budget,
    ) -> Result<bool, ConnectionError> {
        match self {
            Self::Server(connection) => {
                budget.spend(|patience| server::store(connection, address, fence, kept, patience)).await
            }
            Self::Memory(memory) => Ok(memory.store(address, fence, kept)),
            Self::Off => Ok(false),
        }
    }

    pub(super) async fn renew(
        &self,
        address: &EntryAddress,
        new: Kept<'_>,
        budget: &mut Budget,
    ) -> Result<(), ConnectionError> {
        match self {
            Self::Server(connection) => {
                budget.spend(|patience| server::renew(connection, address, new, patience)).await
            }
            Self::Memory(memory) => {
                memory.renew(address, new);
                Ok(())
            }
            Self::Off => Ok(()),
        }
    }

    pub(super) async fn invalidate(&self, address: &EntryAddress, budget: &mut Budget) -> Result<(), ConnectionError> {
        match self {
            Self::Server(connection) => {
                budget.spend(|patience| server::invalidate(connection, address, patience)).await
            }
            Self::Memory(memory) => {
                memory.invalidate(address);
                Ok(())
            }
            Self::Off => Ok(()),
        }
    }

    /// Whether it failed so often that nobody waits for it, the last time within so long.
    pub(super) fn failed_within(&self, within: Duration) -> bool {
        matches!(self, Self::Server(connection) if connection.failed_within(within))
    }

    /// How much was counted under a name in the current window, this included; `None` where nothing counts.
    pub(super) async fn count(
        &self,
        name: &str,
        window: Duration,
        budget: &mut Budget,
    ) -> Result<Option<u64>, ConnectionError> {
        match self {
            Self::Server(connection) => {
                budget.spend(|patience| server::count(connection, name, window, patience)).await
            }
            Self::Memory(memory) => Ok(Some(memory.count(name, window))),
            Self::Off => Ok(None),
        }
    }
}
