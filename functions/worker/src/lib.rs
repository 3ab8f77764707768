//! Runs queued jobs: analyses texts and sends e-mails. The parts that know a provider live here.

pub mod analysis;
pub mod mail;
pub mod secret;
pub mod transport;

#[cfg(test)]
mod test_server;
