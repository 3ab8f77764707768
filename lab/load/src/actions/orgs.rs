//! An organization's plan and settings, and the prices of models.

use super::actor::{Actor, Rest};
use crate::random::Random;
use reqwest::Method;
use serde_json::{Value, json};

const PROVIDERS: [&str; 4] = ["anthropic", "openai", "mistral", "deepseek"];
const ZONES: [&str; 3] = ["Europe/Vienna", "America/New_York", "Asia/Tokyo"];

impl Actor<'_> {
    pub(super) async fn get_versioned(&self, endpoint: &'static str, what: &str) {
        let path = format!("/orgs/{}/{what}", self.org.id);
        let floor = self.world.truth.floor(&path);
        let reply = self.get(endpoint, path.clone()).await;
        if reply.status == 200 {
            self.world.truth.read(&path, floor, reply.body["version"].as_u64());
        }
    }

    pub(super) async fn put_settings(&self, random: &mut Random) {
        let zone = ZONES[random.below(ZONES.len())];
        let body = json!({"settings": {"timezone": zone}});
        self.put_versioned("put-org-settings", "settings", body).await;
    }

    pub(super) async fn put_versioned(&self, endpoint: &'static str, what: &str, body: Value) {
        let path = format!("/orgs/{}/{what}", self.org.id);
        let owner = self.org.users.first().map(|owner| owner.token.as_str());
        let rest = Rest { body: Some(body), token: owner, ..Rest::expecting(&[200]) };
        let reply = self.call(endpoint, Method::PUT, path.clone(), rest).await;
        if reply.status == 200 {
            self.world.truth.acknowledged(&path, reply.body["version"].as_u64().unwrap_or(0));
        }
    }

    pub(super) async fn prices(&self, random: &mut Random) {
        let provider = PROVIDERS[random.below(PROVIDERS.len())];
        let reply = self.get("get-model-pricing", format!("/models/pricing?provider={provider}")).await;
        if reply.status == 200 {
            self.world.truth.prices(provider, &reply.body, self.world.client.elapsed());
        }
    }
}
