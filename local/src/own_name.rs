//! Answers only whoever asks for this machine by a name of its own. A page whose host name turns into 127.0.0.1 after it was loaded (DNS
//! rebinding) is of one origin with what listens here, and could read all that the listeners say to anybody on this machine; its
//! requests bear the page's host. A container on this machine asks by what it calls its host: an address of a private network, or a name that its
//! engine gives. Neither can be a page's that turned into this machine: an address stays what it is, and nobody else has those names.

use std::net::IpAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};

/// The paths that tell what only this machine is to know.
const LOCAL: &str = "/_local/";
/// What Docker's and Podman's containers call their host.
const HOST_OF_CONTAINERS: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// A router that is asked by this machine's names alone. The port is none of it: what forwards to this one has another.
pub(crate) fn only(router: Router) -> Router {
    Router::new().fallback_service(router).layer(from_fn(check))
}

async fn check(request: Request, next: Next) -> Response {
    if !is_asked_for(&request) {
        let text = "This system answers at localhost, 127.0.0.1 and [::1] only, and to containers of this machine.\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if request.uri().path().starts_with(LOCAL) && is_from_another_site(request.headers()) {
        return (StatusCode::FORBIDDEN, "Other sites' pages may not ask for this.\n").into_response();
    }
    next.run(request).await
}

/// Whether each name in a request, of which there must be one, is this machine's.
fn is_asked_for(request: &Request) -> bool {
    let mut named = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().ok()?.parse().ok());
    let host: Option<Authority> = named.next().flatten();
    let in_target = request.uri().authority();
    host.is_some_and(|host| is_own(host.host()))
        && named.next().is_none()
        && in_target.is_none_or(|at| is_own(at.host()))
}

fn is_own(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    ["localhost"].iter().chain(&HOST_OF_CONTAINERS).any(|name| host.eq_ignore_ascii_case(name))
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback() || is_private(address))
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private(),
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// As browsers say of each request (Fetch Metadata). Whoever is none says nothing.
fn is_from_another_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known() {
        for own in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_own(own), "{own}");
        }
        for of_containers in ["172.17.0.1", "10.0.0.1", "192.168.65.254", "[fd00::1]", "host.docker.internal"] {
            assert!(is_own(of_containers), "{of_containers}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "host.docker.internal.evil.example",
            "172.17.0.1.evil.example",
            "0.0.0.0",
            "172.32.0.1",
            "203.0.113.1",
            "[::]",
            "[2001:db8::1]",
        ] {
            assert!(!is_own(other), "{other}");
        }
    }
}
