//! Percent-encoding (RFC 3986, 2.1).

/// The text that a percent-encoded part of an address stands for; `None` for a `%` that encodes nothing, and for bytes that are no
/// UTF-8.
pub(crate) fn decode(part: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn what_encodes_a_text_is_decoded_once() {
        for (part, text) in
            [("usr_1", "usr_1"), ("%75sr%5F1", "usr_1"), ("a+b%20%C3%a9", "a+b é"), ("%2541", "%41"), ("", "")]
        {
            assert_eq!(decode(part).as_deref(), Some(text), "{part}");
        }
        for part in ["%", "%7", "%zz", "%+1", "%ff", "a%C3"] {
            assert_eq!(decode(part), None, "{part}");
        }
    }
}
