//! Loading the file of model prices into a table: at the local system's start, and for a deployment with
//! `just operate seed`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use shared::{ApiError, error::chain, model::price::Catalogue, store::Store};

/// Why the catalogue was not loaded. Each says its cause itself.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file cannot be read.
    #[error("{}: {said}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        said: io::Error,
    },
    /// The file is no catalogue.
    #[error("{}: {wrong}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        wrong: serde_json::Error,
    },
    /// The table did not take it.
    #[error("the price catalogue: {}", chain(.0))]
    Store(ApiError),
}

/// Reads the catalogue at `path` and stores it, unless the table has just this one. Returns how many models
/// it has.
///
/// # Errors
/// See [`CatalogueError`].
pub async fn load(path: &Path, store: &Store) -> Result<usize, CatalogueError> {
    let text = fs::read(path).map_err(|said| CatalogueError::File { path: path.to_owned(), said })?;
    let catalogue: Catalogue =
        serde_json::from_slice(&text).map_err(|wrong| CatalogueError::Format { path: path.to_owned(), wrong })?;
    let stored = store.catalogue().await.map_err(CatalogueError::Store)?;
    if stored.as_ref() != Some(&catalogue) {
        store.seed_catalogue(&catalogue).await.map_err(CatalogueError::Store)?;
    }
    Ok(catalogue.data.len())
}
