//! A request's body as the gateway passes it on: whole, within Lambda's limit, and decompressed.

use std::io::Read;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;

use crate::template::ResponseType;

/// Largest event that a synchronous invocation takes; API Gateway's own limit is 10 MB, and it
/// gives the same answer for both. Source: "Lambda quotas", AWS Lambda Developer Guide.
pub(super) const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// How much of a body that is too large is read before answering. A client that is still sending
/// when the connection closes may never see the answer.
const MAX_DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// Reads the whole body and undoes its `Content-Encoding`.
///
/// # Errors
/// [`ResponseType::RequestTooLarge`], [`ResponseType::UnsupportedMediaType`] for a coding that is
/// not supported or not kept, [`ResponseType::BadRequest`] for a body that is cut off.
pub(super) async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ResponseType> {
    if expects_continue(headers) && declared_bytes(headers).is_some_and(|bytes| bytes > MAX_BODY_BYTES as u64) {
        return Err(ResponseType::RequestTooLarge);
    }
    let body = collect(body).await?;
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(body);
    };
    // Source: "Call an API method with a compressed payload", API Gateway Developer Guide.
    match coding.as_bytes().to_ascii_lowercase().as_slice() {
        b"identity" => Ok(body),
        // A stream may have several members, one after the other (RFC 1952, 2.2).
        b"gzip" => decompress(MultiGzDecoder::new(&*body)),
        b"deflate" => decompress(ZlibDecoder::new(&*body)),
        _ => Err(ResponseType::UnsupportedMediaType),
    }
}

/// Whether the caller waits for `100 Continue`, which reading its body sends, or for a refusal in its place (RFC 9110, 10.1.1).
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(mut body: Body) -> Result<Bytes, ResponseType> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ResponseType::BadRequest)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length > MAX_DISCARDED_BYTES {
            break;
        }
        if length > MAX_BODY_BYTES {
            all = Vec::new();
        } else if first.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY_BYTES {
        return Err(ResponseType::RequestTooLarge);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

fn decompress(reader: impl Read) -> Result<Bytes, ResponseType> {
    let mut plain = Vec::new();
    let limit = MAX_BODY_BYTES as u64 + 1;
    reader.take(limit).read_to_end(&mut plain).map_err(|_| ResponseType::UnsupportedMediaType)?;
    if plain.len() > MAX_BODY_BYTES {
        return Err(ResponseType::RequestTooLarge);
    }
    Ok(plain.into())
}
