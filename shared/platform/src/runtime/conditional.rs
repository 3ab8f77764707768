//! Conditions of reads (RFC 9110, 13) on replies whose handlers did not look at them.

use crate::etag::{Conditions, EntityTag, Read};
use crate::response::{Reply, precondition_failed};
use lambda_http::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use lambda_http::http::{HeaderMap, Method, StatusCode};
use lambda_http::{Body, Request};

/// The fields of a read that has conditions.
pub(super) fn of(request: &Request) -> Option<HeaderMap> {
    let headers = request.headers();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_read || !(headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH)) {
        return None;
    }
    let named = headers.iter().filter(|(name, _)| [IF_MATCH, IF_NONE_MATCH].contains(name));
    Some(named.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// A reply as these conditions want it. A handler that looked at them has none left that fails.
pub(super) fn apply(fields: &HeaderMap, mut reply: Reply) -> Reply {
    if reply.status() != StatusCode::OK {
        return reply;
    }
    let conditions = Conditions::of(fields);
    let Some(tag) = reply.headers().get(ETAG).and_then(EntityTag::of_header) else {
        return if conditions.want_a_tag() { precondition_failed().into_reply() } else { reply };
    };
    match conditions.of_read(&tag) {
        Read::Whole => reply,
        Read::Failed => precondition_failed().into_reply(),
        Read::NotModified => {
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            *reply.body_mut() = Body::Empty;
            reply.headers_mut().remove(CONTENT_TYPE);
            reply
        }
    }
}
