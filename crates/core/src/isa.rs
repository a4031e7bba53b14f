//! Instruction sets: one piece of code, compiled for several, chosen when it runs.
//!
//! The code inside [`run`] is plain Rust without fused multiply-add, so each instruction set gives the same bits; they
//! differ in speed alone. `THALWEG_ISA=sse2|avx2|avx512` in the environment sets an upper limit (tests use it).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that loops are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Isa {
    /// What the target guarantees: SSE2 on x86-64, NEON on AArch64.
    Baseline = 1,
    /// AVX2.
    Avx2 = 2,
    /// AVX-512 (F, BW, CD, DQ, VL).
    Avx512 = 3,
}

impl Isa {
    /// The name that `THALWEG_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Baseline if cfg!(target_arch = "x86_64") => "sse2",
            Isa::Baseline => "baseline",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }
}

/// All instruction sets that this machine has, slowest first.
pub fn available() -> Vec<Isa> {
    [Isa::Baseline, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= best()).collect()
}

/// The instruction set in use.
pub fn current() -> Isa {
    match LIMIT.load(Ordering::Relaxed) {
        0 => best().min(from_environment()),
        1 => Isa::Baseline,
        2 => Isa::Avx2.min(best()),
        _ => best(),
    }
}

/// Sets an upper limit for the whole process; `None` takes the environment's again. For tests and benches.
pub fn limit(isa: Option<Isa>) {
    LIMIT.store(isa.map_or(0, |isa| isa as u8), Ordering::Relaxed);
}

static LIMIT: AtomicU8 = AtomicU8::new(0);

/// For tests: the limit is the process's, and none may set it while another one's loops go by it.
#[cfg(test)]
pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    use std::sync::{Mutex, PoisonError};
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn from_environment() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| match std::env::var("THALWEG_ISA").as_deref() {
        Ok("sse2" | "baseline" | "scalar") => Isa::Baseline,
        Ok("avx2") => Isa::Avx2,
        _ => Isa::Avx512,
    })
}

#[cfg(target_arch = "x86_64")]
fn best() -> Isa {
    use pulp::x86::{V3, V4};
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(|| match (V4::try_new(), V3::try_new()) {
        (Some(_), _) => Isa::Avx512,
        (None, Some(_)) => Isa::Avx2,
        _ => Isa::Baseline,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn best() -> Isa {
    Isa::Baseline
}

/// Runs `f`, compiled for the instruction set in use. Whatever `f` calls must be `#[inline(always)]` to profit.
#[inline(always)]
pub fn run<R>(f: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        use pulp::x86::{V3, V4};
        match current() {
            Isa::Avx512 => {
                if let Some(v4) = V4::try_new() {
                    return v4.vectorize(f);
                }
            }
            Isa::Avx2 => {
                if let Some(v3) = V3::try_new() {
                    return v3.vectorize(f);
                }
            }
            Isa::Baseline => {}
        }
    }
    f()
}

/// Numbers that loops take at a time: an f32 each, they fill a line of the cache.
pub const LINE: usize = 16;

/// Asks for the memory that a loop will want when it has gone on from this line by 2 KiB. A hint: nothing is read, and whether there is
/// anything does not matter. For loops that compute so much on each number that the machine does not look far ahead by itself.
#[inline(always)]
pub fn fetch_ahead<T>(line: &[T; LINE]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const AHEAD: usize = 2048;
        const CACHE_LINE: usize = 64;
        for at in (0..size_of_val(line)).step_by(CACHE_LINE) {
            let place = line.as_ptr().cast::<i8>().wrapping_add(AHEAD + at);
            // SAFETY: a prefetch faults on no address and gives nothing away; SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(place) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
