//! Items: listed, created once and only once, read and changed.

use super::actor::{Actor, Rest, array, ids, pick, push, text};
use crate::random::Random;
use reqwest::Method;
use serde_json::{Value, json};

/// Items a page.
const PAGE: usize = 50;

impl Actor<'_> {
    pub(super) async fn list_items(&self) {
        let floor = self.world.truth.items_floor(&self.org.id);
        let reply = self.get("list-items", format!("/items?limit={PAGE}")).await;
        if reply.status == 200 {
            let (ids, more) = ids(&reply.body);
            self.world.truth.first_page(&self.org.id, floor, &ids, more);
        }
    }

    /// Sends a creation once, or twice under one key: then both replies are of one item.
    pub(super) async fn create_item(&self, random: &mut Random, times: usize) {
        let body = json!({"name": format!("Item {}", random.below(1_000_000)), "description": "Of some importance."});
        let key = [("idempotency-key", format!("load-{}-{}", random.bits(), random.bits()))];
        let headers: &[_] = if times > 1 { &key } else { &[] };
        let mut first = None;
        for _ in 0..times {
            let rest = Rest { body: Some(body.clone()), headers, ..Rest::expecting(&[201]) };
            let reply = self.call("create-item", Method::POST, "/items".to_owned(), rest).await;
            match (reply.status, first.take()) {
                (201, None) => {
                    self.created(&reply.body);
                    first = Some(reply.body);
                }
                (201, Some(before)) => self.world.truth.repeated(&before, &reply.body),
                _ => self.world.truth.unsure(&self.org.id, 1, 0),
            }
        }
    }

    pub(super) async fn create_batch(&self, random: &mut Random) {
        let count = 10 + random.below(41);
        let items: Vec<Value> = (0..count).map(|at| json!({"name": format!("Of a batch {at}")})).collect();
        let rest = Rest { body: Some(json!({"items": items})), ..Rest::expecting(&[201]) };
        let reply = self.call("create-item (batch)", Method::POST, "/items".to_owned(), rest).await;
        let created = array(&reply.body["created"]);
        created.iter().for_each(|item| self.created(item));
        self.world.truth.unsure(&self.org.id, count - created.len().min(count), 0);
    }

    pub(super) async fn get_item(&self, random: &mut Random) {
        let Some(id) = pick(&self.org.items, random) else { return self.list_items().await };
        let floor = self.world.truth.floor(&id);
        let reply = self.get("get-item", format!("/items/{id}")).await;
        if reply.status == 200 {
            self.world.truth.read(&id, floor, reply.body["version"].as_u64());
        }
        self.world.truth.is_there(&self.org.id, &format!("item {id}"), reply.status);
    }

    pub(super) async fn update_item(&self, random: &mut Random) {
        let Some(id) = pick(&self.org.items, random) else { return self.list_items().await };
        let rest = Rest { body: Some(json!({"description": "Changed."})), ..Rest::expecting(&[200]) };
        let reply = self.call("update-item", Method::PATCH, format!("/items/{id}"), rest).await;
        if reply.status == 200 {
            self.world.truth.acknowledged(&id, reply.body["version"].as_u64().unwrap_or(0));
        }
    }

    pub(super) async fn ask_for_what_is_anothers(&self, random: &mut Random) {
        let (other, _) = self.world.anybody(random);
        let Some(id) = pick(&other.items, random).filter(|_| other.id != self.org.id) else {
            return self.list_items().await;
        };
        let reply = self.call("get-item (foreign)", Method::GET, format!("/items/{id}"), Rest::expecting(&[404])).await;
        self.world.truth.foreign(&self.org.id, (&id, &other.id), reply.status);
    }

    fn created(&self, item: &Value) {
        let id = text(&item["id"]);
        self.world.truth.item(&self.org.id, &id);
        self.world.truth.acknowledged(&id, item["version"].as_u64().unwrap_or(0));
        push(&self.org.items, id);
    }
}
