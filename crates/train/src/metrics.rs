//! Scores of predictions: what they are, with 95% intervals.
//!
//! All are weighted means over rows, summed in row order in f64. Names and definitions are scikit-learn's.

use serde::{Deserialize, Serialize};
use thalweg_core::suggest::nearest;

/// The 97.5% point of the normal distribution.
const Z: f64 = 1.959963984540054;

/// What a score measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of rows whose class is predicted.
    Accuracy,
    /// Mean over classes of the share of their rows that is predicted.
    BalancedAccuracy,
    /// 2·precision·recall/(precision + recall) of the second of two classes; the plain mean over classes if there are more.
    F1,
    /// Area under the ROC curve of the second of two classes.
    RocAuc,
    /// −mean ln p(true class), p cut to [2⁻⁵², 1 − 2⁻⁵²].
    LogLoss,
    /// 1 − Σ(y − ŷ)²/Σ(y − ȳ)².
    R2,
    /// √mean (y − ŷ)².
    Rmse,
    /// mean |y − ŷ|.
    Mae,
    /// −mean log₂ p(next character) of a text.
    BitsPerCharacter,
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 9] = [
        Metric::Accuracy,
        Metric::BalancedAccuracy,
        Metric::F1,
        Metric::RocAuc,
        Metric::LogLoss,
        Metric::R2,
        Metric::Rmse,
        Metric::Mae,
        Metric::BitsPerCharacter,
    ];

    /// The name in flags and documents.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::BalancedAccuracy => "balanced_accuracy",
            Metric::F1 => "f1",
            Metric::RocAuc => "roc_auc",
            Metric::LogLoss => "log_loss",
            Metric::R2 => "r2",
            Metric::Rmse => "rmse",
            Metric::Mae => "mae",
            Metric::BitsPerCharacter => "bits_per_character",
        }
    }

    /// The name as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::BalancedAccuracy => "balanced accuracy",
            Metric::F1 => "F1",
            Metric::RocAuc => "ROC AUC",
            Metric::LogLoss => "log loss",
            Metric::R2 => "R²",
            Metric::Rmse => "RMSE",
            Metric::Mae => "MAE",
            Metric::BitsPerCharacter => "bits per character",
        }
    }

    /// Whether a larger value is better.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Metric::LogLoss | Metric::Rmse | Metric::Mae | Metric::BitsPerCharacter)
    }

    /// Whether it is for classes.
    pub fn is_for_classes(self) -> bool {
        !self.is_for_text() && !matches!(self, Metric::R2 | Metric::Rmse | Metric::Mae)
    }

    /// Whether it is for text; what is neither for text nor for classes is for numbers.
    pub fn is_for_text(self) -> bool {
        self == Metric::BitsPerCharacter
    }

    /// Reads a name.
    ///
    /// # Errors
    /// Says which names there are, or which one is near.
    pub fn parse(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.iter().map(|m| m.name());
        Self::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| {
            let help = match nearest(name, names()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
            };
            format!("there is no metric {name:?}; {help}")
        })
    }
}

/// A score with its 95% interval, where one is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// What it measures.
    pub metric: Metric,
    /// Its value; NaN where it is not defined (R² of rows that are all equal, the area of one class).
    pub value: f64,
    /// Lower and upper end of the 95% interval.
    pub interval: Option<(f64, f64)>,
}

/// The predictions that are scored.
#[derive(Clone, Copy, Debug)]
pub enum Predicted<'a> {
    /// For each row the probability of each class, row-major, and the true class.
    Classes {
        /// How many classes.
        k: usize,
        /// Probabilities `[n, k]`.
        proba: &'a [f64],
        /// The index of the true class.
        truth: &'a [usize],
    },
    /// For each row the predicted and the true number.
    Numbers {
        /// Predictions.
        predicted: &'a [f64],
        /// Truths.
        truth: &'a [f64],
    },
}

/// The class with the largest probability; of equal ones, the first.
pub fn argmax(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

/// Scores predictions. `weight` absent is 1 for every row.
///
/// A metric that is not for this kind of prediction gives NaN.
pub fn score(metric: Metric, predicted: Predicted<'_>, weight: Option<&[f64]>) -> Score {
    let w = |i: usize| weight.map_or(1.0, |w| w[i]);
    let (value, interval) = match predicted {
        Predicted::Classes { k, proba, truth } => {
            let hit = |i: usize| argmax(&proba[i * k..(i + 1) * k]) == truth[i];
            match metric {
                Metric::Accuracy => {
                    let m = Moments::of(truth.len(), w, |i| f64::from(u8::from(hit(i))));
                    (m.mean, Some(wilson(m.mean, m.rows)))
                }
                Metric::LogLoss => {
                    let loss = |i: usize| {
                        -libm::log(proba[i * k + truth[i]].clamp(f64::EPSILON, 1.0 - f64::EPSILON))
                    };
                    let m = Moments::of(truth.len(), w, loss);
                    (m.mean, m.interval())
                }
                Metric::BalancedAccuracy => (balanced(k, truth, hit, w), None),
                Metric::F1 => (f1(k, truth, |i| argmax(&proba[i * k..(i + 1) * k]), w), None),
                Metric::RocAuc if k == 2 => auc(proba, truth, w),
                _ => (f64::NAN, None),
            }
        }
        Predicted::Numbers { predicted, truth } => {
            let n = truth.len();
            let error = |i: usize| truth[i] - predicted[i];
            match metric {
                Metric::Mae => {
                    let m = Moments::of(n, w, |i| error(i).abs());
                    (m.mean, m.interval())
                }
                Metric::Rmse => {
                    let m = Moments::of(n, w, |i| error(i) * error(i));
                    // On the scale of the logarithm, where a mean of squares is less skewed (the delta method).
                    let half = 0.5 * m.half() / m.mean;
                    let rmse = m.mean.sqrt();
                    (rmse, Some((rmse * libm::exp(-half), rmse * libm::exp(half))))
                }
                Metric::R2 => {
                    let centre = Moments::of(n, w, |i| truth[i]).mean;
                    let spread = |i: usize| (truth[i] - centre) * (truth[i] - centre);
                    let total = Moments::of(n, w, spread).mean;
                    let ratio = Moments::of(n, w, |i| error(i) * error(i)).mean / total;
                    // The delta method: a ratio of means varies as the mean of (e² − ratio·spread)/total.
                    let m = Moments::of(n, w, |i| (error(i) * error(i) - ratio * spread(i)) / total);
                    let value = if total > 0.0 { 1.0 - ratio } else { f64::NAN };
                    (value, m.interval().map(|(a, b)| (1.0 - ratio - b, (1.0 - ratio - a).min(1.0))))
                }
                _ => (f64::NAN, None),
            }
        }
    };
    Score {
        metric,
        value,
        interval: interval.filter(|(a, b)| a.is_finite() && b.is_finite() && value.is_finite()),
    }
}

/// The mean of the bits of a text's symbols, from the sums and the numbers of symbols of blocks that follow each other. Neighbours
/// depend on each other, blocks hardly: the interval is that of a mean over blocks, where there are four or more.
pub(crate) fn bits_per_symbol(blocks: &[(f64, f64)]) -> Score {
    let m = Moments::of(blocks.len(), |i| blocks[i].1, |i| blocks[i].0 / blocks[i].1);
    let interval = m.interval().filter(|(a, b)| blocks.len() >= 4 && a.is_finite() && b.is_finite());
    // A text is never worth less than nothing.
    let interval = interval.map(|(a, b)| (a.max(0.0), b));
    Score { metric: Metric::BitsPerCharacter, value: m.mean, interval }
}

/// Weighted mean, its standard error, and how many rows count.
struct Moments {
    mean: f64,
    error: f64,
    rows: f64,
}

impl Moments {
    fn of(n: usize, w: impl Fn(usize) -> f64, f: impl Fn(usize) -> f64) -> Self {
        let (mut sum, mut weight, mut squares) = (0.0, 0.0, 0.0);
        for i in (0..n).filter(|&i| w(i) > 0.0) {
            sum += w(i) * f(i);
            weight += w(i);
            squares += w(i) * w(i);
        }
        let mean = sum / weight;
        let mut variance = 0.0;
        for i in (0..n).filter(|&i| w(i) > 0.0) {
            variance += w(i) * (f(i) - mean) * (f(i) - mean);
        }
        // Kish's effective number of rows.
        let rows = weight * weight / squares;
        Self { mean, error: (variance / weight / (rows - 1.0).max(0.0)).sqrt(), rows }
    }
    /// Half the width of the 95% interval of the mean, by Student's t.
    fn half(&self) -> f64 {
        student(self.rows - 1.0) * self.error
    }
    fn interval(&self) -> Option<(f64, f64)> {
        Some((self.mean - self.half(), self.mean + self.half()))
    }
}

/// The 97.5% point of Student's t with `n` degrees of freedom, to 1% from 3 on: the expansion in 1/n of Abramowitz & Stegun
/// 26.7.5.
fn student(n: f64) -> f64 {
    let z = Z;
    let z2 = z * z;
    let terms = [
        z * (z2 + 1.0) / 4.0,
        z * ((5.0 * z2 + 16.0) * z2 + 3.0) / 96.0,
        z * (((3.0 * z2 + 19.0) * z2 + 17.0) * z2 - 15.0) / 384.0,
        z * ((((79.0 * z2 + 776.0) * z2 + 1482.0) * z2 - 1920.0) * z2 - 945.0) / 92160.0,
    ];
    z + terms.iter().rev().fold(0.0, |sum, term| (sum + term) / n)
}

/// Wilson's interval of a share of `n` rows.
pub(crate) fn wilson(share: f64, n: f64) -> (f64, f64) {
    let z2 = Z * Z / n;
    let centre = (share + z2 / 2.0) / (1.0 + z2);
    let half = Z / (1.0 + z2) * (share * (1.0 - share) / n + z2 / (4.0 * n)).sqrt();
    // A share of 0 or 1 is an end of its own interval, which rounding must not leave out.
    ((centre - half).max(0.0).min(share), (centre + half).min(1.0).max(share))
}

fn balanced(k: usize, truth: &[usize], hit: impl Fn(usize) -> bool, w: impl Fn(usize) -> f64) -> f64 {
    let mut found = vec![(0.0, 0.0); k];
    for (i, &t) in truth.iter().enumerate() {
        found[t].1 += w(i);
        found[t].0 += if hit(i) { w(i) } else { 0.0 };
    }
    let present: Vec<f64> = found.iter().filter(|f| f.1 > 0.0).map(|f| f.0 / f.1).collect();
    present.iter().sum::<f64>() / present.len() as f64
}

fn f1(k: usize, truth: &[usize], predicted: impl Fn(usize) -> usize, w: impl Fn(usize) -> f64) -> f64 {
    // For each class: predicted and true, predicted, true.
    let mut counts = vec![[0.0; 3]; k];
    for (i, &t) in truth.iter().enumerate() {
        let p = predicted(i);
        counts[p][1] += w(i);
        counts[t][2] += w(i);
        if p == t {
            counts[t][0] += w(i);
        }
    }
    let of = |c: &[f64; 3]| if c[1] + c[2] > 0.0 { 2.0 * c[0] / (c[1] + c[2]) } else { 0.0 };
    if k == 2 {
        return of(&counts[1]);
    }
    let seen: Vec<f64> = counts.iter().filter(|c| c[1] + c[2] > 0.0).map(of).collect();
    seen.iter().sum::<f64>() / seen.len() as f64
}

/// The area by ranks, ties counted half, with Newcombe's interval: the areas that are not further from the one that was found than
/// 1.96 of their own standard errors, so that an area of 1 is not certain. As Wilson's does for shares.
///
/// Source: Newcombe 2006, <https://doi.org/10.1002/sim.2324>, method 5; its variance is that of Hanley & McNeil 1982.
fn auc(proba: &[f64], truth: &[usize], w: impl Fn(usize) -> f64) -> (f64, Option<(f64, f64)>) {
    let mut order: Vec<usize> = (0..truth.len()).filter(|&i| w(i) > 0.0).collect();
    order.sort_by(|&a, &b| proba[2 * a + 1].total_cmp(&proba[2 * b + 1]).then(a.cmp(&b)));
    let (mut below, mut wins, mut positive) = (0.0, 0.0, 0.0);
    for tie in order.chunk_by(|&a, &b| proba[2 * a + 1] == proba[2 * b + 1]) {
        let of = |class: usize| tie.iter().filter(|&&i| truth[i] == class).map(|&i| w(i)).sum::<f64>();
        wins += of(1) * (below + 0.5 * of(0));
        below += of(0);
        positive += of(1);
    }
    let found = wins / (below * positive);
    // Kish's effective number of rows of each class.
    let squares =
        |class: usize| order.iter().filter(|&&i| truth[i] == class).map(|&i| w(i) * w(i)).sum::<f64>();
    let (n0, n1) = (below * below / squares(0), positive * positive / squares(1));
    let many = (n0 + n1) / 2.0 - 1.0;
    let error =
        |a: f64| (a * (1.0 - a) * (1.0 + many * ((1.0 - a) / (2.0 - a) + a / (1.0 + a))) / (n0 * n1)).sqrt();
    // |a − found| − z·error(a) changes its sign once on either side: halve 60 times.
    let end = |mut outside: f64| {
        let mut inside = found;
        for _ in 0..60 {
            let a = 0.5 * (inside + outside);
            if (a - found).abs() <= Z * error(a) { inside = a } else { outside = a }
        }
        inside
    };
    (found, Some((end(0.0), end(1.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(proba: &[f64], truth: &[usize], metric: Metric, weight: Option<&[f64]>) -> f64 {
        score(metric, Predicted::Classes { k: 2, proba, truth }, weight).value
    }

    #[test]
    fn classes_by_hand() {
        let proba = [0.9, 0.1, 0.4, 0.6, 0.2, 0.8, 0.7, 0.3];
        let truth = [0, 0, 1, 1];
        assert_eq!(classes(&proba, &truth, Metric::Accuracy, None), 0.5);
        assert_eq!(classes(&proba, &truth, Metric::BalancedAccuracy, None), 0.5);
        assert_eq!(classes(&proba, &truth, Metric::F1, None), 0.5);
        // Pairs (positive, negative): 0.8 beats 0.1 and 0.6, 0.3 beats 0.1: three of four.
        assert_eq!(classes(&proba, &truth, Metric::RocAuc, None), 0.75);
        let by_hand = -[0.9, 0.4, 0.8, 0.3].map(libm::log).iter().sum::<f64>() / 4.0;
        assert!((classes(&proba, &truth, Metric::LogLoss, None) - by_hand).abs() < 1e-15);
        let weight = [1.0, 0.0, 2.0, 1.0];
        assert_eq!(classes(&proba, &truth, Metric::Accuracy, Some(&weight)), 0.75);
        assert!(
            score(Metric::R2, Predicted::Classes { k: 2, proba: &proba, truth: &truth }, None).value.is_nan()
        );
    }

    #[test]
    fn numbers_by_hand() {
        let p = Predicted::Numbers { predicted: &[1.0, 2.0, 4.0], truth: &[1.0, 3.0, 5.0] };
        assert!((score(Metric::R2, p, None).value - 0.75).abs() < 1e-15);
        assert!((score(Metric::Mae, p, None).value - 2.0 / 3.0).abs() < 1e-15);
        assert!((score(Metric::Rmse, p, None).value - (2.0f64 / 3.0).sqrt()).abs() < 1e-15);
        let same = Predicted::Numbers { predicted: &[1.0, 2.0], truth: &[3.0, 3.0] };
        assert!(score(Metric::R2, same, None).value.is_nan());
    }

    /// Student's t at 97.5%: tables.
    #[test]
    fn student_by_table() {
        for (n, t) in [(3.0, 3.1824), (5.0, 2.5706), (10.0, 2.2281), (30.0, 2.0423), (1e6, 1.95997)] {
            assert!((student(n) / t - 1.0).abs() < 0.01, "{n}: {}", student(n));
        }
    }

    /// Wilson's interval of 8 of 10: (0.4902, 0.9433), Brown, Cai & DasGupta 2001's formula by hand.
    #[test]
    fn wilson_by_hand() {
        let (a, b) = wilson(0.8, 10.0);
        assert!((a - 0.49016).abs() < 1e-5 && (b - 0.94331).abs() < 1e-5, "{a} {b}");
    }
}
