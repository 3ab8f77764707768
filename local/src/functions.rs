//! The functions of `functions/`, by folder name: the same `handle` that runs in Lambda, and its documentation. The only list
//! of them; `just new` adds to it.

use std::sync::Arc;

use shared::clock::Clock;
use shared::{Context, runtime::respond};
use utoipa::OpenApi;

use crate::ablation::Ablation;
use crate::background;
use crate::gateway::Handler;

/// One line per function with a route: its folder's name, its crate, and what else of that documents an operation.
macro_rules! functions {
    ($($name:literal => $module:ident $(+ $other:ident)*),* $(,)?) => {
        /// Folder names of all functions that can be called.
        pub const NAMES: &[&str] = &[$($name),*];

        /// The handler of a function, bound to `context`; without clients that live on, to a new one each time.
        #[must_use]
        pub fn handler(name: &str, context: &'static Context, ablation: Option<Ablation>) -> Option<Handler> {
            match name {
                $($name if ablation == Some(Ablation::ClientReuse) => Some(Arc::new(move |request| {
                    let context = Context::new(context.config().clone(), Clock::system());
                    Box::pin(async move { respond(&context, request, $module::handle).await })
                })),
                $name => Some(Arc::new(move |request| {
                    let request = match ablation {
                        Some(ablation) if $name == "analyze" => ablation.request(request),
                        _ => request,
                    };
                    Box::pin(respond(context, request, $module::handle))
                })),)*
                _ => None,
            }
        }

        /// The operations of all functions, as they are annotated.
        #[derive(OpenApi)]
        #[openapi(paths($($module::handle, $($module::$other,)*)*))]
        pub(crate) struct Operations;
    };
}

functions! {
    "accept-invitation" => accept_invitation,
    "analyze" => analyze,
    "cancel-job" => cancel_job,
    "change-email" => change_email,
    "change-password" => change_password,
    "create-item" => create_item,
    "delete-item" => delete_item,
    "delete-member" => delete_member,
    "docs" => docs + page,
    "forgot-password" => forgot_password,
    "get-item" => get_item,
    "get-job" => get_job,
    "get-me" => get_me,
    "get-model-pricing" => get_model_pricing,
    "get-org-plan" => get_org_plan,
    "get-org-settings" => get_org_settings,
    "get-usage" => get_usage,
    "get-user" => get_user,
    "health" => health,
    "invitations" => invitations + list + withdraw,
    "list-items" => list_items,
    "list-jobs" => list_jobs,
    "list-members" => list_members,
    "login" => login,
    "logout" => logout,
    "put-member" => put_member,
    "put-org-settings" => put_org_settings,
    "reauthenticate" => reauthenticate,
    "register" => register,
    "reset-password" => reset_password,
    "retry-job" => retry_job,
    "send-email" => send_email,
    "sessions" => sessions + end + end_others,
    "update-item" => update_item,
    "update-me" => update_me,
    "verify-email" => verify_email + resend,
}

/// The crates of all functions, those for events too: their lines are logged as finely as ours.
pub fn crates() -> impl Iterator<Item = String> {
    NAMES.iter().chain(&background::NAMES).map(|name| name.replace('-', "_"))
}
