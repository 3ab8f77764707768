//! CPU time of single threads of this process (proc(5): the first number of `schedstat`, in ns).

use std::fs::{read_dir, read_to_string};
use std::time::Duration;

/// The ids of this process's threads of a name.
pub(crate) fn threads(name: &str) -> Vec<u32> {
    let all = read_dir("/proc/self/task").unwrap().filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
    let named = |thread: &u32| {
        read_to_string(format!("/proc/self/task/{thread}/comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    all.filter(named).collect()
}

/// CPU time of this thread, in ns. It sleeps first: the kernel brings the account up to date when a thread stops.
#[expect(clippy::disallowed_methods, reason = "nothing else is to run here meanwhile, and the thread is to stop")]
pub(crate) fn here() -> u64 {
    std::thread::sleep(Duration::from_micros(20));
    of_file("/proc/thread-self/schedstat")
}

/// CPU time of another thread, in ns, up to when it last had nothing to do.
pub(crate) fn of(thread: u32) -> u64 {
    of_file(&format!("/proc/self/task/{thread}/schedstat"))
}

fn of_file(path: &str) -> u64 {
    read_to_string(path).ok().and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0)
}
