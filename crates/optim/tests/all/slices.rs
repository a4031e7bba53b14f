//! The driver over slices: any cut, any alignment, any number of threads; and what it refuses.

use std::collections::BTreeSet;

use proptest::prelude::*;
use thalweg_core::{Float, StepError, Threads};
use thalweg_optim::rules::{Adagrad, Adam, Momentum, Sgd};
use thalweg_optim::{Around, Gradient, Rule, Span, Sweep, View, step, sweep};

use crate::common::{Run, Visit, all_settings, coef, every_rule, layout, numbers, setup};

#[test]
fn every_rule_of_the_registry_is_visited() {
    struct Names(BTreeSet<Vec<String>>);
    impl Visit for Names {
        fn visit<R: Rule<S> + Default, const S: usize>(&mut self) {
            self.0.insert(R::STATE.iter().map(|s| s.name.to_string()).collect());
        }
    }
    let mut names = Names(BTreeSet::new());
    every_rule(&mut names);
    for rule in all_settings() {
        let mut run = Run::<f32>::new(&rule, &layout(&[1]), &setup(), &[0.0]);
        assert!(
            names.0.contains(&run.names()),
            "{rule} has a memory that no rule here has: {:?}",
            run.names()
        );
    }
}

/// Numbers that start `offset` places into their allocation.
struct Shifted<F> {
    all: Vec<F>,
    offset: usize,
}

impl<F: Float> Shifted<F> {
    fn new(offset: usize, numbers: &[f64]) -> Self {
        Self {
            all: vec![F::NAN; offset].into_iter().chain(numbers.iter().map(|&x| F::from_f64(x))).collect(),
            offset,
        }
    }
    fn get(&mut self) -> &mut [F] {
        &mut self.all[self.offset..]
    }
}

/// A span of plain slices.
fn span<'a, F, const S: usize>(
    theta: &'a mut [F],
    grad: &'a mut [F],
    state: [&'a mut [F]; S],
    around: Around,
) -> Span<'a, F, S> {
    Span {
        theta: View::Own(theta),
        master: None,
        grad: Gradient::Clear(grad),
        state: state.map(View::Own),
        average: None,
        around,
        place: 0,
    }
}

fn how(threads: &Threads) -> Sweep<'_> {
    Sweep { threads, seed: 0, step: 1, squares: false }
}

const AROUND: Around =
    Around { scale: 0.5, clip: 30.0, decay: 0.01, keep: 0.99, moved: 0.97, l1: 0.01, l2: 0.02, average: 0.1 };

/// Every bit after three sweeps over spans that end at `cuts`; slice k of a span starts `offsets[k]` into its memory.
fn sweeps<R: Rule<S> + Default, F: Float, const S: usize>(
    data: &[Vec<f64>],
    cuts: &[usize],
    offsets: &[usize],
    threads: &Threads,
) -> Vec<u64> {
    let n = data[0].len();
    let rule = R::default();
    let at = |k: usize| offsets[k % offsets.len()];
    let mut theta = Shifted::<F>::new(at(0), &data[0]);
    let mut average = Shifted::<F>::new(at(1), &vec![f64::NAN; n]);
    let mut state: [Shifted<F>; S] =
        std::array::from_fn(|k| Shifted::new(at(2 + k), &vec![rule.initial(k); n]));
    for t in 1..=3 {
        let mut grad = Shifted::<F>::new(at(5), &data[t as usize]);
        // One coordinate overflows on its way.
        if let Some(g) = grad.get().get_mut(n / 3) {
            *g = if t == 2 { F::MAX } else { *g };
        }
        let (mut theta, mut average, mut grad) = (theta.get(), average.get(), grad.get());
        let mut state = state.each_mut().map(Shifted::get);
        let mut spans = Vec::new();
        let mut start = 0;
        for &end in cuts.iter().chain([&n]) {
            spans.push(Span {
                theta: View::Own(theta.split_off_mut(..end - start).unwrap()),
                master: None,
                grad: Gradient::Clear(grad.split_off_mut(..end - start).unwrap()),
                state: state.each_mut().map(|s| View::Own(s.split_off_mut(..end - start).unwrap())),
                average: average.split_off_mut(..end - start),
                around: AROUND,
                place: start as u64,
            });
            start = end;
        }
        let coef = R::cast::<F>(coef(&rule, t as f64, 0.01));
        let bad = sweep::<R, F, S>(&coef, spans, how(threads)).unwrap().bad;
        assert!(bad.is_none_or(|place| place == n / 3 && t == 2), "{}: {bad:?} at {t}", R::NAME);
    }
    let rest = state.iter_mut().flat_map(|s| s.get().iter().map(|x| x.bits()).collect::<Vec<_>>());
    let rest: Vec<u64> = rest.collect();
    theta.get().iter().chain(average.get().iter()).map(|x| x.bits()).chain(rest).collect()
}

struct Same<'a> {
    /// θ and three gradients.
    data: [Vec<f64>; 4],
    cuts: &'a [usize],
    offsets: &'a [usize],
    threads: &'a [Threads],
}

impl Visit for Same<'_> {
    fn visit<R: Rule<S> + Default, const S: usize>(&mut self) {
        fn same<R: Rule<S> + Default, F: Float, const S: usize>(c: &Same<'_>) {
            let whole = sweeps::<R, F, S>(&c.data, &[], &[0], &Threads::serial());
            for threads in c.threads {
                let other = sweeps::<R, F, S>(&c.data, c.cuts, c.offsets, threads);
                let (n, count) = (c.data[0].len(), threads.count());
                assert!(whole == other, "{} of {n} in {:?} at {:?} on {count}", R::NAME, c.cuts, c.offsets);
            }
        }
        same::<R, f32, S>(self);
        same::<R, f64, S>(self);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn cuts_and_alignments_change_no_bit(
        n in 0usize..3000,
        cuts in proptest::collection::vec(0.0..1.0f64, 0..6),
        offsets in proptest::collection::vec(0usize..17, 6),
        seed: u32,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|x| (x * n as f64) as usize).collect();
        cuts.sort_unstable();
        let threads = &[Threads::serial()];
        let data = [0, 1, 2, 3].map(|t| numbers(u64::from(seed) + t, n));
        every_rule(&mut Same { data, cuts: &cuts, offsets: &offsets, threads });
    }
}

#[test]
fn threads_with_cuts_and_alignments_change_no_bit() {
    let threads = [1, 2, 3, 16].map(Threads::new);
    let cuts = [1, 65_536, 65_540, 131_076, 131_077];
    let data = [1, 2, 3, 4].map(|seed| numbers(seed, 200_003));
    every_rule(&mut Same { data, cuts: &cuts, offsets: &[0, 1, 2, 3, 5, 7], threads: &threads });
}

/// Of several coordinates that overflow, on several threads, it is always the first that is reported.
#[test]
fn the_first_overflow_is_reported_whoever_meets_it() {
    let threads = Threads::new(3);
    for first in [0, 30_000, 49_999, 50_000, 65_536, 115_535, 115_536, 180_000, 199_999] {
        let n = 200_000;
        let (mut theta, mut grad) = (vec![1.0f64; n], vec![1.0f64; n]);
        let bad: Vec<usize> = [first, first + 1, 70_000, 140_000, 190_000]
            .into_iter()
            .filter(|i| (first..n).contains(i))
            .collect();
        bad.iter().for_each(|&i| grad[i] = f64::MAX);
        let (a, b) = theta.split_at_mut(50_000);
        let (ga, gb) = grad.split_at_mut(50_000);
        let around = Around { scale: 2.0, ..Around::NOTHING };
        let spans = vec![span(a, ga, [], around), span(b, gb, [], around)];
        let found = sweep::<Sgd, f64, 0>(&0.5, spans, how(&threads)).unwrap();
        assert_eq!(found.bad, Some(first));
        for (i, &x) in theta.iter().enumerate() {
            assert_eq!(x, if bad.contains(&i) { 1.0 } else { 0.0 }, "{i}");
        }
        assert!(grad.iter().all(|&g| g == 0.0));
    }
}

/// A gradient that is not finite is no number to clip: its coordinate keeps its value and memory, whatever the clip.
#[test]
fn a_gradient_that_is_not_finite_is_never_clipped_to_one_that_is() {
    struct Kept;
    impl Visit for Kept {
        fn visit<R: Rule<S> + Default, const S: usize>(&mut self) {
            for clip in [1.0, f64::INFINITY] {
                for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let (mut theta, mut grad, mut memory) = ([1.0; 3], [1.0, bad, 1.0], [[0.5f64; 3]; S]);
                    let around = Around { clip, l1: 0.1, ..Around::NOTHING };
                    let state = memory.each_mut().map(|s| &mut s[..]);
                    let spans = vec![span(&mut theta, &mut grad, state, around)];
                    let coef = coef(&R::default(), 1.0, 0.1);
                    let found = sweep::<R, f64, S>(&coef, spans, how(&Threads::serial())).unwrap();
                    assert_eq!(found.bad, Some(1), "{} given {bad}", R::NAME);
                    assert!(theta[1] == 1.0 && memory.iter().all(|s| s[1] == 0.5), "{} given {bad}", R::NAME);
                    assert!(theta[0] < 1.0 && theta[0] == theta[2]);
                    assert_eq!(grad, [0.0; 3]);
                }
            }
        }
    }
    every_rule(&mut Kept);
}

#[test]
fn the_simplest_caller_reports_an_overflow() {
    let rule = Adam::default().check().unwrap();
    let (mut theta, mut m, mut v) = ([1.0f32, 2.0], [0.0; 2], [0.0; 2]);
    let bad = step(&rule, 1, 0.1, &mut theta, &[1.0, 1e30], [&mut m, &mut v]).unwrap();
    assert_eq!(bad, Some(1));
    assert_eq!((theta[1], m[1], v[1]), (2.0, 0.0, 0.0));
    // A t of 0 counts as any other number: nothing panics.
    for t in [0, u64::MAX] {
        step(&rule, t, 0.1, &mut theta, &[1.0, 1.0], [&mut m, &mut v]).unwrap();
        assert!(theta.iter().all(|x| x.is_finite()));
    }
    let rule = Adagrad::default().check().unwrap();
    step(&rule, 0, 0.1, &mut theta, &[1.0, 1.0], [&mut m]).unwrap();
}

#[test]
fn a_wrong_length_is_named_and_nothing_is_written() {
    let rule = Adam::default().check().unwrap();
    let go = |grad: usize, m: usize, v: usize| {
        let mut theta = [1.0f64; 4];
        let error = step(&rule, 1, 0.1, &mut theta, &vec![1.0; grad], [&mut vec![0.0; m], &mut vec![0.0; v]]);
        assert_eq!(theta, [1.0; 4]);
        error.unwrap_err()
    };
    assert_eq!(go(3, 4, 4).to_string(), "the gradient has 3 numbers where the parameters have 4");
    assert_eq!(go(4, 5, 4).to_string(), "m has 5 numbers where the parameters have 4");
    assert_eq!(go(4, 4, 0).to_string(), "v has 0 numbers where the parameters have 4");
    // The second of two spans is wrong: the first is not written either.
    let (mut a, mut b, mut ga, mut gb) = ([1.0f64; 2], [1.0; 2], [1.0; 2], [1.0; 3]);
    let first = span(&mut a, &mut ga, [], Around::NOTHING);
    let mut copy = [0.0; 1];
    let average = Some(&mut copy[..]);
    let second = Span { average, ..span(&mut b, &mut gb[..2], [], Around::NOTHING) };
    let error = sweep::<Sgd, f64, 0>(&1.0, vec![first, second], how(&Threads::serial())).unwrap_err();
    assert_eq!(error, StepError::Length { what: "the averaged copy", expected: 2, found: 1 });
    assert_eq!((a, ga), ([1.0; 2], [1.0; 2]));
}

#[test]
fn a_rule_is_checked_before_it_can_step() {
    let message = |e: thalweg_optim::HyperError| e.to_string();
    assert_eq!(
        message(Adam { beta1: 1.2, ..Adam::default() }.check().unwrap_err()),
        "beta1 must be in [0, 1), got 1.2"
    );
    assert_eq!(
        message(Adam { eps: f64::NAN, ..Adam::default() }.check().unwrap_err()),
        "eps must be in [0, ∞), got NaN"
    );
    assert_eq!(
        message(Momentum { dampening: -0.1, momentum: 0.5 }.check().unwrap_err()),
        "dampening must be in [0, 1), got -0.1"
    );
    struct Defaults;
    impl Visit for Defaults {
        fn visit<R: Rule<S> + Default, const S: usize>(&mut self) {
            let rule = R::default();
            assert_eq!(rule.values(), R::HYPER.iter().map(|h| h.default).collect::<Vec<_>>());
            let values = rule.check().unwrap().rule().values();
            assert_eq!(values.len(), R::HYPER.len());
            assert!(R::STATE.iter().enumerate().all(|(k, s)| R::STATE[..k].iter().all(|o| o.name != s.name)));
        }
    }
    every_rule(&mut Defaults);
}
