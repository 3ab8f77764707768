//! One database read per miss, across processes, counted at the database. Needs a real Redis: `just test-redis`.

use crate::api::{registration, unique_email};
use crate::environment;
use crate::faults::{Fault, FaultyDatabase};
use local::{Options, System};
use serde_json::Value;
use shared::cache::{self, Cache};
use shared::clock::Clock;
use shared::config::Config;
use shared::ids::UserId;
use shared::model::cached::ProfileKey;
use shared::model::user::Profile;
use shared::store::Store;
use shared::{ApiError, Context};
use std::process::Command;
use std::time::Duration;
use testkit::processes::Talking;

const PROCESSES: usize = 20;
const READERS: usize = 50;

/// The cache, patient however busy this machine is.
fn patient(context: &Context) -> Cache {
    let key_prefix = format!("{}:", context.config().table_name);
    let options = cache::Options { patience: Duration::from_secs(5), key_prefix, ..cache::Options::default() };
    Cache::with(&context.config().cache_url, options)
}

async fn read(cache: &Cache, store: &Store, user_id: UserId) -> Result<Option<Profile>, ApiError> {
    cache.get_or_fill(&ProfileKey(user_id), || async { Ok(store.user(user_id).await?.map(Profile::from)) }).await
}

/// A process that waits for a line, then reads one profile with 50 readers at once.
#[test]
#[ignore = "a role of the other tests"]
fn reader_process() {
    let context: &'static Context = Box::leak(Box::new(Context::new(Config::from_env().unwrap(), Clock::system())));
    let user_id: UserId = std::env::var("USER_ID").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cache = patient(context);
        assert_eq!(cache.ping().await, Some(true));
        println!("ready");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { read(&cache, context.store(), user_id).await })
            })
            .collect();
        for reader in readers {
            assert!(reader.await.unwrap().unwrap().is_some());
        }
        println!("done");
    });
}

struct Reader {
    name: String,
    process: Talking,
}

impl Reader {
    /// Starts a process that signs its calls of the database with an access key of its own.
    fn start(name: String, scene: &Scene) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "one_read::reader_process", "--ignored", "--nocapture"])
            .envs(environment::PLAIN)
            .env("CACHE_URL", &scene.cache_url)
            .env("AWS_ACCESS_KEY_ID", &name)
            .env("AWS_ENDPOINT_URL_DYNAMODB", &scene.database.url)
            .env("USER_ID", &scene.user_id);
        Self { name, process: Talking::start(&mut command) }
    }
}

/// A user whose cached profile has expired, and a database that counts.
struct Scene {
    cache_url: String,
    database: FaultyDatabase,
    user_id: String,
    _system: System,
}

impl Scene {
    async fn set() -> Self {
        let cache_url = std::env::var("CACHE_URL").unwrap_or_default();
        assert!(cache_url.starts_with("redis://"), "CACHE_URL names a real Redis (just test-redis starts one)");
        // Without the table's stream, which would take the readers' lease away when it tells of the registration.
        let options = Options { cache_url: cache_url.clone(), background: false, ..Options::ephemeral() };
        let system = System::start(options).await.unwrap();
        let client = reqwest::Client::new();
        let register = client.post(format!("{}/auth/register", system.url())).json(&registration(&unique_email()));
        let session: Value = register.send().await.unwrap().json().await.unwrap();
        let user_id = session["user"]["id"].as_str().unwrap().to_owned();
        let profile = client.get(format!("{}/users/{user_id}", system.url())).send().await.unwrap();
        assert_eq!(profile.status(), 200);
        let key = format!("{}:user:{user_id}:profile", local::names::TABLE_NAME);
        assert_eq!(redis(&cache_url, &["PEXPIRE", &key, "1"]), "1", "the profile was cached");
        while redis(&cache_url, &["EXISTS", &key]) != "0" {}
        let database = FaultyDatabase::before(&system.database_url()).await;
        Self { cache_url, database, user_id, _system: system }
    }

    /// Starts the processes, and has them read when all are ready.
    fn readers(&self) -> Vec<Reader> {
        let mut readers: Vec<_> = (0..PROCESSES).map(|number| Reader::start(format!("READER{number}"), self)).collect();
        assert!(readers.iter_mut().all(|reader| reader.process.says("ready")), "a reader did not start");
        readers.iter_mut().for_each(|reader| reader.process.tell("go"));
        readers
    }
}

fn redis(url: &str, words: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-u", url]).args(words).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits on a thread of its own: the database lives on this test's runtime.
async fn all_done(mut readers: Vec<Reader>) -> bool {
    tokio::task::spawn_blocking(move || readers.iter_mut().all(|reader| reader.process.says("done"))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a real Redis: just test-redis"]
async fn twenty_processes_of_fifty_readers_read_the_database_once() {
    let scene = Scene::set().await;
    scene.database.inject("GetItem", Fault::Delay(1, Duration::from_millis(100)));
    let readers = scene.readers();
    assert!(all_done(readers).await, "a reader failed");
    assert_eq!((scene.database.calls("GetItem"), scene.database.total()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a real Redis: just test-redis"]
async fn a_holder_that_is_killed_costs_one_more_read() {
    let scene = Scene::set().await;
    scene.database.inject("GetItem", Fault::Delay(1, Duration::from_millis(300)));
    let mut readers = scene.readers();
    let holder = loop {
        if let Some(holder) = scene.database.callers().first() {
            break holder.clone();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let killed = readers.iter().position(|reader| reader.name == holder).unwrap();
    drop(readers.swap_remove(killed));
    assert!(all_done(readers).await, "a reader failed");
    assert_eq!((scene.database.calls("GetItem"), scene.database.total()), (2, 2));
}
