//! Where the server is: at the configured endpoint, or at the one that ElastiCache's control plane gives for
//! its name. It is looked up where none is configured, and again when the known one stops answering.

use super::control_plane::{ControlPlane, FindError, Found};
use super::entry::now_ms;
use super::random;
use super::url::{Endpoint, Server};
use crate::telemetry::chain;
use redis::RedisError;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// The pause before the name is looked up again, and how far it grows while that tells nothing new: when a
/// cache is lost, every environment of every function asks the same control plane.
const FIRST_PAUSE_MS: u64 = 5_000;
const LONGEST_PAUSE_MS: u64 = 160_000;

/// How long what the control plane said is repeated to whoever asks for this cache's health: anyone may.
const REPEATED_MS: u64 = 10_000;

/// How long [`EndpointResolver::settle`] waits.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct EndpointResolver {
    /// The name and who knows it; `None` where the configured endpoint is all there is.
    name: Option<(String, ControlPlane)>,
    known: Mutex<Known>,
    /// Held while the name is looked up.
    looking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Known {
    endpoint: Option<Endpoint>,
    doubted: bool,
    pause_ms: u64,
    next_ms: u64,
    said: Option<(u64, Result<Found, FindError>)>,
}

impl EndpointResolver {
    pub(super) fn new(server: &Server, control_plane: Option<ControlPlane>) -> Self {
        let known = Known { endpoint: server.endpoint.clone(), pause_ms: FIRST_PAUSE_MS, ..Known::default() };
        let name = server.name.clone().zip(control_plane);
        Self { name, known: Mutex::new(known), looking: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server has stopped answering: it may be elsewhere.
    pub(super) fn doubt(&self) {
        self.known().doubted = true;
    }

    /// The endpoint to connect to. Where none is known, it waits until the name was looked up; where the known
    /// one is doubted, that goes on in the background. It is not looked up again before the pause is over.
    pub(super) async fn endpoint(self: &Arc<Self>) -> Result<Endpoint, RedisError> {
        let (known, due) = {
            let mut known = self.known();
            let due = self.name.is_some() && (known.doubted || known.endpoint.is_none()) && known.next_ms <= now_ms();
            if due {
                if known.next_ms + LONGEST_PAUSE_MS < now_ms() {
                    known.pause_ms = FIRST_PAUSE_MS; // another failure than the last one
                }
                let half = known.pause_ms / 2;
                known.next_ms = now_ms() + half + half * u64::from(random()) / u64::from(u32::MAX);
            }
            (known.endpoint.clone(), due)
        };
        match known {
            Some(endpoint) => {
                if due && let Ok(looking) = Arc::clone(&self.looking).try_lock_owned() {
                    let this = Arc::clone(self);
                    tokio::spawn(async move { this.look_up(looking).await });
                }
                Ok(endpoint)
            }
            None => {
                if due {
                    self.look_up(Arc::clone(&self.looking).lock_owned().await).await;
                }
                let nowhere = || io::Error::new(io::ErrorKind::NotFound, "the cache's endpoint is not known");
                Ok(self.known().endpoint.clone().ok_or_else(nowhere)?)
            }
        }
    }

    /// Asks the control plane, and notes where the cache is.
    async fn look_up(&self, _looking: OwnedMutexGuard<()>) -> Option<Result<Found, FindError>> {
        let (name, control_plane) = self.name.as_ref()?;
        let said = control_plane.find(name).await;
        let mut known = self.known();
        if known.doubted || known.endpoint.is_none() {
            known.pause_ms = (known.pause_ms * 2).min(LONGEST_PAUSE_MS);
        }
        known.doubted = false;
        known.said = Some((now_ms(), said.clone()));
        match &said {
            Ok(Found { endpoint: Some(endpoint), kind, status }) if known.endpoint.as_ref() != Some(endpoint) => {
                tracing::info!(name, %endpoint, ?kind, status, "the cache was found");
                known.endpoint = Some(endpoint.clone());
                known.pause_ms = FIRST_PAUSE_MS;
            }
            Ok(found) => tracing::info!(name, status = found.status, "the control plane names no other endpoint"),
            Err(error) => tracing::warn!(name, cause = chain(&error), "the cache was not found"),
        }
        Some(said)
    }

    /// What the control plane says of this cache, or said less than 10 s ago; `None` where it has no name.
    pub(super) async fn said(&self) -> Option<Result<Found, FindError>> {
        self.name.as_ref()?;
        let recently = || {
            let (at_ms, said) = self.known().said.clone()?;
            (now_ms().saturating_sub(at_ms) < REPEATED_MS).then_some(said)
        };
        if let Some(said) = recently() {
            return Some(said);
        }
        let looking = Arc::clone(&self.looking).lock_owned().await;
        match recently() {
            Some(said) => Some(said),
            None => self.look_up(looking).await,
        }
    }

    /// Waits while the name is looked up: an environment that froze meanwhile would wake to a dead request.
    pub(super) async fn settle(&self) {
        if self.name.is_some() && self.looking.try_lock().is_err() {
            let _done_or_late = tokio::time::timeout(SETTLE_WITHIN, self.looking.lock()).await;
        }
    }
}
