//! [`Threads`]: a small fork-join for sections of microseconds.
//!
//! Helpers spin for about 100 µs after a section before they sleep, so that a section which follows at once costs under a
//! microsecond to start; waking a sleeping pool costs 20 to 30 µs. Which thread runs which task is left open, so tasks
//! write to places of their own and results do not depend on it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a helper spins before it sleeps.
const SPIN: Duration = Duration::from_micros(100);

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

/// One section: its tasks and who has taken which.
struct Section {
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// What an unused section does.
const IDLE: &(dyn Fn(usize) + Sync) = &|_| {};

impl Section {
    fn new(task: *const (dyn Fn(usize) + Sync), tasks: usize) -> Self {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { task, tasks, next, done, panic: Mutex::new(None) }
    }
}

// SAFETY: the pointer is only followed by `Section::work` while a task is unfinished, and `Pool::run` keeps the closure
// (which is Sync) alive until all tasks are done.
unsafe impl Send for Section {}
// SAFETY: as above.
unsafe impl Sync for Section {}

impl Section {
    fn work(&self) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.tasks {
                return;
            }
            // SAFETY: task `i` is unfinished, so `Pool::run` has not returned and the closure it borrowed is alive.
            let task = unsafe { &*self.task };
            if let Err(cause) = catch_unwind(AssertUnwindSafe(|| task(i))) {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
    }
}

#[derive(Default)]
struct Shared {
    /// Counts sections; a helper that sees it change looks at `current`.
    epoch: AtomicUsize,
    current: Mutex<Option<Arc<Section>>>,
    wake: Condvar,
    stop: AtomicBool,
}

struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    busy: AtomicBool,
    /// Sections, used again and again so that none is ever allocated: each helper may still hold one that has ended and `current` holds
    /// the last, so of two more than there are helpers one is free.
    sections: Mutex<Vec<Arc<Section>>>,
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
            std::thread::Builder::new().name(name).spawn(move || help(&shared)).ok()
        };
        let helpers: Vec<_> = (1..=helpers).map_while(spawn).collect();
        let sections = (0..helpers.len() + 2).map(|_| Arc::new(Section::new(IDLE, 0))).collect();
        Self { shared, helpers, busy: AtomicBool::new(false), sections: Mutex::new(sections) }
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.busy.swap(true, Ordering::Acquire) {
            (0..tasks).for_each(task);
            return;
        }
        // SAFETY: only the lifetime changes. This function returns after every task has finished, and no helper follows
        // the pointer after that (`Section::work` takes tasks by number, and there are none left).
        let task = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(task)
        };
        let section = {
            let mut sections = self.sections.lock().unwrap_or_else(PoisonError::into_inner);
            let found = sections.iter_mut().find_map(|section| {
                *Arc::get_mut(section)? = Section::new(task, tasks);
                Some(Arc::clone(section))
            });
            found.expect("a section that nobody holds")
        };
        {
            let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
            *current = Some(Arc::clone(&section));
            self.shared.epoch.fetch_add(1, Ordering::Release);
        }
        self.shared.wake.notify_all();
        section.work();
        while section.done.load(Ordering::Acquire) < tasks {
            std::hint::spin_loop();
        }
        self.busy.store(false, Ordering::Release);
        let panic = section.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(cause) = panic {
            resume_unwind(cause);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
            self.shared.stop.store(true, Ordering::Release);
        }
        self.shared.wake.notify_all();
        for helper in self.helpers.drain(..) {
            let _ = helper.join();
        }
    }
}

fn help(shared: &Shared) {
    let mut seen = 0;
    loop {
        let since = Instant::now();
        let mut spins = 0u32;
        while shared.epoch.load(Ordering::Acquire) == seen && !shared.stop.load(Ordering::Acquire) {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(64) && since.elapsed() > SPIN {
                let mut guard = shared.current.lock().unwrap_or_else(PoisonError::into_inner);
                while shared.epoch.load(Ordering::Acquire) == seen && !shared.stop.load(Ordering::Acquire) {
                    guard = shared.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let current = {
            let guard = shared.current.lock().unwrap_or_else(PoisonError::into_inner);
            seen = shared.epoch.load(Ordering::Acquire);
            guard.clone()
        };
        if let Some(section) = current {
            section.work();
        }
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
