//! Optimizers side by side on a function of the plane: where each one goes.

use serde::Serialize;
use thalweg_core::{At, Batch, Grads, Objective, Params, Penalty, StepError};
use thalweg_models::functions::{Entry, Function};
use thalweg_optim::{Horizon, Plan, Setup};

use super::search::{ON_FUNCTIONS, Search};
use crate::oracle::BatchOracle;

/// One optimizer's way over the plane.
#[derive(Clone, Debug, Serialize)]
pub struct Path {
    /// The name for people.
    pub label: String,
    /// The expression, rate filled in.
    pub optimizer: String,
    /// The first learning rate.
    pub lr: f64,
    /// The search that chose it, if one did.
    pub search: Option<Search>,
    /// The points, start included.
    #[serde(skip)]
    pub points: Vec<(f64, f64)>,
    /// The value at each point.
    #[serde(skip)]
    pub values: Vec<f64>,
    /// Where it ends.
    pub end: (f64, f64),
    /// The value there.
    pub value: f64,
    /// The distance to the nearest minimum.
    pub distance: f64,
    /// The first step with a value within 1% of the way from the lowest value that any path reached to the start.
    pub steps_to_common: Option<usize>,
    /// Whether it left the finite numbers.
    pub diverged: bool,
}

/// Walks every plan from one start; an open rate gets the best of nine by the last value, where the rule does not find its own.
///
/// # Errors
/// A step that cannot be made: a stage that the rule does not go with.
pub fn compare_on_function(
    entry: &'static Entry,
    start: (f64, f64),
    steps: usize,
    plans: &[Plan],
) -> Result<Vec<Path>, StepError> {
    let paths: Result<Vec<Path>, StepError> =
        plans.iter().map(|plan| member(entry, start, steps, plan)).collect();
    let mut paths = paths?;
    let lowest = paths
        .iter()
        .flat_map(|p| p.values.iter().copied())
        .filter(|v| v.is_finite())
        .fold(f64::MAX, f64::min);
    let first = (entry.value)(start.0, start.1);
    let common = lowest + 0.01 * (first - lowest);
    for path in &mut paths {
        path.steps_to_common = path.values.iter().position(|&v| v <= common);
    }
    Ok(paths)
}

fn member(entry: &'static Entry, start: (f64, f64), steps: usize, plan: &Plan) -> Result<Path, StepError> {
    if !plan.lr_is_open() || plan.finds_rate() {
        return walk(entry, start, steps, plan);
    }
    let with = |lr: f64| {
        let mut plan = plan.clone();
        plan.fill_lr(lr);
        plan
    };
    let ends: Result<Vec<f64>, StepError> = ON_FUNCTIONS
        .into_iter()
        .map(|lr| {
            let path = walk(entry, start, steps, &with(lr))?;
            Ok(if path.diverged { f64::NAN } else { path.value })
        })
        .collect();
    let search = Search::new(&ON_FUNCTIONS, ends?);
    let path = walk(entry, start, steps, &with(search.rate()))?;
    Ok(Path { lr: search.rate(), search: Some(search), ..path })
}

fn walk(entry: &'static Entry, start: (f64, f64), steps: usize, plan: &Plan) -> Result<Path, StepError> {
    let function = Function::new(entry);
    let layout = Objective::<f64>::layout(&function);
    let horizon = Horizon { steps: steps as u64, per_epoch: 1 };
    let setup = Setup { horizon, ..Setup::default() };
    let mut optimizer = plan.build::<f64>(layout, &setup).expect("one tensor is in one group");
    let mut theta: Params<f64> = function.at(start.0, start.1);
    let mut grads = Grads::zeros(layout);
    let (mut points, mut values) = (vec![start], vec![(entry.value)(start.0, start.1)]);
    let (mut diverged, mut lr) = (false, f64::NAN);
    for t in 1..=steps {
        function.gradient(&theta, &Batch::NONE, &mut grads);
        let mut oracle = BatchOracle { objective: &function, train: Batch::NONE, batch: Batch::NONE };
        let at = At { step: t as u64, penalty: Penalty::default() };
        let report = optimizer.step(at, &mut theta, &mut grads, &mut oracle)?;
        if t == 1 {
            lr = report.lr;
        }
        let evaluated = optimizer.evaluation_weights(&theta).unwrap_or(theta.flat());
        let (x, y) = (evaluated[0], evaluated[1]);
        let value = (entry.value)(x, y);
        if report.non_finite.is_some() || !value.is_finite() {
            diverged = true;
            break;
        }
        points.push((x, y));
        values.push(value);
    }
    let end = *points.last().expect("the start is there");
    let distance = |&(x, y): &(f64, f64)| ((x - end.0) * (x - end.0) + (y - end.1) * (y - end.1)).sqrt();
    Ok(Path {
        label: plan.short_name().into(),
        optimizer: optimizer.expression(),
        lr,
        search: None,
        value: *values.last().expect("the start is there"),
        distance: entry.minima.iter().map(distance).fold(f64::INFINITY, f64::min),
        end,
        points,
        values,
        steps_to_common: None,
        diverged,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static Entry {
        thalweg_models::functions::ALL.iter().find(|f| f.name == name).unwrap()
    }

    #[test]
    fn gd_on_a_quadratic_is_the_closed_form_and_a_large_rate_diverges() {
        let plans = ["gd(lr=0.02)", "gd(lr=0.1)"].map(|p| Plan::parse(p).unwrap());
        let paths = compare_on_function(named("quadratic"), (-4.0, 1.0), 400, &plans).unwrap();
        let closed = -4.0 * libm::pow(1.0 - 0.02, 400.0);
        assert!((paths[0].end.0 - closed).abs() < 1e-12);
        // 1 − 0.1·25 = −1.5: the y coordinate grows by half at each step and overflows within 1,800 steps.
        assert!(!paths[1].diverged && paths[1].value > 1e60);
        let long = compare_on_function(named("quadratic"), (-4.0, 1.0), 4000, &plans).unwrap();
        assert!(long[1].diverged && !long[0].diverged);
    }

    /// Those that find their own step go to the bottom of the valley, without a search; what cannot be is an error.
    #[test]
    fn rules_that_evaluate_again_walk_too() {
        let plans = [
            "lbfgs",
            "armijo",
            "sam(rho=1e-3) | adam(lr=0.02)",
            "svrg(lr=1e-3)",
            "saga(lr=1e-3)",
            "sophia(lr=0.01)",
        ];
        let plans = plans.map(|p| Plan::parse(p).unwrap());
        let paths = compare_on_function(named("rosenbrock"), (-1.2, 1.0), 3000, &plans).unwrap();
        for path in &paths {
            assert!(
                !path.diverged && path.value < 0.1 && path.search.is_none(),
                "{} {}",
                path.label,
                path.value
            );
        }
        assert!(paths[0].value < 1e-20 && paths[0].values.iter().position(|&v| v < 1e-12).unwrap() < 60);
        let refused = [Plan::parse("clip(1) | lbfgs").unwrap()];
        assert!(compare_on_function(named("rosenbrock"), (-1.2, 1.0), 5, &refused).is_err());
    }

    #[test]
    fn the_search_finds_a_rate_on_rosenbrock() {
        let plans = ["gd", "adam"].map(|p| Plan::parse(p).unwrap());
        for path in compare_on_function(named("rosenbrock"), (-1.2, 1.0), 2000, &plans).unwrap() {
            let search = path.search.unwrap();
            assert!(!path.diverged && path.value < 0.1, "{} {}", path.label, path.value);
            assert_eq!(search.losses.len(), 9);
            assert_eq!(path.lr, search.rate());
        }
    }
}
