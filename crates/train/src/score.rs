//! [`Scored`]: how well a model does on some rows, beside the answer that needs no features.

use serde::Serialize;

use crate::metrics::{Metric, Predicted, Score, argmax, score};

/// The rows that are scored: what was predicted for them and what was true.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// How many classes; 0 for numbers.
    pub classes: usize,
    /// Probabilities `[n, classes]`, or predicted numbers `[n]` in the target's own units.
    pub predicted: Vec<f64>,
    /// The index of the true class, or the true number in its own units.
    pub truth: Vec<f64>,
    /// The rows' weights, if they differ.
    pub weight: Option<Vec<f64>>,
}

impl Judged {
    /// The metric's value and interval.
    pub fn score(&self, metric: Metric) -> Score {
        self.score_of(metric, &self.predicted)
    }

    fn score_of(&self, metric: Metric, predicted: &[f64]) -> Score {
        if self.classes == 0 {
            return score(
                metric,
                Predicted::Numbers { predicted, truth: &self.truth },
                self.weight.as_deref(),
            );
        }
        let truth = self.labels();
        let p = Predicted::Classes { k: self.classes, proba: predicted, truth: &truth };
        score(metric, p, self.weight.as_deref())
    }

    /// The metrics that fit the task, in the order of [`Metric::ALL`], those without a value left out.
    pub fn scores(&self) -> Vec<Score> {
        let fits = |m: &Metric| !m.is_for_text() && m.is_for_classes() == (self.classes > 0);
        Metric::ALL.into_iter().filter(fits).map(|m| self.score(m)).filter(|s| s.value.is_finite()).collect()
    }

    /// The true classes.
    pub fn labels(&self) -> Vec<usize> {
        self.truth.iter().map(|&t| t as usize).collect()
    }

    /// The predicted classes.
    pub fn predicted_labels(&self) -> Vec<usize> {
        self.predicted.chunks_exact(self.classes).map(argmax).collect()
    }

    /// The weight of row `i`.
    pub fn weight(&self, i: usize) -> f64 {
        self.weight.as_ref().map_or(1.0, |w| w[i])
    }

    /// The metric's value for the answer that needs no features: the shares of the classes in training, or the mean.
    fn baseline(&self, metric: Metric, answer: &[f64]) -> f64 {
        let predicted: Vec<f64> =
            answer.iter().copied().cycle().take(self.truth.len() * answer.len()).collect();
        self.score_of(metric, &predicted).value
    }
}

/// A score beside its baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Scored {
    /// The score that was asked for.
    pub score: Score,
    /// What the majority class, or the mean, or of text the n-gram, gets by the same metric; NaN where the metric says nothing of it.
    pub baseline: f64,
    /// Every metric that fits the task.
    pub all: Vec<Score>,
    /// How many rows were scored.
    pub rows: usize,
    /// Their predictions and truths.
    #[serde(skip)]
    pub judged: Judged,
}

impl Scored {
    /// Scores `judged`; `answer` is what needs no features: the shares of the classes in training, or the mean.
    pub fn new(metric: Metric, judged: Judged, answer: &[f64]) -> Self {
        Self {
            score: judged.score(metric),
            baseline: judged.baseline(metric, answer),
            all: judged.scores(),
            rows: judged.truth.len(),
            judged,
        }
    }
}
