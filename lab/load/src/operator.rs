//! The operator's part of a world: plans, which no caller of the API gives itself.

use std::path::PathBuf;
use tokio::process::Command;

/// The plan of every organization: none of its limits is in the way.
const PLAN: &str = "enterprise";

/// Who gives organizations their plans: the program of the local system, which has the operator's commands.
pub struct Operator {
    program: PathBuf,
    system: [String; 2],
}

impl Operator {
    /// The operator of the system at `url` on this machine, or of a deployed one with this table.
    #[must_use]
    pub fn new(program: PathBuf, url: &str, table: Option<&str>) -> Self {
        let port = url.rsplit_once(':').map(|(_, port)| port).unwrap_or_default();
        let system = match table {
            Some(table) => ["--table", table],
            None => ["--port", port],
        };
        Self { program, system: system.map(str::to_owned) }
    }

    /// Gives an organization the plan that load needs.
    ///
    /// # Errors
    /// What the command said.
    pub async fn give_plan(&self, org: &str) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.arg("plan").args(&self.system).args(["--org", org, "--plan", PLAN]);
        let said = command.output().await.map_err(|error| format!("{}: {error}", self.program.display()))?;
        if said.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }
}
