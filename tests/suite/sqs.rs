//! The queue service's features that the project uses, written once and run on two servers: the embedded one with every
//! `cargo test`, and MiniStack with `just test-ministack-sqs`. What holds on both can be relied on.

mod batches;
mod dead_letters;
mod delivery;
mod messages;
mod production;
mod queues;
mod target;

use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt as _;
use target::Target;

type Feature = for<'a> fn(&'a Target) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Declares the suite: a test of its own for each feature on the embedded server, and the list for others.
macro_rules! suite {
    ($($module:ident::$feature:ident,)*) => {
        const FEATURES: &[(&str, Feature)] =
            &[$((stringify!($feature), |target| Box::pin($module::$feature(target)))),*];

        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $feature() {
                    super::$module::$feature(&super::Target::embedded().await).await;
                }
            )*
        }
    };
}

suite! {
    queues::creating_twice_is_fine_unless_attributes_differ,
    queues::attributes_outside_their_limits_are_refused,
    queues::a_missing_queue_has_its_legacy_code,
    messages::a_message_arrives_as_it_was_sent,
    messages::system_attributes_are_shown_if_asked_for,
    messages::bodies_outside_the_allowed_characters_are_refused,
    messages::a_body_has_one_mebibyte_at_most,
    messages::a_receive_takes_one_to_ten_messages,
    messages::other_arguments_outside_their_limits_are_refused,
    delivery::a_received_message_is_hidden_until_its_timeout,
    delivery::visibility_can_be_extended_and_given_up,
    delivery::a_delayed_message_waits,
    delivery::a_deleted_message_is_gone,
    delivery::a_stale_receipt_deletes_nothing,
    delivery::a_foreign_receipt_is_refused,
    delivery::a_long_poll_wakes_for_a_message,
    delivery::a_noisy_group_holds_nobody_up,
    batches::a_batch_reports_each_entry,
    batches::a_batch_outside_its_limits_is_refused_whole,
    dead_letters::a_message_is_dead_after_exactly_its_receives,
    production::the_production_client_sends_and_hides,
    production::the_production_client_tells_errors_apart,
}

/// Where MiniStack is known to answer otherwise, and why the suite keeps to what AWS documents. A feature that
/// starts to work there fails the run until it is taken off this list. As of MiniStack 1.5.33.
const MINISTACK_DIFFERS: &[(&str, &str)] = &[
    ("other_arguments_outside_their_limits_are_refused", "MiniStack checks only the number of messages of a receive"),
    ("a_stale_receipt_deletes_nothing", "MiniStack refuses stale and used receipts; SQS documents success"),
    ("a_noisy_group_holds_nobody_up", "MiniStack delivers in order of arrival; it has no fair queues"),
];

/// Needs `MINISTACK_PYTHON`, a Python with MiniStack installed. It fails where MiniStack does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs MiniStack: run `just test-ministack-sqs`"]
async fn ministack_has_the_same_features() {
    let (target, _running) = Target::ministack().await;
    let mut wrong = Vec::new();
    for &(name, feature) in FEATURES {
        let holds = AssertUnwindSafe(feature(&target)).catch_unwind().await.is_ok();
        let differs = MINISTACK_DIFFERS.iter().find(|(feature, _)| *feature == name);
        println!("{} {name} {}", if holds { "same   " } else { "differs" }, differs.map_or("", |(_, why)| why));
        if holds == differs.is_some() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "not as expected on MiniStack: {wrong:?}");
}
