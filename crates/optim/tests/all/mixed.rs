//! Dense tensors and tables under one optimizer: in exact mode the bits of a dense run over all of them, whatever the groups and phases.

use std::sync::Arc;

use thalweg_core::random::{Purpose, Stream};
use thalweg_core::{Float, Kind, Layout, Penalty, Report, StepError, Threads, Total};
use thalweg_optim::rules::Build;
use thalweg_optim::{
    DenseMut, Horizon, Mixed, MixedError, RowError, RowGrad, RowMode, Setup, TableMut, state,
};

use crate::common::{Run, both, kinds, numbers, penalty, setup};

/// Dense tensors, by shape; the second one is a bias.
type Shapes = [&'static [usize]];

const DENSE: &Shapes = &[&[5, 3], &[3], &[4, 2, 3]];
const TABLES: &[(usize, usize)] = &[(13, 3), (40, 2)];

fn kind(i: usize) -> Kind {
    if i == 1 { Kind::Bias } else { Kind::Weight }
}

fn axes(shape: &[usize]) -> &'static [&'static str] {
    &["out", "in", "a"][..shape.len()]
}

fn layout(dense: &Shapes, tables: &[(usize, usize)]) -> Arc<Layout> {
    let mut builder = Layout::builder();
    for (i, shape) in dense.iter().enumerate() {
        builder = builder.tensor(&format!("t{i}"), shape, axes(shape), kind(i));
    }
    for (i, &(rows, width)) in tables.iter().enumerate() {
        builder = builder.tensor(&format!("e{i}"), &[rows, width], &["row", "in"], Kind::Embedding);
    }
    Arc::new(builder.build())
}

/// A mixed run and its parameters.
struct Both<F: Build> {
    optimizer: Mixed<F>,
    dense: Vec<Vec<F>>,
    tables: Vec<Vec<F>>,
    widths: Vec<usize>,
}

impl<F: Build> Both<F> {
    fn new(
        text: &str,
        dense: &Shapes,
        tables: &[(usize, usize)],
        mode: RowMode,
        setup: &Setup,
        penalty: Penalty,
    ) -> Self {
        let mut builder = Mixed::<F>::builder(text).mode(mode).setup(setup.clone()).penalty(penalty);
        for (i, shape) in dense.iter().enumerate() {
            builder = builder.tensor(&format!("t{i}"), shape, axes(shape), kind(i));
        }
        for (i, &(rows, width)) in tables.iter().enumerate() {
            builder = builder.table(&format!("e{i}"), rows, width);
        }
        let optimizer = builder.build().unwrap_or_else(|e| panic!("{text}: {e}"));
        let mut rest = numbers(1, layout(dense, tables).count()).into_iter().map(F::from_f64);
        let mut cut = |n: usize| rest.by_ref().take(n).collect::<Vec<F>>();
        let dense = dense.iter().map(|shape| cut(shape.iter().product())).collect();
        let widths = tables.iter().map(|t| t.1).collect();
        let tables = tables.iter().map(|&(rows, width)| cut(rows * width)).collect();
        Self { optimizer, dense, tables, widths }
    }

    fn step(
        &mut self,
        dense: &[Vec<F>],
        rows: &[(Vec<usize>, Vec<F>)],
        total: Total,
    ) -> Result<Report, RowError> {
        let mut grads = dense.to_vec();
        let tensors = self.dense.iter_mut().zip(&mut grads).map(|(theta, grad)| DenseMut { theta, grad });
        let tables = self
            .tables
            .iter_mut()
            .zip(rows)
            .map(|(theta, (rows, values))| TableMut { theta, grad: RowGrad { rows, values } });
        let report = self.optimizer.step(tensors.collect::<Vec<_>>(), tables.collect::<Vec<_>>(), total)?;
        assert!(grads.iter().flatten().all(|&g| g == F::zero()), "the gradient is consumed");
        Ok(report)
    }

    fn catch_up(&mut self) {
        self.optimizer.catch_up(self.tables.iter_mut().map(|t| &mut t[..])).unwrap();
    }

    fn all(&self) -> Vec<u64> {
        self.dense.iter().chain(&self.tables).flatten().map(|x| x.bits()).collect()
    }

    /// The memory of each number, by name.
    fn memory(&mut self) -> Vec<(String, Vec<u8>)> {
        let mut all = vec![];
        self.optimizer.visit_state(&mut |name, memory| all.push((name.to_string(), memory.to_bytes())));
        all.retain(|(name, _)| name.contains('/'));
        all.sort();
        all
    }
}

/// Rows of each table for a step: some twice, now and then none; and their gradients.
fn drawn<F: Float>(stream: &mut Stream, seed: u64, tables: &[(usize, usize)]) -> Vec<(Vec<usize>, Vec<F>)> {
    let one = |(nth, &(rows, width)): (usize, &(usize, usize))| {
        let count = [0, 1, 2, 3, 5, 9][stream.below(6) as usize];
        let listed: Vec<usize> = (0..count).map(|_| stream.below(rows as u32 - 1) as usize).collect();
        let values = numbers(1000 * seed + nth as u64, count * width).into_iter().map(F::from_f64).collect();
        (listed, values)
    };
    tables.iter().enumerate().map(one).collect()
}

/// Exact rows beside the dense run: every report, the dense tensors and what is read on the way, everything at the end; saved and taken up
/// again in between.
fn side_by_side<F: Build>(text: &str, dense: &Shapes, tables: &[(usize, usize)], steps: u64) {
    let layout = layout(dense, tables);
    let setup = Setup { horizon: Horizon { steps, per_epoch: 5 }, ..setup() };
    // Of groups and phases, what all of their rules can take.
    let penalty = if text.contains('{') || text.contains("then") {
        Penalty { l1: 0.0, l2: 0.1 }
    } else {
        penalty(text)
    };
    let mut run = Run::<F>::new(text, &layout, &setup, &numbers(1, layout.count()));
    run.penalty = penalty;
    let new = || Both::<F>::new(text, dense, tables, RowMode::Exact, &setup, penalty);
    let mut ours = new();
    let mut stream = Stream::new(3, Purpose::Data, 7);
    let (tensors, border) = (layout.tensors(), dense.len());
    for t in 1..=steps {
        let mut given: Vec<Vec<F>> = (0..border)
            .map(|i| numbers(100 * t + i as u64, tensors[i].len()).into_iter().map(F::from_f64).collect())
            .collect();
        let mut rows = drawn::<F>(&mut stream, t, tables);
        if t == 4 {
            given[border - 1][2] = F::NAN;
        } else if t == 6 && !rows[1].1.is_empty() {
            rows[1].1[0] = F::INFINITY;
        }
        let flat = run.grads.flat_mut();
        given.iter().zip(tensors).for_each(|(grad, tensor)| flat[tensor.range()].copy_from_slice(grad));
        for ((listed, values), tensor) in rows.iter().zip(&tensors[border..]) {
            let (width, to) = (tensor.shape[1], &mut flat[tensor.range()]);
            for (nth, row) in listed.iter().enumerate() {
                let first = !listed[..nth].contains(row);
                for (o, &v) in to[row * width..][..width].iter_mut().zip(&values[nth * width..]) {
                    *o = if first { v } else { *o + v };
                }
            }
        }
        let total = Total { loss: 0.5, weight: 2.0 };
        run.grads.total = total;
        let (a, b) = (run.go(), ours.step(&given, &rows, total).unwrap());
        assert_eq!(format!("{a:?}"), format!("{b:?}"), "{text}, step {t}");
        for (theta, tensor) in ours.dense.iter().zip(tensors) {
            assert_eq!(*theta, run.theta.flat()[tensor.range()], "{text}: {} after step {t}", tensor.name);
        }
        for (nth, (listed, _)) in rows.iter().enumerate() {
            let (width, tensor) = (ours.widths[nth], &tensors[border + nth]);
            ours.optimizer.read(nth, &mut ours.tables[nth], listed).unwrap();
            for row in listed {
                let range = row * width..(row + 1) * width;
                let dense = &run.theta.flat()[tensor.range()][range.clone()];
                assert_eq!(ours.tables[nth][range], *dense, "{text}: row {row} of {nth} after step {t}");
            }
        }
        if t == steps / 2 || t == steps - 2 {
            let saved = state::save(&mut ours.optimizer, t).unwrap();
            let mut other = new();
            let mut spoilt = numbers(7, other.tables[0].len());
            spoilt.truncate(other.widths[0]);
            let spoilt: Vec<F> = spoilt.into_iter().map(F::from_f64).collect();
            let mut rows: Vec<(Vec<usize>, Vec<F>)> = other.widths.iter().map(|_| (vec![], vec![])).collect();
            rows[0] = (vec![0], spoilt);
            other
                .step(&given.iter().map(|g| vec![F::one(); g.len()]).collect::<Vec<_>>(), &rows, total)
                .unwrap();
            state::load(&mut other.optimizer, &saved).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(state::save(&mut other.optimizer, t).unwrap() == saved, "{text}");
            (other.dense, other.tables) = (ours.dense, ours.tables);
            ours = other;
        }
    }
    ours.catch_up();
    let wanted: Vec<u64> = run.theta.values().map(Float::bits).collect();
    assert_eq!(ours.all(), wanted, "{text}");
    let mut memory = run.memory();
    memory.retain(|(name, _)| name.contains('/'));
    memory.sort();
    assert!(ours.memory() == memory, "{text}: memory");
    let (theta, tables): (Vec<&[F]>, Vec<&[F]>) =
        (ours.dense.iter().map(|t| &t[..]).collect(), ours.tables.iter().map(|t| &t[..]).collect());
    let evaluated = ours.optimizer.evaluation_weights(&theta, &tables).unwrap();
    let evaluated: Option<Vec<f64>> =
        evaluated.map(|(dense, tables)| dense.iter().chain(&tables).flatten().map(|x| x.to_f64()).collect());
    assert_eq!(evaluated, run.evaluated(), "{text}");
    assert_eq!((ours.optimizer.expression(), ours.optimizer.steps()), (run.optimizer.expression(), steps));
}

both! {
    fn exact_tables_and_dense_tensors_are_the_dense_run<F>() {
        for rule in kinds() {
            let rule = rule.replace("lr=0.01", "lr=cosine(0.01, warmup=3 steps)");
            side_by_side::<F>(&format!("clip_value(20) | clip(50) | {rule} | ema(0.9)"), DENSE, TABLES, 14);
        }
    }

    fn groups_and_phases_mix_them<F>() {
        for text in [
            "{ embeddings: clip(0.5) | adagrad(lr=0.1); matrices: muon(lr=0.02); rest: adamw(lr=0.01) | ema(0.9) }",
            "{ t0 e0: clip(0.5) | adam(lr=0.01) | ema(0.5); e1: clip(1) | lion(lr=0.01); rest: agc | lamb(lr=0.01) | lookahead(2) }",
            "{ t0 e0: clip(0.5) | adam(lr=0.01); rest: clip_value(2) | clip(3) | sgd(lr=0.1, momentum=0.9) }",
            "clip(1) | adam until 5 steps then { embeddings: sgd(lr=cosine(0.1)); rest: clip(2) | nadam } until 9 steps then clip(3) | rmsprop",
            "{ embeddings: l2(0.1) | adagrad(lr=linear(0.1)); rest: elastic(0, 0.2) | soap(lr=0.01) } until 50% then adam",
        ] {
            side_by_side::<F>(text, DENSE, TABLES, 14);
        }
    }
}

/// Rounding goes by places among all parameters: those of tables are behind the dense tensors.
#[test]
fn compressed_memory_is_that_of_the_dense_run() {
    for text in ["clip(1) | adam(lr=0.01, memory=bf16)", "clip(1) | adam(lr=0.01, memory=block8) | ema(0.9)"]
    {
        side_by_side::<f32>(text, &[&[70, 70], &[3]], &[(40, 256), (20, 512)], 10);
    }
}

#[test]
fn threads_change_no_bit() {
    let _guard = crate::common::one_set();
    let (dense, tables): (&Shapes, _) = (&[&[400, 400], &[7]], [(3000, 100)]);
    let go = |threads: Threads| {
        let setup = Setup { threads, ..setup() };
        let mut ours =
            Both::<f32>::new("clip(0.1) | adam", dense, &tables, RowMode::Exact, &setup, Penalty::default());
        let mut reports = vec![];
        for t in 2..4 {
            let given =
                [numbers(t, 160_000), numbers(t, 7)].map(|g| g.into_iter().map(|x| x as f32).collect());
            let rows: Vec<usize> = (0..3000).filter(|r| r % 2 == 0).collect();
            let values = numbers(t + 9, 150_000).into_iter().map(|x| x as f32).collect();
            reports.push(ours.step(&given, &[(rows, values)], Total { loss: 0.5, weight: 1.0 }).unwrap());
        }
        ours.catch_up();
        (ours.all(), reports)
    };
    let alone = go(Threads::serial());
    assert!(go(Threads::new(2)) == alone && go(Threads::new(3)) == alone);
}

/// Rows that do not occur stay; the norm is one all the same.
#[test]
fn lazy_rows_stay() {
    let mut ours =
        Both::<f64>::new("clip(1) | adam", DENSE, TABLES, RowMode::Lazy, &setup(), Penalty::default());
    let before = ours.tables.clone();
    let given: Vec<Vec<f64>> = ours.dense.iter().map(|t| vec![0.5; t.len()]).collect();
    let rows = [(vec![4], vec![1.0; 3]), (vec![0, 39], vec![2.0; 4])];
    for t in 1..4 {
        let report = ours.step(&given, &rows, Total { loss: 0.5, weight: 1.0 }).unwrap();
        // 42 numbers of ½, three of 1, four of 2.
        assert_eq!((report.grad_norm, report.clipped), (29.5f64.sqrt(), true), "step {t}");
    }
    for (nth, (rows, _)) in rows.iter().enumerate() {
        let width = ours.widths[nth];
        for (row, (now, before)) in ours.tables[nth].chunks(width).zip(before[nth].chunks(width)).enumerate()
        {
            assert_eq!(now == before, !rows.contains(&row), "row {row} of table {nth}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let build = |text: &str| {
        let builder = Mixed::<f32>::builder(text).tensor("w", &[3, 2], &["out", "in"], Kind::Weight);
        builder.table("e", 10, 4).build::<f32>().map(drop).map_err(|e: MixedError| e.to_string())
    };
    let refused = |text: &str, part: &str| {
        let error = build(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    };
    refused("adma", "did you mean \"adam\"?");
    refused("{ embeddings: sgd }", "the tensor \"w\" is in none of the groups");
    refused("lamb", "its rule looks at more than one coordinate");
    refused("adam | lookahead(2)", "of the stages around a rule only clip");
    refused("{ w: accumulate(2) | adam; rest: sgd }", "accumulation goes with dense tensors alone");
    refused("{ w: rollback(2) | adam; rest: sgd }", "policies for gradients");
    refused("sam | adam", "it asks for more than a gradient");
    refused("lbfgs", "it asks for more than a gradient");
    refused("adam(lr=cosine(0.1))", "depends on the length of the run");
    // A later phase is tried as well.
    refused("adam until 3 steps then lamb", "its rule looks at more than one coordinate");
    let twice = Mixed::<f32>::builder("adam").tensor("e", &[1], &["out"], Kind::Weight).table("e", 1, 1);
    assert_eq!(twice.build::<f32>().unwrap_err().to_string(), "two tensors are named \"e\"");
    let huge = Mixed::<f32>::builder("adam").table("e", usize::MAX, 2).build::<f32>().unwrap_err();
    assert!(huge.to_string().contains("more than memory holds"), "{huge}");
    build("{ w: lamb | lookahead(2); rest: clip(1) | sgd }").unwrap();

    let mut ours =
        Both::<f64>::new("clip(1) | adam", DENSE, TABLES, RowMode::Exact, &setup(), Penalty::default());
    let given: Vec<Vec<f64>> = ours.dense.iter().map(|t| vec![0.5; t.len()]).collect();
    let rows = vec![(vec![4], vec![1.0; 3]), (vec![0], vec![2.0; 2])];
    let total = Total { loss: 0.5, weight: 1.0 };
    let before = (ours.all(), state::save(&mut ours.optimizer, 0).unwrap());
    let length = |what, expected, found| RowError::Step(StepError::Length { what, expected, found });
    let mut short = given.clone();
    short[1].pop();
    assert_eq!(ours.step(&short, &rows, total), Err(length("the gradient of a tensor", 3, 2)));
    let mut wrong = rows.clone();
    wrong[1] = (vec![40], vec![1.0; 2]);
    assert_eq!(ours.step(&given, &wrong, total), Err(RowError::NoRow { place: 0, row: 40, rows: 40 }));
    wrong[1] = (vec![4], vec![1.0; 3]);
    assert_eq!(ours.step(&given, &wrong, total), Err(length("the gradient of the rows", 2, 3)));
    for weight in [0.0, f64::NAN] {
        assert_eq!(ours.step(&given, &rows, Total { loss: 0.5, weight }), Err(StepError::NoWeight.into()));
    }
    assert_eq!(
        ours.step(&given[..2], &rows, total),
        Err(StepError::Tensors { expected: 3, found: 2 }.into())
    );
    assert!(ours.optimizer.read(2, &mut [], &[]).is_err() && ours.optimizer.catch_up([]).is_err());
    assert!(ours.optimizer.evaluation_weights(&[], &[]).is_err());
    assert!((ours.all(), state::save(&mut ours.optimizer, 0).unwrap()) == before);
    ours.step(&given, &rows, total).unwrap();
}
