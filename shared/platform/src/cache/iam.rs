//! Logging in to ElastiCache with IAM: the password is a presigned request, made anew for each connection.

use super::url::Server;
use crate::aws::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use lambda_http::http;
use std::time::{Duration, SystemTime};

/// How long a token is good for: AWS allows 15 minutes.
/// <https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>
const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Who logs in, and where.
#[derive(Clone)]
pub struct Iam {
    pub region: String,
    pub credentials: Credentials,
}

/// The password of `server`'s user at `now`: the presigned `connect` request, without its scheme. `None`
/// when the server's address does not name a cache and a user.
pub(super) fn token(iam: &Iam, server: &Server, now: SystemTime) -> Option<String> {
    let (cache, user) = (server.iam.as_deref()?, server.user.as_deref()?);
    let url = format!("http://{cache}/?Action=connect&User={user}&ResourceType=ServerlessCache");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(TOKEN_LIFETIME);
    let identity = iam.credentials.clone().into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(&iam.region)
        .name("elasticache")
        .time(now)
        .settings(settings)
        .build()
        .ok()?
        .into();
    let signable = SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[])).ok()?;
    let (instructions, _signature) = sign(signable, &parameters).ok()?.into_parts();
    let mut request = http::Request::get(&url).body(()).ok()?;
    instructions.apply_to_request_http1x(&mut request);
    request.uri().to_string().strip_prefix("http://").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::CacheUrl;
    use crate::hex::digits as hex;
    use hmac::{Hmac, KeyInit as _, Mac as _};
    use sha2::{Digest as _, Sha256};
    use std::collections::BTreeMap;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn hmac(key: &[u8], text: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    /// SigV4's rules for a presigned GET that signs its host only, written down a second time, independent of
    /// the crate that is tested.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
    fn signature(presigned: &str, payload_hash: &str) -> String {
        let (address, query) = presigned.split_once('?').expect("a query");
        let (host, path) = address.split_once('/').expect("a path");
        let parameters: BTreeMap<&str, &str> =
            query.split('&').map(|pair| pair.split_once('=').expect("a pair")).collect();
        let canonical: Vec<String> = parameters
            .iter()
            .filter(|(name, _)| **name != "X-Amz-Signature")
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = format!("GET\n/{path}\n{}\nhost:{host}\n\nhost\n{payload_hash}", canonical.join("&"));
        let scope = parameters["X-Amz-Credential"].replace("%2F", "/");
        let scope = scope.split_once('/').expect("a key id").1;
        let digest = hex(&Sha256::digest(request));
        let to_sign = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{digest}", parameters["X-Amz-Date"]);
        let first = format!("AWS4{SECRET}").into_bytes();
        let key = scope.split('/').fold(first, |key, part| hmac(&key, part));
        hex(&hmac(&key, &to_sign))
    }

    /// The example of the page above.
    #[test]
    fn the_rules_give_the_published_signature() {
        let url = "examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
            &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
            &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host";
        let published = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert_eq!(signature(url, "UNSIGNED-PAYLOAD"), published);
    }

    #[test]
    fn the_token_is_a_presigned_connect() {
        let Ok(CacheUrl::Server(server)) = "rediss://app@h?iam=prod-cache".parse() else { panic!("an address") };
        for session_token in [None, Some("a+session/token==".to_owned())] {
            let credentials = Credentials::new("AKIAIOSFODNN7EXAMPLE", SECRET, session_token.clone(), None, "test");
            let iam = Iam { region: "eu-west-1".to_owned(), credentials };
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            let token = token(&iam, &server, now).expect("a token");
            assert!(token.starts_with("prod-cache/?Action=connect&User=app&ResourceType=ServerlessCache&"), "{token}");
            for part in
                ["X-Amz-Expires=900", "X-Amz-Date=20231114T221320Z", "%2Feu-west-1%2Felasticache%2Faws4_request"]
            {
                assert!(token.contains(part), "{part} in {token}");
            }
            assert_eq!(token.contains("X-Amz-Security-Token="), session_token.is_some());
            let signed = token.split("X-Amz-Signature=").nth(1).and_then(|rest| rest.split('&').next());
            assert_eq!(signed, Some(signature(&token, &hex(&Sha256::digest(""))).as_str()));
        }
    }
}
