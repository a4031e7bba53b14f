//! [`Mixed`]: one optimizer over dense tensors and over tables whose gradients have few rows.
//!
//! Embeddings and hashed features beside the dense tensors of a network: one expression, one table of groups, one norm to clip by. Dense
//! tensors step as they do in a [`Stepper`](crate::Stepper), tables as in a [`RowOptimizer`]; in [`RowMode::Exact`] the bits are those of a
//! dense run over all of them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use thalweg_core::{At, Kind, Layout, Memory, NoOracle, Penalty, Report, StepError, Total};

use crate::assembled::{Chain, Now};
use crate::chain::clip::Clipped;
use crate::driver::Gradient;
use crate::format::View;
use crate::method::Part;
use crate::plan::{Plan, Setup};
use crate::row_norm::{Sparse, joint_norm};
use crate::rows::{Merged, RowError, RowGrad, RowMode, RowOptimizer};
use crate::rules::Build;
use crate::schedule::Horizon;
use crate::state::Stateful;
use crate::stepper::StepperError;

/// Why a [`Mixed`] cannot be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MixedError {
    /// The expression or the tensors are wrong.
    #[error(transparent)]
    Tensors(#[from] StepperError),
    /// Something does not work row by row.
    #[error(transparent)]
    Rows(#[from] RowError),
}

/// A dense tensor at a step: its parameters, and their gradient, which is zeros afterwards.
#[derive(Debug)]
pub struct DenseMut<'a, F> {
    /// The parameters.
    pub theta: &'a mut [F],
    /// Their gradient.
    pub grad: &'a mut [F],
}

/// A table at a step: its parameters, and the gradient of some of its rows.
#[derive(Debug)]
pub struct TableMut<'a, F> {
    /// All rows, one after the other.
    pub theta: &'a mut [F],
    /// The gradient; that of all other rows is zero.
    pub grad: RowGrad<'a, F>,
}

/// Weights to evaluate: of the dense tensors, and of the tables.
pub type Evaluated<F> = (Vec<Vec<F>>, Vec<Vec<F>>);

/// Collects what a [`Mixed`] is made of.
#[derive(Debug)]
pub struct MixedBuilder {
    expression: String,
    tensors: Vec<(String, Vec<usize>, Vec<&'static str>, Kind)>,
    tables: Vec<(String, usize, usize)>,
    mode: RowMode,
    setup: Setup,
    horizon: Option<Horizon>,
    penalty: Penalty,
}

impl MixedBuilder {
    /// Adds a dense tensor: its name, sizes (outermost first), axes and kind.
    pub fn tensor(mut self, name: &str, shape: &[usize], axes: &[&'static str], kind: Kind) -> Self {
        self.tensors.push((name.into(), shape.into(), axes.into(), kind));
        self
    }

    /// Adds a table of `rows` rows of `width` numbers, an embedding to groups and penalties. Tables stand behind all dense tensors.
    pub fn table(mut self, name: &str, rows: usize, width: usize) -> Self {
        self.tables.push((name.into(), rows, width));
        self
    }

    /// What happens to rows without a gradient; [`RowMode::Lazy`] if nothing is said.
    pub fn mode(mut self, mode: RowMode) -> Self {
        self.mode = mode;
        self
    }

    /// Threads, seed and whether decay reaches biases; its horizon is that of the run. Gradients are always checked.
    pub fn setup(mut self, setup: Setup) -> Self {
        self.horizon = Some(setup.horizon);
        self.setup = setup;
        self
    }

    /// The length of the run, for schedules and phases.
    pub fn horizon(mut self, horizon: Horizon) -> Self {
        self.horizon = Some(horizon);
        self
    }

    /// What the objective adds to the mean loss.
    pub fn penalty(mut self, penalty: Penalty) -> Self {
        self.penalty = penalty;
        self
    }

    /// The optimizer.
    ///
    /// # Errors
    /// A wrong expression, tensors that are in no group or in two, two of one name; a group with a table whose rule looks at more than a
    /// coordinate or whose stages are others than `clip`, `clip_value`, penalties and `ema`; anywhere, rules that look at other points,
    /// `accumulate`, and policies for gradients that are not finite.
    pub fn build<F: Build>(self) -> Result<Mixed<F>, MixedError> {
        let Self { expression, tensors, tables, mode, mut setup, horizon, penalty } = self;
        let plan = Plan::parse(&expression).map_err(StepperError::from)?.filled();
        if horizon.is_none() && plan.needs_horizon() {
            return Err(StepperError::NoHorizon { expression }.into());
        }
        setup.horizon = horizon.unwrap_or(setup.horizon);
        if plan.needs() != thalweg_core::Needs::default() {
            let why = "it asks for more than a gradient";
            return Err(RowError::NotByRow { expression, why }.into());
        }
        let mut names = BTreeSet::new();
        for name in tensors.iter().map(|t| &t.0).chain(tables.iter().map(|t| &t.0)) {
            if !names.insert(name) {
                return Err(StepperError::Twice { name: name.clone() }.into());
            }
        }
        let (mut dense, mut all) = (Layout::builder(), Layout::builder());
        for (name, shape, axes, kind) in &tensors {
            let bytes = shape.iter().try_fold(F::BYTES, |n, &size| n.checked_mul(size));
            if shape.len() != axes.len() || bytes.is_none_or(|n| n > isize::MAX as usize / 2) {
                let (name, shape, axes) = (name.clone(), shape.clone(), axes.clone());
                return Err(StepperError::Shape { name, shape, axes }.into());
            }
            dense = dense.tensor(name, shape, axes, *kind);
            all = all.tensor(name, shape, axes, *kind);
        }
        for (name, rows, width) in &tables {
            let numbers = rows.checked_mul(*width).filter(|n| *n <= isize::MAX as usize / (2 * F::BYTES));
            if numbers.is_none() {
                return Err(RowError::TooMany { rows: *rows, width: *width }.into());
            }
            all = all.tensor(name, &[*rows, *width], &["row", "in"], Kind::Embedding);
        }
        let mut mixed = Mixed {
            expression: plan.to_string(),
            plan,
            setup,
            mode,
            penalty,
            dense: Arc::new(dense.build()),
            all: Arc::new(all.build()),
            sizes: tables.iter().map(|&(_, rows, width)| (rows, width)).collect(),
            phase: 0,
            groups: vec![],
            tables: vec![],
            steps: 0,
        };
        mixed.plan.groups(&mixed.all).map_err(StepperError::from)?;
        // Every phase is tried, so that none is refused on the way.
        for phase in
            (0..).take_while(|&phase| mixed.plan.has_phase(phase)).collect::<Vec<_>>().into_iter().rev()
        {
            mixed.enter(phase)?;
        }
        Ok(mixed)
    }
}

/// A chain, over dense tensors and tables.
struct Group<F: Build> {
    /// The chain of the dense tensors; its tensors are numbers in the layout of these.
    chain: Chain<F>,
    /// The numbers of all its tensors in the whole layout, in order.
    members: Vec<usize>,
}

/// An optimizer over dense tensors and tables.
///
/// ```
/// use thalweg_core::{Kind, Total};
/// use thalweg_optim::{DenseMut, Mixed, RowGrad, TableMut};
/// let mut optimizer = Mixed::<f32>::builder("clip(1) | adagrad(lr=0.1)")
///     .tensor("weight", &[2, 3], &["out", "in"], Kind::Weight)
///     .table("words", 1000, 3)
///     .build()?;
/// let (mut weight, mut grad, mut words) = ([0.5f32; 6], [1.0f32; 6], vec![0.1f32; 3000]);
/// let dense = [DenseMut { theta: &mut weight, grad: &mut grad }];
/// let tables = [TableMut { theta: &mut words, grad: RowGrad { rows: &[7, 912], values: &[1.0; 6] } }];
/// let report = optimizer.step(dense, tables, Total { loss: 1.0, weight: 2.0 })?;
/// // One norm over both: √(6 + 6)/2.
/// assert!(report.clipped && (report.grad_norm - 3f64.sqrt()).abs() < 1e-7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mixed<F: Build> {
    expression: String,
    plan: Plan,
    setup: Setup,
    mode: RowMode,
    penalty: Penalty,
    /// The dense tensors.
    dense: Arc<Layout>,
    /// These and the tables behind them.
    all: Arc<Layout>,
    /// Rows and width of each table.
    sizes: Vec<(usize, usize)>,
    phase: u64,
    groups: Vec<Group<F>>,
    /// By table.
    tables: Vec<RowOptimizer<F>>,
    steps: u64,
}

impl<F: Build> fmt::Debug for Mixed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mixed")
            .field("expression", &self.expression)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl<F: Build> Mixed<F> {
    /// An optimizer of this expression over what is added to it.
    pub fn builder(expression: &str) -> MixedBuilder {
        MixedBuilder {
            expression: expression.into(),
            tensors: vec![],
            tables: vec![],
            mode: RowMode::default(),
            setup: Setup::default(),
            horizon: None,
            penalty: Penalty::default(),
        }
    }

    /// How many dense tensors there are: tables count on from there.
    fn border(&self) -> usize {
        self.dense.tensors().len()
    }

    /// Starts a phase: its chains and tables are new.
    fn enter(&mut self, phase: u64) -> Result<(), RowError> {
        let no = |expression: &str, why| RowError::NotByRow { expression: expression.into(), why };
        let border = self.border();
        let lots = self.plan.lots(phase as usize, &self.all, &self.dense, &self.setup);
        let mut tables: Vec<Option<RowOptimizer<F>>> = self.sizes.iter().map(|_| None).collect();
        let mut groups = Vec::with_capacity(lots.len());
        for lot in lots {
            let wishes = lot.chain.wishes;
            if wishes.scale.is_some() || wishes.skip.is_some() || wishes.rollback.is_some() {
                return Err(no(
                    &lot.text,
                    "policies for gradients that are not finite go with dense tensors alone",
                ));
            }
            if lot.chain.accumulate.is_some() {
                return Err(no(&lot.text, "accumulation goes with dense tensors alone"));
            }
            for &member in lot.members.iter().filter(|&&member| member >= border) {
                let (rows, width) = self.sizes[member - border];
                let setup = Setup { horizon: lot.chain.horizon, ..self.setup.clone() };
                let table = RowOptimizer::with_setup(&lot.text, rows, width, self.mode, &setup)?;
                let place = self.all.tensors()[member].offset as u64;
                tables[member - border] = Some(table.penalty(self.penalty).placed(place));
            }
            let mut chain = lot.chain;
            chain.begin_average(&self.dense);
            groups.push(Group { chain, members: lot.members });
        }
        self.phase = phase;
        self.groups = groups;
        self.tables = tables.into_iter().map(|table| table.expect("a group holds each table")).collect();
        Ok(())
    }

    /// One step of all dense tensors and tables, given in the order in which they were added. The gradients are sums over rows of data that
    /// weigh `total.weight` together.
    ///
    /// # Errors
    /// Another number of tensors or tables, wrong lengths, a row that is not there, no weight: nothing is written then. A gradient that is not
    /// finite is no error: [`Report::non_finite`] says so, counted in a buffer of the dense tensors and the tables behind them in which each
    /// starts at a multiple of 16.
    pub fn step<'a>(
        &mut self,
        dense: impl IntoIterator<Item = DenseMut<'a, F>>,
        tables: impl IntoIterator<Item = TableMut<'a, F>>,
        total: Total,
    ) -> Result<Report, RowError>
    where
        F: 'a,
    {
        let (mut dense, mut tables) =
            (dense.into_iter().collect::<Vec<_>>(), tables.into_iter().collect::<Vec<_>>());
        self.check(&dense, &tables)?;
        if total.weight.is_nan() || total.weight <= 0.0 {
            return Err(StepError::NoWeight.into());
        }
        let at = At { step: self.steps + 1, penalty: self.penalty };
        let non_finite = self.advance(at, &mut tables)?;
        self.steps += 1;
        let lrs: Vec<f64> = self.tables.iter_mut().map(RowOptimizer::begin_call).collect();
        let border = self.border();
        let merged: Vec<Merged<F>> =
            tables.iter().zip(&self.sizes).map(|(t, &(_, width))| Merged::new(&t.grad, width)).collect();
        let sparse: Vec<Sparse<'_, F>> = merged
            .iter()
            .zip(&tables)
            .zip(&self.sizes)
            .map(|((merged, table), &(rows, width))| merged.sparse(&table.grad, rows, width))
            .collect();
        let threads = self.setup.threads.clone();
        let mut report = Report { lr: f64::NAN, non_finite, ..Report::default() };
        report.lr = self.groups.first().map_or(f64::NAN, |group| group.chain.rate(at));
        // All groups are looked at before anything is written.
        let mut found: Vec<(f64, Clipped)> = Vec::with_capacity(self.groups.len());
        let mut bad: Option<usize> = None;
        for group in &self.groups {
            let member = |&member: &usize| match member.checked_sub(border) {
                Some(table) => sparse[table],
                None => Sparse::dense(&*dense[member].grad),
            };
            let gradients: Vec<Sparse<'_, F>> = group.members.iter().map(member).collect();
            let norm = |limit| joint_norm(&gradients, limit, &threads);
            let size = norm(f64::INFINITY);
            if !size.is_finite() {
                let first = |(member, gradient): (&usize, &Sparse<'_, F>)| {
                    gradient.not_finite().map(|place| self.all.tensors()[*member].offset + place)
                };
                bad = bad.or(group.members.iter().zip(&gradients).find_map(first));
            }
            found.push((size, Clipped::of(&group.chain.early, 1.0 / total.weight, norm)));
        }
        if bad.is_some() {
            (report.non_finite, report.grad_norm) = (bad, f64::NAN);
            dense.iter_mut().for_each(|tensor| tensor.grad.fill(F::zero()));
            return Ok(report);
        }
        let mut given: Vec<Option<DenseMut<'_, F>>> = dense.into_iter().map(Some).collect();
        for (nth, (group, (size, clipped))) in self.groups.iter_mut().zip(found).enumerate() {
            report.grad_norm = libm::hypot(report.grad_norm, size / total.weight);
            let tabled = group.members.iter().any(|&member| member >= border);
            let mut bad: Option<usize> = None;
            if !group.chain.tensors.is_empty() {
                let part = |&index: &usize| {
                    let tensor = &self.dense.tensors()[index];
                    let DenseMut { theta, grad } = given[index].take()?;
                    Some(Part {
                        index,
                        tensor,
                        theta: View::Own(theta),
                        master: None,
                        grad: Gradient::Clear(grad),
                        average: None,
                        place: tensor.offset as u64,
                    })
                };
                let parts: Vec<Part<'_, F>> = group.chain.tensors.clone().iter().filter_map(part).collect();
                let now = Now {
                    at,
                    total,
                    scale: 1.0,
                    lr: 1.0,
                    wanted: false,
                    norm: None,
                    clipped: tabled.then_some(clipped),
                };
                let done =
                    group.chain.step(now, parts, &self.dense, &self.setup, &mut NoOracle, &mut report)?;
                bad = done.bad.map(|(index, place)| self.dense.tensors()[index].offset + place);
                report.lr = done.lr.filter(|_| nth == 0).unwrap_or(report.lr);
            } else {
                group.chain.t += 1;
            }
            report.clipped |= tabled && clipped.clipped;
            for table in group.members.iter().filter_map(|member| member.checked_sub(border)) {
                let place = self.all.tensors()[border + table].offset;
                let theta = &mut *tables[table].theta;
                let stuck = self.tables[table].take(theta, sparse[table], lrs[table], clipped)?;
                bad = bad.or(stuck.map(|stuck| place + stuck));
            }
            report.non_finite = report.non_finite.or(bad);
        }
        Ok(report)
    }

    /// Refuses what does not fit.
    fn check(&self, dense: &[DenseMut<'_, F>], tables: &[TableMut<'_, F>]) -> Result<(), RowError> {
        for (expected, found) in [(self.border(), dense.len()), (self.tables.len(), tables.len())] {
            if found != expected {
                return Err(StepError::Tensors { expected, found }.into());
            }
        }
        for (tensor, given) in self.dense.tensors().iter().zip(dense) {
            let expected = tensor.len();
            let lengths = [("a tensor", given.theta.len()), ("the gradient of a tensor", given.grad.len())];
            for (what, found) in lengths {
                if found != expected {
                    return Err(StepError::Length { what, expected, found }.into());
                }
            }
        }
        self.tables.iter().zip(tables).try_for_each(|(table, given)| table.admits(given.theta, &given.grad))
    }

    /// Enters the phase of a step; the rows of all tables catch up with the one that ends.
    fn advance(&mut self, at: At, tables: &mut [TableMut<'_, F>]) -> Result<Option<usize>, RowError> {
        let mut bad = None;
        while self.plan.end_of(self.phase as usize, self.setup.horizon).is_some_and(|end| at.step > end) {
            let border = self.border();
            for (nth, given) in tables.iter_mut().enumerate() {
                let place = self.all.tensors()[border + nth].offset;
                bad = bad.or(self.tables[nth].catch_up(given.theta)?.map(|stuck| place + stuck));
            }
            self.enter(self.phase + 1)?;
        }
        Ok(bad)
    }

    /// Brings these rows of the `table`-th table up to date, before they are read; in lazy mode they always are.
    ///
    /// # Errors
    /// A table that is not there, a wrong length, or a row that is not there.
    pub fn read(&mut self, table: usize, theta: &mut [F], rows: &[usize]) -> Result<Option<usize>, RowError> {
        let expected = self.tables.len();
        match self.tables.get_mut(table) {
            Some(table) => table.read(theta, rows),
            None => Err(StepError::Tensors { expected, found: table + 1 }.into()),
        }
    }

    /// Brings all rows of all tables up to date: to be done before they are read as a whole or saved.
    ///
    /// # Errors
    /// Another number of tables, or wrong lengths.
    pub fn catch_up<'a>(&mut self, tables: impl IntoIterator<Item = &'a mut [F]>) -> Result<(), RowError>
    where
        F: 'a,
    {
        let tables: Vec<&mut [F]> = tables.into_iter().collect();
        let (expected, found) = (self.tables.len(), tables.len());
        if found != expected {
            return Err(StepError::Tensors { expected, found }.into());
        }
        self.tables.iter_mut().zip(tables).try_for_each(|(table, theta)| table.catch_up(theta).map(drop))
    }

    /// The weights to validate and to save, where any of them are not θ itself: those of all dense tensors and of all tables. In exact mode
    /// [`Mixed::catch_up`] comes first.
    ///
    /// # Errors
    /// Another number of tensors or tables, or wrong lengths.
    pub fn evaluation_weights(
        &mut self,
        dense: &[&[F]],
        tables: &[&[F]],
    ) -> Result<Option<Evaluated<F>>, RowError> {
        for (expected, found) in [(self.border(), dense.len()), (self.tables.len(), tables.len())] {
            if found != expected {
                return Err(StepError::Tensors { expected, found }.into());
            }
        }
        let mut weights: Vec<Vec<F>> = dense.iter().map(|theta| theta.to_vec()).collect();
        let mut any = false;
        for Group { chain, .. } in &mut self.groups {
            for nth in 0..chain.tensors.len() {
                let index = chain.tensors[nth];
                let tensor = &self.dense.tensors()[index];
                let (expected, found) = (tensor.len(), dense[index].len());
                if found != expected {
                    return Err(StepError::Length { what: "a tensor", expected, found }.into());
                }
                any |= chain.evaluated(nth, tensor.range(), dense[index], &mut weights[index]);
            }
        }
        let mut rows = Vec::with_capacity(tables.len());
        for (table, theta) in self.tables.iter_mut().zip(tables) {
            let found = table.evaluation_weights(theta)?;
            any |= found.is_some();
            rows.push(found.unwrap_or_else(|| theta.to_vec()));
        }
        Ok(any.then_some((weights, rows)))
    }

    /// How many steps were made, those included that wrote nothing.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The expression, all values filled in.
    pub fn expression(&self) -> String {
        self.expression.clone()
    }

    /// Shows all memory, as [`thalweg_core::Optimizer::visit_state`] does; a table's under its name.
    pub fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        let mut phase = self.phase;
        visit("phase", Memory::Count(&mut phase));
        if phase != self.phase && self.plan.has_phase(phase) {
            // It was built once before.
            let _ = self.enter(phase);
        }
        visit("mixed.steps", Memory::Count(&mut self.steps));
        let border = self.border();
        for Group { chain, .. } in &mut self.groups {
            chain.visit(&self.dense, visit);
        }
        for (tensor, table) in self.all.tensors()[border..].iter().zip(&mut self.tables) {
            let own = &tensor.name;
            table.visit_state(&mut |name, memory| match name.strip_prefix("rows/") {
                Some(slot) => visit(&format!("{own}/{slot}"), memory),
                // No group has a colon in its name.
                None => visit(&format!("table:{own}.{name}"), memory),
            });
        }
    }
}

impl<F: Build> Stateful for Mixed<F> {
    fn expression(&self) -> String {
        Mixed::expression(self)
    }
    fn visit_state(&mut self, visit: &mut dyn FnMut(&str, Memory<'_>)) {
        Mixed::visit_state(self, visit);
    }
}
