//! The operator's part of a world: accounts, of which one network registers few, and plans, which no caller of the API gives itself.

use serde_json::Value;
use std::path::PathBuf;
use tokio::process::Command;

/// The plan of every organization: none of its limits is in the way.
const PLAN: &str = "enterprise";

/// Who makes accounts and gives organizations their plans: the program of the local system, which has the operator's commands.
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
        self.run(&["plan", "--org", org, "--plan", PLAN]).await.map(drop)
    }

    /// Makes an account of what a registration sends, and an admin of the organization that it `joins`, if any. Returns its session.
    ///
    /// # Errors
    /// What the command said.
    pub async fn account(&self, account: &Value) -> Result<Value, String> {
        let of = |name: &str| account[name].as_str().unwrap_or_default().to_owned();
        let (email, password, name, org_name) = (of("email"), of("password"), of("name"), of("org_name"));
        let arguments = ["--email", &email, "--password", &password, "--name", &name, "--org-name", &org_name];
        let said = self.run(&[["account"].as_slice(), &arguments].concat()).await?;
        if let Some(org) = account["joins"].as_str() {
            self.run(&["member", "--org", org, "--email", &email, "--role", "admin"]).await?;
        }
        serde_json::from_slice(&said).map_err(|error| error.to_string())
    }

    async fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(&self.system);
        let said = command.output().await.map_err(|error| format!("{}: {error}", self.program.display()))?;
        if said.status.success() { Ok(said.stdout) } else { Err(String::from_utf8_lossy(&said.stderr).into_owned()) }
    }
}
