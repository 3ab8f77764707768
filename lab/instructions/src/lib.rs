//! What `lab/bench/instructions.py` has prepared to be counted: processes, each with its environment.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One process to run from start to end under callgrind.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Identifier of the run; letters, digits and `_`.
    pub id: String,
    /// The function's program.
    pub program: PathBuf,
    /// All of its environment.
    pub environment: BTreeMap<String, String>,
    /// File for what it prints.
    pub output: PathBuf,
}

/// Reads the JSON list of runs at `path`.
///
/// # Errors
/// When the file cannot be read or is no such list.
pub fn read(path: &Path) -> Result<Vec<Run>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
