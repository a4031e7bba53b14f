//! What every rule of the registry must do, at settings made from its declarations.

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{At, NoOracle, Penalty, StepError, Threads, Total, isa};
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALL, Build};
use thalweg_optim::schedule::CURVES;
use thalweg_optim::{Horizon, Plan, Setup};

use crate::common::{Run, all_settings, both, kinds, layout, numbers, one_set, penalty, setup, write};
use crate::reference::{F32, F64, Near, RULES, Reference};

/// All of the driver at work around a rule: clipping by value, both penalties, an average.
fn everything<F: Build>(rule: &str, sizes: &[isize], setup: &Setup, theta: &[f64]) -> Run<F> {
    let mut run = Run::new(&format!("clip_value(20) | {rule} | ema(0.9)"), &layout(sizes), setup, theta);
    run.penalty = penalty(rule);
    run
}

/// The bits of parameters and memory of each coordinate.
fn by_coordinate<F: Build>(run: &mut Run<F>) -> Vec<Vec<u64>> {
    let bits = run.bits();
    let n = run.theta.layout().count();
    (0..n).map(|i| bits[i..].iter().step_by(n).copied().collect()).collect()
}

both! {
    fn a_cut_into_tensors_changes_no_bit<F>() {
        let n = 2500;
        let mut stream = Stream::new(1, Purpose::Data, 0);
        for rule in all_settings() {
            let go = |sizes: &[isize]| {
                let mut run = everything::<F>(&rule, sizes, &setup(), &numbers(1, n));
                (2..5).for_each(|seed| {
                    run.step(&numbers(seed, n));
                });
                run.bits()
            };
            let whole = go(&[n as isize]);
            let at = 1 + stream.below(n as u32 - 1) as isize;
            for sizes in [vec![at, n as isize - at], vec![1, 1023, 1024, 3, 449], vec![1, 0, 1476, 1, 1022]] {
                assert_eq!(go(&sizes), whole, "{rule} in {sizes:?}");
            }
        }
    }

    fn threads_change_no_bit<F>() {
        // Above the size that is worth waking threads for; spans that end on, before and after the border of a task.
        let sizes = [65_536, 1, 70_001, 65_535, 17, 65_537];
        let n: isize = sizes.iter().sum();
        let (theta, gradients) = (numbers(1, n as usize), [numbers(2, n as usize), numbers(3, n as usize)]);
        let counts = [1, 2, 3, 16].map(Threads::new);
        for rule in kinds() {
            let all = counts.each_ref().map(|threads| {
                let setup = Setup { threads: threads.clone(), ..setup() };
                let mut run = everything::<F>(&rule, &sizes, &setup, &theta);
                gradients.iter().for_each(|g| {
                    run.step(g);
                });
                run.bits()
            });
            for (bits, threads) in all.iter().zip(&counts) {
                assert!(*bits == all[0], "{rule} on {} threads", threads.count());
            }
        }
    }

    fn instruction_sets_change_no_bit<F>() {
        let _guard = one_set();
        let n = 1100;
        for rule in all_settings() {
            let all: Vec<_> = isa::available().into_iter().map(|set| {
                isa::limit(Some(set));
                let text = format!("clip(300) | {rule} | ema(0.9)");
                let mut run = Run::<F>::new(&text, &layout(&[n as isize]), &setup(), &numbers(1, n));
                run.penalty = penalty(&rule);
                let reports: Vec<u64> = (2..5).map(|seed| run.step(&numbers(seed, n)).grad_norm.to_bits()).collect();
                isa::limit(None);
                (run.bits(), reports)
            }).collect();
            for (set, bits) in isa::available().iter().zip(&all) {
                assert!(*bits == all[0], "{rule} on {}", set.name());
            }
        }
    }

    /// A step may not move anything then, whatever decays or shrinks.
    fn a_rate_of_0_moves_nothing<F>() {
        for rule in all_settings() {
            let mut run = everything::<F>(&rule.replace("lr=0.01", "lr=0"), &[20, -11], &setup(), &numbers(1, 31));
            let before = run.values();
            for seed in 2..6 {
                let report = run.step(&numbers(seed, 31));
                assert_eq!((report.lr, report.non_finite), (0.0, None));
                assert_eq!(run.values(), before, "{rule}");
            }
            assert_eq!(run.evaluated().unwrap(), before, "{rule}");
        }
    }

    fn permuting_elements_permutes_the_result<F>() {
        let n = 1037;
        let mut order: Vec<usize> = (0..n).collect();
        Stream::new(1, Purpose::Data, 0).shuffle(&mut order);
        let permuted = |x: Vec<f64>| -> Vec<f64> { order.iter().map(|&i| x[i]).collect() };
        for rule in all_settings() {
            let mut run = everything::<F>(&rule, &[n as isize], &setup(), &numbers(1, n));
            let mut other = everything::<F>(&rule, &[n as isize], &setup(), &permuted(numbers(1, n)));
            for seed in 2..5 {
                run.step(&numbers(seed, n));
                other.step(&permuted(numbers(seed, n)));
            }
            let (run, other) = (by_coordinate(&mut run), by_coordinate(&mut other));
            for (to, &from) in order.iter().enumerate() {
                assert_eq!(other[to], run[from], "{rule}");
            }
        }
    }

    /// Also before the first step, and where the expression is the one that the optimizer gives.
    fn save_load_continue_is_never_stopped<F>() {
        let n = 41;
        for rule in all_settings() {
            let rule = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps, over=9 steps)");
            let text = format!("clip(100) | clip_value(20) | {rule} | ema(0.9)");
            for stop in [0, 1, 4] {
                let mut run = Run::<F>::new(&text, &layout(&[30, -11]), &setup(), &numbers(1, n));
                let mut saved = None;
                for t in 0..8 {
                    if t == stop {
                        saved = Some((run.theta.clone(), run.memory(), run.optimizer.expression()));
                    }
                    run.step(&numbers(2 + t, n));
                }
                let (theta, memory, expression) = saved.unwrap();
                let mut other = Run::<F>::new(&expression, run.theta.layout(), &setup(), &numbers(99, n));
                other.theta = theta;
                other.t = stop;
                other.restore(&memory);
                for t in stop..8 {
                    other.step(&numbers(2 + t, n));
                }
                assert_eq!(other.bits(), run.bits(), "{rule} stopped after {stop}");
                assert_eq!(other.optimizer.expression(), expression);
            }
        }
    }

    fn memory_has_names_and_the_tensors_lengths<F>() {
        for rule in all_settings() {
            let mut run = everything::<F>(&rule, &[5, -3], &setup(), &numbers(1, 8));
            run.step(&numbers(2, 8));
            let mut names: Vec<String> = run.memory().into_iter().map(|m| m.0).collect();
            run.optimizer.visit_state(&mut |name, memory| match name.split_once('/') {
                Some(("t0", _)) => assert_eq!(memory.len(), 5, "{rule}: {name}"),
                Some(("t1", _)) => assert_eq!(memory.len(), 3, "{rule}: {name}"),
                Some(other) => panic!("{rule}: {other:?} is no tensor"),
                None => assert_eq!(memory.len(), 1, "{rule}: {name}"),
            });
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), all, "{rule}: two memories of one name");
        }
    }

    fn the_gradient_is_consumed<F>() {
        for rule in all_settings() {
            let mut run = everything::<F>(&rule, &[20, -11], &setup(), &numbers(1, 31));
            let mut gradient = numbers(2, 31);
            for bad in [None, Some(f64::MAX), Some(f64::NAN)] {
                gradient[7] = bad.unwrap_or(gradient[7]);
                run.step(&gradient);
                assert!(run.grads.flat().iter().all(|&g| g == F::zero()), "{rule}");
                assert_eq!(run.grads.total, Total::default());
            }
        }
    }

    /// Nothing at all is written then: no parameter, no memory, no average. The first bad place is named.
    fn a_gradient_that_is_not_finite_writes_nothing<F>() {
        let n = 31;
        for rule in all_settings() {
            let mut run = everything::<F>(&rule, &[20, -11], &setup(), &numbers(1, n));
            let places: Vec<usize> = run.theta.layout().tensors().iter().flat_map(|t| t.range()).collect();
            for (steps, bad) in [(0, f64::NAN), (1, f64::INFINITY), (3, f64::NEG_INFINITY)] {
                (0..steps).for_each(|t| {
                    run.step(&numbers(2 + t, n));
                });
                let before = run.bits();
                for first in [0, 19, 20, 30] {
                    let mut gradient = numbers(5, n);
                    gradient[first] = bad;
                    gradient[30] = f64::NAN;
                    let report = run.step(&gradient);
                    assert_eq!(report.non_finite, Some(places[first]), "{rule}");
                    assert!(!report.grad_norm.is_finite());
                    assert_eq!(run.bits(), before, "{rule}");
                }
            }
            // The average starts with the first step that is written.
            assert_eq!(run.step(&numbers(9, n)).non_finite, None);
            assert!(run.evaluated().unwrap().iter().all(|x| x.is_finite()));
        }
    }

    /// An update that overflows, or a square in the memory, leaves its coordinate as it was and is reported; the other
    /// coordinates take their step. Nothing that is not finite is ever stored.
    fn an_overflow_leaves_its_coordinate_and_says_so<F>() {
        let n = 31;
        let huge = if F::BYTES == 4 { 1e38 } else { 1e300 };
        let mut kept = 0;
        for rule in all_settings() {
            let text = format!("{rule} | ema(0.9)");
            let mut run = Run::<F>::new(&text, &layout(&[20, -11]), &setup(), &numbers(1, n));
            run.penalty = penalty(&rule);
            let places: Vec<usize> = run.theta.layout().tensors().iter().flat_map(|t| t.range()).collect();
            run.step(&numbers(2, n));
            for (weight, bad) in [(1.0, vec![4, 19, 25]), (1e-10, vec![25, 30])] {
                let before = by_coordinate(&mut run);
                let mut quiet = Run::<F>::new(&text, run.theta.layout(), &setup(), &numbers(1, n));
                quiet.penalty = run.penalty;
                quiet.theta = run.theta.clone();
                quiet.t = run.t;
                quiet.restore(&run.memory());
                let mut gradient: Vec<f64> = numbers(3, n).iter().map(|g| g * weight).collect();
                let others = quiet.step_of_sum(&gradient, weight).non_finite;
                bad.iter().for_each(|&i| gradient[i] = if i == 19 { -huge } else { huge });
                let report = run.step_of_sum(&gradient, weight);
                let (after, quiet) = (by_coordinate(&mut run), by_coordinate(&mut quiet));
                let same = |a: &[u64], b: &[u64]| a[..a.len() - 1] == b[..b.len() - 1];
                let mut first = None;
                for i in 0..n {
                    if !bad.contains(&i) {
                        assert_eq!(after[i], quiet[i], "{rule}: coordinate {i} took part");
                    } else if same(&after[i], &before[i]) {
                        // Parameters and memory are as before; the average, which is last, has moved towards the parameter.
                        first = first.or(Some(places[i]));
                    }
                }
                // A coordinate that was huge before may overflow without a huge gradient now.
                let first = first.into_iter().chain(others).min();
                assert_eq!(report.non_finite, first, "{rule}");
                kept += usize::from(first.is_some());
                assert!(run.values().iter().all(|x| x.is_finite()), "{rule}");
                for slot in run.names() {
                    assert!(run.slot(&slot).iter().all(|x| x.is_finite()), "{rule}");
                }
            }
        }
        assert!(kept > 50, "{kept} overflows were met");
    }

    fn zeros_stay_zeros_without_a_gradient<F>() {
        for rule in all_settings() {
            let mut run = Run::<F>::new(&rule, &layout(&[20, -11]), &setup(), &[0.0; 31]);
            run.penalty = penalty(&rule);
            let started = run.names().iter().any(|slot| run.slot(slot).iter().any(|&x| x != 0.0));
            let before = run.values();
            for _ in 0..3 {
                assert_eq!(run.step(&[0.0; 31]).non_finite, None);
            }
            // −0 and 0 are the same number. Memory that starts elsewhere (Yogi's) moves weights without a gradient.
            assert!(run.values() == before || (started && rule.starts_with("yogi")), "{rule}");
        }
    }

    fn padding_is_never_read<F>() {
        let n = 31;
        for rule in all_settings() {
            let rule = format!("clip(50) | {rule}");
            let go = |fill: f64| {
                let mut run = everything::<F>(&rule, &[20, -10, 1], &setup(), &numbers(1, n));
                let layout = run.theta.layout().clone();
                let inside = |i: usize| layout.tensors().iter().any(|t| t.range().contains(&i));
                let pad = |x: &mut [F]| {
                    x.iter_mut().enumerate().filter(|(i, _)| !inside(*i)).for_each(|(_, x)| *x = F::from_f64(fill));
                };
                let mut reports = vec![];
                for seed in 2..6 {
                    pad(run.theta.flat_mut());
                    pad(run.grads.flat_mut());
                    reports.push(run.step(&numbers(seed, n)));
                }
                (run.bits(), format!("{reports:?}"))
            };
            assert_eq!(go(f64::NAN), go(0.0), "{rule}");
        }
    }

    /// Gradients are sums; the optimizer divides once. A power of two divides exactly, 7 to rounding.
    fn the_sum_over_weight_7_is_the_mean<F>() {
        let n = 31;
        let unit = if F::BYTES == 4 { F32 } else { F64 };
        let known = |rule: &String| RULES.contains(&rule.split('(').next().unwrap_or(""));
        for rule in all_settings().into_iter().filter(known) {
            for before in ["clip(50)", "clip_value(2) | clip(5)"] {
                let rule = format!("{before} | {rule}");
                let start = || Run::<F>::new(&rule, &layout(&[20, -11]), &setup(), &numbers(1, n));
                let (mut mean, mut eight, mut seven) = (start(), start(), start());
                let mut reference = Reference::new(&rule, &numbers(1, n), unit);
                for seed in 2..6 {
                    let gradient = numbers(seed, n);
                    let times = |w: f64| gradient.iter().map(|g| g * w).collect::<Vec<_>>();
                    let report = mean.step(&gradient);
                    assert_eq!(eight.step_of_sum(&times(8.0), 8.0), report, "{rule}");
                    seven.step_of_sum(&times(7.0), 7.0);
                    // 7g, 1/7 and their product each round once.
                    reference.step_near(&gradient.iter().map(|&g| Near::rounded(g, unit)).collect::<Vec<_>>());
                }
                assert_eq!(eight.bits(), mean.bits(), "{rule}");
                for (i, (a, b)) in seven.values().iter().zip(mean.values()).enumerate() {
                    let bound = reference.theta(i).1;
                    assert!((a - b).abs() <= bound || !bound.is_finite(), "{rule}: {a} is not {b} ± {bound:e}");
                }
            }
        }
    }

    fn a_batch_without_weight_is_refused<F>() {
        for rule in all_settings() {
            let mut run = everything::<F>(&rule, &[20, -11], &setup(), &numbers(1, 31));
            let before = run.bits();
            for weight in [0.0, -1.0, f64::NAN] {
                write(&layout(&[20, -11]), run.grads.flat_mut(), &numbers(2, 31));
                run.grads.total.weight = weight;
                let at = At { step: 1, penalty: run.penalty };
                let error = run.optimizer.step(at, &mut run.theta, &mut run.grads, &mut NoOracle).unwrap_err();
                assert_eq!(error, StepError::NoWeight);
                assert_eq!(run.bits(), before);
            }
        }
    }

    fn buffers_of_another_layout_are_refused<F>() {
        for rule in all_settings() {
            let mut run = everything::<F>(&rule, &[20], &setup(), &numbers(1, 20));
            let other = everything::<F>(&rule, &[40], &setup(), &numbers(1, 40));
            let before = run.bits();
            let at = At { step: 1, penalty: run.penalty };
            run.grads.total.weight = 1.0;
            let (mut theta, mut grads) = (other.theta, other.grads);
            grads.total.weight = 1.0;
            let error = run.optimizer.step(at, &mut theta, &mut run.grads, &mut NoOracle).unwrap_err();
            assert_eq!(error.to_string(), "the parameter buffer has 48 numbers where the parameters have 32");
            let error = run.optimizer.step(at, &mut run.theta, &mut grads, &mut NoOracle).unwrap_err();
            assert_eq!(error.to_string(), "the gradient has 48 numbers where the parameters have 32");
            assert_eq!(run.bits(), before);
        }
    }

    /// Penalties never reach biases; a rule's own decay does unless it is told not to.
    fn biases_are_exempt_when_asked<F>() {
        let n = 10;
        for rule in all_settings() {
            let go = |rule: &str, sizes: &[isize], decay_biases: bool, penalty: Penalty| {
                let setup = Setup { decay_biases, ..setup() };
                let mut run = Run::<F>::new(rule, &layout(sizes), &setup, &numbers(1, n));
                run.penalty = penalty;
                (2..6).for_each(|seed| {
                    run.step(&numbers(seed, n));
                });
                run.bits()
            };
            let Some(decay) = rule.split("weight_decay=").nth(1) else { continue };
            let decay = decay.split([',', ')']).next().unwrap();
            let without = rule.replace(&format!("weight_decay={decay}"), "weight_decay=0");
            let none = Penalty::default();
            let some = penalty(&rule);
            let (weight, bias) = ([n as isize], [-(n as isize)]);
            assert_eq!(go(&rule, &bias, false, some), go(&without, &bias, true, none), "{rule}");
            assert_eq!(go(&rule, &bias, true, some), go(&rule, &weight, true, none), "{rule}");
            assert_eq!(go(&rule, &weight, false, some), go(&rule, &weight, true, some), "{rule}");
            if decay.parse::<f64>().unwrap() > 1e-3 {
                assert_ne!(go(&rule, &bias, true, none), go(&rule, &bias, false, none), "{rule}");
            }
        }
    }

    /// Norms whose squares leave the range of f64 are measured and clipped like any other.
    fn the_norm_has_no_blind_spots<F>() {
        let n = 3000;
        let sizes = [1000, 24, 1976];
        let scales: &[i32] = if F::BYTES == 4 { &[-140, -60, 0, 60, 110] } else { &[-1060, -600, -450, 0, 450, 600, 1000] };
        for &scale in scales {
            let unit = libm::ldexp(1.0, scale);
            let gradient: Vec<f64> = (0..n).map(|i| (i % 5) as f64 * unit).collect();
            let go = |rule: &str| {
                let mut run = Run::<F>::new(rule, &layout(&sizes), &setup(), &vec![0.0; n]);
                let report = run.step(&gradient);
                (run.values(), report)
            };
            // 600·(0 + 1 + 4 + 9 + 16) = 18000
            let norm = 18000f64.sqrt() * unit;
            // A sum of n squares: each term and partial sum rounds once, below n·ε in all.
            let near = |a: f64, b: f64| (a - b).abs() <= n as f64 * F::EPSILON.to_f64() * b + 5e-324;
            let (_, report) = go("sgd(lr=0)");
            assert!(near(report.grad_norm, norm), "{} is not {norm}", report.grad_norm);
            assert_eq!(report.non_finite, None);
            let (theta, report) = go("clip(1) | sgd(lr=1)");
            assert_eq!(report.clipped, scale >= 0);
            let length = theta.iter().map(|x| x * x).sum::<f64>().sqrt();
            if scale >= 0 {
                // 24 bits are left of 3000 rounded coordinates in f32.
                assert!((length - 1.0).abs() < 1e-5, "{scale}: a clipped step is {length} long");
            }
            let (first, _) = go(&format!("clip_value({unit}) | clip(1) | sgd(lr=1)"));
            let (then, _) = go(&format!("clip(1) | clip_value({unit}) | sgd(lr=1)"));
            let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            if scale >= 0 {
                assert!((length(&first) - 1.0).abs() < 1e-5, "values first, then the norm");
                assert_eq!(first[1].to_bits(), first[4].to_bits());
                assert!(then[4] < 3.9 * then[1] && theta[4] == then[4], "the norm first, then values");
            }
        }
    }
}

/// Each value outside a declared range is refused by name and range, wherever the expression takes it.
#[test]
fn every_invalid_value_is_refused_with_its_name_and_range() {
    let mut refused = 0;
    let mut check = |hyper: &thalweg_core::hyper::Hyper, expression: &dyn Fn(String) -> String| {
        for x in hyper.range.outside() {
            let message = hyper.check(x).unwrap_err();
            assert!(
                message.starts_with(hyper.name) && message.contains(&hyper.range.to_string()),
                "{message}"
            );
            // The language has no word for NaN; a number too large to store is infinite.
            if x.is_nan() {
                continue;
            }
            let written = if x.is_infinite() {
                format!("{}1e999", if x < 0.0 { "-" } else { "" })
            } else {
                x.to_string()
            };
            let text = expression(written);
            let error = Plan::parse(&text).unwrap_err().to_string();
            let first = error.lines().next().unwrap();
            assert!(
                first.contains(hyper.name) && first.contains(&hyper.range.to_string()),
                "{text}: {error}"
            );
            assert!(error.lines().nth(2).unwrap().contains('^'), "{error}");
            refused += 1;
        }
    };
    for entry in ALL {
        for hyper in entry.hyper {
            check(hyper, &|x| format!("{}({}={x})", entry.name, hyper.name));
        }
    }
    for stage in STAGES {
        for hyper in stage.hyper {
            let call = |x: String| format!("{}({}={x})", stage.name, hyper.name);
            check(hyper, &|x| {
                if stage.before { format!("{} | sgd", call(x)) } else { format!("sgd | {}", call(x)) }
            });
        }
    }
    let lr = thalweg_core::hyper::Hyper::new("lr", 0.1, thalweg_core::hyper::Range::NON_NEGATIVE, "");
    check(&lr, &|x| format!("adam(lr={x})"));
    for curve in CURVES {
        check(&lr, &|x| format!("adam(lr={}({x}))", curve.name));
        for hyper in curve.hyper {
            check(hyper, &|x| format!("adam(lr={}(0.1, {}={x}))", curve.name, hyper.name));
        }
        for length in curve.lengths {
            for x in ["-1", "-1 steps", "-1%", "1e999", "true", "cosine"] {
                let text = format!("adam(lr={}(0.1, {}={x}))", curve.name, length.name);
                let error = Plan::parse(&text).unwrap_err().to_string();
                assert!(error.starts_with(&format!("{} ", length.name)), "{error}");
            }
        }
    }
    assert!(refused > 80, "{refused}");
}

/// Before the first step there is no average to validate, and a first step that writes nothing does not start it.
#[test]
fn an_average_starts_with_the_first_step_that_is_written() {
    let horizon = Horizon { steps: 10, per_epoch: 1 };
    let mut run = Run::<f64>::new(
        "sgd(lr=1) | ema(0.9)",
        &layout(&[0, 2, -1]),
        &Setup { horizon, ..setup() },
        &[1.0; 3],
    );
    assert!(run.evaluated().is_none());
    run.step(&[f64::NAN, 0.0, 0.0]);
    assert!(run.evaluated().is_none());
    run.step(&[1.0, 0.0, -1.0]);
    assert_eq!(run.evaluated().unwrap()[..2], [0.0, 1.0]);
    run.step(&[1.0, 0.0, -1.0]);
    let average = run.evaluated().unwrap();
    // 0.9·0 + 0.1·(−1), and 0.9·2 + 0.1·3: two roundings.
    assert!((average[0] + 0.1).abs() < 1e-16 && average[1] == 1.0 && (average[2] - 2.1).abs() < 1e-15);
}
