//! What an organization may keep in the cache that all share: what is large is read from the table each time.

use super::rig::Rig;
use crate::faults::FaultyDatabase;
use serde_json::{Value, json};

#[tokio::test]
async fn a_page_that_is_too_large_is_not_cached() {
    let rig = Rig::new().await;
    let database = FaultyDatabase::before(&rig.system.database_url()).await;
    let context = rig.with_cache(&database.url);
    let is_read = async || {
        let before = database.calls("Query");
        let (status, page) = rig.call(context, "list-items", &Value::Null, &[], &[("limit", "100")]).await;
        assert_eq!((status, page["data"].as_array().map(Vec::len)), (200, Some(100)));
        database.calls("Query") > before
    };
    rig.create_many(context, 100).await.unwrap();
    assert_eq!((is_read().await, is_read().await), (true, false), "a page of small items is");
    let large = json!({"items": vec![json!({"name": "x", "description": "😀".repeat(4_000)}); 100]});
    let (status, created) = rig.call(context, "create-item", &large, &[], &[]).await;
    assert_eq!((status, created["created"].as_array().map(Vec::len)), (201, Some(100)));
    assert_eq!((is_read().await, is_read().await), (true, true));
}

/// The largest value that all share has its place.
#[tokio::test]
async fn the_catalogue_is_cached() {
    let rig = Rig::new().await;
    let context = rig.with_cache(&rig.system.database_url());
    assert_eq!(rig.call(context, "get-model-pricing", &Value::Null, &[], &[]).await.0, 200);
    let counts = context.cache().take_counts();
    let of_catalogue = counts.iter().filter(|(class, _)| *class == "models-pricing").flat_map(|(_, counts)| counts);
    let events: Vec<&str> = of_catalogue.map(|(event, _)| event.0).collect();
    assert!(events.contains(&"Stores") && !events.contains(&"StoresRejected"), "{events:?}");
}
