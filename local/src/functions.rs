//! The functions of `functions/`, by folder name: the same `handle` that runs in Lambda.

use std::sync::Arc;

use shared::clock::Clock;
use shared::{Context, runtime::respond};

use crate::ablation::Ablation;
use crate::gateway::Handler;

/// One line per function: its folder's name and its handler.
macro_rules! registry {
    ($($name:literal => $handle:path),* $(,)?) => {
        /// Folder names of all functions that can be called.
        pub const NAMES: &[&str] = &[$($name),*];

        /// The handler of a function, bound to `context`; without clients that live on, to a new one each time.
        #[must_use]
        pub fn handler(name: &str, context: &'static Context, ablation: Option<Ablation>) -> Option<Handler> {
            match name {
                $($name if ablation == Some(Ablation::ClientReuse) => Some(Arc::new(move |request| {
                    let context = Context::new(context.config().clone(), Clock::system());
                    Box::pin(async move { respond(&context, request, $handle).await })
                })),
                $name => Some(Arc::new(move |request| {
                    let request = match ablation {
                        Some(ablation) if $name == "analyze" => ablation.request(request),
                        _ => request,
                    };
                    Box::pin(respond(context, request, $handle))
                })),)*
                _ => None,
            }
        }
    };
}

registry! {
    "register" => register::handle,
    "login" => login::handle,
    "logout" => logout::handle,
    "get-me" => get_me::handle,
    "update-me" => update_me::handle,
    "get-user" => get_user::handle,
    "get-org-plan" => get_org_plan::handle,
    "put-org-plan" => put_org_plan::handle,
    "get-org-settings" => get_org_settings::handle,
    "put-org-settings" => put_org_settings::handle,
    "list-members" => list_members::handle,
    "put-member" => put_member::handle,
    "delete-member" => delete_member::handle,
    "get-model-pricing" => get_model_pricing::handle,
    "list-items" => list_items::handle,
    "create-item" => create_item::handle,
    "get-item" => get_item::handle,
    "update-item" => update_item::handle,
    "delete-item" => delete_item::handle,
    "analyze" => analyze::handle,
    "send-email" => send_email::handle,
    "get-job" => get_job::handle,
    "list-jobs" => list_jobs::handle,
    "cancel-job" => cancel_job::handle,
    "get-usage" => get_usage::handle,
    "health" => health::handle,
    "docs" => docs::handle,
}

/// The crates of all functions, those for events too: their lines are logged as finely as ours.
pub fn crates() -> impl Iterator<Item = String> {
    NAMES.iter().chain(&["worker", "sweeper"]).map(|name| name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::NAMES;
    use crate::template::Template;

    #[test]
    fn the_template_has_every_function() {
        let template = Template::parse(include_str!("../../template.yaml")).expect("whole template");
        let missing: Vec<_> = NAMES.iter().filter(|name| !template.functions.iter().any(|one| one == *name)).collect();
        assert!(missing.is_empty(), "not in template.yaml: {missing:?}");
    }
}
