//! Memory in fewer bytes: what must hold of bf16 and block8 whatever the rule, what they cost in bytes, and what they keep of a training.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Float, Real, Total, hyper::Hyper};
use thalweg_core::{Kind, Layout, Memory, Threads, isa};
use thalweg_optim::format::{BLOCK8, Format, SMALL, from_bf16, to_bf16};
use thalweg_optim::rules::{self, Sgd};
use thalweg_optim::{
    Around, Gradient, Plan, Rule, Setup, Span, Stepper, Sweep, TensorMut, View, rule::Sign, rule::Slot, sweep,
};
use thalweg_optim::{Scalar, When};

use crate::common::{
    Run, Visit, all_settings, both, every_rule, kinds, layout, numbers, one_set, penalty, setup,
};

const FORMATS: [&str; 2] = ["bf16", "block8"];

fn compressed(rule: &str, format: &str) -> String {
    format!("{}, memory={format})", rule.strip_suffix(')').unwrap())
}

/// What changes no bit must not in these: 8-bit memory is read in another loop where nothing cuts or decays the gradient.
const WAYS: [&str; 3] = ["bf16", "block8", "block8 alone"];

/// All of the driver at work around a rule.
fn everything(rule: &str, way: &str) -> String {
    match way {
        "block8 alone" => format!("{} | ema(0.9)", compressed(rule, "block8")),
        format => format!("clip_value(20) | {} | ema(0.9)", compressed(rule, format)),
    }
}

fn run<F: rules::Build>(text: &str, sizes: &[isize], setup: &Setup, theta: &[f64]) -> Run<F> {
    let mut run = Run::new(text, &layout(sizes), setup, theta);
    if text.starts_with("clip") {
        run.penalty = penalty(text);
    }
    run
}

both! {
    fn threads_change_no_bit<F>() {
        // Above the size that is worth waking threads for, and off the borders of tasks and blocks.
        let sizes = [65_536 + 300, 4096, 70_001, 17];
        let n: isize = sizes.iter().sum();
        let (theta, gradients) = (numbers(1, n as usize), [numbers(2, n as usize), numbers(3, n as usize)]);
        let counts = [1, 2, 3].map(Threads::new);
        for (rule, way) in kinds().iter().flat_map(|r| WAYS.map(|way| (r, way))) {
            let all = counts.each_ref().map(|threads| {
                let setup = Setup { threads: threads.clone(), ..setup() };
                let mut run = run::<F>(&everything(rule, way), &sizes, &setup, &theta);
                gradients.iter().for_each(|g| {
                    run.step(g);
                });
                run.bits()
            });
            assert!(all[1] == all[0] && all[2] == all[0], "{rule} in {way}");
        }
    }

    fn instruction_sets_change_no_bit<F>() {
        let _guard = one_set();
        let n = SMALL + 77;
        let data: Vec<Vec<f64>> = (1..5).map(|seed| numbers(seed, n)).collect();
        for (rule, way) in all_settings().iter().flat_map(|r| WAYS.map(|way| (r, way))) {
            let all: Vec<_> = isa::available().into_iter().map(|set| {
                isa::limit(Some(set));
                let mut run = run::<F>(&everything(rule, way), &[n as isize], &setup(), &data[0]);
                data[1..].iter().for_each(|g| {
                    run.step(g);
                });
                isa::limit(None);
                run.bits()
            }).collect();
            assert!(all.iter().all(|bits| *bits == all[0]), "{rule} in {way}");
        }
    }

    fn a_rate_of_0_moves_nothing<F>() {
        let n = SMALL + 77;
        for (rule, way) in all_settings().iter().flat_map(|r| WAYS.map(|way| (r, way))) {
            let text = everything(&rule.replace("lr=0.01", "lr=0"), way);
            let mut run = run::<F>(&text, &[n as isize], &setup(), &numbers(1, n));
            let before = run.values();
            for seed in 2..4 {
                assert_eq!(run.step(&numbers(seed, n)).non_finite, None, "{text}");
                assert!(run.values() == before, "{text}");
            }
            assert!(run.evaluated().unwrap() == before, "{text}");
        }
    }

    /// Gradients at both ends of the range, and zeros: all numbers stay finite, what could not be is reported and left as it was.
    fn extreme_gradients_stay_finite_or_are_reported<F>() {
        let n = SMALL + 77;
        let (huge, tiny) = if F::BYTES == 4 { (1e38, 1e-44) } else { (1e300, 5e-324) };
        let largest = F::MAX.to_f64();
        let mut reported = 0;
        for (rule, format) in all_settings().iter().flat_map(|r| FORMATS.map(|f| (r, f))) {
            let mut run = Run::<F>::new(&compressed(rule, format), &layout(&[n as isize]), &setup(), &numbers(1, n));
            for pattern in 0..5 {
                let gradient: Vec<f64> = (0..n).map(|i| match (pattern, i % 5) {
                    (0, _) => 0.0,
                    (1, _) => if i % 2 == 0 { tiny } else { -tiny },
                    (2, 0) | (3, 1) => huge,
                    (2, 1) => -huge,
                    (3, _) => tiny,
                    (4, 3) => largest,
                    _ => 1.0,
                }).collect();
                let before = run.values();
                let report = run.step(&gradient);
                let after = run.values();
                assert!(after.iter().all(|x| x.is_finite()), "{rule} in {format}");
                assert_eq!(not_finite(&mut run), 0, "{rule} in {format}: memory after gradients {pattern}");
                if let Some(place) = report.non_finite {
                    assert_eq!(after[place], before[place], "{rule} in {format}");
                    reported += 1;
                }
            }
        }
        assert!(reported > 10, "{reported}");
    }
}

/// How many numbers of memory are not finite.
fn not_finite<F: rules::Build>(run: &mut Run<F>) -> usize {
    let mut codes: Vec<u8> = vec![];
    let mut found = 0;
    run.optimizer.visit_state(&mut |_, memory| {
        let bad = |x: f64| usize::from(!x.is_finite());
        found += match memory {
            Memory::Bf16(x) => x.iter().map(|&b| bad(f64::from(from_bf16(b)))).sum(),
            Memory::U8(x) => {
                codes = x.to_vec();
                0
            }
            // The scales follow their codes: the largest code is 1.875 of them.
            Memory::F32(x) if codes.len().div_ceil(BLOCK8) == x.len() => {
                std::mem::take(&mut codes);
                x.iter().map(|&s| bad(f64::from(s * 1.875))).sum()
            }
            Memory::F32(x) => x.iter().map(|&x| bad(f64::from(x))).sum(),
            Memory::F64(x) => x.iter().map(|&x| bad(x)).sum::<usize>(),
            _ => 0,
        };
    });
    found
}

/// Cut on the borders of blocks, where each tensor starts its blocks anew: then no number has other neighbours.
#[test]
fn cuts_on_block_borders_change_no_bit() {
    fn go(rule: &Blocked, cuts: &[usize], n: usize, which: Format) -> (Vec<u32>, Vec<u32>) {
        let numbers = |seed| numbers(seed, n).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let (mut theta, gradients) = (numbers(1), [numbers(2), numbers(3), numbers(4)]);
        let (mut half, mut codes, mut scales) = (vec![0u16; n], vec![0u8; n], vec![0f32; n.div_ceil(BLOCK8)]);
        let threads = Threads::serial();
        for (t, grad) in gradients.iter().enumerate() {
            let (mut spans, mut from) = (vec![], 0);
            let (mut theta, mut half, mut codes, mut scales) =
                (&mut theta[..], &mut half[..], &mut codes[..], &mut scales[..]);
            for &to in cuts.iter().chain([&n]) {
                let len = to - from;
                let state = match which {
                    Format::Bf16 => View::Bf16(half.split_off_mut(..len).unwrap()),
                    _ => View::Block8 {
                        codes: codes.split_off_mut(..len).unwrap(),
                        scales: scales.split_off_mut(..len.div_ceil(BLOCK8)).unwrap(),
                        sign: Sign::Signed,
                    },
                };
                spans.push(Span {
                    theta: View::Own(theta.split_off_mut(..len).unwrap()),
                    master: None,
                    grad: Gradient::Keep(&grad[from..to]),
                    state: [state],
                    average: None,
                    around: Around::NOTHING,
                    place: from as u64,
                });
                from = to;
            }
            let how = Sweep { threads: &threads, seed: 5, step: t as u64, squares: false };
            sweep::<Blocked, f32, 1>(&rule.decay, spans, how).unwrap();
        }
        let state = half.iter().map(|&x| u32::from(x)).chain(codes.iter().map(|&c| u32::from(c)));
        (
            theta.iter().map(|x| x.to_bits()).collect(),
            state.chain(scales.iter().map(|x| x.to_bits())).collect(),
        )
    }
    let rule = Blocked { decay: 0.9 };
    let n = 70_000;
    for which in [Format::Bf16, Format::Block8] {
        let whole = go(&rule, &[], n, which);
        for cuts in [vec![256], vec![1024, 1280], vec![256 * 100, 256 * 101, 65_536], vec![65_536 + 256]] {
            assert!(go(&rule, &cuts, n, which) == whole, "{which:?} cut at {cuts:?}");
        }
    }
    // bf16 has no blocks: any cut.
    let whole = go(&rule, &[], n, Format::Bf16);
    assert!(go(&rule, &[1, 2, 777, 65_537], n, Format::Bf16) == whole);
}

/// Memory is decoded within the rule's loop, and encoded a block later, where nothing cuts the gradient; before and after the loop elsewhere. The same
/// bits, and where numbers are not finite too: gradients, or squares of them in the memory.
#[test]
fn decoding_within_the_loop_or_before_it_is_the_same() {
    type Kept<F> = (Vec<F>, Vec<(Vec<u8>, Vec<f32>)>, Vec<Option<usize>>);
    fn go<R: Rule<S>, F: Float, const S: usize>(rule: &R, n: usize, clip: f64) -> Kept<F> {
        let cast = |x: Vec<f64>| x.into_iter().map(F::from_f64).collect::<Vec<F>>();
        let mut theta = cast(numbers(1, n));
        let mut memory = vec![(vec![0u8; n], vec![0f32; n.div_ceil(BLOCK8)]); S];
        let (threads, mut bad) = (Threads::serial(), vec![]);
        let mut scalars: Vec<f64> = R::SCALARS.iter().map(|s| s.1).collect();
        for t in 1..7 {
            let mut grad = cast(numbers(2 + t, n));
            let (middle, last) = match t {
                2 => (f64::INFINITY, f64::NAN),
                // Its square is beyond any f32; in f64 it is beyond what codes reach.
                3 => (1e25, -1e25),
                4 => (0.0, f64::NEG_INFINITY),
                _ => (1e-30, 0.0),
            };
            (grad[n / 2], grad[n - 1]) = (F::from_f64(middle), F::from_f64(last));
            let mut kept = memory.iter_mut();
            let span = Span {
                theta: View::Own(&mut theta),
                master: None,
                grad: Gradient::Keep(&grad),
                state: std::array::from_fn(|k| {
                    let (codes, scales) = kept.next().unwrap();
                    View::Block8 { codes, scales, sign: R::STATE[k].sign }
                }),
                average: None,
                around: Around { clip, ..Around::NOTHING },
                place: 0,
            };
            let how = Sweep { threads: &threads, seed: 5, step: t, squares: false };
            let when = When { t: t as f64, lr: 0.01 };
            let coef = R::cast::<F>(R::coef(&R::with(&rule.values()), when, &mut scalars));
            bad.push(sweep::<R, F, S>(&coef, vec![span], how).unwrap().bad);
        }
        (theta, memory, bad)
    }
    fn same<R: Rule<S>, F: Float, const S: usize>(rule: &R, sizes: &[usize]) {
        for &n in sizes {
            let within = go::<R, F, S>(rule, n, f64::INFINITY);
            for (t, expected) in [(0, None), (1, Some(n / 2)), (3, Some(n - 1))] {
                assert_eq!(within.2[t], expected, "{}: the first that is not finite", R::NAME);
            }
            assert!(within.0.iter().all(|x| x.is_finite()));
            // A limit that nothing finite reaches, and an infinite gradient would: it is told from the gradient itself.
            let before = go::<R, F, S>(rule, n, 1e30);
            let bits = |x: &[F]| x.iter().map(|x| x.bits()).collect::<Vec<u64>>();
            assert!(within.1 == before.1 && bits(&within.0) == bits(&before.0), "{} {n}", R::NAME);
            assert_eq!(within.2, before.2);
        }
    }
    struct Every;
    impl Visit for Every {
        fn visit<R: Rule<S> + Default, const S: usize>(&mut self) {
            if S > 0 && !R::STATE.iter().any(|slot| slot.from_theta) {
                same::<R, f32, S>(&R::default(), &[17, 256, 300, 2100]);
                same::<R, f64, S>(&R::default(), &[300]);
            }
        }
    }
    every_rule(&mut Every);
    same::<_, f32, 2>(&rules::Adam::default(), &[1, 15, 16, 255, 2048, 5000, 70_007]);
    same::<_, f32, 1>(&Blocked { decay: 0.9 }, &[1, 16, 255, 5000, 70_007]);
}

/// What memory starts with is exact, whether its kind has a sign or not: a scale that makes it so. Without a gradient the first step shows it.
#[test]
fn memory_starts_with_its_initial_value() {
    let n = SMALL + 3;
    for initial in ["0.1", "3e-7", "1", "1.7", "1e20", "1e-30", "1e-50"] {
        for rule in ["adagrad(lr=0.01, ", "yogi(lr=0.01, ", "ftrl(lr=0.01, "] {
            let first = |memory: &str| {
                let text = format!("{rule}initial_accumulator_value={initial}{memory})");
                let mut run = Run::<f32>::new(&text, &layout(&[n as isize]), &setup(), &numbers(1, n));
                run.step(&numbers(2, n));
                run.values()
            };
            assert!(first(", memory=block8") == first(""), "{rule}{initial}");
        }
    }
}

/// s ← decay·s + g, θ ← θ − s/128: memory of which every bit is seen in θ.
#[derive(Clone, Copy, Debug)]
struct Blocked {
    decay: f32,
}

impl Rule<1> for Blocked {
    const NAME: &'static str = "blocked";
    const STATE: [Slot; 1] = [Slot::signed("s")];
    const HYPER: &'static [Hyper] = &[];
    type With<X: Scalar> = X;
    type Coef<F: Real> = F;
    fn values(&self) -> Vec<f64> {
        vec![f64::from(self.decay)]
    }
    fn with<X: Scalar>(values: &[X]) -> X {
        values[0]
    }
    fn coef<X: Scalar>(h: &X, _: When<X>, _: &mut [X]) -> X {
        *h
    }
    fn cast<F: Real>(c: f64) -> F {
        F::from_f64(c)
    }
    fn element<F: Real>(c: &F, _: F, g: F, [s]: [F; 1]) -> (F, [F; 1]) {
        let s = *c * s + g;
        (-(s * F::from_f64(1.0 / 128.0)), [s])
    }
    fn metric<F: Real>(_: &F, _: [F; 1]) -> F {
        F::one()
    }
}

/// 2 bytes, or 1 and a scale of 4 for each 256; small tensors and slots that start at θ keep theirs.
#[test]
fn memory_takes_the_bytes_that_are_documented() {
    let big = 10_000;
    for rule in all_settings() {
        let slots: Vec<(String, usize)> = {
            let mut run = Run::<f32>::new(&rule, &layout(&[1]), &setup(), &[0.0]);
            run.names().into_iter().map(|name| (name, 1)).collect()
        };
        for (format, per_tensor) in [("bf16", 2 * big), ("block8", big + 4 * usize::div_ceil(big, BLOCK8))] {
            let text = compressed(&rule, format);
            let mut run = Run::<f32>::new(
                &text,
                &layout(&[big as isize, SMALL as isize - 1]),
                &setup(),
                &vec![0.0; big + SMALL - 1],
            );
            let bytes = |run: &mut Run<f32>, tensor: &str, slot: &str| -> usize {
                let name = format!("{tensor}/{slot}");
                let of = |m: &(String, Vec<u8>)| m.0 == name || m.0 == format!("{name}.scale");
                run.memory().iter().filter(|m| of(m)).map(|m| m.1.len()).sum()
            };
            for (slot, _) in &slots {
                let found = bytes(&mut run, "t0", slot);
                assert!(
                    found == per_tensor || (from_theta(&rule, slot) && found == 4 * big),
                    "{text} {slot}: {found}"
                );
                assert_eq!(bytes(&mut run, "t1", slot), 4 * (SMALL - 1), "{text} {slot}");
            }
            let counted: usize = run.memory().iter().map(|m| m.1.len()).sum();
            assert_eq!(Plan::parse(&text).unwrap().memory::<f32>(run.theta.layout()).unwrap(), counted);
        }
    }
}

/// Whether a slot is θ before the first step.
fn from_theta(rule: &str, slot: &str) -> bool {
    let start = [3.0, -5.0];
    let mut run = Run::<f64>::new(&rule.replace("lr=0.01", "lr=0"), &layout(&[2]), &setup(), &start);
    run.step(&[0.0; 2]);
    run.slot(slot) == start
}

/// One number through one step of a memory of this format: what it decodes to, by the step's seed.
struct Through {
    codes: Vec<u8>,
    scales: Vec<f32>,
    half: Vec<u16>,
}

/// s ← g, θ ← θ + s as it was.
#[derive(Clone, Copy, Debug)]
struct Store<const SIGNED: bool>;

impl<const SIGNED: bool> Rule<1> for Store<SIGNED> {
    const NAME: &'static str = "store";
    const STATE: [Slot; 1] = [if SIGNED { Slot::signed("s") } else { Slot::non_negative("s") }];
    const HYPER: &'static [Hyper] = &[];
    type With<X: Scalar> = ();
    type Coef<F: Real> = ();
    fn values(&self) -> Vec<f64> {
        vec![]
    }
    fn with<X: Scalar>(_: &[X]) {}
    fn coef<X: Scalar>(_: &(), _: When<X>, _: &mut [X]) {}
    fn cast<F: Real>(_: ()) {}
    fn element<F: Real>(_: &(), _: F, g: F, [s]: [F; 1]) -> (F, [F; 1]) {
        (s, [g])
    }
    fn metric<F: Real>(_: &(), _: [F; 1]) -> F {
        F::one()
    }
}

impl Through {
    fn new(n: usize) -> Self {
        Self { codes: vec![0; n], scales: vec![0.0; n.div_ceil(BLOCK8)], half: vec![0; n] }
    }

    /// Encodes these numbers with the dice of `seed`.
    fn write<const SIGNED: bool>(&mut self, x: &[f32], format: Format, seed: u64) {
        self.sweep::<SIGNED>(x, &mut vec![0.0; x.len()], format, seed);
    }

    /// What is kept.
    fn read<const SIGNED: bool>(&mut self, format: Format) -> Vec<f32> {
        let (codes, scales, half) = (self.codes.clone(), self.scales.clone(), self.half.clone());
        let mut theta = vec![0.0; self.codes.len()];
        let zeros = vec![0.0; theta.len()];
        self.sweep::<SIGNED>(&zeros, &mut theta, format, 0);
        (self.codes, self.scales, self.half) = (codes, scales, half);
        theta
    }

    fn sweep<const SIGNED: bool>(&mut self, grad: &[f32], theta: &mut [f32], format: Format, seed: u64) {
        let sign = if SIGNED { Sign::Signed } else { Sign::NonNegative };
        let state = match format {
            Format::Bf16 => View::Bf16(&mut self.half),
            _ => View::Block8 { codes: &mut self.codes, scales: &mut self.scales, sign },
        };
        let span = Span {
            theta: View::Own(theta),
            master: None,
            grad: Gradient::Keep(grad),
            state: [state],
            average: None,
            around: Around::NOTHING,
            place: 0,
        };
        let threads = Threads::serial();
        let how = Sweep { threads: &threads, seed, step: 1, squares: false };
        assert_eq!(sweep::<Store<SIGNED>, f32, 1>(&(), vec![span], how).unwrap().bad, None);
    }
}

/// Every code of a block decodes to a number that encodes to the same code again, whatever the dice.
#[test]
fn codes_round_trip() {
    fn go<const SIGNED: bool>() {
        for scale in [0, -2, -66, 100].map(|power| libm::ldexp(1.0, power) as f32) {
            let mut kept = Through::new(BLOCK8);
            kept.codes = (0..=255).collect();
            kept.scales = vec![scale];
            let numbers = kept.read::<SIGNED>(Format::Block8);
            let mut distinct = numbers.clone();
            distinct.sort_by(f32::total_cmp);
            distinct.dedup();
            assert_eq!(distinct.len(), if SIGNED { 255 } else { 256 }, "−0 and 0 are one number");
            for seed in 0..50 {
                let mut again = Through::new(BLOCK8);
                again.write::<SIGNED>(&numbers, Format::Block8, seed);
                let back = again.read::<SIGNED>(Format::Block8);
                assert_eq!(numbers, back, "at {scale}");
                let same = |(a, b): (&u8, &u8)| a == b || (SIGNED && a & 0x7F == 0 && b & 0x7F == 0);
                assert!(again.codes.iter().zip(&kept.codes).all(same), "{:?}", again.codes);
                assert_eq!(again.scales, kept.scales);
            }
        }
    }
    go::<true>();
    go::<false>();
    for bits in 0..=u16::MAX {
        let x = from_bf16(bits);
        if !x.is_nan() {
            assert_eq!(to_bf16(x), bits);
        }
    }
    // Stochastic rounding leaves what bf16 can hold.
    let exact: Vec<f32> =
        (0..0x7F80u16).map(from_bf16).flat_map(|x| [x, -x]).filter(|x| x.abs() > 1e-37).collect();
    let mut kept = Through::new(exact.len());
    kept.write::<true>(&exact, Format::Bf16, 3);
    assert_eq!(kept.read::<true>(Format::Bf16), exact);
}

/// Between two neighbours the next one up has 3 bits of fraction in block8, 7 in bf16: an error below 1/8 and 1/128 of the number,
/// above the lowest binade. Signed codes are of the number and 2⁻¹⁵ of the scale together, others reach 2⁻³⁰ of the largest number (below: an
/// absolute error of that).
#[test]
fn each_error_is_within_its_bound() {
    fn go<const SIGNED: bool>(format: Format, relative: f32, moved: f32, lowest: f32) {
        let mut stream = Stream::new(1, Purpose::Data, 4);
        for seed in 0..40 {
            let x: Vec<f32> = (0..2000)
                .map(|_| {
                    let size = libm::pow(10.0, -10.0 * stream.uniform()) * 3.0;
                    (if SIGNED && stream.below(2) == 0 { -size } else { size }) as f32
                })
                .collect();
            let mut kept = Through::new(x.len());
            kept.write::<SIGNED>(&x, format, seed);
            for (block, kept) in x.chunks(BLOCK8).zip(kept.read::<SIGNED>(format).chunks(BLOCK8)) {
                let top = block.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                for (x, y) in block.iter().zip(kept) {
                    // A few roundings of f32 on the way.
                    let bound = (relative * (x.abs() + moved * top)).max(lowest * top) * (1.0 + 1e-6);
                    assert!((x - y).abs() <= bound, "{format:?}: {x} became {y}");
                    assert!(SIGNED || *y > 0.0, "{x} became {y}");
                }
            }
        }
    }
    // The scale is at most 16/15 of the largest number, and a bit.
    go::<true>(Format::Block8, 0.125, libm::ldexp(1.07, -15) as f32, 0.0);
    go::<false>(Format::Block8, 0.125, 0.0, libm::ldexp(1.0, -30) as f32);
    go::<true>(Format::Bf16, 1.0 / 128.0, 0.0, 0.0);
    go::<false>(Format::Bf16, 1.0 / 128.0, 0.0, 0.0);
}

/// The mean over many seeds is the number. A draw between two neighbours `gap` apart has a standard deviation of gap/2 at most; over m
/// draws that of the mean is gap/(2√m). Five of those are met by chance once in 1.7 million.
#[test]
fn stochastic_rounding_is_unbiased() {
    fn go<const SIGNED: bool>(format: Format, gap: f64) {
        let draws = 4000;
        let mut stream = Stream::new(2, Purpose::Data, 4);
        // One block: its first number is the largest, the others are within three binades, or in six for the signed codes' end.
        let x: Vec<f32> = (0..BLOCK8)
            .map(|i| {
                let size = if i == 0 { 1.875 } else { libm::pow(2.0, -6.0 * stream.uniform()) };
                (if SIGNED && stream.below(2) == 0 { -size } else { size }) as f32
            })
            .collect();
        let mut sums = vec![0.0f64; x.len()];
        for seed in 0..draws {
            let mut kept = Through::new(x.len());
            kept.write::<SIGNED>(&x, format, seed);
            sums.iter_mut().zip(kept.read::<SIGNED>(format)).for_each(|(sum, y)| *sum += f64::from(y));
        }
        for (x, sum) in x.iter().zip(sums) {
            let (x, mean) = (f64::from(*x), sum / draws as f64);
            let bound = 5.0 * gap * x.abs() / (2.0 * (draws as f64).sqrt());
            assert!((mean - x).abs() <= bound, "{format:?}: {mean} is not {x} ± {bound:e}");
        }
    }
    go::<true>(Format::Bf16, 1.0 / 128.0);
    go::<true>(Format::Block8, 0.125);
    go::<false>(Format::Block8, 0.125);
    // Below the lowest signed code the choice is between it and 0.
    let mut kept = Through::new(BLOCK8);
    let (lowest, draws) = (libm::ldexp(1.125, -15) as f32, 4000);
    let mut x = [lowest * 0.3; BLOCK8];
    x[0] = 1.875;
    let mut sum = 0.0;
    for seed in 0..draws {
        kept.write::<true>(&x, Format::Block8, seed);
        sum += kept.read::<true>(Format::Block8)[1..].iter().map(|&y| f64::from(y)).sum::<f64>();
    }
    let count = (draws * (BLOCK8 as u64 - 1)) as f64;
    let bound = 5.0 * f64::from(lowest) / (2.0 * count.sqrt());
    let (mean, expected) = (sum / count, f64::from(lowest) * 0.3);
    assert!((mean - expected).abs() <= bound, "{mean:e} is not {expected:e} ± {bound:e}");
}

/// However small a block is, its zeros stay zeros and what is never negative stays positive; and down to the least scale, 2⁻⁹⁵, a number that is
/// 2⁻¹⁵ of the largest keeps its mean.
#[test]
fn small_blocks_keep_their_zeros_and_means() {
    fn go<const SIGNED: bool>() {
        for power in [0, -60, -95, -111, -118, -130] {
            let top = libm::ldexp(1.5, power) as f32;
            let small = libm::ldexp(0.95 * 1.125, power - 15) as f32;
            let mut x = [0.0; BLOCK8];
            x[0] = top;
            x[100..].fill(small);
            let (mut kept, mut sum, draws) = (Through::new(BLOCK8), 0.0, 2000);
            for seed in 0..draws {
                kept.write::<SIGNED>(&x, Format::Block8, seed);
                let back = kept.read::<SIGNED>(Format::Block8);
                assert!(back[1..100].iter().all(|&y| y == 0.0), "{top:e}");
                // What is never negative is divided by: nothing positive becomes 0.
                assert!(SIGNED || back[100..].iter().all(|&y| y > 0.0), "{top:e}");
                sum += back[100..].iter().map(|&y| f64::from(y)).sum::<f64>();
            }
            let mean = sum / (draws as f64 * (BLOCK8 - 100) as f64 * f64::from(small));
            assert!(power < -95 || (mean - 1.0).abs() < 0.005, "{top:e}: {mean}");
        }
    }
    go::<true>();
    go::<false>();
}

/// A convex problem as logistic regressions are: n weights, each met by a few of the rows.
struct Logistic {
    /// Three weights of each row, with their inputs, and the row's sign.
    rows: Vec<([(usize, f64); 3], f64)>,
    n: usize,
}

impl Logistic {
    fn new(n: usize, rows: usize) -> Self {
        let mut stream = Stream::new(3, Purpose::Data, 4);
        let truth: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        let row = |s: &mut Stream| {
            let inputs = std::array::from_fn(|_| (s.below(n as u32) as usize, s.normal()));
            let score: f64 = inputs.iter().map(|(i, x)| truth[*i] * x).sum::<f64>() + 0.5 * s.normal();
            (inputs, if score > 0.0 { 1.0 } else { -1.0 })
        };
        Self { rows: (0..rows).map(|_| row(&mut stream)).collect(), n }
    }

    /// Mean loss, with a little l2, and its gradient.
    fn gradient(&self, theta: &[f64]) -> (f64, Vec<f64>) {
        let (mut loss, mut gradient, m) = (0.0, vec![0.0; self.n], self.rows.len() as f64);
        for (inputs, sign) in &self.rows {
            let margin = sign * inputs.iter().map(|(i, x)| theta[*i] * x).sum::<f64>();
            let e = libm::exp(-margin.abs());
            loss += libm::log1p(e) + if margin < 0.0 { -margin } else { 0.0 };
            let slope = if margin < 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) };
            inputs.iter().for_each(|(i, x)| gradient[*i] -= sign * x * slope / m);
        }
        (loss / m, gradient)
    }

    fn train(&self, text: &str, steps: usize) -> f64 {
        let mut run = Run::<f32>::new(text, &layout(&[self.n as isize]), &setup(), &vec![0.0; self.n]);
        for _ in 0..steps {
            let (_, gradient) = self.gradient(&run.values());
            run.step(&gradient);
        }
        self.gradient(&run.values()).0
    }
}

/// Half-way through a training, where the loss still falls: memory in fewer bytes is no reason to be behind.
#[test]
fn training_reaches_the_loss_of_full_memory_within_a_hundredth() {
    let problem = Logistic::new(SMALL + 200, 12_000);
    let start = problem.gradient(&vec![0.0; problem.n]).0;
    for rule in [
        "adam(lr=0.02)",
        "adamw(lr=0.02)",
        "amsgrad(lr=0.02)",
        "rmsprop(lr=0.005)",
        "adagrad(lr=0.2)",
        "sgd(lr=100, momentum=0.9)",
        "sgd(lr=100, momentum=0.9, nesterov=true)",
    ] {
        let full = problem.train(rule, 80);
        assert!(full < 0.7 * start, "{rule} learns: {full} of {start}");
        for format in FORMATS {
            let loss = problem.train(&compressed(rule, format), 80);
            assert!((loss - full).abs() <= 0.01 * full, "{rule} in {format}: {loss}, not {full}");
        }
    }
}

/// Parameters in bf16: with a master copy as good as in full precision; without one still learning, since rounding is fair.
#[test]
fn bf16_parameters_train() {
    let problem = Logistic::new(500, 4000);
    let start = problem.gradient(&vec![0.0; problem.n]).0;
    for rule in ["adam(lr=0.01)", "sgd(lr=10, momentum=0.9)", "adagrad(lr=0.1)"] {
        let full = problem.train(rule, 200);
        for master in [true, false] {
            let builder = Stepper::<f32>::builder(rule);
            let shape = (&[problem.n][..], &["out"][..]);
            let builder = if master {
                builder.tensor_with_master("w", shape.0, shape.1, Kind::Weight)
            } else {
                builder.tensor("w", shape.0, shape.1, Kind::Weight)
            };
            let (mut stepper, mut theta) = (builder.build().unwrap(), vec![0u16; problem.n]);
            let values = |theta: &[u16]| theta.iter().map(|&b| f64::from(from_bf16(b))).collect::<Vec<f64>>();
            for _ in 0..200 {
                let gradient: Vec<f32> =
                    problem.gradient(&values(&theta)).1.iter().map(|&g| g as f32).collect();
                let tensor = TensorMut::new(&mut theta[..], &gradient[..]);
                stepper.step_tensors([tensor], Total { loss: f64::NAN, weight: 1.0 }).unwrap();
            }
            let loss = problem.gradient(&values(&theta)).0;
            assert!(
                (loss - full).abs() <= 0.01 * full,
                "{rule}, master {master}: {loss}, not {full} of {start}"
            );
        }
    }
}

/// Rounding to the nearest would lose these steps for good; fair rounding moves by them on average.
#[test]
fn steps_below_the_last_digit_are_not_lost() {
    let (n, steps) = (4000, 200);
    let mut theta = vec![to_bf16(1.0); n];
    let mut sgd = Stepper::<f32>::new("sgd(lr=1)").unwrap();
    // A 64th of the distance to the next bf16 below 1.
    let step = libm::ldexp(1.0, -14);
    for _ in 0..steps {
        let grad = vec![step as f32; n];
        sgd.step_tensors([TensorMut::new(&mut theta[..], &grad[..])], Total { loss: 0.0, weight: 1.0 })
            .unwrap();
    }
    let mean = theta.iter().map(|&b| f64::from(from_bf16(b))).sum::<f64>() / n as f64;
    let expected = 1.0 - f64::from(steps) * step;
    // n·steps fair draws of at most half of 2⁻⁸ each: the mean's deviation is 2⁻⁹·√(steps/n).
    let bound = 5.0 * libm::ldexp(1.0, -9) * (f64::from(steps) / n as f64).sqrt();
    assert!((mean - expected).abs() <= bound, "{mean} is not {expected} ± {bound}");
}

#[test]
fn formats_are_refused_where_they_do_not_belong() {
    let error = Plan::parse("adam(memory=half)").unwrap_err().to_string();
    assert!(error.contains("memory takes one of full, bf16, block8"), "{error}");
    let threads = Threads::serial();
    let (mut theta, mut scales) = ([0u8; 300], [0.0f32; 1]);
    let span = Span::<f32, 0> {
        theta: View::Block8 { codes: &mut theta, scales: &mut scales, sign: Sign::Signed },
        master: None,
        grad: Gradient::Keep(&[0.0; 300]),
        state: [],
        average: None,
        around: Around::NOTHING,
        place: 0,
    };
    let how = Sweep { threads: &threads, seed: 0, step: 1, squares: false };
    let error = sweep::<Sgd, f32, 0>(&1.0, vec![span], how).unwrap_err().to_string();
    assert_eq!(error, "the scales of block8 has 1 numbers where the parameters have 2");
    let small = Layout::builder().tensor("a", &[SMALL - 1], &["out"], Kind::Weight).build();
    let small = std::sync::Arc::new(small);
    let bytes = |text: &str| Plan::parse(text).unwrap().memory::<f32>(&small).unwrap();
    assert_eq!(bytes("adam(memory=block8)"), bytes("adam"));
}
