//! Taking away one thing that makes the system fast, to measure what it is worth (`just before-after`). All of it is
//! around the functions, which know nothing of it.

use lambda_http::Request;
use lambda_http::http::HeaderValue;

use crate::template::Template;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ablation {
    /// Nothing: what the others are compared with.
    Nothing,
    /// Reads come from the cache.
    Cache,
    /// Replies are compressed.
    Compression,
    /// Slow work is done after the reply, by a worker behind a queue.
    Queue,
    /// Clients live as long as their environment.
    ClientReuse,
}

impl Ablation {
    /// All of them, with the names that `cargo run -- --without` takes.
    pub const ALL: [(Self, &str); 5] = [
        (Self::Nothing, "nothing"),
        (Self::Cache, "cache"),
        (Self::Compression, "compression"),
        (Self::Queue, "queue"),
        (Self::ClientReuse, "client-reuse"),
    ];

    /// The template as it is then.
    pub(crate) fn template(self, mut template: Template) -> Template {
        if self == Self::Compression {
            template.minimum_compression_size = None;
        }
        template
    }

    /// The cache's address as it is then.
    pub(crate) fn cache_url(self, cache_url: &str) -> &str {
        if self == Self::Cache { "off:" } else { cache_url }
    }

    /// A request as it is then: without the queue, its caller waits for the work.
    pub(crate) fn request(self, mut request: Request) -> Request {
        if self == Self::Queue && !request.headers().contains_key("prefer") {
            request.headers_mut().insert("prefer", HeaderValue::from_static("wait=20"));
        }
        request
    }
}

impl std::str::FromStr for Ablation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known.map(|(one, _)| *one).ok_or_else(|| format!("is none of {:?}", Self::ALL.map(|(_, name)| name)))
    }
}
