//! A database that fails: a share of its calls ends with a server's error, half of them after they took effect. Its own error, another
//! name of it, or what a part in between says, which nobody can read.
//!
//! Source: DynamoDB Developer Guide, "Error handling" (documented: such a call may have succeeded, and is to be repeated). Not among
//! what [`super::LikeAws`] does by default: how often it happens is published nowhere, and an outage is a scene of its own.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::client::http::{HttpConnector as _, HttpConnectorFuture, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use super::random::SeededRng;
use crate::layers::{Call, Layer, answer};

/// The share of calls that fail. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Errors(Arc<Mutex<f64>>);

impl Errors {
    /// From now on, this share fails: 0 to 1.
    pub fn set(&self, share: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = share;
    }

    fn share(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The layer.
#[derive(Debug)]
pub(crate) struct Failing {
    pub(crate) errors: Errors,
    pub(crate) rng: SeededRng,
}

impl Layer for Failing {
    fn call(&self, request: HttpRequest, next: &SharedHttpConnector) -> HttpConnectorFuture {
        let is_for_database = Call::of(&request).is_some_and(|call| call.service == "dynamodb");
        if !is_for_database || !self.rng.happens(self.errors.share()) {
            return next.call(request);
        }
        let (status, body) = said(self.rng.unit());
        let takes_effect = self.rng.happens(0.5).then(|| next.call(request));
        HttpConnectorFuture::new(async move {
            if let Some(call) = takes_effect {
                call.await?;
            }
            answer(status, body)
        })
    }
}

/// What a call that failed is answered, by chance: a number from 0 up to 1.
fn said(chance: f64) -> (u16, String) {
    let error = |name: &str| {
        let name = format!("com.amazonaws.dynamodb.v20120810#{name}");
        serde_json::json!({"__type": name, "message": "It failed."}).to_string()
    };
    match chance {
        0.0..0.4 => (500, error("InternalServerError")),
        0.4..0.8 => (503, error("ServiceUnavailable")),
        _ => (502, "<html>Bad gateway</html>".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::like_aws::LikeAws;
    use crate::like_aws::tests_rig::{Rig, key};

    #[tokio::test]
    async fn half_of_what_fails_has_taken_effect() {
        let errors = Errors::default();
        let rig = Rig::new(|_| LikeAws { errors: Some(errors.clone()), ..LikeAws::nothing() });
        errors.set(1.0);
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..200 {
            let put = rig.client().put_item().table_name(rig.table()).set_item(Some(key(&number.to_string())));
            let failed = put.send().await.expect_err("it fails").into_service_error();
            seen.insert(failed.meta().code().map(str::to_owned));
        }
        let names = [None, Some("InternalServerError"), Some("ServiceUnavailable")];
        assert_eq!(seen, names.map(|name| name.map(str::to_owned)).into());
        errors.set(0.0);
        let mut written = 0;
        for number in 0..200 {
            written += usize::from(rig.exists(&number.to_string()).await);
        }
        assert!((60..140).contains(&written), "{written} of 200");
    }
}
