//! The queue against a plain model of what SQS promises, under random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::sqs::message::Draft;

const ARN: &str = "arn:aws:sqs:eu-west-1:000000000000:jobs";

fn queue(max_receive_count: Option<u32>) -> Queue {
    let mut given = BTreeMap::new();
    if let Some(max) = max_receive_count {
        let policy = format!(r#"{{"deadLetterTargetArn":"dead","maxReceiveCount":{max}}}"#);
        given.insert("RedrivePolicy".to_owned(), policy);
    }
    let attributes = Attributes::default().with(&given).expect("a valid policy");
    Queue::new(ARN.to_owned(), attributes)
}

fn send(queue: &mut Queue, group: Option<&str>, delay_seconds: u64, now_ms: u64) -> String {
    let draft =
        Draft { message_body: "body".to_owned(), message_group_id: group.map(str::to_owned), ..Draft::default() };
    let message = draft.into_message(now_ms).expect("a valid message");
    let id = message.id.clone();
    queue.put(message, delay_seconds, now_ms);
    id
}

/// What a queue must do with a message, said plainly.
#[derive(Clone, Debug)]
struct Expected {
    visible_ms: u64,
    received: u32,
    handle: Option<String>,
    in_flight: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Send { group: Option<u8>, delay_seconds: u64 },
    Receive { max: usize, visibility_seconds: u64 },
    Delete { which: prop::sample::Index },
    Hide { which: prop::sample::Index, seconds: u64 },
    Pass { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let which = any::<prop::sample::Index>;
    prop_oneof![
        4 => (prop::option::of(0..3_u8), prop_oneof![Just(0), 1..20_u64])
            .prop_map(|(group, delay_seconds)| Step::Send { group, delay_seconds }),
        4 => (1..=10_usize, prop_oneof![Just(0), 1..20_u64])
            .prop_map(|(max, visibility_seconds)| Step::Receive { max, visibility_seconds }),
        2 => which().prop_map(|which| Step::Delete { which }),
        2 => (which(), prop_oneof![Just(0), 1..20_u64])
            .prop_map(|(which, seconds)| Step::Hide { which, seconds }),
        2 => (0..15_u64).prop_map(|seconds| Step::Pass { seconds }),
    ]
}

/// A queue and its model, side by side.
struct Trial {
    queue: Queue,
    receives_max: u32,
    now_ms: u64,
    model: BTreeMap<String, Expected>,
    /// Every handle ever given out, with its message and receive.
    handles: Vec<(String, String, u32)>,
}

impl Trial {
    fn run(&mut self, step: Step) {
        match step {
            Step::Send { group, delay_seconds } => {
                let group = group.map(|group| format!("group-{group}"));
                let id = send(&mut self.queue, group.as_deref(), delay_seconds, self.now_ms);
                let expected = Expected {
                    visible_ms: self.now_ms + delay_seconds * 1000,
                    received: 0,
                    handle: None,
                    in_flight: false,
                };
                self.model.insert(id, expected);
            }
            Step::Receive { max, visibility_seconds } => self.receive(max, visibility_seconds),
            Step::Delete { which } => self.delete(which),
            Step::Hide { which, seconds } => self.hide(which, seconds),
            Step::Pass { seconds } => self.now_ms += seconds * 1000,
        }
        self.queue.settle(self.now_ms);
        let visible = self.visible_ids().len();
        let hidden = self.model.values().filter(|m| m.visible_ms > self.now_ms);
        let (in_flight, delayed): (Vec<_>, Vec<_>) = hidden.partition(|m| m.in_flight);
        let expected = Counts { visible, delayed: delayed.len(), in_flight: in_flight.len() };
        assert_eq!(self.queue.counts(), expected);
    }

    fn visible_ids(&self) -> Vec<String> {
        let visible = self.model.iter().filter(|(_, m)| m.visible_ms <= self.now_ms);
        visible.map(|(id, _)| id.clone()).collect()
    }

    fn receive(&mut self, max: usize, visibility_seconds: u64) {
        let visible = self.visible_ids();
        let taken = self.queue.receive(max, visibility_seconds, self.now_ms).expect("far from the limit");
        for message in &taken.dead {
            let gone = self.model.remove(&message.id).expect("it was in the queue");
            assert!(visible.contains(&message.id), "only what is visible dies");
            assert_eq!(gone.received, self.receives_max, "after exactly that many");
        }
        for (handle, message) in &taken.received {
            assert!(visible.contains(&message.id), "in flight, delayed or deleted");
            let expected = self.model.get_mut(&message.id).expect("not deleted");
            expected.received += 1;
            assert_eq!(message.receive_count, expected.received);
            assert!(expected.received <= self.receives_max);
            expected.visible_ms = self.now_ms + visibility_seconds * 1000;
            expected.in_flight = visibility_seconds > 0;
            expected.handle = Some(handle.clone());
            self.handles.push((handle.clone(), message.id.clone(), expected.received));
        }
        let alive = visible.len() - taken.dead.len();
        if taken.received.len() < max {
            assert_eq!(taken.received.len(), alive, "all that is visible goes out");
        }
    }

    fn delete(&mut self, which: prop::sample::Index) {
        let Some((handle, id, received)) = self.pick(which) else {
            return;
        };
        let deleted = self.queue.delete(&handle, self.now_ms);
        assert_eq!(deleted, Ok(()), "stale and repeated deletions succeed");
        if self.model.get(&id).is_some_and(|m| m.received == received) {
            self.model.remove(&id);
        }
    }

    fn hide(&mut self, which: prop::sample::Index, seconds: u64) {
        let Some((handle, id, received)) = self.pick(which) else {
            return;
        };
        let changed = self.queue.change_visibility(&handle, seconds, self.now_ms);
        let outcome = changed.map_err(|error| error.kind);
        match self.model.get_mut(&id).filter(|m| m.received == received) {
            None => assert_eq!(outcome, Err(ErrorKind::InvalidParameterValue)),
            Some(message) if !message.in_flight || message.visible_ms <= self.now_ms => {
                assert_eq!(outcome, Err(ErrorKind::MessageNotInflight));
            }
            Some(message) => {
                assert_eq!(outcome, Ok(()));
                message.visible_ms = self.now_ms + seconds * 1000;
                message.in_flight = seconds > 0;
            }
        }
    }

    fn pick(&self, which: prop::sample::Index) -> Option<(String, String, u32)> {
        let some = !self.handles.is_empty();
        some.then(|| which.get(&self.handles).clone())
    }
}

proptest! {
    #[test]
    fn any_history_agrees_with_the_model(
        receives_max in 1..6_u32,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut trial = Trial {
            queue: queue(Some(receives_max)),
            receives_max,
            now_ms: 1_000_000,
            model: BTreeMap::new(),
            handles: Vec::new(),
        };
        for step in steps {
            trial.run(step);
        }
    }
}

#[test]
fn a_flood_of_one_group_holds_nobody_else_up() {
    let mut queue = queue(None);
    for _ in 0..10_000 {
        send(&mut queue, Some("noisy"), 0, 0);
    }
    // A consumer with two hundred messages in flight, all of the flood.
    for _ in 0..20 {
        queue.receive(10, 30, 0).expect("far from the limit");
    }
    let quiet =
        [send(&mut queue, Some("quiet"), 0, 1), send(&mut queue, Some("calm"), 0, 1), send(&mut queue, None, 0, 1)];
    let next = queue.receive(10, 30, 1).expect("far from the limit");
    let ids: Vec<&str> = next.received.iter().map(|(_, m)| m.id.as_str()).collect();
    for id in &quiet {
        assert!(ids.contains(&id.as_str()), "served in the next receive");
    }
    assert_eq!(ids.len(), 10, "the flood has the rest");
}

#[test]
fn what_is_older_than_the_retention_is_gone() {
    let mut queue = queue(None);
    send(&mut queue, None, 0, 0);
    let four_days_ms = 345_600_000;
    queue.settle(four_days_ms);
    assert_eq!(queue.counts().visible, 1);
    queue.settle(four_days_ms + 1);
    assert_eq!(queue.counts(), Counts::default());
}

#[test]
fn a_message_stays_hidden_for_twelve_hours_at_most() {
    let mut queue = queue(None);
    send(&mut queue, None, 0, 0);
    let taken = queue.receive(1, 30, 0).expect("far from the limit");
    let handle = &taken.received[0].0;
    assert_eq!(queue.change_visibility(handle, 43_200, 0), Ok(()));
    let later = queue.change_visibility(handle, 43_200, 1);
    let kind = later.map_err(|error| error.kind);
    assert_eq!(kind, Err(ErrorKind::InvalidParameterValue));
}

#[test]
fn the_limit_in_flight_refuses_more() {
    let mut queue = queue(None);
    for _ in 0..=IN_FLIGHT_MAX {
        send(&mut queue, None, 0, 0);
    }
    for _ in 0..IN_FLIGHT_MAX / 10 {
        queue.receive(10, 30, 0).expect("within the limit");
    }
    let refused = queue.receive(1, 30, 0).map(|_| ());
    assert_eq!(refused.map_err(|error| error.kind), Err(ErrorKind::OverLimit));
    assert!(queue.receive(1, 30, 30_000).is_ok(), "once some came back");
}
