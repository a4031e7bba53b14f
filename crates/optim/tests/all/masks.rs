//! Masks over slices of one's own: the bits of a flat buffer with the same mask, exact zeros in every format, and what is refused.

use thalweg_core::{Float, Kind, Params, Penalty, Total};
use thalweg_optim::format::{from_bf16, to_bf16};
use thalweg_optim::rules::{ALL, Kind as RuleKind};
use thalweg_optim::{Gradient, Stepper, StepperError, TensorMut, View};

use crate::common::{Run, both, kinds, layout, numbers, setup, write};

/// Two of three stay.
fn kept(i: usize) -> bool {
    !i.is_multiple_of(3)
}

fn mask<F: Float>(from: usize, n: usize) -> Vec<F> {
    (from..from + n).map(|i| F::from_f64(f64::from(u8::from(kept(i))))).collect()
}

/// Expressions in which memory could bring a masked coordinate back.
fn expressions() -> Vec<String> {
    let mut all = kinds();
    all.extend(ALL.iter().filter(|e| e.kind == RuleKind::Tensor).map(|e| e.name.into()));
    let around = [
        "momentum(lr=0.1) | ema(0.5)",
        "adam(lr=0.1) | lookahead(2)",
        "clip(0.5) | adam(lr=0.1) | lookahead(2) | ema(0.9)",
        "adam(lr=0.1) | swa(start=2, every=1)",
        "accumulate(2) | nesterov(lr=0.1)",
        "noise(1) | yogi(lr=0.1) | ema(0.5)",
        "l1(0.1, by=coupled) | adam(lr=0.1)",
        "rollback(2) | adam(lr=0.1)",
        "prodigy",
        "polyak",
    ];
    all.extend(around.map(String::from));
    all
}

both! {
    /// One tensor masked, one free, one masked by its name later: θ and the weights to evaluate have the flat run's bits.
    fn a_mask_gives_the_bits_of_a_flat_buffer<F>() {
        let sizes = [7usize, 3, 12];
        let n: usize = sizes.iter().sum();
        for text in expressions() {
            let layout = layout(&sizes.map(|s| s as isize));
            let mut flat = Run::<F>::new(&text, &layout, &setup(), &numbers(1, n));
            let mut builder = Stepper::<F>::builder(&text).setup(setup());
            for (i, &size) in sizes.iter().enumerate() {
                builder = builder.tensor(&format!("t{i}"), &[size], &["out"], Kind::Weight);
            }
            let mut ours = builder.build().unwrap();
            let mut theta: Vec<Vec<F>> = Vec::new();
            let mut rest = &numbers(1, n)[..];
            for size in sizes {
                theta.push(rest[..size].iter().map(|&x| F::from_f64(x)).collect());
                rest = &rest[size..];
            }
            for t in 0..9u64 {
                if t == 3 || t == 6 {
                    // The masks of tensors 0 and, three steps later, 2.
                    let last = if t == 3 { 1 } else { 3 };
                    let mut all = Params::zeros(&layout);
                    let keep = |i: usize| (7..10).contains(&i) || i >= 10 && last == 1 || kept(i);
                    let kept_at: Vec<f64> = (0..n).map(|i| f64::from(u8::from(keep(i)))).collect();
                    write(&layout, all.flat_mut(), &kept_at);
                    flat.optimizer.set_mask(Some(&all)).unwrap();
                    if t == 3 {
                        ours.set_mask("t0", Some(&mask::<F>(0, 7))).unwrap();
                    } else {
                        ours.set_mask("t2", Some(&mask::<F>(10, 12))).unwrap();
                    }
                }
                let g = numbers(t + 2, n);
                let theirs = flat.step(&g);
                let mut from = 0;
                let mut grads: Vec<Vec<F>> = Vec::new();
                for size in sizes {
                    grads.push(g[from..from + size].iter().map(|&x| F::from_f64(x)).collect());
                    from += size;
                }
                let before = grads.clone();
                let tensors = theta.iter_mut().zip(&mut grads).enumerate().map(|(i, (theta, grad))| TensorMut {
                    theta: View::Own(theta),
                    grad: if i == 1 { Gradient::Clear(grad) } else { Gradient::Keep(grad) },
                });
                let report = ours.step_tensors(tensors, Total { loss: 0.5, weight: 1.0 }).unwrap();
                assert_eq!(format!("{report:?}"), format!("{theirs:?}"), "{text}");
                assert!(before[0] == grads[0] && before[2] == grads[2], "{text}: gradients that stay are left");
                let bits: Vec<u64> = theta.iter().flatten().map(|x| x.bits()).collect();
                assert_eq!(bits, flat.theta.values().map(Float::bits).collect::<Vec<_>>(), "{text}, step {t}");
                let views: Vec<&[F]> = theta.iter().map(|t| &t[..]).collect();
                let evaluated = ours.evaluation_weights(&views).unwrap();
                let evaluated: Option<Vec<f64>> =
                    evaluated.map(|all| all.iter().flat_map(|t| t.iter().map(|x| x.to_f64())).collect());
                assert_eq!(evaluated, flat.evaluated(), "{text}, step {t}");
                let held = (0..n).filter(|&i| t >= 3 && i < 7 && !kept(i) || t >= 6 && i >= 10 && !kept(i));
                let weights = evaluated.unwrap_or_else(|| flat.values());
                for i in held {
                    assert_eq!((flat.values()[i], weights[i]), (0.0, 0.0), "{text}, step {t}: {i}");
                }
            }
        }
    }
}

/// A tensor that is large enough to be compressed.
const LARGE: usize = 4096 + 300;

/// Memory in every format, parameters in f32, bf16 and bf16 with a master copy: masked coordinates are zeros, bit for bit, in θ, in the
/// master and in the averages; the others have the bits of a run whose masked gradients are zeros.
#[test]
fn zeros_are_exact_in_every_format() {
    for rule in ["momentum(lr=0.1", "adam(lr=0.1", "yogi(lr=0.1"] {
        for memory in ["full", "bf16", "block8"] {
            for parameters in ["f32", "bf16", "master"] {
                for behind in ["", " | ema(0.5)"] {
                    let text = format!("{rule}, memory={memory}){behind}");
                    let free = go(&text, parameters, false);
                    let held = go(&text, parameters, true);
                    for (i, held) in held.iter().enumerate() {
                        match (kept(i % LARGE), free.get(i)) {
                            (false, _) => assert_eq!(*held, 0, "{text} in {parameters}: {i}"),
                            (true, Some(free)) => assert_eq!(held, free, "{text} in {parameters}: {i}"),
                            (true, None) => assert!(text.starts_with("yogi")),
                        }
                    }
                }
            }
        }
    }
    // Averages and slow weights that were there before the mask.
    let mut lookahead = Stepper::<f32>::new("adam(lr=0.1) | lookahead(2) | ema(0.5)").unwrap();
    let mut theta: Vec<f32> = numbers(1, 9).iter().map(|&x| x as f32).collect();
    for t in 0..8 {
        if t == 3 {
            lookahead.set_mask("theta", Some(&mask::<f32>(0, 9))).unwrap();
        }
        let grad: Vec<f32> = numbers(t + 2, 9).iter().map(|&x| x as f32).collect();
        lookahead.step(&mut theta, &grad).unwrap();
        if t >= 3 {
            let weights = lookahead.evaluation_weights(&[&theta]).unwrap().unwrap()[0].to_vec();
            assert!(
                (0..9).filter(|&i| !kept(i)).all(|i| theta[i].to_bits() == 0 && weights[i].to_bits() == 0)
            );
            assert!((0..9).filter(|&i| kept(i)).all(|i| theta[i] != 0.0));
        }
    }
}

/// Bits of θ, its master copy and the averages after a few steps: of a run with a mask, or of one whose masked θ and gradients
/// are zeros.
fn go(text: &str, parameters: &str, masked: bool) -> Vec<u64> {
    let builder = Stepper::<f32>::builder(text);
    let axes: (&[usize], &[&'static str]) = (&[LARGE], &["out"]);
    let builder = match parameters {
        "master" => builder.tensor_with_master("w", axes.0, axes.1, Kind::Weight),
        _ => builder.tensor("w", axes.0, axes.1, Kind::Weight),
    };
    let mut stepper = builder.build().unwrap();
    let still = |i: usize, x: f64| if masked || kept(i) { x as f32 } else { 0.0 };
    let start: Vec<f32> = numbers(1, LARGE).iter().enumerate().map(|(i, &x)| still(i, x)).collect();
    if masked {
        stepper.set_mask("w", Some(&mask::<f32>(0, LARGE))).unwrap();
    }
    let (mut own, mut short) = (start.clone(), start.iter().map(|&x| to_bf16(x)).collect::<Vec<u16>>());
    for t in 0..4 {
        let grad: Vec<f32> = numbers(t + 2, LARGE).iter().enumerate().map(|(i, &x)| still(i, x)).collect();
        let theta = if parameters == "f32" { View::Own(&mut own[..]) } else { View::Bf16(&mut short[..]) };
        let tensor = TensorMut { theta, grad: Gradient::Keep(&grad) };
        stepper.step_tensors([tensor], Total { loss: 0.0, weight: 1.0 }).unwrap();
        if !masked && text.starts_with("yogi") {
            // Yogi moves without a gradient: what a mask does after each step.
            (0..LARGE).filter(|&i| !kept(i)).for_each(|i| (own[i], short[i]) = (0.0, 0));
        }
    }
    let theta: Vec<f32> = match parameters {
        "f32" => own,
        _ => short.iter().map(|&x| from_bf16(x)).collect(),
    };
    let mut bits: Vec<u64> = theta.iter().map(|x| u64::from(x.to_bits())).collect();
    let weights = stepper.evaluation_weights(&[&theta]).unwrap();
    assert_eq!(weights.is_some(), text.contains("ema"));
    // Averages of what Yogi moved without a mask are not zeros.
    for weights in weights.into_iter().filter(|_| masked || !text.starts_with("yogi")) {
        bits.extend(weights[0].iter().map(|x| u64::from(x.to_bits())));
    }
    bits
}

#[test]
fn a_mask_is_refused_in_words() {
    let two = || {
        let builder = Stepper::<f64>::builder("adam").penalty(Penalty::default());
        builder
            .tensor("a", &[2], &["out"], Kind::Weight)
            .tensor("b", &[3], &["out"], Kind::Bias)
            .build()
            .unwrap()
    };
    let refused = |result: Result<(), StepperError>| result.unwrap_err().to_string();
    assert_eq!(
        refused(two().set_mask("c", Some(&[1.0]))),
        "there is no tensor \"c\" to mask; there are \"a\", \"b\""
    );
    assert_eq!(
        refused(two().set_mask("b", Some(&[1.0]))),
        "the mask of \"b\" has 1 numbers where the tensor has 3"
    );
    let mut one = Stepper::<f64>::new("adam").unwrap();
    assert_eq!(refused(one.set_mask("w", None)), "there is no tensor \"w\" to mask; there are \"theta\"");
    one.set_mask("theta", None).unwrap();
    one.set_mask("theta", Some(&[0.0, 1.0])).unwrap();
    assert!(one.step(&mut [1.0; 3], &[1.0; 3]).is_err(), "the mask told the length");
    let mut theta = [1.0, 1.0];
    one.step(&mut theta, &[1.0, 1.0]).unwrap();
    assert!(theta[0] == 0.0 && theta[1] < 1.0);
    one.set_mask("theta", None).unwrap();
    one.step(&mut theta, &[1.0, 1.0]).unwrap();
    assert!(theta[0] < 0.0, "a freed coordinate moves again");
}
