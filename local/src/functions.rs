//! The functions of `functions/`, by folder name: the same `handle` that runs in Lambda.

use std::sync::Arc;

use shared::{Context, runtime::respond};

use crate::gateway::Handler;

/// One line per function: its folder's name and its handler.
macro_rules! registry {
    ($($name:literal => $handle:path),* $(,)?) => {
        /// Folder names of all functions that can be called.
        pub const NAMES: &[&str] = &[$($name),*];

        /// The handler of a function, bound to `context`.
        #[must_use]
        pub fn handler(name: &str, context: &'static Context) -> Option<Handler> {
            match name {
                $($name => Some(Arc::new(move |request| {
                    Box::pin(respond(context, request, $handle))
                })),)*
                _ => None,
            }
        }
    };
}

registry! {}
