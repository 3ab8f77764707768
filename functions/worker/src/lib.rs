//! Runs queued jobs.
