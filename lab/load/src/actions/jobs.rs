//! Slow work: analyses and e-mails, and what became of them.

use super::actor::{Actor, Rest, ids, pick, push};
use crate::random::Random;
use crate::settle::usage;
use reqwest::Method;
use serde_json::{Value, json};

const WORDS: [&str; 6] =
    ["A good day.", "The slow train was late again.", "We love it!", "Nobody came.", "It works.", "Why?"];

impl Actor<'_> {
    pub(super) async fn analyze(&self, random: &mut Random, wait: bool) {
        let words: Vec<&str> = (0..20 + random.below(200)).map(|_| WORDS[random.below(WORDS.len())]).collect();
        let prefer = [("prefer", "wait=10".to_owned())];
        let endpoint = if wait { "analyze (wait)" } else { "analyze" };
        let headers: &[_] = if wait { &prefer } else { &[] };
        let body = Some(json!({"text": words.join(" "), "model": "builtin"}));
        let rest = Rest { body, headers, ..Rest::expecting(&[200, 202]) };
        let reply = self.call(endpoint, Method::POST, "/analyze".to_owned(), rest).await;
        let id = if reply.status == 200 { &reply.body["job"]["id"] } else { &reply.body["id"] };
        self.accepted(reply.status, id, "analyze");
    }

    pub(super) async fn send_email(&self) {
        let body = json!({"to": self.user.email, "subject": "Hello", "text": "A line."});
        let rest = Rest { body: Some(body), ..Rest::expecting(&[202]) };
        let reply = self.call("send-email", Method::POST, "/send-email".to_owned(), rest).await;
        self.accepted(reply.status, &reply.body["job_id"], "send_email");
    }

    pub(super) fn accepted(&self, status: u16, id: &Value, kind: &'static str) {
        match (status, id.as_str()) {
            (200 | 202, Some(id)) => {
                self.world.truth.job(&self.org.id, id, kind);
                push(&self.org.jobs, id.to_owned());
            }
            _ => self.world.truth.unsure(&self.org.id, 0, 1),
        }
    }

    pub(super) async fn get_job(&self, random: &mut Random) {
        let Some(id) = pick(&self.org.jobs, random) else { return self.list_items().await };
        let reply = self.get("get-job", format!("/jobs/{id}")).await;
        self.world.truth.is_there(&self.org.id, &format!("job {id}"), reply.status);
    }

    pub(super) async fn list_jobs(&self) {
        let (floor, _, _) = self.world.truth.jobs_floor(&self.org.id);
        let reply = self.get("list-jobs", "/jobs?limit=20".to_owned()).await;
        if reply.status == 200 {
            let (ids, more) = ids(&reply.body);
            self.world.truth.first_jobs(&self.org.id, floor, &ids, more);
        }
    }

    pub(super) async fn usage(&self) {
        let floor = self.world.truth.jobs_floor(&self.org.id);
        let reply = self.get("get-usage", "/usage".to_owned()).await;
        if reply.status == 200 {
            self.world.truth.usage(&self.org.id, floor, usage(&reply.body));
        }
    }
}
