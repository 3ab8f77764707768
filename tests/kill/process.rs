//! A function in a process of its own, as Lambda runs it, and Lambda's side of it: the Runtime API.

use crate::plan::Point;
use crate::world::World;
use local::Clock;
use shared::Context;
use shared::config::Config;
use shared::runtime::{serve, serve_events};
use std::io::BufRead as _;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::http::Bytes;
use testkit::runtime_api::RuntimeApi;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Semaphore, watch};

/// The environment variable that makes this program one of the functions.
pub(crate) const ROLE: &str = "KILL_TEST_ROLE";

/// Runs a function, as its own `main` does. The simulation's time comes in by lines: its whole distance from
/// the real one, in milliseconds.
pub(crate) fn run(role: &str) -> ExitCode {
    let clock = Clock::system();
    let jumping = clock.clone();
    std::thread::spawn(move || {
        let mut skipped_ms = 0;
        for line in std::io::stdin().lock().lines() {
            let all_ms: u64 = line.unwrap().parse().unwrap();
            jumping.jump(Duration::from_millis(all_ms - skipped_ms));
            skipped_ms = all_ms;
        }
        // The test is gone.
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async {
        let (config, clock) = (Config::from_env().unwrap(), shared::clock::Clock::new(clock));
        if role == "analysis-worker" {
            let worker = analysis_worker::Worker::new(config, clock).unwrap();
            return serve_events(Box::leak(Box::new(worker)), analysis_worker::handle).await;
        }
        if role == "email-worker" {
            let worker = email_worker::Worker::new(config, clock).unwrap();
            return serve_events(Box::leak(Box::new(worker)), email_worker::handle).await;
        }
        let context: &'static Context = Box::leak(Box::new(Context::new(config, clock)));
        match role {
            "analyze" => serve(context, analyze::handle).await,
            "send-email" => serve(context, send_email::handle).await,
            "sweeper" => serve_events(context, sweeper::handle).await,
            other => panic!("{other} is no role"),
        }
    });
    // Lambda went away: the test ends.
    drop(ended);
    ExitCode::FAILURE
}

/// The process was killed before it answered.
#[derive(Debug, thiserror::Error)]
#[error("the process was killed")]
pub(crate) struct Killed;

/// One process from its start to its end.
pub(crate) struct Life {
    id: u64,
    child: Mutex<Child>,
    stdin: tokio::sync::Mutex<ChildStdin>,
    api: RuntimeApi,
    ended: watch::Sender<bool>,
}

/// Processes of one function: each runs one event at a time, and a killed one has a successor.
pub(crate) struct Pool {
    pub(crate) role: &'static str,
    timeout: Duration,
    free: Semaphore,
    lives: Mutex<Vec<Option<Arc<Life>>>>,
    busy: Mutex<Vec<bool>>,
}

static NEXT_LIFE: AtomicU64 = AtomicU64::new(1);

impl Pool {
    pub(crate) fn new(role: &'static str, processes: usize, timeout: Duration) -> Self {
        Self {
            role,
            timeout,
            free: Semaphore::new(processes),
            lives: Mutex::new((0..processes).map(|_| None).collect()),
            busy: Mutex::new(vec![false; processes]),
        }
    }

    /// Hands an event to a free process and waits for its answer.
    pub(crate) async fn invoke(&self, world: &Arc<World>, payload: Vec<u8>) -> Result<Bytes, Killed> {
        let _permit = self.free.acquire().await.unwrap();
        let slot = {
            let mut busy = self.busy.lock().unwrap();
            let slot = busy.iter().position(|busy| !busy).unwrap();
            busy[slot] = true;
            slot
        };
        let answer = self.invoke_at(world, slot, payload).await;
        self.busy.lock().unwrap()[slot] = false;
        answer
    }

    async fn invoke_at(&self, world: &Arc<World>, slot: usize, payload: Vec<u8>) -> Result<Bytes, Killed> {
        let known = self.lives.lock().unwrap()[slot].clone();
        let life = match known.filter(|life| !*life.ended.borrow()) {
            Some(life) => life,
            None => {
                let life = Life::start(world, self.role).await;
                self.lives.lock().unwrap()[slot] = Some(life.clone());
                life
            }
        };
        life.tell(world.skipped_ms()).await;
        let deadline_ms = world.now().plus(self.timeout).as_millis();
        let mut ended = life.ended.subscribe();
        let answer = tokio::select! {
            answer = life.api.invoke(payload, deadline_ms) => answer.ok_or(Killed)?,
            _ = ended.wait_for(|ended| *ended) => return Err(Killed),
        };
        if self.role.ends_with("-worker") && world.plan.strikes(Point::BeforeDelete, world.next_batch()) {
            life.kill();
            return Err(Killed);
        }
        Ok(answer)
    }

    /// Kills a process by its number, if it still is this pool's.
    pub(crate) fn kill(&self, id: u64) {
        let life = self.lives.lock().unwrap().iter().flatten().find(|life| life.id == id).cloned();
        if let Some(life) = life {
            life.kill();
        }
    }
}

impl Life {
    async fn start(world: &Arc<World>, role: &'static str) -> Arc<Self> {
        let id = NEXT_LIFE.fetch_add(1, Ordering::SeqCst);
        let api = RuntimeApi::start(role).await;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env_clear().envs(world.environment(role, id)).envs(api.environment()).env(ROLE, role);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let stdin = tokio::sync::Mutex::new(child.stdin.take().unwrap());
        let life = Arc::new(Self { id, child: Mutex::new(child), stdin, api, ended: watch::Sender::new(false) });
        tokio::spawn(life.clone().watch());
        life
    }

    /// Notices when the process ends, by our hand or its own.
    async fn watch(self: Arc<Self>) {
        while matches!(self.child.lock().unwrap().try_wait(), Ok(None)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.ended.send_replace(true);
    }

    /// What time it is.
    async fn tell(&self, skipped_ms: u64) {
        // A process that died on its own answers nothing, and that is noticed.
        let _ = self.stdin.lock().await.write_all(format!("{skipped_ms}\n").as_bytes()).await;
    }

    fn kill(&self) {
        let _ = self.child.lock().unwrap().start_kill();
        self.ended.send_replace(true);
    }
}
