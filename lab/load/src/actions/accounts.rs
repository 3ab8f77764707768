//! Users: their public profiles, and sessions of their own.

use super::actor::{Actor, Rest, text};
use crate::random::Random;
use crate::world::PASSWORD;
use reqwest::Method;
use serde_json::json;

impl Actor<'_> {
    /// Anybody's public profile: the number in the name is its version.
    pub(super) async fn get_user(&self, random: &mut Random) {
        let (_, other) = self.world.anybody(random);
        let path = format!("/users/{}", other.user_id);
        let floor = self.world.truth.floor(&path);
        let reply = self.get("get-user", path.clone()).await;
        if reply.status == 200 {
            let version = reply.body["name"].as_str().and_then(|name| name.strip_prefix("Ada ")?.parse().ok());
            self.world.truth.read(&path, floor, version);
        }
    }

    pub(super) async fn update_me(&self) {
        let mut renewals = self.user.renewals.lock().await;
        *renewals += 1;
        let rest = Rest { body: Some(json!({"name": format!("Ada {}", *renewals)})), ..Rest::expecting(&[200]) };
        let reply = self.call("update-me", Method::PATCH, "/me".to_owned(), rest).await;
        if reply.status == 200 {
            self.world.truth.acknowledged(&format!("/users/{}", self.user.user_id), *renewals);
        }
    }

    /// A session of its own, which is worth nothing once it is ended.
    pub(super) async fn log_in_and_out(&self) {
        let body = json!({"email": self.user.email, "password": PASSWORD, "org_id": self.org.id});
        let rest = Rest { body: Some(body), ..Rest::expecting(&[200]) };
        let reply = self.call("login", Method::POST, "/auth/login".to_owned(), rest).await;
        let token = text(&reply.body["token"]);
        if reply.status != 200 {
            return;
        }
        self.world.truth.session(&self.org.id, reply.body["org"]["id"].as_str());
        let rest = Rest { token: Some(&token), ..Rest::expecting(&[204]) };
        if self.call("logout", Method::POST, "/auth/logout".to_owned(), rest).await.status == 204 {
            let rest = Rest { token: Some(&token), ..Rest::expecting(&[401]) };
            let reply = self.call("get-me (ended)", Method::GET, "/me".to_owned(), rest).await;
            self.world.truth.ended_session(&self.org.id, reply.status);
        }
    }
}
