//! What goes wrong, and when: a function of the seed and of each job's own history.

use std::collections::HashMap;
use std::sync::Mutex;

/// Where something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Point {
    /// The acceptance stands in the database, and its process does not know.
    AfterStore,
    /// The message is on the queue, and its process does not know.
    AfterSend,
    /// The claim stands, and the worker does not know.
    AfterClaim,
    /// The provider took the call, and the worker does not know.
    AfterEffect,
    /// The worker has answered, and nothing was deleted.
    BeforeDelete,
    /// The sweeper sent messages, and does not know.
    AfterSweep,
    /// Before any call whatsoever.
    Anywhere,
    /// No kill: the reply to a call is lost.
    LostReply,
    /// No kill: a message is sent twice.
    SentTwice,
    /// No kill: a message comes again though it was done.
    Redelivered,
}

use Point::{AfterClaim, AfterEffect, AfterSend, AfterStore, AfterSweep, Anywhere, BeforeDelete};

pub(crate) struct Plan {
    seed: u64,
    /// Kills per job that are wanted.
    rate: f64,
    /// Kills that are kept for the sweeper: when it has something to send, all others are done.
    of_sweeper: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How often a job (or a process, for what belongs to none) was at a point.
    times: HashMap<(Point, u64), u64>,
    kills_left: u32,
    done: HashMap<Point, u32>,
}

impl Plan {
    pub(crate) fn new(seed: u64, jobs: u32, kills: u32) -> Self {
        let state = State { kills_left: kills, ..State::default() };
        Self { seed, rate: f64::from(kills) / f64::from(jobs), of_sweeper: kills / 20, state: Mutex::new(state) }
    }

    /// How probable it is at each time. A job passes the first four about once, a batch the fifth, and there are
    /// about eight calls for a job; together a third more than wanted, so that the number is reached.
    fn chance(&self, point: Point) -> f64 {
        match point {
            AfterStore | AfterSend | AfterClaim | AfterEffect => 0.22 * self.rate,
            BeforeDelete => (1.3 * self.rate).min(0.5),
            AfterSweep => (self.rate / 2.0).min(0.5),
            Anywhere => 0.035 * self.rate,
            Point::LostReply | Point::Redelivered => 0.10,
            Point::SentTwice => 0.05,
        }
    }

    /// Whether it goes wrong this time for `whom`: a job's number, or something else's hash.
    pub(crate) fn strikes(&self, point: Point, whom: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        let times = state.times.entry((point, whom)).or_default();
        *times += 1;
        let dice = mix(self.seed ^ mix(point as u64 ^ mix(whom ^ mix(*times))));
        let strikes = (dice >> 11) as f64 / (1u64 << 53) as f64 <= self.chance(point);
        let kills = !matches!(point, Point::LostReply | Point::SentTwice | Point::Redelivered);
        let kept = if point == AfterSweep { 0 } else { self.of_sweeper };
        if !strikes || (kills && state.kills_left <= kept) {
            return false;
        }
        if kills {
            state.kills_left -= 1;
        }
        *state.done.entry(point).or_default() += 1;
        true
    }

    /// What went wrong so far.
    pub(crate) fn done(&self) -> Vec<(Point, u32)> {
        let mut done: Vec<_> = self.state.lock().unwrap().done.iter().map(|(point, count)| (*point, *count)).collect();
        done.sort();
        done
    }

    /// The points that no process was killed at. Nobody knows what would be lost there.
    pub(crate) fn missed(&self) -> Vec<Point> {
        let done = self.done();
        let points = [AfterStore, AfterSend, AfterClaim, AfterEffect, BeforeDelete, AfterSweep, Anywhere];
        points.into_iter().filter(|point| done.iter().all(|(one, _)| one != point)).collect()
    }

    pub(crate) fn kills(&self) -> u32 {
        let not_kills = [Point::LostReply, Point::SentTwice, Point::Redelivered];
        self.done().iter().filter(|(point, _)| !not_kills.contains(point)).map(|(_, count)| count).sum()
    }
}

/// SplitMix64's finalizer (Steele, Lea, Flood 2014): every bit of the result depends on every bit of the input.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
