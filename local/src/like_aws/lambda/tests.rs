use super::*;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use tokio::sync::{Notify, Semaphore};

fn settings(freezes: bool) -> Lambda {
    let at_once = Lognormal::ms(1e-6, 1e-6);
    Lambda { placement: at_once, initialization: at_once, freezes, ..Lambda::default() }
}

fn function(reserved: u32) -> FunctionSettings {
    FunctionSettings { reserved: Some(reserved), timeout: Duration::from_secs(15), memory_mb: 512 }
}

/// Environments that hold their number.
fn pool(lambda: &Lambda, reserved: u32) -> (Arc<Pool<u32>>, Clock) {
    let clock = Clock::stopped();
    let account = Arc::new(Slots::of_account(lambda, [], clock.now_ms()));
    (pool_of(lambda, reserved, &clock, &account), clock)
}

fn pool_of(lambda: &Lambda, reserved: u32, clock: &Clock, account: &Arc<Slots>) -> Arc<Pool<u32>> {
    let next = AtomicU32::new(1);
    let made = move || next.fetch_add(1, SeqCst);
    let name = ("create-item", &function(reserved));
    Pool::new(lambda, name, (SeededRng::new(1, 1), clock.clone()), account, made)
}

/// Waits until no environment is busy.
async fn idle(pool: &Arc<Pool<u32>>) {
    while pool.state().busy > 0 {
        tokio::task::yield_now().await;
    }
}

/// An invocation that answers at once which environment it has.
async fn ask(pool: &Arc<Pool<u32>>) -> Result<u32, Throttled> {
    let received = pool.invoke(|number, done| {
        Box::pin(async move {
            let _ = done.send(number);
        })
    })?;
    let number = received.await.expect("it lives");
    idle(pool).await;
    Ok(number)
}

/// An invocation that holds its environment until it is let go.
fn hold(pool: &Arc<Pool<u32>>, gate: &Arc<Semaphore>) -> Result<oneshot::Receiver<u32>, Throttled> {
    let gate = Arc::clone(gate);
    pool.invoke(|number, done| {
        Box::pin(async move {
            gate.acquire().await.expect("never closed").forget();
            let _ = done.send(number);
        })
    })
}

#[tokio::test]
async fn an_environment_has_one_request_and_a_reservation_its_number_of_them() {
    for freezes in [false, true] {
        let (pool, _) = pool(&settings(freezes), 2);
        let gate = Arc::new(Semaphore::new(0));
        let held = [hold(&pool, &gate).expect("the first"), hold(&pool, &gate).expect("the second")];
        assert_eq!(hold(&pool, &gate).err(), Some(Throttled::Concurrency));
        let mut numbers = Vec::new();
        gate.add_permits(2);
        for received in held {
            numbers.push(received.await.expect("it lives"));
        }
        idle(&pool).await;
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
        let again = ask(&pool).await.expect("free again");
        assert!(again <= 2, "it is one of them");
        assert_eq!(pool.counts(), Counts { throttles: 1, cold_starts: 2 });
    }
}

#[tokio::test]
async fn a_slot_has_ten_requests_a_second() {
    let (pool, clock) = pool(&settings(false), 1);
    for _ in 0..10 {
        assert_eq!(ask(&pool).await, Ok(1));
    }
    assert_eq!(ask(&pool).await, Err(Throttled::Rate), "however short they are");
    clock.jump(Duration::from_millis(100));
    assert_eq!(ask(&pool).await, Ok(1));
}

/// Without reservations: what one function has, another has not.
#[tokio::test]
async fn an_account_has_its_environments_and_requests_once_for_all_functions() {
    let lambda = Lambda { account: 2, is_reserved: false, ..settings(false) };
    let clock = Clock::stopped();
    let account = Arc::new(Slots::of_account(&lambda, [&function(50)], clock.now_ms()));
    let (one, other) = (pool_of(&lambda, 50, &clock, &account), pool_of(&lambda, 50, &clock, &account));
    assert_eq!(ask(&other).await, Ok(1), "it has one that is warm");
    let gate = Arc::new(Semaphore::new(0));
    let held = [hold(&one, &gate).expect("the first"), hold(&one, &gate).expect("the second")];
    assert_eq!(hold(&other, &gate).err(), Some(Throttled::Account), "however warm");
    gate.add_permits(2);
    for received in held {
        received.await.expect("it lives");
    }
    idle(&one).await;
    // Twenty requests a second of both together, and four are gone.
    for _ in 0..8 {
        ask(&one).await.expect("it has room");
        ask(&other).await.expect("it has room");
    }
    assert_eq!(ask(&one).await, Err(Throttled::AccountRate));
    assert_eq!(ask(&other).await, Err(Throttled::AccountRate));
    clock.jump(Duration::from_millis(50));
    assert_eq!(ask(&other).await, Ok(1));
}

/// A hundred are left at least for functions without a reservation.
#[test]
fn reservations_are_taken_of_the_account() {
    let of = |account, reserved| {
        let lambda = Lambda { account, ..Lambda::default() };
        let slots = Slots::of_account(&lambda, [&function(reserved)], 0);
        (0..).take_while(|_| slots.enter(0).is_ok()).count()
    };
    assert_eq!([of(1_000, 840), of(1_000, 950), of(10, 840)], [160, 100, 10]);
}

#[tokio::test]
async fn environments_come_a_hundred_a_second() {
    let lambda = Lambda { scaling: (100.0, 3.0), ..settings(false) };
    let (pool, clock) = pool(&lambda, 50);
    let gate = Arc::new(Semaphore::new(0));
    let _held: Vec<_> = (0..3).map(|_| hold(&pool, &gate).expect("one of three")).collect();
    assert_eq!(hold(&pool, &gate).err(), Some(Throttled::Scaling));
    clock.jump(Duration::from_millis(10));
    assert!(hold(&pool, &gate).is_ok());
}

#[tokio::test]
async fn a_cold_start_takes_its_time_and_an_idle_environment_goes() {
    let lambda = Lambda { placement: Lognormal::ms(200.0, 200.0), ..settings(false) };
    let (pool, clock) = pool(&lambda, 5);
    let gate = Arc::new(Semaphore::new(0));
    gate.add_permits(1);
    let mut received = hold(&pool, &gate).expect("one");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(received.try_recv().is_err(), "it starts");
    clock.jump(Duration::from_millis(201));
    assert_eq!(received.await, Ok(1));
    idle(&pool).await;
    clock.jump(Duration::from_secs(299));
    assert_eq!(ask(&pool).await, Ok(1), "warm");
    clock.jump(Duration::from_secs(901));
    let next = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { ask(&pool).await }
    });
    while !next.is_finished() {
        clock.jump(Duration::from_millis(100));
        tokio::task::yield_now().await;
    }
    assert_eq!(next.await.expect("no panic"), Ok(2));
}

/// Says when it is dropped, wherever it was.
struct Dropped(Arc<AtomicU32>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[tokio::test]
async fn what_takes_too_long_is_killed_where_it_is_and_its_environment_with_it() {
    for freezes in [false, true] {
        let (pool, clock) = pool(&settings(freezes), 1);
        let killed = Arc::new(AtomicU32::new(0));
        let (begun, mut begins) = oneshot::channel();
        let work = {
            let killed = Arc::clone(&killed);
            |_, done: oneshot::Sender<u32>| -> Work {
                Box::pin(async move {
                    let _dropped = Dropped(killed);
                    let _ = begun.send(());
                    std::future::pending::<()>().await;
                    drop(done);
                })
            }
        };
        let received = pool.invoke(work).expect("one");
        while begins.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let waiting = tokio::spawn(received);
        while !waiting.is_finished() {
            clock.jump(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
        assert!(waiting.await.expect("no panic").is_err(), "nothing came");
        while killed.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        idle(&pool).await;
        assert_eq!(ask(&pool).await, Ok(2), "the next one starts anew");
    }
}

#[tokio::test]
async fn what_an_environment_began_beside_a_request_stands_still_until_the_next() {
    let (pool, _) = pool(&settings(true), 1);
    let (begin, done_beside) = (Arc::new(Notify::new()), Arc::new(AtomicU32::new(0)));
    let (beside, counted) = (Arc::clone(&begin), Arc::clone(&done_beside));
    let first = pool.invoke(move |number, done| {
        Box::pin(async move {
            tokio::spawn(async move {
                beside.notified().await;
                counted.fetch_add(1, SeqCst);
            });
            tokio::task::yield_now().await;
            let _ = done.send(number);
        })
    });
    assert_eq!(first.expect("one").await, Ok(1));
    idle(&pool).await;
    begin.notify_one();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(done_beside.load(SeqCst), 0, "frozen");
    let second = pool.invoke(move |number, done| {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let _ = done.send(number);
        })
    });
    assert_eq!(second.expect("the same").await, Ok(1));
    assert_eq!(done_beside.load(SeqCst), 1, "thawed");
}

#[tokio::test]
async fn an_environment_that_panics_is_gone() {
    let (pool, _) = pool(&settings(false), 1);
    let received = pool.invoke(|_, done: oneshot::Sender<u32>| {
        Box::pin(async move {
            let _done = done;
            panic!("as a function may");
        })
    });
    assert!(received.expect("one").await.is_err());
    idle(&pool).await;
    assert_eq!(ask(&pool).await, Ok(2));
}
