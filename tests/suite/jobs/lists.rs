//! `GET /jobs`, also of one state or kind.

use super::rig::Rig;
use crate::api::Actor;
use reqwest::Method;
use serde_json::json;

/// The ids of all pages of a list, and how many pages there were.
async fn listed(rig: &Rig, owner: &Actor, filter: &str) -> (Vec<String>, usize) {
    let (mut ids, mut pages, mut cursor) = (Vec::new(), 0, String::new());
    loop {
        let page = rig.api.get(owner, &format!("/jobs?limit=3{filter}{cursor}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let data = page.body["data"].as_array().unwrap();
        assert!(data.len() <= 3);
        ids.extend(data.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
        pages += 1;
        let Some(next) = page.body["next_cursor"].as_str() else { return (ids, pages) };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test]
async fn a_list_of_one_state_or_kind_has_all_of_them_and_no_others() {
    for is_spread in [false, true] {
        let rig = Rig::new().await;
        let owner = rig.owner("pro").await;
        rig.spread_if(is_spread, &owner).await;
        let (mut analyses, mut emails, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..20 {
            if number % 5 == 0 {
                let letter = json!({"to": owner.email, "subject": "s", "text": "t"});
                emails.insert(0, rig.accepted(&owner, "/send-email", letter).await);
            }
            let id = rig.accepted(&owner, "/analyze", json!({"text": format!("text {number}")})).await;
            if number % 4 == 0 {
                let reply = rig.api.call(Some(&owner), Method::POST, &format!("/jobs/{id}/cancel"), None).await;
                assert_eq!(reply.status, 200, "{}", reply.text);
                cancelled.insert(0, id.clone());
            }
            analyses.insert(0, id);
        }
        assert_eq!(listed(&rig, &owner, "&kind=analyze").await.0, analyses, "{is_spread}");
        assert_eq!(listed(&rig, &owner, "&kind=send_email").await.0, emails, "{is_spread}");
        assert_eq!(listed(&rig, &owner, "&state=cancelled").await.0, cancelled, "{is_spread}");
        assert_eq!(listed(&rig, &owner, "&state=cancelled&kind=analyze").await.0, cancelled, "{is_spread}");
        assert_eq!(listed(&rig, &owner, "&state=unknown").await, (Vec::new(), 1), "{is_spread}");
        let (all, pages) = listed(&rig, &owner, "").await;
        assert_eq!((all.len(), pages), (24, 8), "{is_spread}");
    }
}

/// `next_cursor` is null on a last page that is full, with a filter too.
#[tokio::test]
async fn a_full_last_page_is_the_last() {
    for is_spread in [false, true] {
        let rig = Rig::new().await;
        let owner = rig.owner("free").await;
        rig.spread_if(is_spread, &owner).await;
        for text in ["one", "two", "three"] {
            rig.accepted(&owner, "/analyze", json!({"text": text})).await;
        }
        for filter in ["", "&state=queued", "&kind=analyze"] {
            let (ids, pages) = listed(&rig, &owner, filter).await;
            assert_eq!((ids.len(), pages), (3, 1), "{is_spread} {filter}");
        }
    }
}

#[tokio::test]
async fn a_cursor_is_bound_to_its_filter() {
    let rig = Rig::new().await;
    let owner = rig.owner("free").await;
    for text in ["one", "two", "three"] {
        rig.accepted(&owner, "/analyze", json!({"text": text})).await;
    }
    let filters = ["", "&state=queued", "&kind=analyze", "&state=queued&kind=analyze"];
    for sealed in filters {
        let page = rig.api.get(&owner, &format!("/jobs?limit=1{sealed}")).await;
        let cursor = page.body["next_cursor"].as_str().unwrap().to_owned();
        for asked in filters {
            let page = rig.api.get(&owner, &format!("/jobs?limit=1{asked}&cursor={cursor}")).await;
            assert_eq!(page.status, if asked == sealed { 200 } else { 422 }, "{sealed} {asked}: {}", page.text);
        }
    }
    for (query, pointer) in [
        ("state=done", "query/state"),
        ("state=", "query/state"),
        ("state=Queued", "query/state"),
        ("kind=account", "query/kind"),
        // Nobody's to see.
        ("kind=account_mail", "query/kind"),
        ("kind=analyze&kind=send_email", "query/kind"),
        ("states=queued", "query/states"),
    ] {
        let refused = rig.api.get(&owner, &format!("/jobs?{query}")).await;
        assert!(matches!(refused.status, 400 | 422), "{query}: {}", refused.text);
        assert_eq!(refused.pointer(), pointer, "{query}: {}", refused.text);
    }
}

/// A rare state in a long history: each request looks at so many jobs, and says where to go on.
#[tokio::test]
async fn a_rare_state_does_not_read_the_whole_history_at_once() {
    let rig = Rig::new().await;
    let owner = rig.owner("pro").await;
    let first = rig.accepted(&owner, "/send-email", json!({"to": owner.email, "subject": "s", "text": "t"})).await;
    for number in 0..501 {
        rig.accepted(&owner, "/analyze", json!({"text": format!("text {number}")})).await;
    }
    assert_eq!(listed(&rig, &owner, "&kind=send_email").await, (vec![first], 2));
}
