//! X-Ray's tracing header. A caller may send any text under its name: only what X-Ray defines is passed on or logged.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>

use lambda_http::http::HeaderName;

/// The header, as API Gateway passes it on.
pub const HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The trace, its parent segment and whether it is sampled, as a header again; `None` for a text without a trace.
#[must_use]
pub fn header(text: &str) -> Option<String> {
    let field = |name: &str| {
        text.split(';').find_map(|field| field.trim().split_once('=').filter(|(key, _)| *key == name)).map(|(_, v)| v)
    };
    let root = field("Root").filter(|root| is_root(root))?;
    let mut header = format!("Root={root}");
    if let Some(parent) = field("Parent").filter(|parent| is_hex(parent, 16)) {
        header.push_str(";Parent=");
        header.push_str(parent);
    }
    if let Some(sampled) = field("Sampled").filter(|sampled| matches!(*sampled, "0" | "1")) {
        header.push_str(";Sampled=");
        header.push_str(sampled);
    }
    Some(header)
}

/// Version 1: the time in 8 digits, 24 more.
fn is_root(text: &str) -> bool {
    let mut parts = text.split('-');
    parts.next() == Some("1")
        && parts.next().is_some_and(|time| is_hex(time, 8))
        && parts.next().is_some_and(|random| is_hex(random, 24))
        && parts.next().is_none()
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "Root=1-5759e988-bd862e3fe1be46a994272793";

    #[test]
    fn what_x_ray_defines_is_kept() {
        assert_eq!(header(ROOT).as_deref(), Some(ROOT));
        let whole = format!("{ROOT};Parent=53995c3f42cd8ad8;Sampled=1");
        assert_eq!(header(&whole).as_deref(), Some(&*whole));
        // As a load balancer and Lambda send it.
        let grown = format!("Self=1-5759e988-bd862e3fe1be46a994272793; {ROOT}; Sampled=0;Lineage=a87bd80c:0");
        assert_eq!(header(&grown), Some(format!("{ROOT};Sampled=0")));
    }

    #[test]
    fn nothing_else_gets_through() {
        for text in [
            "",
            "Ada Lovelace",
            "Root=ada@example.com",
            "Root=1-5759e988-bd862e3fe1be46a99427279",
            "Root=1-5759e988-bd862e3fe1be46a994272793-1",
            "Root=2-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e98g-bd862e3fe1be46a994272793",
            "Parent=53995c3f42cd8ad8;Sampled=1",
        ] {
            assert_eq!(header(text), None, "{text}");
        }
        let odd = format!("{ROOT};Parent=ada@example.com;Sampled=perhaps;Name=Ada");
        assert_eq!(header(&odd).as_deref(), Some(ROOT));
    }
}
