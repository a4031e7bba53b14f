//! Keeps helpers off the processor of their caller.
//!
//! Linux looks for an idle processor for a thread that wakes only where few of them have been busy (`SIS_UTIL`, since 6.0). On a machine whose
//! processors all had work a helper is often woken on its caller's, and the two take turns there beside one that is idle, for 10 ms and more.

/// The threads that are kept off, and from where.
#[derive(Debug, Default)]
pub(crate) struct Helpers {
    #[cfg(target_os = "linux")]
    ids: Vec<rustix::thread::Pid>,
    #[cfg(target_os = "linux")]
    barred: Option<usize>,
}

#[cfg(target_os = "linux")]
impl Helpers {
    /// The thread that calls this becomes one of them.
    pub fn join(&mut self) {
        self.ids.push(rustix::thread::gettid());
        self.barred = None;
    }
    /// From now on they run where the thread that calls this may, but for the processor that it is on. Without another one, or where the
    /// system refuses, nothing changes.
    pub fn keep_off(&mut self) {
        use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};
        let here = sched_getcpu();
        if self.barred == Some(here) {
            return;
        }
        self.barred = Some(here);
        let Ok(mut allowed) = sched_getaffinity(None) else { return };
        allowed.unset(here);
        if allowed.count() > 0 {
            for &id in &self.ids {
                let _ = sched_setaffinity(Some(id), &allowed);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Helpers {
    pub fn join(&mut self) {}
    pub fn keep_off(&mut self) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::{Mutex, mpsc};

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::*;

    #[test]
    fn a_helper_may_run_wherever_its_caller_is_not() {
        let all = sched_getaffinity(None).unwrap();
        let processors: Vec<usize> = (0..1024).filter(|&cpu| all.is_set(cpu)).collect();
        let helpers = Mutex::new(Helpers::default());
        let ((ask, asked), (tell, told)) = (mpsc::channel(), mpsc::channel());
        std::thread::scope(|scope| {
            let helpers = &helpers;
            scope.spawn(move || {
                helpers.lock().unwrap().join();
                while asked.recv().is_ok() {
                    tell.send(sched_getaffinity(None).unwrap()).unwrap();
                }
            });
            ask.send(()).unwrap();
            assert_eq!(told.recv().unwrap(), all);
            // The caller may run on two processors, and is on one of them: the helper gets the other.
            for two in processors.windows(2) {
                let mut held = CpuSet::new();
                two.iter().for_each(|&cpu| held.set(cpu));
                sched_setaffinity(None, &held).unwrap();
                helpers.lock().unwrap().keep_off();
                ask.send(()).unwrap();
                let allowed = told.recv().unwrap();
                assert!(allowed.count() == 1 && two.iter().any(|&cpu| allowed.is_set(cpu)));
                helpers.lock().unwrap().barred = None;
            }
            // Without another processor it stays where it was.
            let before = ask.send(()).map(|()| told.recv().unwrap()).unwrap();
            let mut one = CpuSet::new();
            one.set(processors[0]);
            sched_setaffinity(None, &one).unwrap();
            helpers.lock().unwrap().keep_off();
            ask.send(()).unwrap();
            assert_eq!(told.recv().unwrap(), before);
            sched_setaffinity(None, &all).unwrap();
            drop(ask);
        });
    }
}
