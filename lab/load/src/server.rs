//! A system under test: its address, its own process if it was started here, and what its figures say.

use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Clock ticks a second in `/proc/<pid>/stat` (Linux: USER_HZ, 100 on all architectures it matters for).
const TICK_MS: u64 = 10;

/// A `local` of one's own. Dropping it ends it.
pub struct Server {
    child: Child,
    pub url: String,
}

/// What a system said of itself at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// When, in ms since the run began.
    pub at_ms: u64,
    pub database_calls: u64,
    pub visible: u64,
    pub in_flight: u64,
    /// User and system time of the process.
    pub cpu_ms: u64,
    pub rss_kb: u64,
}

impl Server {
    /// Starts `program` with nothing kept, on a free port, and with these arguments beside.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(program: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(["--ephemeral", "--port", "0"]).args(arguments);
        let rates = ["SESSION_REQUESTS_PER_SECOND", "ORG_REQUESTS_PER_SECOND"];
        command.env(rates[0], "1000000000").env(rates[1], "1000000000,1000000000,1000000000");
        // As many e-mails as the load sends.
        command.env("EMAILS_PER_DAY", "1000000000").env("CAP_SHARES", "100,100,100").env("EMAILS_PER_SECOND", "1000");
        // What it logs would be part of what it costs.
        command.env("LOG_LEVEL", "error").stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let output = child.stdout.take().ok_or("no output")?;
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await.map_err(|error| error.to_string())? {
            if let Some((_, url)) = line.split_once("API answers at ") {
                let url = url.to_owned();
                // Read on, or it would block on a full pipe.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Ok(Self { child, url });
            }
        }
        Err(format!("{} did not start", program.display()))
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it.
    pub async fn stop(mut self) {
        let _gone = self.child.kill().await;
    }
}

/// The present figures, as far as there are any: another system's process cannot be looked into, and AWS has no
/// `/_local/figures`.
pub async fn figures(http: &reqwest::Client, url: &str, pid: Option<u32>, at_ms: u64) -> Option<Figures> {
    let reply = http.get(format!("{url}/_local/figures")).send().await.ok()?;
    let body: Value = serde_json::from_slice(&reply.bytes().await.ok()?).ok()?;
    let queues = body["queues"].as_object();
    let queue = |name: &str| -> u64 {
        queues.into_iter().flat_map(|queues| queues.values()).filter_map(|queue| queue[name].as_u64()).sum()
    };
    let (cpu_ms, rss_kb) = pid.and_then(process).unwrap_or_default();
    Some(Figures {
        at_ms,
        database_calls: body["database_calls"].as_u64()?,
        visible: queue("visible") + queue("delayed"),
        in_flight: queue("in_flight"),
        cpu_ms,
        rss_kb,
    })
}

/// CPU time in ms and resident memory in KiB of a process (proc(5)).
fn process(pid: u32) -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some((ticks * TICK_MS, rss.trim().trim_end_matches(" kB").parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_has_memory() {
        let (_, rss_kb) = super::process(std::process::id()).expect("our own");
        assert!(rss_kb > 500, "{rss_kb}");
    }
}
