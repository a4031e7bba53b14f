//! The tiles of AMX, by assembler: Rust 1.95 has no stable functions for them.
//!
//! Linux wants to be asked, once for a process, since it saves 8 KiB more of each thread that uses them. It refuses where a thread has a stack for
//! signals that is too small for that, and refuses such stacks afterwards; plain loops do the work then.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::{Left, PLACES, Right, Sums};
use crate::isa::{self, Isa};

/// Tiles that are set up for squares: a thread's own state, which [`with_tiles`] sets and clears.
pub(super) struct Tiles(PhantomData<*const ()>);

/// Rows and bytes of a row of each of eight tiles, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Setting {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static SETTING: Setting = {
    let (mut bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        (bytes[tile], rows[tile]) = (64, 16);
        tile += 1;
    }
    Setting { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows }
};

/// Whether the machine has tiles, and the limit of [`isa`] lets them be used.
pub(super) fn is_in_use() -> bool {
    isa::current() == Isa::Avx512 && available()
}

/// Runs `work` with the tiles set up. It does not call this again.
///
/// # Panics
/// When the machine has none.
#[inline(always)]
pub(super) fn with_tiles(work: impl FnOnce(&Tiles)) {
    assert!(available(), "the machine has no tiles");
    let tiles = Tiles(PhantomData);
    // SAFETY: the machine has AMX, and the system has granted it to this process. The setting lives as long as the program.
    unsafe {
        asm!(
            "ldtilecfg [{}]",
            in(reg) &SETTING,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly, preserves_flags),
        );
    }
    work(&tiles);
}

impl Tiles {
    /// Adds the products of squares to `sums`, or to zeros.
    #[inline(always)]
    pub fn add(&self, left: &[Left], right: &[Right], sums: &mut Sums, new: bool, near: [*const u8; PLACES]) {
        assert!(left.len() == right.len(), "as many squares of A as of B");
        if left.is_empty() {
            return;
        }
        // SAFETY: tiles are set up while `self` lives. What is read are the squares, `left.len()` on each side, and what is read and
        // written are the sums: tiles of 16 rows, whose starts are 64 bytes apart in squares of A, and 128 in those of B and in sums.
        unsafe {
            asm!(
                "test {new:e}, {new:e}",
                "jnz 3f",
                "tileloadd tmm0, [{sums} + {wide}]",
                "tileloadd tmm1, [{sums} + {wide} + 64]",
                "tileloadd tmm2, [{sums} + {wide} + 2048]",
                "tileloadd tmm3, [{sums} + {wide} + 2112]",
                "jmp 2f",
                "3:",
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{left} + {narrow}]",
                "tileloadd tmm6, [{right} + {wide}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{right} + {wide} + 64]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{left} + {narrow} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "prefetchw [{first}]",
                "prefetchw [{second}]",
                "prefetchw [{third}]",
                "prefetchw [{fourth}]",
                "add {first}, 64",
                "add {second}, 64",
                "add {third}, 64",
                "add {fourth}, 64",
                "add {left}, 2048",
                "add {right}, 2048",
                "dec {count}",
                "jnz 2b",
                "tilestored [{sums} + {wide}], tmm0",
                "tilestored [{sums} + {wide} + 64], tmm1",
                "tilestored [{sums} + {wide} + 2048], tmm2",
                "tilestored [{sums} + {wide} + 2112], tmm3",
                sums = in(reg) sums.0.as_mut_ptr(),
                new = in(reg) u32::from(new),
                wide = in(reg) 128usize,
                narrow = in(reg) 64usize,
                left = inout(reg) left.as_ptr() => _,
                right = inout(reg) right.as_ptr() => _,
                first = inout(reg) near[0] => _,
                second = inout(reg) near[1] => _,
                third = inout(reg) near[2] => _,
                fourth = inout(reg) near[3] => _,
                count = inout(reg) left.len() => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: `with_tiles` has seen that the machine has AMX; nobody else on this thread uses tiles.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}

/// Whether the machine multiplies bf16 in tiles, and the system lets this process do so.
fn available() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| exists() && granted())
}

/// The processor's word (leaf 7, EDX bits 22 `amx-bf16` and 24 `amx-tile`), and the system's that it saves tiles (XCR0 bits 17 and 18).
fn exists() -> bool {
    const WANTED: u32 = 1 << 22 | 1 << 24;
    const STATE: u64 = 1 << 17 | 1 << 18;
    const OSXSAVE: u32 = 1 << 27;
    let processor = __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & WANTED == WANTED;
    if !processor || __cpuid_count(1, 0).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: the system has set OSXSAVE, so that the instruction is there.
    unsafe { saved() & STATE == STATE }
}

/// The kinds of state that the system saves: XCR0.
#[target_feature(enable = "xsave")]
fn saved() -> u64 {
    // SAFETY: register 0 exists wherever this instruction does.
    unsafe { _xgetbv(0) }
}

/// Asks Linux to let this process use tiles, whose state is large, so that it wants to be asked (`Documentation/arch/x86/xstate.rst`).
fn granted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    let mut answer = ARCH_PRCTL;
    // SAFETY: this call changes what the process may use and reads or writes none of its memory; RCX and R11 are the kernel's.
    unsafe {
        asm!(
            "syscall",
            inout("rax") answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    answer == 0
}
