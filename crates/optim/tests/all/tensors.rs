//! What every rule that looks at a tensor must do, at settings made from its declarations.

use std::sync::Arc;

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, Kind, Layout, NoOracle, Penalty, StepError, Threads, Total};
use thalweg_optim::rules::{self, ALL, Entry};
use thalweg_optim::{Plan, Setup, Stepper, TensorMut};

use crate::common::{Run, apart, both, moved, numbers, on_every_set, rounding, settings, setup};

/// The rules that see a tensor's shape. Schedule-free ones run over tensors one by one and see coordinates only: `whole` holds them.
fn entries() -> impl Iterator<Item = &'static Entry> {
    let shaped = |e: &&Entry| e.kind == rules::Kind::Tensor && !e.name.starts_with("schedulefree");
    ALL.iter().copied().filter(shaped)
}

fn all_settings() -> Vec<String> {
    entries().flat_map(settings).collect()
}

/// Tensors of these shapes; biases where the flag says so.
fn layout(shapes: &[(&[usize], bool)]) -> Arc<Layout> {
    let mut builder = Layout::builder();
    for (i, (shape, bias)) in shapes.iter().enumerate() {
        let kind = if *bias { Kind::Bias } else { Kind::Weight };
        builder = builder.tensor(&format!("t{i}"), shape, &["out", "in", "a", "b"][..shape.len()], kind);
    }
    Arc::new(builder.build())
}

/// A tall and a wide matrix, a kernel, a vector, a bias: 94 numbers.
fn mixed() -> Arc<Layout> {
    layout(&[(&[5, 3], false), (&[4, 8], false), (&[2, 3, 2, 3], false), (&[6], false), (&[5], true)])
}

/// Numbers of about 1: matrices of these are far from singular.
fn plain(seed: u64, n: usize) -> Vec<f64> {
    let mut stream = Stream::new(seed, Purpose::Data, 4);
    (0..n).map(|_| f64::from(stream.normal() as f32)).collect()
}

fn rate_of_0(rule: &str) -> String {
    rule.replace("lr=0.01", "lr=0")
}

both! {
    fn threads_change_no_bit<F>() {
        let _guard = crate::common::one_set();
        // Above the sizes that are worth waking threads for, and of several blocks of rows.
        let layout = layout(&[(&[66, 2048], false), (&[2048, 66], false), (&[20, 30, 230], false), (&[131_073], true)]);
        let n = layout.count();
        let (theta, gradients) = (numbers(1, n), [2, 3, 4].map(|seed| numbers(seed, n)));
        // Statistics of sides as long as these would take minutes.
        let more = |name: &str| if matches!(name, "shampoo" | "soap") { ", every=1, max_dim=70" } else { "" };
        let short = entries().filter(|rule| rule.name == "muon").map(|rule| (rule, ", bf16=true"));
        for (rule, most) in entries().map(|rule| (rule, more(rule.name))).chain(short) {
            let text = format!("clip(50) | {}(lr=0.01, weight_decay=0.1{most}) | ema(0.9)", rule.name);
            let all = [1, 2, 3].map(Threads::new).map(|threads| {
                let mut run = Run::<F>::new(&text, &layout, &Setup { threads, ..setup() }, &theta);
                gradients.iter().for_each(|g| {
                    run.step(g);
                });
                run.bits()
            });
            assert!(all[1] == all[0] && all[2] == all[0], "{text}");
        }
    }

    /// Bits where no matrix product is.
    fn instruction_sets_change_no_bit_without_products<F>() {
        let layout = layout(&[(&[33, 70], false), (&[70, 33], false), (&[5, 12, 21], false), (&[301], true)]);
        let n = layout.count();
        for rule in all_settings().iter().filter(|rule| !multiplies(rule)) {
            let text = format!("clip(50) | {rule} | ema(0.9)");
            let all = on_every_set(|| {
                let mut run = Run::<F>::new(&text, &layout, &setup(), &numbers(1, n));
                run.penalty = Penalty { l1: 0.0, l2: 0.1 };
                let norms: Vec<u64> = (2..5).map(|seed| run.step(&numbers(seed, n)).grad_norm.to_bits()).collect();
                (run.bits(), run.memory(), norms)
            });
            for (set, found) in &all {
                assert!(*found == all[0].1, "{rule} on {set}");
            }
        }
    }

    /// Nothing at all is written then, and the first bad place is named.
    fn a_gradient_that_is_not_finite_writes_nothing<F>() {
        let (mixed, n) = (mixed(), mixed().count());
        let places: Vec<usize> = mixed.tensors().iter().flat_map(|t| t.range()).collect();
        for rule in all_settings() {
            let mut run = Run::<F>::new(&format!("{rule} | ema(0.9)"), &mixed, &setup(), &plain(1, n));
            for (steps, bad) in [(0, f64::NAN), (1, f64::INFINITY), (2, f64::NEG_INFINITY)] {
                (0..steps).for_each(|t| {
                    run.step(&plain(2 + t, n));
                });
                let before = (run.bits(), run.memory());
                for first in [0, 40, n - 1] {
                    let mut gradient = plain(5, n);
                    gradient[first] = bad;
                    assert_eq!(run.step(&gradient).non_finite, Some(places[first]), "{rule}");
                    assert!((run.bits(), run.memory()) == before, "{rule}");
                    assert!(run.grads.flat().iter().all(|&g| g == F::zero()), "{rule}");
                }
            }
        }
    }

    fn a_rate_of_0_moves_nothing<F>() {
        let n = mixed().count();
        for rule in all_settings() {
            let text = format!("clip_value(20) | {} | ema(0.9)", rate_of_0(&rule));
            let mut run = Run::<F>::new(&text, &mixed(), &setup(), &numbers(1, n));
            run.penalty = Penalty { l1: 0.0, l2: 0.1 };
            let before = run.values();
            for seed in 2..6 {
                let report = run.step(&numbers(seed, n));
                assert_eq!((report.lr, report.non_finite), (0.0, None), "{rule}");
                assert_eq!(run.values(), before, "{rule}");
            }
            assert_eq!(run.evaluated().unwrap(), before, "{rule}");
        }
    }

    fn save_load_continue_is_never_stopped<F>() {
        let n = mixed().count();
        for rule in all_settings() {
            let rule = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps, over=9 steps)");
            let text = format!("clip(100) | {rule} | ema(0.9)");
            for stop in [0, 1, 2, 5] {
                let mut run = Run::<F>::new(&text, &mixed(), &setup(), &numbers(1, n));
                let mut saved = None;
                for t in 0..8 {
                    if t == stop {
                        saved = Some((run.theta.clone(), run.memory(), run.optimizer.expression()));
                    }
                    run.step(&numbers(2 + t, n));
                }
                let (theta, memory, expression) = saved.unwrap();
                let mut other = Run::<F>::new(&expression, &mixed(), &setup(), &numbers(99, n));
                other.theta = theta;
                other.t = stop;
                other.restore(&memory);
                (stop..8).for_each(|t| {
                    other.step(&numbers(2 + t, n));
                });
                assert_eq!(other.bits(), run.bits(), "{rule} stopped after {stop}");
                assert_eq!(other.optimizer.expression(), expression);
            }
        }
    }

    /// Norms of 0 below and above the line, at the start, after a gradient, and from parameters that are 0 too.
    fn nothing_is_divided_by_nothing<F>() {
        let n = mixed().count();
        for rule in all_settings() {
            for start in [vec![0.0; n], numbers(1, n)] {
                let mut run = Run::<F>::new(&rule, &mixed(), &setup(), &start);
                for g in [vec![0.0; n], vec![0.0; n], numbers(2, n), vec![0.0; n], vec![0.0; n]] {
                    let report = run.step(&g);
                    assert_eq!(report.non_finite, None, "{rule}");
                    assert!(run.values().iter().all(|x| x.is_finite()), "{rule}");
                }
                let zero = vec![0.0; n];
                assert!(start != zero || run.values() != zero || !moves_in(&rule, 3), "{rule}");
            }
        }
    }

    /// A step is finite or left out, and what is left out leaves its memory as it was.
    fn huge_and_tiny_gradients_are_taken_or_reported<F>() {
        let n = mixed().count();
        let top = if F::BYTES == 4 { 30 } else { 300 };
        for rule in all_settings() {
            for exponent in [-top - 8, -top, -top / 2, top / 2, top, top + 7] {
                let unit = libm::pow(10.0, f64::from(exponent));
                let g: Vec<f64> = plain(2, n).iter().map(|g| g * unit).collect();
                let mut run = Run::<F>::new(&rule, &mixed(), &setup(), &plain(1, n));
                run.step(&plain(4, n));
                for _ in 0..2 {
                    run.step(&g);
                    assert!(run.values().iter().all(|x| x.is_finite()), "{rule}, 1e{exponent}");
                    run.optimizer.visit_state(&mut |name, memory| {
                        let sound = match memory {
                            thalweg_core::Memory::F32(x) => x.iter().all(|x| x.is_finite()),
                            thalweg_core::Memory::F64(x) => x.iter().all(|x| x.is_finite()),
                            _ => true,
                        };
                        assert!(sound, "{rule}, 1e{exponent}: {name}");
                    });
                }
                let before = run.values();
                let mut reported = false;
                (5..8).for_each(|seed| reported |= run.step(&plain(seed, n)).non_finite.is_some());
                assert!(!reported, "{rule}, 1e{exponent}: an ordinary gradient is taken afterwards");
                assert!(run.values() != before || exponent > 0 || !moves_in(&rule, 6), "{rule}, 1e{exponent}: stuck");
            }
        }
    }

    /// Where nobody looks first, a tensor with a NaN in its gradient is left out with its memory; the others are not.
    fn a_bad_gradient_stays_in_its_tensor<F>() {
        let layout = layout(&[(&[5, 3], false), (&[4, 8], false)]);
        for rule in all_settings() {
            let setup = Setup { check: false, ..setup() };
            let start = || {
                let mut run = Run::<F>::new(&rule, &layout, &setup, &plain(1, 47));
                (2..5).for_each(|seed| {
                    run.step(&plain(seed, 47));
                });
                run
            };
            let (mut run, mut other) = (start(), start());
            let of = |run: &mut Run<F>, tensor: &str| -> Vec<(String, Vec<u8>)> {
                run.memory().into_iter().filter(|(name, _)| name.starts_with(tensor)).collect()
            };
            let (values, memory) = (run.values(), of(&mut run, "t0/"));
            let mut g = plain(9, 47);
            other.step(&g);
            g[7] = f64::NAN;
            let report = run.step(&g);
            assert_eq!(report.non_finite, Some(7), "{rule}");
            assert_eq!(run.values()[..15], values[..15], "{rule}");
            assert!(of(&mut run, "t0/") == memory, "{rule}");
            assert_eq!(run.values()[15..], other.values()[15..], "{rule}");
            assert!(of(&mut run, "t1/") == of(&mut other, "t1/"), "{rule}");
        }
    }

    /// Penalties never reach biases; a rule's own decay does unless it is told not to.
    fn biases_are_exempt_when_asked<F>() {
        for rule in all_settings() {
            let go = |rule: &str, bias: bool, decay_biases: bool, l2: f64| {
                let layout = layout(&[(&[5, 3], bias), (&[7], bias)]);
                let mut run = Run::<F>::new(rule, &layout, &Setup { decay_biases, ..setup() }, &plain(1, 22));
                run.penalty = Penalty { l1: 0.0, l2 };
                (2..6).for_each(|seed| {
                    run.step(&plain(seed, 22));
                });
                run.bits()
            };
            let decay = rule.split("weight_decay=").nth(1).unwrap().split([',', ')']).next().unwrap();
            let without = rule.replace(&format!("weight_decay={decay}"), "weight_decay=0");
            assert_eq!(go(&rule, true, false, 0.1), go(&without, true, false, 0.0), "{rule}");
            assert_eq!(go(&rule, false, false, 0.1), go(&rule, false, true, 0.1), "{rule}");
            if decay.parse::<f64>().unwrap() > 1e-3 {
                assert_ne!(go(&rule, true, true, 0.0), go(&rule, true, false, 0.0), "{rule}");
            }
        }
    }

    fn an_l1_penalty_is_refused<F>() {
        for entry in entries() {
            let layout = layout(&[(&[5, 3], false)]);
            let mut run = Run::<F>::new(entry.name, &layout, &setup(), &plain(1, 15));
            let before = run.bits();
            run.grads.total.weight = 1.0;
            let at = At { step: 1, penalty: Penalty { l1: 0.1, l2: 0.0 } };
            let error = run.optimizer.step(at, &mut run.theta, &mut run.grads, &mut NoOracle).unwrap_err();
            assert_eq!(error, StepError::NoProximal { rule: entry.name });
            assert_eq!(run.bits(), before);
        }
    }

    /// No rows, no columns, one of either, a single number.
    fn narrow_shapes_are_tensors_too<F>() {
        let shapes: [&[usize]; 8] = [&[0, 5], &[5, 0], &[1, 1], &[1, 6], &[6, 1], &[], &[1], &[1, 2, 1, 2]];
        let layout = layout(&shapes.map(|shape| (shape, false)));
        let n = layout.count();
        for rule in all_settings() {
            let mut run = Run::<F>::new(&rule, &layout, &setup(), &plain(1, n));
            // An odd number of steps: of ± the same length an even one may end where it began.
            for seed in 2..7 {
                assert_eq!(run.step(&plain(seed, n)).non_finite, None, "{rule}");
            }
            let moved = run.values().iter().zip(plain(1, n)).filter(|(a, b)| **a != *b).count();
            // In single precision a share of θ may be less than its rounding.
            let seen = F::BYTES == 8 && moves_in(&rule, 5);
            assert!(moved == n || !seen, "{rule}: {moved} of {n} have moved");
        }
    }
}

/// Whether a setting is one whose steps can be seen after so many: a decomposition has been made, and a Newton–Schulz or trust
/// factor has not made them vanish beside θ.
fn moves_in(rule: &str, steps: u64) -> bool {
    let value = |name: &str| {
        let (_, rest) = rule.split_once(&format!("{name}="))?;
        rest.split([',', ')']).next()?.parse::<f64>().ok()
    };
    let late = rule.starts_with("shampoo") && value("every").is_some_and(|every| every > steps as f64);
    let faint = value("trust_coefficient").is_some_and(|x| x < 1e-4) || value("eps2") == Some(0.0);
    !late && !faint
}

/// Whether a rule multiplies matrices, by the one door that fuses multiplications and additions.
fn multiplies(rule: &str) -> bool {
    let short = rule.contains("bf16=true");
    !short && ["muon", "shampoo", "soap"].iter().any(|name| rule.starts_with(name))
}

/// Roundings of a step in two implementations: products of 6 and 24 numbers, five times for Muon, and bases whose first gradient the
/// perturbation does not feel as a rounding of its statistics is felt, as for recorded runs.
const PRODUCTS: f64 = 512.0;

/// Shapes whose first gradient leaves no eigenvector to chance.
fn regular() -> Arc<Layout> {
    layout(&[(&[4, 4], false), (&[2, 3, 4], false), (&[6], false)])
}

/// Whether a rule decomposes what it keeps: a basis may be ill-conditioned in that, which a rounding of the gradient does not tell.
fn decomposes(rule: &str) -> bool {
    multiplies(rule) && !rule.starts_with("muon")
}

/// θ after each of 8 steps of random gradients of about 1 from such a start, both permuted by `by`; gradients, and what is decomposed, are
/// moved by chance of a seed.
fn path(
    rule: &str,
    layout: &Arc<Layout>,
    by: &dyn Fn(&[f64]) -> Vec<f64>,
    seed: Option<u64>,
) -> Vec<Vec<f64>> {
    let n = layout.count();
    let mut run = Run::<f64>::new(rule, layout, &setup(), &by(&plain(1, n)));
    run.penalty = Penalty { l1: 0.0, l2: 0.1 };
    let mut chance = seed.map(|seed| Stream::new(seed, Purpose::Data, 8));
    let step = |t: u64| {
        let mut shake = |g: f64| g * chance.as_mut().map_or(1.0, moved);
        run.step(&by(&plain(2 + t, n).into_iter().map(&mut shake).collect::<Vec<_>>()));
        if decomposes(rule) {
            run.optimizer.visit_state(&mut |_, memory| {
                if let thalweg_core::Memory::F64(numbers) = memory {
                    numbers.iter_mut().for_each(|x| *x = shake(*x));
                }
            });
        }
        run.values()
    };
    (0..8).map(step).collect()
}

/// How far rounding may bring such runs apart.
fn bounds(rule: &str, layout: &Arc<Layout>, roundings: f64) -> (Vec<Vec<f64>>, Vec<f64>) {
    let same = |x: &[f64]| x.to_vec();
    let ours = path(rule, layout, &same, None);
    let others: Vec<_> = (1..=4).map(|seed| path(rule, layout, &same, Some(seed))).collect();
    // The first step's statistic is moved together with its gradient, which is not felt.
    let of_theta = if decomposes(rule) { roundings } else { 8.0 };
    let bounds = rounding(&ours, &others, &plain(1, layout.count()), (roundings, of_theta));
    (ours, bounds)
}

/// Products promise their bits for each instruction set: between two, fused multiply-adds round otherwise, and no more than that.
#[test]
fn instruction_sets_differ_by_roundings_where_products_are() {
    let (mut told, mut all) = (0, 0);
    for rule in all_settings().iter().filter(|rule| multiplies(rule)) {
        let (ours, bounds) = bounds(rule, &regular(), PRODUCTS);
        for (set, other) in on_every_set(|| path(rule, &regular(), &|x| x.to_vec(), None)) {
            for (t, (a, b)) in ours.iter().zip(&other).enumerate() {
                let off = apart(a, b);
                assert!(off <= bounds[t], "{rule} on {set}, step {t}: {off:e} > {:e}", bounds[t]);
                told += usize::from(bounds[t] < 1e-6 * apart(a, &plain(1, a.len())));
                all += 1;
            }
        }
    }
    assert!(10 * told > 9 * all, "{told} of {all} are told apart");
}

/// Rows, columns and whatever axes there are in another order end in that order: of each tensor by itself, to what sums in another order
/// round.
#[test]
fn permuting_axes_permutes_the_result() {
    let (mut told, mut all) = (0, 0);
    for rule in all_settings() {
        // Eigenvectors that a tall gradient leaves open are chosen by rounding.
        let layout = if decomposes(&rule) { regular() } else { mixed() };
        let mut stream = Stream::new(3, Purpose::Shuffle, 1);
        // Where each number of the layout goes.
        let mut to = vec![];
        for tensor in layout.tensors() {
            let start = to.len();
            let orders: Vec<Vec<usize>> = tensor
                .shape
                .iter()
                .map(|&size| {
                    let mut order: Vec<usize> = (0..size).collect();
                    stream.shuffle(&mut order);
                    order
                })
                .collect();
            for i in 0..tensor.len() {
                let (mut rest, mut place, mut stride) = (i, 0, 1);
                for (size, order) in tensor.shape.iter().zip(&orders).rev() {
                    place += order[rest % size] * stride;
                    (rest, stride) = (rest / size, stride * size);
                }
                to.push(start + place);
            }
        }
        let permuted = |x: &[f64]| {
            let mut moved = vec![0.0; x.len()];
            x.iter().zip(&to).for_each(|(x, &to)| moved[to] = *x);
            moved
        };
        let (ours, bounds) = bounds(&rule, &layout, PRODUCTS);
        for (t, (a, b)) in ours.iter().zip(path(&rule, &layout, &permuted, None)).enumerate() {
            let off = apart(&permuted(a), &b);
            assert!(off <= bounds[t], "{rule}, step {t}: {off:e} > {:e}", bounds[t]);
            told += usize::from(bounds[t] < 1e-6 * apart(a, &plain(1, a.len())));
            all += 1;
        }
    }
    assert!(10 * told > 9 * all, "{told} of {all} are told apart");
}

/// In single precision a run stays near the one in double precision.
#[test]
fn f32_runs_stay_near_f64() {
    let n = regular().count();
    for entry in entries() {
        let text = format!("{}(lr=0.01)", entry.name);
        let mut single = Run::<f32>::new(&text, &regular(), &setup(), &plain(1, n));
        let mut double = Run::<f64>::new(&text, &regular(), &setup(), &plain(1, n));
        for seed in 2..12 {
            single.step(&plain(seed, n));
            double.step(&plain(seed, n));
        }
        let far = double.values().iter().zip(plain(1, n)).fold(0.0f64, |far, (a, b)| far.max((a - b).abs()));
        // Ten roundings of θ, and bases or quotients that roundings of the gradients' statistics turn a little.
        let bound = 20.0 * f64::from(f32::EPSILON) + 2e-4 * far;
        for (a, b) in single.values().iter().zip(double.values()) {
            assert!((a - b).abs() <= bound, "{text}: {a} is not {b} ± {bound:e}");
        }
    }
}

/// The memory that each rule's page promises, in numbers of a matrix [30, 40] and a bias [7].
#[test]
fn memory_is_what_the_pages_say() {
    let layout = layout(&[(&[30, 40], false), (&[7], true)]);
    let (n, squares) = (1207, 2 * (30 * 30 + 40 * 40));
    let wanted = [
        // In f64, two tensors.
        ("novograd", 4 * n + 2 * 8),
        ("sm3", 4 * (n + 30 + 40 + 7)),
        ("sm3(momentum=0)", 4 * (30 + 40 + 7)),
        ("lars", 4 * n),
        ("lars(momentum=0)", 0),
        ("lamb", 4 * 2 * n),
        ("fromage", 0),
        ("adafactor", 4 * (30 + 40 + 7)),
        ("adafactor(beta1=0.9)", 4 * (30 + 40 + 7 + n)),
        // Two moments of the bias, and a count of steps more.
        ("muon", 4 * (1200 + 14) + 8),
        ("shampoo", 4 * (squares + 2 * 49)),
        ("shampoo(max_dim=30)", 4 * (2 * 900 + 2 * 49)),
        ("soap", 4 * (2 * n + squares)),
    ];
    let counts = Plan::parse("sgd").unwrap().memory::<f32>(&layout).unwrap();
    for (text, bytes) in wanted {
        assert_eq!(Plan::parse(text).unwrap().memory::<f32>(&layout).unwrap() - counts, bytes, "{text}");
    }
    assert!(entries().all(|e| wanted.iter().any(|(text, _)| *text == e.name)));
}

#[test]
fn muon_leaves_vectors_and_tables_to_adamw() {
    let layout = Layout::builder()
        .tensor("weight", &[3, 5], &["out", "in"], Kind::Weight)
        .tensor("table", &[9, 4], &["level", "out"], Kind::Weight)
        .tensor("bias", &[3], &["out"], Kind::Bias)
        .tensor("kernel", &[2, 3, 3], &["out", "in", "width"], Kind::Weight)
        .build();
    let groups = Plan::parse("muon(lr=0.02)").unwrap().groups(&layout).unwrap();
    let of = |rule: &str| groups.iter().find(|g| g.chain.starts_with(rule)).unwrap();
    assert_eq!(of("muon(lr=0.02").tensors, ["weight", "kernel"]);
    assert_eq!(of("adamw(lr=0.02").tensors, ["table", "bias"]);
    let error = Plan::parse("{ weight bias: muon; rest: sgd }").unwrap().groups(&layout).unwrap_err();
    assert_eq!(error.to_string(), "muon does not work on the tensor \"bias\" of the group \"weight bias\"");
}

/// What maps to the outputs is no hidden matrix: AdamW's where Muon stands alone, Muon's where a group says so.
#[test]
fn muon_leaves_the_head_to_adamw() {
    let layout = Layout::builder()
        .tensor("hidden", &[8, 5], &["out", "in"], Kind::Weight)
        .tensor("bias", &[8], &["out"], Kind::Bias)
        .tensor("last", &[3, 8], &["out", "in"], Kind::Weight)
        .head()
        .build();
    let who = |text: &str| -> Vec<(String, Vec<String>)> {
        let groups = Plan::parse(text).unwrap().groups(&layout).unwrap();
        groups.into_iter().map(|g| (g.chain.split('(').next().unwrap().into(), g.tensors)).collect()
    };
    let rows = |rows: &[(&str, &[&str])]| -> Vec<(String, Vec<String>)> {
        rows.iter().map(|(rule, names)| ((*rule).into(), names.iter().map(|&n| n.into()).collect())).collect()
    };
    assert_eq!(who("muon"), rows(&[("adamw", &["bias", "last"]), ("muon", &["hidden"])]));
    assert_eq!(
        who("{ matrices: muon; rest: adamw }"),
        rows(&[("muon", &["hidden", "last"]), ("adamw", &["bias"])])
    );
    assert_eq!(
        who("{ hidden: muon; head: sgd; rest: adamw }"),
        rows(&[("muon", &["hidden"]), ("sgd", &["last"]), ("adamw", &["bias"])])
    );
    // The same by slices of one's own: a head of 1s under a gradient of 1s moves by AdamW's rate, less its decay.
    let mut muon = Stepper::<f64>::builder("muon(lr=0.1)")
        .tensor("hidden", &[2, 2], &["out", "in"], Kind::Weight)
        .tensor("last", &[1, 2], &["out", "in"], Kind::Weight)
        .head()
        .build()
        .unwrap();
    let (mut hidden, mut last) = ([1.0; 4], [1.0; 2]);
    let tensors =
        [TensorMut::new(&mut hidden[..], &[1.0; 4][..]), TensorMut::new(&mut last[..], &[1.0; 2][..])];
    muon.step_tensors(tensors, Total { loss: 0.0, weight: 1.0 }).unwrap();
    let adamw = 1.0 - 0.1 * 0.01 - 0.1 / (1.0 + 1e-8);
    assert!(last.iter().all(|x| (x - adamw).abs() < 1e-15), "{last:?}");
    assert!(hidden.iter().all(|x| (x - adamw).abs() > 1e-3), "{hidden:?}");
}

/// An axis longer than `max_dim` is left alone: with the other one's statistic L = ε I + G Gᵀ alone, U = L^(−1/2) G, so U Uᵀ = I − ε L⁻¹;
/// with none it is gradient descent.
#[test]
fn shampoo_leaves_long_axes_alone() {
    let (n, eps) = (7, 0.5);
    let g = plain(6, 2 * n);
    let one = Arc::new(Layout::builder().tensor("w", &[2, n], &["out", "in"], Kind::Weight).build());
    let step = |max_dim: usize| {
        let text = format!("shampoo(lr=1, eps={eps}, max_dim={max_dim})");
        let mut run = Run::<f64>::new(&text, &one, &setup(), &vec![0.0; 2 * n]);
        run.step(&g);
        run.values().iter().map(|x| -x).collect::<Vec<f64>>()
    };
    assert_eq!(step(1), g);
    let u = step(2);
    let gram = |x: &[f64], i: usize, j: usize| (0..n).map(|k| x[i * n + k] * x[j * n + k]).sum::<f64>();
    let l = |i: usize, j: usize| gram(&g, i, j) + if i == j { eps } else { 0.0 };
    let determinant = l(0, 0) * l(1, 1) - l(0, 1) * l(1, 0);
    for (i, j) in [(0, 0), (0, 1), (1, 1)] {
        // The inverse of a 2×2 matrix: the other diagonal number, or minus this one.
        let inverse = if i == j { l(1 - i, 1 - i) } else { -l(i, j) } / determinant;
        let wanted = if i == j { 1.0 } else { 0.0 } - eps * inverse;
        // Some hundred roundings of numbers below 1, and of the statistic's, whose condition is below 100.
        assert!((gram(&u, i, j) - wanted).abs() < 1e-12, "{i} {j}: {} is not {wanted}", gram(&u, i, j));
    }
    // And U is a symmetric matrix times G: G Uᵀ = L^(−1/2)(L − ε I) is symmetric.
    let cross = |i: usize, j: usize| (0..n).map(|k| g[i * n + k] * u[j * n + k]).sum::<f64>();
    assert!((cross(0, 1) - cross(1, 0)).abs() < 1e-12 && cross(0, 0) > 0.0);
}

/// A step of Muon from 0 along one gradient, with a rate of 1.
fn turned(shape: &[usize], axes: &[&'static str], g: &[f64]) -> Vec<f64> {
    turned_by("muon(lr=1, weight_decay=0, consistent_rms=0)", shape, axes, g)
}

fn turned_by(muon: &str, shape: &[usize], axes: &[&'static str], g: &[f64]) -> Vec<f64> {
    let layout = Arc::new(Layout::builder().tensor("w", shape, axes, Kind::Weight).build());
    let mut run = Run::<f64>::new(muon, &layout, &setup(), &vec![0.0; g.len()]);
    run.step(g);
    run.values()
}

/// The outputs are where the axis named `out` is: the same numbers in another order give the same step in that order.
#[test]
fn muon_goes_by_the_names_of_axes() {
    let (a, out, b) = (2, 7, 3);
    let g = plain(1, a * out * b);
    // [a, out, b] → [out, a, b] and [a, b, out].
    let place = |i: usize| (i / (out * b), i / b % out, i % b);
    let first = |i: usize| {
        let (x, o, y) = place(i);
        (o * a + x) * b + y
    };
    let last = |i: usize| {
        let (x, o, y) = place(i);
        (x * b + y) * out + o
    };
    let middle = turned(&[a, out, b], &["a", "out", "b"], &g);
    type Place<'a> = &'a dyn Fn(usize) -> usize;
    let others: [(&[usize], &[&'static str], Place<'_>); 3] = [
        (&[out, a, b], &["out", "a", "b"], &first),
        (&[out, a * b], &["out", "in"], &first),
        (&[a * b, out], &["in", "out"], &last),
    ];
    for (shape, axes, to) in others {
        let mut moved = vec![0.0; g.len()];
        (0..g.len()).for_each(|i| moved[to(i)] = g[i]);
        let step = turned(shape, axes, &moved);
        for (i, x) in middle.iter().enumerate() {
            // The order of sums differs: roundings, which five steps of slope 3.4 make 500 times as large.
            assert!((step[to(i)] - x).abs() < 1e-12, "{shape:?}: {} is not {x}", step[to(i)]);
        }
    }
    // √max(1, out/in): 7 outputs of 6 inputs, against 6 of 7.
    let swapped = turned(&[7, 6], &["in", "out"], &g);
    let ratio = turned(&[7, 6], &["out", "in"], &g)[0] / swapped[0];
    assert!((ratio - (7.0f64 / 6.0).sqrt()).abs() < 1e-12, "{ratio}");
}

/// In bfloat16 too, whatever the order of the axes: to its three digits, and in the same bits where the order of sums is the same.
#[test]
fn muon_in_bfloat16_goes_by_the_names_of_axes() {
    let short = "muon(lr=1, weight_decay=0, bf16=true)";
    let (a, out, b) = (3, 35, 2);
    let g = plain(1, a * out * b);
    let place = |i: usize| (i / (out * b), i / b % out, i % b);
    let exact = turned(&[a, out, b], &["a", "out", "b"], &g);
    let middle = turned_by(short, &[a, out, b], &["a", "out", "b"], &g);
    let size = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let off = size(&mut middle.iter().zip(&exact).map(|(x, y)| x - y)) / size(&mut exact.iter().copied());
    assert!((1e-4..0.03).contains(&off), "{off}");
    let mut moved = vec![0.0; g.len()];
    let first = |i: usize| {
        let (x, o, y) = place(i);
        (o * a + x) * b + y
    };
    (0..g.len()).for_each(|i| moved[first(i)] = g[i]);
    let step = turned_by(short, &[out, a * b], &["out", "in"], &moved);
    assert!((0..g.len()).all(|i| step[first(i)] == middle[i]));
    // A tall matrix is worked on as its transpose.
    let (tall, wide) = (
        (0..g.len()).map(|i| i % 6 * out + i / 6),
        turned_by(short, &[6, out], &["in", "out"], &{
            let mut turned = vec![0.0; g.len()];
            (0..g.len()).for_each(|i| turned[i % 6 * out + i / 6] = moved[i]);
            turned
        }),
    );
    assert!(tall.enumerate().all(|(i, at)| step[i] == wide[at]));
}

/// Singular values end between 0.65 and 1.25, so their mean square does: ‖X‖² over the shorter side.
#[test]
fn muon_turns_every_direction_alike() {
    for (rows, cols) in [(8, 8), (6, 20), (20, 6), (1, 9), (40, 41)] {
        for bf16 in [false, true] {
            let muon = format!("muon(lr=1, weight_decay=0, consistent_rms=0, bf16={bf16})");
            let x = turned_by(&muon, &[rows, cols], &["out", "in"], &plain(3, rows * cols));
            let scale = (rows as f64 / cols as f64).max(1.0);
            let mean = x.iter().map(|x| x * x).sum::<f64>() / scale / rows.min(cols) as f64;
            assert!((0.65 * 0.65..1.25 * 1.25).contains(&mean), "{rows}×{cols}: {mean}");
        }
    }
}
