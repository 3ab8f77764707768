//! What keys of the cache are made of.

use super::*;
use proptest::prelude::*;

/// A key and its page, as the server sees them.
fn text<K: Key>(key: &K) -> (String, String) {
    let (mut name, mut page) = (String::new(), String::new());
    key.write(&mut name);
    key.write_page(&mut page);
    (name, page)
}

/// Every key of this module for some ids, with the organization whose record it names.
fn keys(user: UserId, org: OrgId, item: ItemId, limit: u8) -> Vec<((String, String), Option<OrgId>)> {
    vec![
        (text(&ProfileKey(user)), None),
        (text(&OrgPlanKey(org)), Some(org)),
        (text(&OrgSettingsKey(org)), Some(org)),
        (text(&ItemPageKey { org_id: org, limit, after: None, spread: false }), Some(org)),
        (text(&ItemPageKey { org_id: org, limit, after: Some(item), spread: true }), Some(org)),
        (text(&CatalogueKey), None),
    ]
}

/// Whether a part of a key is a word of ours, an id or a number: ids are random and name nobody, and there is
/// nothing else in which something personal or secret could stand.
fn is_impersonal(part: &str) -> bool {
    const WORDS: [&str; 9] = ["user", "org", "profile", "plan", "settings", "items", "spread", "models", "pricing"];
    WORDS.contains(&part)
        || part.parse::<u8>().is_ok()
        || part.parse::<UserId>().is_ok()
        || part.parse::<OrgId>().is_ok()
        || part.parse::<ItemId>().is_ok()
}

proptest! {
    #[test]
    fn keys_are_of_the_organization_first_and_impersonal(
        user in any::<u128>(), org in any::<u128>(), other in any::<u128>(), item in any::<u128>(), limit in 1_u8..=100
    ) {
        prop_assume!(org != other);
        let id = |prefix: &str, bits: u128| format!("{prefix}_{bits:032x}");
        let user: UserId = id("usr", user).parse().expect("an id");
        let item: ItemId = id("itm", item).parse().expect("an id");
        let org_of = |bits| -> OrgId { id("org", bits).parse().expect("an id") };
        let all = keys(user, org_of(org), item, limit);
        let of_another = keys(user, org_of(other), item, limit);
        for (at, ((name, page), owner)) in all.iter().enumerate() {
            if let Some(owner) = owner {
                prop_assert!(name.starts_with(&format!("org:{owner}:")), "{name}");
                prop_assert!(&of_another[at].0.0 != name, "two organizations share {name}");
            }
            prop_assert!(name.split(':').all(is_impersonal), "{name}");
            prop_assert!(page.is_empty() || page.split(':').all(is_impersonal), "{page}");
            let same = all.iter().filter(|((other_name, other_page), _)| (other_name, other_page) == (name, page));
            prop_assert!(same.count() == 1, "two records share {name} {page}");
        }
    }
}

#[test]
fn every_key_is_among_them() {
    let source = include_str!("../cached.rs");
    let declared = source.lines().filter(|line| line.starts_with("impl Key for ")).count();
    let tested = keys(UserId::new(), OrgId::new(), ItemId::new(), 1);
    // The page's key stands twice, with and without the item that it starts after.
    assert_eq!(tested.len() - 1, declared, "add a new key to `keys` above");
}
