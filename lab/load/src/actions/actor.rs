//! Somebody who does one thing, and how a request is sent.

use crate::client::{Call, Reply};
use crate::random::Random;
use crate::world::{Org, User, World};
use reqwest::Method;
use serde_json::Value;
use std::sync::Mutex;
use std::time::Instant;

/// Somebody who does one thing.
pub(super) struct Actor<'a> {
    pub(super) world: &'a World,
    pub(super) org: &'a Org,
    pub(super) user: &'a User,
    /// Of the first request; later ones start when they are sent.
    pub(super) intended: Mutex<Option<Instant>>,
}

impl Actor<'_> {
    pub(super) async fn call(&self, endpoint: &'static str, method: Method, path: String, rest: Rest<'_>) -> Reply {
        let call = Call {
            endpoint,
            method,
            path,
            token: Some(rest.token.unwrap_or(&self.user.token)),
            body: rest.body,
            headers: rest.headers,
            expected: rest.expected,
            intended: self.intended.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take(),
        };
        let reply = self.world.client.call(call).await;
        self.world.truth.reply(&self.org.id, endpoint, &reply.body);
        reply
    }

    pub(super) async fn get(&self, endpoint: &'static str, path: String) -> Reply {
        self.call(endpoint, Method::GET, path, Rest::expecting(&[200])).await
    }
}

/// What not every request has.
pub(super) struct Rest<'a> {
    pub(super) body: Option<Value>,
    pub(super) headers: &'a [(&'static str, String)],
    pub(super) token: Option<&'a str>,
    pub(super) expected: &'a [u16],
}

impl<'a> Rest<'a> {
    pub(super) fn expecting(expected: &'a [u16]) -> Self {
        Self { body: None, headers: &[], token: None, expected }
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The identifiers of a page, and whether there are more.
pub(super) fn ids(page: &Value) -> (Vec<String>, bool) {
    let ids = array(&page["data"]).iter().map(|one| text(&one["id"])).collect();
    (ids, !page["next_cursor"].is_null())
}

pub(super) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn push(list: &Mutex<Vec<String>>, id: String) {
    list.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(id);
}

/// One of them, the newer the likelier.
pub(super) fn pick(list: &Mutex<Vec<String>>, random: &mut Random) -> Option<String> {
    let list = list.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let back = (0..3).map(|_| random.below(list.len())).min()?;
    list.iter().rev().nth(back).cloned()
}
