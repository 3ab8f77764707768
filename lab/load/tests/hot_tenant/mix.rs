//! What is asked for, and how often.

use lambda_http::http::Method;
use load::random::Random;
use serde_json::{Value, json};

use crate::ask::{Actor, Ask};

/// Requests of the hot organization a second, by endpoint: 3,750 lists and reads, 1,250 creations and 500 jobs.
const MIX: [(&str, f64); 9] = [
    ("list-items", 1_500.0),
    ("get-item", 1_000.0),
    ("get-org-plan", 400.0),
    ("get-org-settings", 400.0),
    ("get-job", 250.0),
    ("list-jobs", 100.0),
    ("get-usage", 100.0),
    ("create-item", 1_250.0),
    ("analyze", 500.0),
];

/// Requests a second of each other organization: three lists to one creation.
const OTHERS: f64 = 0.5;

/// How often what is asked for, in one process of arrivals.
pub(crate) struct Rates {
    pub(crate) a_second: f64,
    /// The sum of the rates up to and with this.
    steps: Vec<(f64, Kind)>,
}

/// A kind of request, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) is_hot: bool,
    pub(crate) function: &'static str,
}

impl Rates {
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    pub(crate) fn of(share: f64, others: usize) -> Self {
        let hot =
            MIX.iter().filter(|_| share > 0.0).map(|(function, rate)| (Kind { is_hot: true, function }, rate * share));
        let rate = others as f64 * OTHERS;
        let cold = [("list-items", 0.75), ("create-item", 0.25)];
        let cold = cold.into_iter().map(|(function, part)| (Kind { is_hot: false, function }, rate * part));
        let mut sum = 0.0;
        let steps = hot.chain(cold).map(|(kind, rate)| {
            sum += rate;
            (sum, kind)
        });
        let steps: Vec<_> = steps.collect();
        Self { a_second: sum, steps }
    }

    /// What the others alone ask.
    pub(crate) fn of_others(others: usize) -> Self {
        Self::of(0.0, others)
    }

    pub(crate) fn pick(&self, random: &mut Random) -> Kind {
        let at = random.unit() * self.a_second;
        let found = self.steps.iter().find(|(sum, _)| at < *sum);
        found.or(self.steps.last()).unwrap().1
    }
}

/// The request of a kind that an actor makes; `known` are ids of items and of jobs of its organization.
pub(crate) fn ask(function: &str, actor: &Actor, known: (&str, &str), random: &mut Random) -> Ask {
    let org = &actor.org_id;
    let get = |path: String| (Method::GET, path, None);
    let (method, path, body): (Method, String, Option<Value>) = match function {
        "list-items" => get("/items?limit=20".to_owned()),
        "get-item" => get(format!("/items/{}", known.0)),
        "get-org-plan" => get(format!("/orgs/{org}/plan")),
        "get-org-settings" => get(format!("/orgs/{org}/settings")),
        "get-job" => get(format!("/jobs/{}", known.1)),
        "list-jobs" => get("/jobs?limit=20".to_owned()),
        "get-usage" => get("/usage".to_owned()),
        "create-item" => {
            let item = json!({"name": "A thing of the load", "description": "as long as such things are"});
            (Method::POST, "/items".to_owned(), Some(item))
        }
        "analyze" => {
            let text = format!("A short text with the number {}, which is good.", random.bits());
            (Method::POST, "/analyze".to_owned(), Some(json!({"text": text})))
        }
        other => panic!("{other} is not in the mix"),
    };
    Ask::new(method, &path, Some(actor), body)
}
