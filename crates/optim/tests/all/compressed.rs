//! Compressed memory and bf16 parameters under every rule: cuts, alignments, threads and instruction sets change no bit; a rate of 0 moves
//! nothing; what is saved goes on; numbers at the ends of the range stay finite.

use proptest::prelude::*;
use thalweg_core::{Float, Kind, Memory, Penalty, Threads, Total, isa};
use thalweg_optim::format::{BLOCK8, Format, SMALL, from_bf16, to_bf16};
use thalweg_optim::rule::Sign;
use thalweg_optim::rules::Build;
use thalweg_optim::{
    Around, Gradient, Rule, Setup, Slot, Span, Stepper, Sweep, TensorMut, View, state, sweep,
};

use crate::common::{Visit, all_settings, both, coef, every_rule, kinds, numbers, one_set, penalty, setup};

/// Numbers of a format, `offset` places into their allocation.
enum Stored<F> {
    Own(Vec<F>, usize),
    Half(Vec<u16>, usize),
    Block(Vec<u8>, Vec<f32>, usize, Sign),
}

impl<F: Float> Stored<F> {
    fn own(numbers: &[f64], offset: usize) -> Self {
        let front = std::iter::repeat_n(F::NAN, offset);
        Self::Own(front.chain(numbers.iter().map(|&x| F::from_f64(x))).collect(), offset)
    }
    fn half(numbers: &[f64], offset: usize) -> Self {
        let front = std::iter::repeat_n(0x7FC0, offset);
        Self::Half(front.chain(numbers.iter().map(|&x| to_bf16(x as f32))).collect(), offset)
    }
    /// `n` times what a slot starts with.
    fn slot(slot: Slot, initial: f64, n: usize, format: Format, offset: usize) -> Self {
        match format {
            // Slots that start at θ are kept whole.
            _ if slot.from_theta => Self::own(&numbers(1, n), offset),
            Format::Own => Self::own(&vec![initial; n], offset),
            Format::Bf16 => Self::half(&vec![initial; n], offset),
            Format::Block8 => {
                // The code everywhere that stands for the scale (less 2⁻¹⁵ of it if there is a sign).
                let one = if slot.sign == Sign::NonNegative { 31 << 3 } else { 15 << 3 };
                let code = if initial == 0.0 { 0 } else { one };
                let codes = std::iter::repeat_n(0xFF, offset).chain(std::iter::repeat_n(code, n)).collect();
                let scale = std::iter::repeat_n(initial as f32, n.div_ceil(BLOCK8));
                let scales = std::iter::repeat_n(f32::NAN, offset).chain(scale).collect();
                Self::Block(codes, scales, offset, slot.sign)
            }
        }
    }
    fn view(&mut self) -> View<'_, F> {
        match self {
            Self::Own(x, offset) => View::Own(&mut x[*offset..]),
            Self::Half(x, offset) => View::Bf16(&mut x[*offset..]),
            Self::Block(codes, scales, offset, sign) => {
                View::Block8 { codes: &mut codes[*offset..], scales: &mut scales[*offset..], sign: *sign }
            }
        }
    }
    fn bits(&self) -> Vec<u64> {
        match self {
            Self::Own(x, offset) => x[*offset..].iter().map(|x| x.bits()).collect(),
            Self::Half(x, offset) => x[*offset..].iter().map(|&x| u64::from(x)).collect(),
            Self::Block(codes, scales, offset, _) => {
                let scales = scales[*offset..].iter().map(|x| x.bits());
                codes[*offset..].iter().map(|&c| u64::from(c)).chain(scales).collect()
            }
        }
    }
}

/// The first `at` numbers of a view and the rest.
fn split<F>(view: View<'_, F>, at: usize) -> (View<'_, F>, View<'_, F>) {
    match view {
        View::Own(x) => {
            let (a, b) = x.split_at_mut(at);
            (View::Own(a), View::Own(b))
        }
        View::Bf16(x) => {
            let (a, b) = x.split_at_mut(at);
            (View::Bf16(a), View::Bf16(b))
        }
        View::Block8 { codes, scales, sign } => {
            let (a, b) = codes.split_at_mut(at);
            let (s, t) = scales.split_at_mut(at.div_ceil(BLOCK8));
            (View::Block8 { codes: a, scales: s, sign }, View::Block8 { codes: b, scales: t, sign })
        }
    }
}

/// How θ is given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Theta {
    Own,
    Half,
    Master,
}

/// How a sweep is laid out in memory, and who runs it.
struct How<'a> {
    cuts: &'a [usize],
    offsets: &'a [usize],
    threads: &'a Threads,
}

const AROUND: Around =
    Around { scale: 0.5, clip: 30.0, decay: 0.01, keep: 0.99, moved: 0.97, l1: 0.01, l2: 0.02, average: 0.1 };

/// Nothing that cuts or decays the gradient, and no proximal step: 8-bit memory has a loop of its own then.
const ALONE: Around = Around { clip: f64::INFINITY, decay: 0.0, l1: 0.0, l2: 0.0, ..AROUND };
/// The same, by a limit that no gradient reaches: without that loop.
const APART: Around = Around { clip: 1e30, ..ALONE };

/// Every bit after three sweeps over spans that end at `cuts`; the second gradient is bf16.
fn sweeps<R: Rule<S> + Default, F: Float, const S: usize>(
    data: &[Vec<f64>; 4],
    how: &How<'_>,
    (format, theta): (Format, Theta),
    around: Around,
) -> Vec<u64> {
    let n = data[0].len();
    let rule = R::default();
    let at = |k: usize| how.offsets[k % how.offsets.len()];
    let mut weights = match theta {
        Theta::Own => Stored::<F>::own(&data[0], at(0)),
        _ => Stored::half(&data[0], at(0)),
    };
    let mut master = (theta == Theta::Master).then(|| Stored::<F>::own(&data[0], at(1)));
    let mut average = Stored::<F>::own(&vec![f64::NAN; n], at(2));
    let mut state: [Stored<F>; S] =
        std::array::from_fn(|k| Stored::slot(R::STATE[k], rule.initial(k), n, format, at(3 + k)));
    for (t, gradient) in data.iter().enumerate().skip(1) {
        let half = t == 2;
        let mut grad = if half { Stored::half(gradient, at(7)) } else { Stored::<F>::own(gradient, at(7)) };
        let mut spans = Vec::new();
        let mut rest = weights.view();
        let mut grads = grad.view();
        let mut masters = master.as_mut().map(|m| m.view());
        let mut averages = average.view();
        let mut states = state.each_mut().map(|s| Some(s.view()));
        let mut from = 0;
        for &to in how.cuts.iter().chain([&n]) {
            let len = to - from;
            let (theta, theta_rest) = split(rest, len);
            let (grad, grad_rest) = split(grads, len);
            let (average, average_rest) = split(averages, len);
            let (master, master_rest) = masters.map(|m| split(m, len)).unzip();
            (rest, grads, averages, masters) = (theta_rest, grad_rest, average_rest, master_rest);
            spans.push(Span {
                theta,
                master: master.and_then(View::own),
                grad: match grad {
                    View::Own(g) => Gradient::Clear(g),
                    View::Bf16(g) => Gradient::KeepBf16(g),
                    View::Block8 { .. } => unreachable!("no gradient is block8"),
                },
                state: states.each_mut().map(|s| {
                    let (now, after) = split(s.take().unwrap(), len);
                    *s = Some(after);
                    now
                }),
                average: average.own(),
                around,
                place: from as u64,
            });
            from = to;
        }
        let sweeping = Sweep { threads: how.threads, seed: 5, step: t as u64, squares: false };
        let found = sweep::<R, F, S>(&R::cast::<F>(coef(&rule, t as f64, 0.01)), spans, sweeping).unwrap();
        assert_eq!(found.bad, None, "{}", R::NAME);
    }
    let states = state.iter().flat_map(Stored::bits);
    let masters = master.iter().flat_map(Stored::bits);
    weights.bits().into_iter().chain(average.bits()).chain(masters).chain(states).collect()
}

/// All ways to lay out and to run a sweep, which must come to the same bits.
struct Same<'a> {
    /// θ and three gradients.
    data: &'a [Vec<f64>; 4],
    ways: &'a [How<'a>],
    formats: &'a [(Format, Theta)],
}

impl Visit for Same<'_> {
    fn visit<R: Rule<S> + Default, const S: usize>(&mut self) {
        fn same<R: Rule<S> + Default, F: Float, const S: usize>(all: &Same<'_>) {
            for &kind in all.formats {
                let serial = Threads::serial();
                let plain = How { cuts: &[], offsets: &[0], threads: &serial };
                let blocks = kind.0 == Format::Block8;
                for around in [AROUND, ALONE].into_iter().take(if blocks { 2 } else { 1 }) {
                    let whole = sweeps::<R, F, S>(all.data, &plain, kind, around);
                    let n = all.data[0].len();
                    if around == ALONE {
                        let apart = sweeps::<R, F, S>(all.data, &plain, kind, APART);
                        assert!(apart == whole, "{} of {n} in {kind:?}: the loops differ", R::NAME);
                    }
                    for way in all.ways {
                        let other = sweeps::<R, F, S>(all.data, way, kind, around);
                        let (cuts, offsets, count) = (way.cuts, way.offsets, way.threads.count());
                        assert!(
                            other == whole,
                            "{} of {n} in {kind:?}, {cuts:?} at {offsets:?} on {count}",
                            R::NAME
                        );
                    }
                }
            }
        }
        same::<R, f32, S>(self);
        same::<R, f64, S>(self);
    }
}

/// Memory in both formats, and θ in bf16 with and without a master copy, beside memory of its own kind and in 8 bits.
const KINDS: [(Format, Theta); 7] = [
    (Format::Bf16, Theta::Own),
    (Format::Block8, Theta::Own),
    (Format::Own, Theta::Half),
    (Format::Own, Theta::Master),
    (Format::Block8, Theta::Half),
    (Format::Block8, Theta::Master),
    (Format::Bf16, Theta::Master),
];

/// Numbers whose squares stay finite, so that nothing is left out.
fn data(seed: u64, n: usize) -> [Vec<f64>; 4] {
    [0, 1, 2, 3].map(|t| numbers(seed + t, n))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn cuts_on_block_borders_and_alignments_change_no_bit(
        n in 0usize..3000,
        cuts in proptest::collection::vec(0.0..1.0f64, 0..5),
        offsets in proptest::collection::vec(0usize..33, 8),
        seed: u32,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|x| (x * (n / BLOCK8 + 1) as f64) as usize * BLOCK8).collect();
        cuts.retain(|&cut| cut <= n);
        cuts.sort_unstable();
        let serial = Threads::serial();
        let ways = [How { cuts: &cuts, offsets: &offsets, threads: &serial }];
        every_rule(&mut Same { data: &data(u64::from(seed), n), ways: &ways, formats: &KINDS });
    }

    /// bf16 has no blocks: any cut.
    #[test]
    fn bf16_takes_any_cut(n in 0usize..3000, cuts in proptest::collection::vec(0.0..1.0f64, 0..5), seed: u32) {
        let mut cuts: Vec<usize> = cuts.iter().map(|x| (x * n as f64) as usize).collect();
        cuts.sort_unstable();
        let serial = Threads::serial();
        let ways = [How { cuts: &cuts, offsets: &[0, 1, 2, 3, 5], threads: &serial }];
        let formats: Vec<(Format, Theta)> = KINDS.into_iter().filter(|k| k.0 != Format::Block8).collect();
        every_rule(&mut Same { data: &data(u64::from(seed), n), ways: &ways, formats: &formats });
    }
}

#[test]
fn threads_with_cuts_and_alignments_change_no_bit() {
    let threads = [2, 3].map(Threads::new);
    let cuts = [256, 65_536, 65_536 + 512, 131_072];
    let offsets = [0, 1, 2, 3, 5, 7];
    let ways = threads.each_ref().map(|threads| How { cuts: &cuts, offsets: &offsets, threads });
    every_rule(&mut Same { data: &data(1, 150_003), ways: &ways, formats: &KINDS });
}

/// Parameters in bf16 and their optimizer.
struct Half<F: Build> {
    stepper: Stepper<F>,
    bits: Vec<u16>,
}

impl<F: Build> Half<F> {
    fn new(text: &str, n: usize, master: bool, setup: &Setup, penalty: Penalty) -> Self {
        let builder = Stepper::builder(text).setup(setup.clone()).penalty(penalty);
        let builder = match master {
            true => builder.tensor_with_master("w", &[n], &["out"], Kind::Weight),
            false => builder.tensor("w", &[n], &["out"], Kind::Weight),
        };
        let bits = numbers(1, n).iter().map(|&x| to_bf16(x as f32)).collect();
        Self { stepper: builder.build().unwrap_or_else(|e| panic!("{e}")), bits }
    }
    fn step(&mut self, gradient: &[f64]) -> thalweg_core::Report {
        let gradient: Vec<F> = gradient.iter().map(|&g| F::from_f64(g)).collect();
        let tensor = TensorMut { theta: View::Bf16(&mut self.bits), grad: Gradient::Keep(&gradient) };
        self.stepper.step_tensors([tensor], Total { loss: 0.5, weight: 1.0 }).unwrap()
    }
    fn memory(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut all = vec![];
        self.stepper.visit_state(&mut |name, memory| all.push((name.to_string(), memory.to_bytes())));
        all
    }
    fn values(&self) -> Vec<f64> {
        self.bits.iter().map(|&b| f64::from(from_bf16(b))).collect()
    }
}

/// `rule` with memory in a format, and an average around it.
fn text(rule: &str, format: &str) -> String {
    format!("clip_value(20) | {}, memory={format}) | ema(0.9)", rule.strip_suffix(')').unwrap())
}

both! {
    fn bf16_parameters_are_the_same_on_every_instruction_set<F>() {
        let _guard = one_set();
        let n = SMALL + 77;
        let gradients: Vec<Vec<f64>> = (2..5).map(|seed| numbers(seed, n)).collect();
        for (rule, master) in all_settings().iter().flat_map(|r| [(r, true), (r, false)]) {
            let text = text(rule, if master { "full" } else { "block8" });
            let all: Vec<_> = isa::available().into_iter().map(|set| {
                isa::limit(Some(set));
                let mut half = Half::<F>::new(&text, n, master, &setup(), penalty(rule));
                gradients.iter().for_each(|g| {
                    half.step(g);
                });
                isa::limit(None);
                (half.bits.clone(), half.memory())
            }).collect();
            assert!(all.iter().all(|one| *one == all[0]), "{text}, master {master}");
        }
    }

    fn bf16_parameters_rest_at_a_rate_of_0<F>() {
        let n = SMALL + 77;
        for (rule, master) in all_settings().iter().flat_map(|r| [(r, true), (r, false)]) {
            for format in ["full", "bf16"] {
                let text = text(&rule.replace("lr=0.01", "lr=0"), format);
                let mut half = Half::<F>::new(&text, n, master, &setup(), penalty(rule));
                let before = half.bits.clone();
                for seed in 2..4 {
                    let report = half.step(&numbers(seed, n));
                    assert_eq!((report.lr, report.non_finite), (0.0, None), "{text}");
                    // 0 and −0 are one number.
                    let zero = |b: u16| b & 0x7FFF == 0;
                    let same = half.bits.iter().zip(&before).all(|(&a, &b)| a == b || (zero(a) && zero(b)));
                    assert!(same, "{text}, master {master}");
                }
            }
        }
    }

    /// Through a file, into an optimizer that has gone its own way.
    fn bf16_parameters_continue<F>() {
        let n = SMALL + 77;
        for (rule, master) in kinds().iter().flat_map(|r| [(r, true), (r, false)]) {
            for format in ["full", "bf16", "block8"] {
                let rule = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps, over=9 steps)");
                let text = text(&rule, format);
                let new = || Half::<F>::new(&text, n, master, &setup(), penalty(&text));
                let mut run = new();
                let mut saved = vec![];
                for t in 0..6 {
                    if [0, 1, 4].contains(&t) {
                        saved.push((t, run.bits.clone(), state::save(&mut run.stepper, t).unwrap()));
                    }
                    run.step(&numbers(2 + t, n));
                }
                for (stop, bits, saved) in saved {
                    let mut other = new();
                    (0..3).for_each(|t| {
                        other.step(&numbers(50 + t, n));
                    });
                    assert_eq!(state::load(&mut other.stepper, &saved).unwrap_or_else(|e| panic!("{text}: {e}")).step, stop);
                    other.bits = bits;
                    (stop..6).for_each(|t| {
                        other.step(&numbers(2 + t, n));
                    });
                    assert!(other.bits == run.bits && other.memory() == run.memory(), "{text}, master {master}, {stop}");
                }
            }
        }
    }

    /// Zeros and both ends of the range: parameters and what is kept stay finite; what could not be is reported and left as it was.
    fn extreme_gradients_leave_finite_bf16_parameters<F>() {
        let n = SMALL + 77;
        let (huge, tiny) = if F::BYTES == 4 { (1e38, 1e-44) } else { (1e300, 5e-324) };
        let mut reported = 0;
        for (rule, master) in all_settings().iter().flat_map(|r| [(r, true), (r, false)]) {
            let mut half = Half::<F>::new(rule, n, master, &setup(), Penalty::default());
            for pattern in 0..5 {
                let gradient: Vec<f64> = (0..n).map(|i| match (pattern, i % 5) {
                    (0, _) => 0.0,
                    (1, _) => if i % 2 == 0 { tiny } else { -tiny },
                    (2, 0) | (3, 1) => huge,
                    (2, 1) => -huge,
                    (3, _) => tiny,
                    (4, 3) => F::MAX.to_f64(),
                    _ => 1.0,
                }).collect();
                let before = half.bits.clone();
                let report = half.step(&gradient);
                assert!(half.values().iter().all(|x| x.is_finite()), "{rule}, master {master}, gradients {pattern}");
                half.stepper.visit_state(&mut |name, memory| {
                    let sound = match memory {
                        Memory::F32(x) => x.iter().all(|x| x.is_finite()),
                        Memory::F64(x) => x.iter().all(|x| x.is_finite()),
                        _ => true,
                    };
                    assert!(sound, "{rule}, master {master}, gradients {pattern}: {name}");
                });
                if let Some(place) = report.non_finite {
                    assert_eq!(half.bits[place], before[place], "{rule}, master {master}");
                    reported += 1;
                }
            }
            // A gradient that is not finite writes nothing at all.
            let mut gradient = numbers(3, n);
            gradient[4000] = f64::NAN;
            let before = (half.bits.clone(), half.memory());
            assert_eq!(half.step(&gradient).non_finite, Some(4000));
            let unsaved = |memory: Vec<(String, Vec<u8>)>| -> Vec<(String, Vec<u8>)> {
                memory.into_iter().filter(|(name, _)| name != "stepper.steps").collect()
            };
            assert!(half.bits == before.0 && unsaved(half.memory()) == unsaved(before.1), "{rule}, master {master}");
        }
        assert!(reported > 10, "{reported}");
    }
}
