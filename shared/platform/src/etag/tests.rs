use super::*;
use proptest::prelude::*;

fn headers(name: &'static str, values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value).expect("a header value"));
    }
    headers
}

fn tag(inside: &str) -> EntityTag {
    EntityTag(format!("W/\"{inside}\""))
}

fn writes(name: &'static str, values: &[&[u8]], current: &EntityTag) -> bool {
    Conditions::of(&headers(name, values)).allow_write(current)
}

#[test]
fn a_tag_is_a_weak_digest_of_the_body() {
    // The first 16 bytes of SHA-256 of nothing (FIPS 180-4).
    assert_eq!(EntityTag::of_body(b"").header(), "W/\"e3b0c44298fc1c149afbf4c8996fb924\"");
    assert_eq!(EntityTag::of(&[1, 2]), EntityTag::of_body(b"[1,2]"));
}

/// Words of one length and one CRC-32.
#[test]
fn two_bodies_with_one_checksum_have_two_tags() {
    assert_ne!(EntityTag::of_body(b"plumless"), EntityTag::of_body(b"buckeroo"));
}

#[test]
fn tags_are_compared_as_bytes() {
    let one = tag("1");
    for same in [&[b"W/\"1\"".as_slice()][..], &[b"\"1\""], &[b"\"0\" , \"1\""], &[b"\"0\"", b",,W/\"1\" ,"], &[b"*"]] {
        assert!(writes("if-match", same, &one), "{same:?}");
    }
    for other in [&[b"\"+1\"".as_slice()][..], &[b"\"01\""], &[b"\"1 \""], &[b"1"], &[b""], &[b"w/\"1\""], &[b"W/1"]] {
        assert!(!writes("if-match", other, &one), "{other:?}");
    }
}

#[test]
fn commas_and_high_bytes_inside_quotes_are_the_tags_own() {
    for inside in ["a,b", ",", "\u{e9}", "a\\", ""] {
        let list = format!("\"x\", W/\"{inside}\", \"y\"");
        assert!(writes("if-match", &[list.as_bytes()], &tag(inside)), "{inside}");
        assert!(!writes("if-match", &[b"\"a,b,\xe9\""], &tag(inside)), "{inside}");
    }
    assert!(!writes("if-match", &[b"\"a,b\""], &tag("b")));
}

#[test]
fn what_is_no_list_lets_nothing_be_written() {
    for wrong in [b"\xe9".as_slice(), b"", b"\"1\" \"2\"", b"\"1", b"1", b"\"1\", *", b"*, *"] {
        assert!(!writes("if-none-match", &[wrong], &tag("3")), "{wrong:?}");
        assert!(!writes("if-match", &[wrong], &tag("3")), "{wrong:?}");
    }
}

#[test]
fn if_none_match_refuses_what_is_there() {
    assert!(!writes("if-none-match", &[b"*"], &tag("1")));
    assert!(!writes("if-none-match", &[b"\"1\""], &tag("1")));
    assert!(writes("if-none-match", &[b"\"2\""], &tag("1")));
    assert!(Conditions::of(&HeaderMap::new()).hold_for_any());
    assert!(Conditions::of(&headers("if-match", &[b"*"])).hold_for_any());
    assert!(!Conditions::of(&headers("if-none-match", &[b"*"])).hold_for_any());
}

#[test]
fn reads_fail_or_are_not_modified_in_the_order_of_the_rfc() {
    let read = |name, value: &[u8]| Conditions::of(&headers(name, &[value])).of_read(&tag("1"));
    assert_eq!(read("if-none-match", b"*"), Read::NotModified);
    assert_eq!(read("if-none-match", b"\"0\", W/\"1\""), Read::NotModified);
    assert_eq!(read("if-none-match", b"\"2\""), Read::Whole);
    assert_eq!(read("if-none-match", b"1"), Read::Whole, "a copy that cannot be named is not held");
    assert_eq!(read("if-match", b"\"2\""), Read::Failed);
    let mut both = headers("if-match", &[b"\"2\""]);
    both.insert(IF_NONE_MATCH, HeaderValue::from_static("\"1\""));
    assert_eq!(Conditions::of(&both).of_read(&tag("1")), Read::Failed);
}

proptest! {
    /// Any bytes are read without a panic, and a tag is found in a list of any others.
    #[test]
    fn lists_are_read_whole(
        noise in prop::collection::vec(any::<u8>().prop_filter("a header's byte", |byte| (0x20..0x7f).contains(byte) || *byte >= 0x80), 0..60),
        others in prop::collection::vec("[!#-~]{0,8}", 0..5),
        wanted in "[!#-~]{0,8}",
    ) {
        let _any = Conditions::of(&headers("if-match", &[&noise])).allow_write(&tag("1"));
        let mut list: Vec<String> = others.iter().map(|one| format!("\"{one}\"")).collect();
        list.insert(list.len() / 2, format!("W/\"{wanted}\""));
        prop_assert!(writes("if-match", &[list.join(", ").as_bytes()], &tag(&wanted)));
        prop_assert_eq!(writes("if-match", &[list.join(" ,").as_bytes()], &tag("!absent!!")), false);
    }
}
