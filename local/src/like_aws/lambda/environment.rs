//! An execution environment: what a function holds, and a thread that moves only while a request is answered.

use std::pin::Pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::clock::Clock;

/// What an environment does for one request.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct Environment<H> {
    pub(super) handler: H,
    /// Where its work runs; none is where the system runs.
    thread: Option<Frozen>,
    dies_ms: u64,
    idle_until_ms: u64,
}

impl<H> Environment<H> {
    pub(super) fn new(name: &str, handler: H, freezes: bool, dies_ms: u64) -> Self {
        // Without a thread it runs where the system does, and does not stand still.
        let thread = if freezes { Frozen::start(name) } else { None };
        Self { handler, thread, dies_ms, idle_until_ms: 0 }
    }

    /// The same, idle until then.
    pub(super) fn until(self, idle_until_ms: u64) -> Self {
        Self { idle_until_ms, ..self }
    }

    pub(super) fn lives_at(&self, now_ms: u64) -> bool {
        now_ms < self.dies_ms && now_ms < self.idle_until_ms
    }

    /// Runs work to its end, or until its time is over; then it is dropped wherever it is, and the environment with it. Whether it may
    /// be used again.
    pub(super) async fn run(&self, work: Work, timeout: Duration, clock: &Clock) -> bool {
        match &self.thread {
            Some(thread) => thread.run(work, timeout, clock).await,
            None => {
                // A set of one: it contains a panic, and being dropped ends the work.
                let mut set = JoinSet::new();
                set.spawn(work);
                tokio::select! {
                    ended = set.join_next() => matches!(ended, Some(Ok(()))),
                    () = clock.sleep(timeout) => false,
                }
            }
        }
    }
}

/// A thread with a runtime of its own that is driven during work and at no other time: timers stand still, connections are not
/// read, and what was begun beside a request waits for the next.
struct Frozen {
    work: mpsc::Sender<Work>,
}

impl Frozen {
    fn start(name: &str) -> Option<Self> {
        let (work, received) = mpsc::channel::<Work>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let thread = thread::Builder::new().name(name.to_owned());
        thread
            .spawn(move || {
                while let Ok(work) = received.recv() {
                    runtime.block_on(work);
                }
                // What still waits goes with it.
                runtime.shutdown_background();
            })
            .ok()?;
        Some(Self { work })
    }

    async fn run(&self, work: Work, timeout: Duration, clock: &Clock) -> bool {
        let (done, ended) = oneshot::channel();
        let (kill, killed) = oneshot::channel::<()>();
        let work: Work = Box::pin(async move {
            tokio::select! {
                () = work => {
                    // Nobody waits any more if its time was over in the same moment.
                    let _ = done.send(());
                }
                _ = killed => {}
            }
        });
        if self.work.send(work).is_err() {
            return false;
        }
        let survived = tokio::select! {
            ended = ended => ended.is_ok(),
            () = clock.sleep(timeout) => false,
        };
        drop(kill);
        survived
    }
}
