//! Entity tags and the conditions that name them (RFC 9110, 8.8.3 and 13). A tag is the digest of the body that it stands
//! beside, so whatever changes the body changes the tag: a write, or a deployment that shows a record otherwise. It is weak,
//! because the gateway compresses without changing it. A tag that a caller sends is bytes, compared whole: nothing is read out
//! of it.

use crate::hex;
use lambda_http::http::header::{AsHeaderName, IF_MATCH, IF_NONE_MATCH};
use lambda_http::http::{HeaderMap, HeaderValue};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// How much of a body's SHA-256 is its tag: 128 bits, too many to find two bodies of one tag by trying.
const DIGEST_BYTES: usize = 16;

/// The weak entity tag of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag(String);

impl EntityTag {
    /// The tag of a body.
    #[must_use]
    pub fn of_body(body: &[u8]) -> Self {
        let mut tag = String::with_capacity(2 * DIGEST_BYTES + 4);
        tag.push_str("W/\"");
        hex::push(&mut tag, &Sha256::digest(body)[..DIGEST_BYTES]);
        tag.push('"');
        Self(tag)
    }

    /// The tag of a value as JSON, which is how a reply shows it.
    ///
    /// # Panics
    /// If the value is no JSON: a map with keys that are no strings.
    #[must_use]
    pub fn of<T: Serialize>(value: &T) -> Self {
        Self::of_body(&serde_json::to_vec(value).expect("reply types have string keys and cannot fail to serialize"))
    }

    /// The tag that a reply's `ETag` carries.
    #[must_use]
    pub fn of_header(value: &HeaderValue) -> Option<Self> {
        value.to_str().ok().map(|text| Self(text.to_owned()))
    }

    /// As `ETag` carries it.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("hex digits are a valid header value")
    }

    /// What two tags have in common if they are equal by weak comparison (RFC 9110, 8.8.3.2).
    fn opaque(&self) -> &[u8] {
        self.0.strip_prefix("W/").unwrap_or(&self.0).as_bytes()
    }
}

/// What `If-Match` and `If-None-Match` demand of a resource (RFC 9110, 13.1.1 and 13.1.2).
///
/// Both compare weakly. The RFC has `If-Match` compare strongly, by which a weak tag equals none. Ours are weak only because
/// compression changes bytes without changing the tag: equal digests are equal bodies, which is what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Conditions<'r> {
    matches: Option<Tags<'r>>,
    none_matches: Option<Tags<'r>>,
}

/// The value of one of the two fields.
#[derive(Debug, PartialEq, Eq)]
enum Tags<'r> {
    /// `*`: whatever there is.
    Any,
    /// The opaque parts, with their quotes, as they came; and whether there was something that is no tag.
    Listed { opaque: Vec<&'r [u8]>, malformed: bool },
}

impl<'r> Conditions<'r> {
    /// The conditions of a request with these headers.
    #[must_use]
    pub fn of(headers: &'r HeaderMap) -> Self {
        Self { matches: Tags::of(headers, IF_MATCH), none_matches: Tags::of(headers, IF_NONE_MATCH) }
    }

    /// Whether they ask for nothing of a resource that exists.
    #[must_use]
    pub fn hold_for_any(&self) -> bool {
        matches!(self.matches, None | Some(Tags::Any)) && self.none_matches.is_none()
    }

    /// Whether a resource that exists, with this tag, may be changed. A list of tags that is malformed matches none: a caller that asks for a
    /// condition gets no write without it.
    #[must_use]
    pub fn allow_write(&self, current: &EntityTag) -> bool {
        let differs = match &self.none_matches {
            None => true,
            Some(Tags::Listed { malformed: true, .. }) => false,
            Some(tags) => !tags.have(current),
        };
        self.match_holds(current) && differs
    }

    /// Whether they allow to change what has no tag: a list of tags names none of it, and `*` whatever is there.
    #[must_use]
    pub fn allow_untagged(&self) -> bool {
        let differs = match &self.none_matches {
            None => true,
            Some(Tags::Any) => false,
            Some(Tags::Listed { malformed, .. }) => !malformed,
        };
        !self.want_a_tag() && differs
    }

    /// Whether what has no tag is not what they want.
    #[must_use]
    pub fn want_a_tag(&self) -> bool {
        matches!(self.matches, Some(Tags::Listed { .. }))
    }

    /// What a read of a resource with this tag is answered with.
    #[must_use]
    pub fn of_read(&self, current: &EntityTag) -> Read {
        if !self.match_holds(current) {
            Read::Failed
        } else if self.none_matches.as_ref().is_some_and(|tags| tags.have(current)) {
            Read::NotModified
        } else {
            Read::Whole
        }
    }

    fn match_holds(&self, current: &EntityTag) -> bool {
        self.matches.as_ref().is_none_or(|tags| tags.have(current))
    }
}

/// How a read is answered (RFC 9110, 13.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// `200`.
    Whole,
    /// `304`: the caller holds it.
    NotModified,
    /// `412`: it is not what `If-Match` names.
    Failed,
}

impl<'r> Tags<'r> {
    /// What all fields of a name say together; `None` without any.
    fn of(headers: &'r HeaderMap, name: impl AsHeaderName) -> Option<Self> {
        let values: Vec<&[u8]> = headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect();
        match values.as_slice() {
            [] => None,
            [b"*"] => Some(Self::Any),
            values => {
                let (mut opaque, mut malformed) = (Vec::new(), false);
                for value in values {
                    malformed |= list(value, &mut opaque).is_none();
                }
                malformed |= opaque.is_empty();
                Some(Self::Listed { opaque, malformed })
            }
        }
    }

    fn have(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Any => true,
            Self::Listed { opaque, .. } => opaque.contains(&tag.opaque()),
        }
    }
}

/// Adds the opaque parts of a list of tags, up to what is none: `None` if something is. A list may have empty elements
/// (RFC 9110, 5.6.1), and a tag may have commas and bytes above ASCII inside its quotes (8.8.3).
fn list<'r>(mut rest: &'r [u8], tags: &mut Vec<&'r [u8]>) -> Option<()> {
    loop {
        rest = rest.trim_ascii_start();
        match rest {
            [] => return Some(()),
            [b',', after @ ..] => rest = after,
            _ => {
                let tag = rest.strip_prefix(b"W/").unwrap_or(rest);
                let inside = tag.strip_prefix(b"\"")?;
                let length = inside.iter().position(|byte| *byte == b'"')?;
                let etagc = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
                if !inside[..length].iter().all(etagc) {
                    return None;
                }
                let (opaque, after) = tag.split_at(length + 2);
                rest = after.trim_ascii_start();
                if !matches!(rest, [] | [b',', ..]) {
                    return None;
                }
                tags.push(opaque);
            }
        }
    }
}

#[cfg(test)]
mod tests;
