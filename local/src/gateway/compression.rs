//! Compression of replies, as a REST API's: whole bodies from the template's size on, by gzip, for callers that take it.

use std::cell::RefCell;

use axum::http::{HeaderMap, header};
use flate2::{Compress, Compression, FlushCompress, Status};

/// The window of the format's decoders: 32 KiB (RFC 1952).
const WINDOW_BITS: u8 = 15;

thread_local! {
    /// Kept, because making its 260 KB for each reply takes about as long as compressing a page.
    static GZIP: RefCell<Compress> = RefCell::new(Compress::new_gzip(Compression::fast(), WINDOW_BITS));
}

/// Whether `Accept-Encoding` has gzip, by name or as one of all (RFC 9110, 12.5.3).
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for value in headers.get_all(header::ACCEPT_ENCODING) {
        for coding in value.as_bytes().split(|byte| *byte == b',') {
            let Ok(coding) = std::str::from_utf8(coding) else { continue };
            let (name, parameter) = coding.split_once(';').unwrap_or((coding, ""));
            let weight = parameter.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.strip_prefix('='));
            let weight = weight.map_or(Ok(1.0), str::parse::<f32>);
            let wanted = weight.is_ok_and(|weight| weight > 0.0);
            match name.trim() {
                name if name.eq_ignore_ascii_case("gzip") => return wanted,
                "*" => any = wanted,
                _ => {}
            }
        }
    }
    any
}

/// A body by gzip (RFC 1952).
pub(super) fn gzip(plain: &[u8]) -> Vec<u8> {
    GZIP.with_borrow_mut(|gzip| {
        gzip.reset();
        let mut packed = Vec::with_capacity(plain.len() / 4 + 64);
        loop {
            let rest = plain.get(usize::try_from(gzip.total_in()).unwrap_or(usize::MAX)..).unwrap_or_default();
            match gzip.compress_vec(rest, &mut packed, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => return packed,
                // It is full.
                Ok(Status::Ok | Status::BufError) => packed.reserve(packed.capacity()),
                Err(error) => unreachable!("memory to memory, whole: {error}"),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use axum::http::HeaderValue;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gzip_is_taken_by_who_says_so() {
        for (said, taken) in [
            (&["gzip"][..], true),
            (&["GZip;q=0.1"], true),
            (&["br;q=1, gzip ; q=0.5"], true),
            (&["deflate", "gzip"], true),
            (&["*"], true),
            (&["*;q=0, gzip"], true),
            (&["gzip;q=0, *"], false),
            (&["gzip; q=0.000"], false),
            (&["gzip;Q=0"], false),
            (&["*;q=0"], false),
            (&["gzip;q=much"], false),
            (&["identity"], false),
            (&["é, gzip"], true),
            (&["x-gzip-not"], false),
            (&[""], false),
            (&[], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_bytes(value.as_bytes()).expect("valid"));
            }
            assert_eq!(accepts_gzip(&headers), taken, "{said:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The kept state of one body is not seen in the next.
        #[test]
        fn bodies_come_out_as_they_went_in(
            bodies in prop::collection::vec(prop_oneof![
                prop::collection::vec(any::<u8>(), 0..70_000),
                (any::<u8>(), 0..200_000usize).prop_map(|(byte, length)| vec![byte; length]),
            ], 1..4)
        ) {
            for plain in bodies {
                let mut unpacked = Vec::new();
                GzDecoder::new(&*gzip(&plain)).read_to_end(&mut unpacked).expect("a whole stream");
                prop_assert!(unpacked == plain);
            }
        }
    }
}
