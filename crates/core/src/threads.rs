//! [`Threads`]: a small fork-join for sections of microseconds.
//!
//! Helpers spin for about half a millisecond after a section before they sleep, so that a section which follows soon costs under a
//! microsecond to start; waking a sleeping pool costs 20 to 60 µs. Which thread runs which task is left open, so tasks
//! write to places of their own and results do not depend on it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::processors::Helpers;

/// How long a helper spins before it sleeps: longer than what is usually done between two steps of a small model by one thread, a loop in
/// Python included, and a fraction of what OpenMP runtimes do.
const SPIN: Duration = Duration::from_micros(500);

/// A handle to a group of threads; clones share it.
#[derive(Clone, Debug)]
pub struct Threads(Option<Arc<Pool>>);

impl Threads {
    /// The calling thread alone.
    pub fn serial() -> Self {
        Self(None)
    }

    /// `n` threads in all, the calling one included; 0 is all cores.
    pub fn new(n: usize) -> Self {
        let n = if n == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { n };
        Self((n > 1).then(|| Arc::new(Pool::start(n - 1))))
    }

    /// How many threads work on a section.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.helpers.len() + 1)
    }

    /// Calls `task(0)`, …, `task(tasks − 1)`, each once, and returns when all have returned.
    ///
    /// A section inside a section, or one while another caller's section runs, is done by its caller alone. A panic in a
    /// task is passed on after the others have ended.
    pub fn run(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        match &self.0 {
            Some(pool) if tasks > 1 => pool.run(tasks, &task),
            _ => (0..tasks).for_each(task),
        }
    }
}

/// Groups that the tasks of a section are taken in, at most: a bit each.
const GROUPS: usize = 64;

/// What helpers look at. What everybody spins on has cache lines of its own.
#[derive(Default)]
struct Shared {
    /// The groups of the section in progress that nobody has taken, a bit each. Who clears one has taken a group of that section,
    /// whichever it is by then.
    free: Line<AtomicU64>,
    /// Groups of the section that have ended.
    done: Line<AtomicUsize>,
    task: AtomicTask,
    /// Groups of the section.
    groups: AtomicUsize,
    /// Helpers that sleep or are about to.
    sleepers: AtomicUsize,
    bed: Mutex<Helpers>,
    wake: Condvar,
    stop: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// Alone on two cache lines, which processors fetch in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Line<T>(T);

/// The closure of a section: where it is, and who calls it.
#[derive(Default)]
struct AtomicTask {
    data: AtomicPtr<()>,
    call: AtomicPtr<()>,
}

type Call = unsafe fn(*const (), usize);

impl AtomicTask {
    fn set<T: Fn(usize) + Sync>(&self, task: &T) {
        /// # Safety
        /// `data` points to a T that is alive.
        unsafe fn call<T: Fn(usize)>(data: *const (), nth: usize) {
            // SAFETY: this function's contract.
            unsafe { (*data.cast::<T>())(nth) }
        }
        let call: Call = call::<T>;
        self.data.store(std::ptr::from_ref(task).cast_mut().cast(), Ordering::Relaxed);
        self.call.store(call as *mut (), Ordering::Relaxed);
    }

    /// Runs a task of the section in progress.
    ///
    /// # Safety
    /// The caller has taken group `nth` and not yet counted it as done: the section's closure is alive then.
    unsafe fn run(&self, nth: usize) {
        let data = self.data.load(Ordering::Relaxed);
        // SAFETY: the pointer was stored from a `Call` by `set`, before the groups were free to be taken.
        let call: Call = unsafe { std::mem::transmute(self.call.load(Ordering::Relaxed)) };
        // SAFETY: this function's contract.
        unsafe { call(data, nth) }
    }
}

impl Shared {
    /// Runs groups of the section in progress until none is left to take: first those from `own` on, so that in one section after the
    /// other a thread meets the same stretch of the same data.
    fn work(&self, own: u32) {
        let mut free = self.free.0.load(Ordering::Acquire);
        while free != 0 {
            let near = free & (u64::MAX << own);
            let nth = if near == 0 { free } else { near }.trailing_zeros();
            let taken = free & !(1 << nth);
            match self.free.0.compare_exchange_weak(free, taken, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    // SAFETY: the group was just taken, and is counted below.
                    let ran = catch_unwind(AssertUnwindSafe(|| unsafe { self.task.run(nth as usize) }));
                    if let Err(cause) = ran {
                        self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
                    }
                    self.done.0.fetch_add(1, Ordering::Release);
                    free = self.free.0.load(Ordering::Acquire);
                }
                Err(now) => free = now,
            }
        }
    }
}

struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    busy: AtomicBool,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool of {} helpers", self.helpers.len())
    }
}

impl Pool {
    fn start(helpers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let spawn = |i| {
            let shared = Arc::clone(&shared);
            let name = format!("thalweg-{i}");
            std::thread::Builder::new().name(name).spawn(move || help(&shared, i, helpers + 1)).ok()
        };
        let helpers = (1..=helpers).map_while(spawn).collect();
        Self { shared, helpers, busy: AtomicBool::new(false) }
    }

    fn run<T: Fn(usize) + Sync>(&self, tasks: usize, task: &T) {
        if self.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(task);
            return;
        }
        let groups = tasks.min(GROUPS);
        if groups == tasks {
            self.section(groups, task);
        } else {
            let group = |nth: usize| (nth * tasks / groups..(nth + 1) * tasks / groups).for_each(task);
            self.section(groups, &group);
        }
        self.busy.store(false, Ordering::Release);
        let panic = self.shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(cause) = panic {
            resume_unwind(cause);
        }
    }

    /// Publishes a section, works on it, and returns when every group of it has ended: the closure need not live longer.
    fn section<T: Fn(usize) + Sync>(&self, groups: usize, task: &T) {
        let shared = &*self.shared;
        shared.done.0.store(0, Ordering::Relaxed);
        shared.task.set(task);
        shared.groups.store(groups, Ordering::Relaxed);
        // Who sees a bit of these sees the closure and the counts too. The order with `sleepers` is one for all threads: a helper that is
        // not seen asleep here sees the bits before it sleeps.
        shared.free.0.store(u64::MAX >> (GROUPS - groups), Ordering::SeqCst);
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            shared.bed.lock().unwrap_or_else(PoisonError::into_inner).keep_off();
            shared.wake.notify_all();
        }
        shared.work(0);
        while shared.done.0.load(Ordering::Acquire) < groups {
            std::hint::spin_loop();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _bed = self.shared.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.stop.store(true, Ordering::SeqCst);
        }
        self.shared.wake.notify_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

fn help(shared: &Shared, nth: usize, threads: usize) {
    shared.bed.lock().unwrap_or_else(PoisonError::into_inner).join();
    let idle = |order| shared.free.0.load(order) == 0 && !shared.stop.load(order);
    loop {
        let mut since = Instant::now();
        let mut spins = 0u32;
        while idle(Ordering::Acquire) {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(64) && since.elapsed() > SPIN {
                let bed = shared.bed.lock().unwrap_or_else(PoisonError::into_inner);
                shared.sleepers.fetch_add(1, Ordering::SeqCst);
                if idle(Ordering::SeqCst) {
                    drop(shared.wake.wait(bed).unwrap_or_else(PoisonError::into_inner));
                }
                shared.sleepers.fetch_sub(1, Ordering::SeqCst);
                // Too late for the section that woke it, perhaps: it waits for the next one.
                since = Instant::now();
            }
        }
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        // The number of groups may be another section's by now: it only says where to begin.
        let groups = shared.groups.load(Ordering::Relaxed);
        shared.work((nth * groups / threads).min(GROUPS - 1) as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for n in [1, 2, 3, 16] {
            let threads = Threads::new(n);
            assert_eq!(threads.count(), n);
            for tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                threads.run(tasks, |i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn sections_follow_each_other_after_a_sleep_and_nest() {
        let threads = Threads::new(3);
        let sum = AtomicUsize::new(0);
        for round in 0..50 {
            if round % 10 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            threads.run(8, |_| {
                threads.run(4, |j| {
                    sum.fetch_add(j, Ordering::Relaxed);
                })
            });
        }
        assert_eq!(sum.load(Ordering::Relaxed), 50 * 8 * 6);
    }

    #[test]
    fn a_panic_is_passed_on_and_the_threads_live() {
        let threads = Threads::new(2);
        let caught = catch_unwind(AssertUnwindSafe(|| threads.run(4, |i| assert!(i != 2, "task two"))));
        assert!(caught.is_err());
        let ran = AtomicUsize::new(0);
        threads.run(4, |_| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.load(Ordering::Relaxed), 4);
    }
}
