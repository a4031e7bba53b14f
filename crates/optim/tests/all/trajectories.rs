//! 50 recorded steps of PyTorch for each setting, in f64.
//!
//! PyTorch's sparse gradients are not among them: it then updates the coordinates that a batch touches and leaves the others'
//! memory, where a zero in a dense gradient, here as there, decays it. Centred RMSProp differs in one corner only: where
//! rounding brings v − ḡ² below 0, PyTorch gives NaN and we take 0 (`closed_form::a_constant_gradient_keeps_centred_rmsprop_finite`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::common::{Run, layout, setup};
use crate::reference::{F64, RULES, Reference};

#[derive(Deserialize)]
struct File {
    gradients: BTreeMap<String, Vec<Vec<f64>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
pub struct Case {
    pub expression: String,
    pub gradients: String,
    pub theta0: Vec<f64>,
    pub steps: Vec<usize>,
    pub theta: Vec<Vec<f64>>,
}

impl Case {
    /// How far each coordinate has been from its start, up to each listed step.
    pub fn movement(&self) -> Vec<Vec<f64>> {
        let mut far = vec![0.0f64; self.theta0.len()];
        let mut rows = Vec::new();
        for theta in &self.theta {
            for (far, (a, b)) in far.iter_mut().zip(theta.iter().zip(&self.theta0)) {
                *far = far.max((a - b).abs());
            }
            rows.push(far.clone());
        }
        rows
    }
}

#[test]
fn every_recorded_run_of_pytorch() {
    let file: File = serde_json::from_str(include_str!("../data/pytorch.json")).unwrap();
    let mut settings: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    // Largest shares of the tolerance that were used, and of the movement that the tolerance is.
    let (mut used, mut blind) = (0.0f64, 0.0f64);
    for case in &file.cases {
        let name = case.expression.split('(').next().unwrap();
        settings.entry(name.into()).or_default().insert(&case.expression);
        assert!(case.steps.contains(&50));
        let gradients = &file.gradients[&case.gradients];
        // Three tensors with padding between them.
        let layout = layout(&[4, -2, 1]);
        let mut run = Run::<f64>::new(&case.expression, &layout, &setup(), &case.theta0);
        let mut reference = Reference::new(&case.expression, &case.theta0, F64);
        let movement = case.movement();
        for t in 1..=50 {
            run.step(&gradients[t - 1]);
            reference.step(&gradients[t - 1]);
            let Some(row) = case.steps.iter().position(|&s| s == t) else { continue };
            for (i, &ours) in run.values().iter().enumerate() {
                let place = format!("{} on {}, step {t}, coordinate {i}", case.expression, case.gradients);
                let (recorded, moved) = (case.theta[row][i], movement[row][i]);
                if moved == 0.0 {
                    assert_eq!(ours, recorded, "{place}: has not moved");
                    continue;
                }
                let (value, bound) = reference.theta(i);
                assert!(bound < 1e-6 * moved, "{place}: a bound of {bound:e} hides a movement of {moved:e}");
                let apart = (ours - recorded).abs();
                assert!(apart <= bound, "{place}: {ours} is not PyTorch's {recorded} ± {bound:e}");
                let apart_too = (value - recorded).abs();
                assert!(apart_too <= bound, "{place}: the reference is off by {apart_too:e} > {bound:e}");
                used = used.max(apart / bound);
                blind = blind.max(bound / moved);
            }
        }
    }
    for rule in RULES {
        assert!(settings[rule].len() >= 3, "{rule} has fewer than three recorded settings");
    }
    println!("used {used:.3} of the tolerance; the tolerance is at most {blind:.1e} of the movement");
}
