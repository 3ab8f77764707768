//! Load as it really comes, and the truth beside it: many organizations of skewed popularity, a mix of reads, writes and
//! slow work, and a check that nothing which was acknowledged is lost, doubled, stale or somebody else's.

pub mod actions;
pub mod arrivals;
pub mod before_after;
pub mod client;
pub mod figures;
pub mod growth;
pub mod operator;
pub mod random;
pub mod report;
pub mod run;
pub mod server;
pub mod settle;
pub mod truth;
pub mod world;
