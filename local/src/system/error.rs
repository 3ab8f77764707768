//! Why a system does not start.

use std::{io, path::PathBuf};

use shared::config::ConfigError;

use crate::{
    background::BackgroundError, database::DatabaseError, layers::iam::Refusal, operator::catalogue::CatalogueError,
    template::TemplateError,
};

/// Why the system did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The template cannot be read or makes no sense.
    #[error("{}: {source}", path.display())]
    Template {
        /// The template's file.
        path: PathBuf,
        /// What is wrong.
        source: TemplateError,
    },
    /// The template names a function that this program does not have.
    #[error("{}: no handler for the function {function}", path.display())]
    UnknownFunction {
        /// The template's file.
        path: PathBuf,
        /// The folder name.
        function: String,
    },
    /// Somebody else listens there.
    #[error("port {0} is in use: choose another with --port")]
    PortInUse(u16),
    /// The port cannot be had for another reason.
    #[error("port {port}: {source}")]
    Port {
        /// The port.
        port: u16,
        /// What the operating system said.
        source: io::Error,
    },
    /// The folder for e-mails cannot be used, or no temporary one be made.
    #[error("the folder for e-mails {}: {source}", path.display())]
    MailFolder {
        /// The folder, or where it was to be made.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No port for the way to the cache.
    #[error("the way to the cache: {0}")]
    CacheProxy(#[source] io::Error),
    /// The database did not open.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The model prices were not loaded.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The queue service or what it calls did not start.
    #[error(transparent)]
    Background(#[from] BackgroundError),
    /// The template's role of a function that a queue or a stream calls does not let Lambda poll that.
    #[error(transparent)]
    Role(#[from] Refusal),
    /// The functions' configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}
