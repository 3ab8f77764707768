//! What gives a link its hash, where its reply is lost: the SDK sends it again, a newer mail gets a link, and what was on the way lands.

use crate::api::{Actor, Api, Reply, unique_email};
use crate::email_changes;
use crate::faults::{Fault, FaultyDatabase, updates_of};
use crate::jobs::rig::Rig;
use crate::letters::code_of;
use crate::resets;
use futures_util::future::join_all;
use local::names::TABLE_NAME;
use serde_json::json;
use shared::ids::{JobId, SessionId, UserId};
use shared::model::invitation::InvitationRecord;
use shared::model::text::Email;
use shared::model::time::Moment;
use shared::model::user::UserRecord;
use shared::store::Store;
use shared::store::keys::Key;

const ANOTHER: &str = "nine wooden barrels";

/// What a link is for, as the worker of account mail has read it.
enum Link {
    Verification(Actor, UserRecord),
    PasswordReset(UserRecord),
    EmailChange(Actor, UserRecord, SessionId, String, JobId),
    EmailUndo(UserId, Moment),
    Invitation(Actor, InvitationRecord),
}

impl Link {
    fn key(&self) -> Key {
        match self {
            Self::Verification(_, user) => Key::verification(user.user_id),
            Self::PasswordReset(user) => Key::password_reset(user.user_id),
            Self::EmailChange(_, user, ..) => Key::email_change(user.user_id),
            Self::EmailUndo(user, at) => Key::email_undo(*user, *at),
            Self::Invitation(_, of) => Key::invitation(of.org_id, of.invitation_id),
        }
    }

    /// What its updates are called.
    fn updates(&self) -> String {
        updates_of(&self.key())
    }

    /// The token of a new one.
    async fn made(&self, store: &Store) -> String {
        match self {
            Self::Verification(_, user) => {
                let (_, token) = store.new_verification(user).await.unwrap().unwrap();
                token.reveal().to_owned()
            }
            Self::PasswordReset(user) => store.new_password_reset(user).await.unwrap().unwrap().reveal().to_owned(),
            Self::EmailChange(_, user, session, to, job) => {
                let (_, token) = store.new_email_change(user, *session, to, *job).await.unwrap().unwrap();
                token.reveal().to_owned()
            }
            Self::EmailUndo(user, at) => store.new_email_undo(*user, *at).await.unwrap().unwrap().reveal().to_owned(),
            Self::Invitation(_, of) => store.new_invitation_token(of).await.unwrap().unwrap().reveal().to_owned(),
        }
    }

    async fn opened(&self, api: &Api, token: &str) -> Reply {
        match self {
            Self::Verification(actor, _) | Self::EmailChange(actor, ..) => {
                email_changes::confirm(api, actor, json!({"token": token})).await
            }
            Self::PasswordReset(_) | Self::EmailUndo(..) => resets::reset(api, token, ANOTHER).await,
            Self::Invitation(actor, _) => api.post(actor, "/invitations/accept", json!({"token": token})).await,
        }
    }
}

/// A system whose database loses replies.
struct Scene {
    rig: Rig,
    database: FaultyDatabase,
    /// Has the database.
    _origin: Rig,
}

impl Scene {
    async fn start() -> Self {
        let origin = Rig::new().await;
        let database = FaultyDatabase::before(&origin.system.database_url()).await;
        let rig = Rig::with([("AWS_ENDPOINT_URL_DYNAMODB", database.url.clone())]).await;
        Self { rig, database, _origin: origin }
    }

    fn store(&self) -> &'static Store {
        self.rig.system.context().store()
    }

    async fn user_of(&self, actor: &Actor) -> UserRecord {
        self.store().user(actor.user_id.parse().unwrap()).await.unwrap().unwrap()
    }

    /// One of each kind, whose mail waits on its queue.
    async fn links(&self) -> [Link; 5] {
        let (rig, store) = (&self.rig, self.store());
        // The mail of this one is written before any other waits.
        let mover = rig.api.register().await;
        let text = email_changes::letter(rig, &mover, &unique_email()).await;
        let moved = email_changes::confirm(&rig.api, &mover, json!({"code": code_of(&text)})).await;
        assert_eq!(moved.status, 200, "{}", moved.text);
        let before = Email::try_from(mover.email).unwrap();
        let (user, at) = store.moved_from(&before).await.unwrap().unwrap();

        let new = rig.api.register_as_everybody().await;
        let forgetful = self.user_of(&rig.api.register().await).await;
        let (owner, guest) = (rig.owner("pro").await, rig.api.register().await);
        let invite = json!({"email": guest.email, "role": "member"});
        let invited = rig.api.post(&owner, &format!("/orgs/{}/invitations", owner.org_id), invite).await;
        assert_eq!(invited.status, 201, "{}", invited.text);
        let invitation = invited.body["id"].as_str().unwrap().parse().unwrap();
        let invitation = store.invitation(owner.org_id.parse().unwrap(), invitation).await.unwrap().unwrap();
        [
            Link::Verification(new.clone(), self.user_of(&new).await),
            Link::PasswordReset(forgetful),
            self.email_change().await,
            Link::EmailUndo(user, at),
            Link::Invitation(guest, invitation),
        ]
    }

    async fn email_change(&self) -> Link {
        let (actor, to) = (self.rig.api.register().await, unique_email());
        let asked = self.rig.api.put(&actor, "/me/email", json!({"email": to})).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        let user = self.user_of(&actor).await;
        let Key { pk, sk } = Key::email_change(user.user_id);
        let wanted =
            json!({"TableName": TABLE_NAME, "ConsistentRead": true, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}});
        let asked = self.database.ask("GetItem", &wanted).await;
        let text = |name: &str| asked["Item"][name]["S"].as_str().unwrap().to_owned();
        let (session, job) = (text("session_id").parse().unwrap(), text("job_id").parse().unwrap());
        Link::EmailChange(actor, user, session, to, job)
    }

    /// Waits until what is held on the way to a record has landed.
    async fn land<'a>(&self, records: impl IntoIterator<Item = &'a String> + Clone) {
        for updates in records.clone() {
            self.database.release(updates);
        }
        for updates in records {
            self.database.has_done(updates).await;
        }
    }
}

#[tokio::test]
async fn what_lands_late_leaves_the_newest_mails_link() {
    let scene = Scene::start().await;
    let (links, store) = (scene.links().await, scene.store());
    let records: Vec<String> = links.iter().map(Link::updates).collect();
    for updates in &records {
        scene.database.inject(updates, Fault::HoldOnTheWay(1));
    }
    join_all(links.iter().map(|link| link.made(store))).await;
    let newest = join_all(links.iter().map(|link| link.made(store))).await;
    scene.land(&records).await;
    for (link, token) in links.iter().zip(&newest) {
        let opened = link.opened(&scene.rig.api, token).await;
        assert_eq!(opened.status, 200, "{}: {}", link.key().sk, opened.text);
    }
}

#[tokio::test]
async fn what_lands_late_gives_no_tries_back() {
    let scene = Scene::start().await;
    let actor = scene.rig.api.register_as_everybody().await;
    let user = scene.user_of(&actor).await;
    let updates = updates_of(&Key::verification(user.user_id));
    scene.database.inject(&updates, Fault::HoldOnTheWay(1));
    let (code, _) = scene.store().new_verification(&user).await.unwrap().unwrap();
    let wrong = if code.reveal().starts_with('0') { "1111-1111" } else { "0000-0000" };
    let tried = async |code: &str| email_changes::confirm(&scene.rig.api, &actor, json!({"code": code})).await;
    for _ in 0..5 {
        tried(wrong).await.is_problem(400, "invalid_link");
    }
    scene.land([&updates]).await;
    tried(&code.reveal()).await.is_problem(400, "invalid_link");
}

/// It is done, and its reply is lost: what the SDK sends again finds that, and nothing is written a second time.
#[tokio::test]
async fn what_was_done_is_not_done_again() {
    let scene = Scene::start().await;
    for link in scene.links().await {
        scene.database.inject(&link.updates(), Fault::LoseReply(1));
        let before = scene.database.calls("UpdateItem");
        let token = link.made(scene.store()).await;
        assert_eq!(scene.database.calls("UpdateItem") - before, 2, "{}", link.key().sk);
        let opened = link.opened(&scene.rig.api, &token).await;
        assert_eq!(opened.status, 200, "{}: {}", link.key().sk, opened.text);
    }
}
