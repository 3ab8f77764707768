//! How long readers of several processes wait for each other.

use super::super::{CacheUrl, Invalidation, Name, Options, WriteOutcome};
use super::*;
use futures_util::poll;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Page(u64);

impl Cacheable for Page {
    const SCHEMA: u8 = 1;
    fn version(&self) -> u64 {
        0
    }
}

struct Pages;

impl Name for Pages {
    const CLASS: Class = Class::renewed_on_update("pages", Duration::from_secs(30));
    fn write(&self, out: &mut String) {
        out.push_str("pages");
    }
}

struct First;

impl Name for First {
    const CLASS: Class = Pages::CLASS;
    fn write(&self, out: &mut String) {
        Pages.write(out);
    }
}

impl Key for First {
    type Value = Page;
    fn write_page(&self, out: &mut String) {
        out.push('1');
    }
}

/// Another process with the same cache at each call.
fn processes() -> impl Fn() -> Cache {
    let url: CacheUrl = "memory:".parse().expect("a cache's address");
    move || Cache::with(&url, Options::default())
}

async fn write(process: &Cache) {
    let written: Invalidation<Pages, (), Busy> = Invalidation::new(Pages, WriteOutcome::Written(()));
    written.publish(process).await.expect("it is written");
}

async fn never() -> Result<Option<Page>, Busy> {
    std::future::pending().await
}

#[tokio::test]
async fn what_changes_faster_than_it_is_fetched_is_not_waited_for() {
    let process = processes();
    let mut holders = Vec::new();
    let begun = Instant::now();
    let reader = process();
    let mut reading = std::pin::pin!(reader.get_or_fill(&First, || async { Ok::<_, Busy>(Some(Page(7))) }));
    // There is always somebody who holds the lease, until the next write takes it away.
    let found = loop {
        let holder: &'static Cache = Box::leak(Box::new(process()));
        let mut holding = Box::pin(holder.get_or_fill(&First, never));
        assert!(poll!(&mut holding).is_pending());
        holders.push(holding);
        let reply = tokio::time::timeout(Duration::from_millis(4), &mut reading).await;
        if let Ok(found) = reply {
            break found;
        }
        write(&process()).await;
    };
    assert_eq!(found, Ok(Some(Page(7))));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_write_in_the_midst_of_a_fetch_costs_one_more() {
    let (process, fetches) = (processes(), AtomicU32::new(0));
    let readers = (0..20).map(|_| {
        let (process, fetches) = (process(), &fetches);
        async move {
            let fetch = || async {
                fetches.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(60)).await;
                Ok::<_, Busy>(Some(Page(1)))
            };
            process.get_or_fill(&First, fetch).await
        }
    });
    let writer = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        write(&process()).await;
    };
    let (found, ()) = tokio::join!(futures_util::future::join_all(readers), writer);
    assert!(found.into_iter().all(|page| page == Ok(Some(Page(1)))));
    assert_eq!(fetches.load(Ordering::Relaxed), 2);
}
