//! What callers do, and how often; each reply is held against the truth.

mod accounts;
mod actor;
mod items;
mod jobs;
mod orgs;

use crate::random::Random;
use crate::world::World;
use actor::Actor;
use std::sync::Mutex;
use std::time::Instant;

/// What one may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    ListItems,
    CreateItem,
    CreateAgain,
    CreateBatch,
    GetItem,
    UpdateItem,
    GetPlan,
    GetUser,
    UpdateMe,
    GetSettings,
    PutSettings,
    Prices,
    AnalyzeAndWait,
    Analyze,
    SendEmail,
    GetJob,
    ListJobs,
    Usage,
    LogInAndOut,
    Foreign,
}

/// Of 1,000 actions. Items are listed and created 3:1.
const MIX: [(Action, usize); 20] = [
    (Action::ListItems, 270),
    (Action::CreateItem, 70),
    (Action::CreateAgain, 5),
    (Action::CreateBatch, 15),
    (Action::GetItem, 60),
    (Action::UpdateItem, 20),
    (Action::GetPlan, 140),
    (Action::GetUser, 160),
    (Action::UpdateMe, 10),
    (Action::GetSettings, 40),
    (Action::PutSettings, 15),
    (Action::Prices, 70),
    (Action::AnalyzeAndWait, 15),
    (Action::Analyze, 20),
    (Action::SendEmail, 15),
    (Action::GetJob, 30),
    (Action::ListJobs, 10),
    (Action::Usage, 15),
    (Action::LogInAndOut, 10),
    (Action::Foreign, 10),
];

/// Does one thing of the mix, as somebody. Its first request was to start at `intended`.
pub async fn act(world: &World, random: &mut Random, intended: Option<Instant>) {
    let mut at = random.below(MIX.iter().map(|(_, weight)| weight).sum());
    let action = MIX.iter().find(|(_, weight)| {
        at < *weight || {
            at -= weight;
            false
        }
    });
    perform(world, action.map_or(Action::ListItems, |(action, _)| *action), random, intended).await;
}

/// Does just this.
pub async fn perform(world: &World, action: Action, random: &mut Random, intended: Option<Instant>) {
    let (org, user) = world.anybody(random);
    let actor = Actor { world, org, user, intended: Mutex::new(intended) };
    match action {
        Action::ListItems => actor.list_items().await,
        Action::CreateItem => actor.create_item(random, 1).await,
        Action::CreateAgain => actor.create_item(random, 2).await,
        Action::CreateBatch => actor.create_batch(random).await,
        Action::GetItem => actor.get_item(random).await,
        Action::UpdateItem => actor.update_item(random).await,
        Action::GetPlan => actor.get_versioned("get-org-plan", "plan").await,
        Action::GetUser => actor.get_user(random).await,
        Action::UpdateMe => actor.update_me().await,
        Action::GetSettings => actor.get_versioned("get-org-settings", "settings").await,
        Action::PutSettings => actor.put_settings(random).await,
        Action::Prices => actor.prices(random).await,
        Action::AnalyzeAndWait => actor.analyze(random, true).await,
        Action::Analyze => actor.analyze(random, false).await,
        Action::SendEmail => actor.send_email().await,
        Action::GetJob => actor.get_job(random).await,
        Action::ListJobs => actor.list_jobs().await,
        Action::Usage => actor.usage().await,
        Action::LogInAndOut => actor.log_in_and_out().await,
        Action::Foreign => actor.ask_for_what_is_anothers(random).await,
    }
}
