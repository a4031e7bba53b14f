//! [`Guard`]: what an optimizer does at gradients that are not finite: loss scaling, leaving steps out, going back.

use thalweg_core::{Buffer, Float, Layout, Memory};

/// How often loss scaling leaves out steps in a row.
const OVERFLOWS: u64 = 50;
/// How often a roll back follows another.
const ROLLBACKS: u64 = 10;
/// Bytes of memory that a copy holds at most.
const MOST: u64 = 1 << 36;

/// What a chain's stages ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes {
    /// init, growth, backoff, interval.
    pub scale: Option<[f64; 4]>,
    pub skip: Option<u64>,
    /// every, factor.
    pub rollback: Option<(u64, f64)>,
}

/// The policy and where it stands.
#[derive(Debug)]
pub(crate) struct Guard<F> {
    wishes: Wishes,
    /// S.
    scale: f64,
    /// Finite steps since S changed.
    good: u64,
    in_a_row: u64,
    /// The learning rate's factor.
    pub lr: f64,
    copy: Option<Copy<F>>,
}

/// Weights and memory to go back to.
#[derive(Debug)]
struct Copy<F> {
    theta: Buffer<F>,
    memory: Vec<u8>,
    /// Finite steps since it was taken; none was taken at the maximum.
    age: u64,
}

impl<F: Float> Guard<F> {
    pub fn new() -> Self {
        Self { wishes: Wishes::default(), scale: 1.0, good: 0, in_a_row: 0, lr: 1.0, copy: None }
    }

    /// A phase begins, whose chains ask for this and keep `memory` bytes. S and the rate's factor stay.
    pub fn enter(&mut self, chains: impl Iterator<Item = Wishes>, layout: &Layout, memory: usize) {
        let before = self.wishes;
        let first = chains.fold(Wishes::default(), |a, b| Wishes {
            scale: a.scale.or(b.scale),
            skip: a.skip.or(b.skip),
            rollback: a.rollback.or(b.rollback),
        });
        self.wishes = first;
        match (before.scale, first.scale) {
            (None, Some([init, ..])) => self.scale = init,
            (_, None) => self.scale = 1.0,
            _ => {}
        }
        self.copy = first.rollback.map(|_| Copy {
            theta: Buffer::zeros(layout.trained_len()),
            memory: vec![0; memory],
            age: u64::MAX,
        });
    }

    /// Whether there is a policy at all.
    pub fn stands(&self) -> bool {
        self.wishes.scale.is_some() || self.wishes.skip.is_some() || self.wishes.rollback.is_some()
    }

    /// Whether it goes back to a copy.
    pub fn rolls_back(&self) -> bool {
        self.copy.is_some()
    }

    /// What gradients come multiplied by.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Whether a copy is to be taken before the next step.
    pub fn wants_copy(&self) -> bool {
        match (&self.copy, self.wishes.rollback) {
            (Some(copy), Some((every, _))) => copy.age >= every,
            _ => false,
        }
    }

    /// Takes a copy.
    pub fn keep(&mut self, theta: &[F], memory: Vec<u8>) {
        if let Some(copy) = &mut self.copy {
            let trained = copy.theta.len();
            copy.theta.copy_from_slice(&theta[..trained]);
            (copy.memory, copy.age) = (memory, 0);
        }
    }

    /// Writes the copied weights to `theta`; the memory to restore. `None` where there is no copy.
    pub fn back(&self, theta: &mut [F]) -> Option<&[u8]> {
        let copy = self.copy.as_ref().filter(|c| c.age < u64::MAX)?;
        theta[..copy.theta.len()].copy_from_slice(&copy.theta);
        Some(&copy.memory)
    }

    /// After a finite step.
    pub fn good(&mut self) {
        self.in_a_row = 0;
        if let Some(copy) = &mut self.copy {
            copy.age = copy.age.saturating_add(1);
        }
        if let Some([_, growth, _, interval]) = self.wishes.scale {
            self.good += 1;
            if self.good as f64 >= interval {
                self.good = 0;
                // PyTorch's too: a scale that would be infinite stays.
                let grown = self.scale * growth;
                if F::from_f64(grown) < F::INFINITY {
                    self.scale = grown;
                }
            }
        }
    }

    /// After a step that was not finite: whether the run goes on without it.
    pub fn bad(&mut self) -> bool {
        self.in_a_row += 1;
        self.good = 0;
        let mut limit = 0;
        if let Some([_, _, backoff, _]) = self.wishes.scale {
            self.scale *= backoff;
            limit = OVERFLOWS;
        }
        if let Some((_, factor)) = self.wishes.rollback {
            self.lr *= factor;
            limit = limit.max(ROLLBACKS);
        }
        self.in_a_row <= limit.max(self.wishes.skip.unwrap_or(0))
    }

    pub fn visit_state(&mut self, layout: &Layout, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        if self.stands() {
            visit("nonfinite.in_a_row", Memory::Count(&mut self.in_a_row));
        }
        if self.wishes.scale.is_some() {
            visit("loss_scale", Memory::Scalar(&mut self.scale));
            visit("loss_scale.finite", Memory::Count(&mut self.good));
        }
        if let Some(copy) = &mut self.copy {
            visit("rollback.lr", Memory::Scalar(&mut self.lr));
            visit("rollback.age", Memory::Count(&mut copy.age));
            // The memory of some rules grows.
            let mut bytes = copy.memory.len() as u64;
            visit("rollback.length", Memory::Count(&mut bytes));
            copy.memory.resize(bytes.min(MOST) as usize, 0);
            visit("rollback.memory", Memory::U8(&mut copy.memory));
            for tensor in layout.trained() {
                visit(&format!("{}/rollback", tensor.name), F::memory(&mut copy.theta[tensor.range()]));
            }
        }
    }
}
