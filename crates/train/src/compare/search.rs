//! The learning rate for a member that comes without one: the best of nine, or of five for a network.

use serde::Serialize;

/// For functions of the plane, whose curvature may be in the thousands: half decades from 10⁻⁴ to 1.
pub const ON_FUNCTIONS: [f64; 9] = [1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2, 3.2e-2, 1e-1, 3.2e-1, 1.0];
/// For tables, whose features are standardised: half decades from 10⁻³ to 10.
pub const ON_TABLES: [f64; 9] = [1e-3, 3.2e-3, 1e-2, 3.2e-2, 1e-1, 3.2e-1, 1.0, 3.2, 10.0];

/// For networks: half decades around `centre`, a rate that suits the rule.
pub fn on_networks(centre: f64) -> Vec<f64> {
    // Two digits, so that an expression with the rate reads well.
    let round = |x: f64| format!("{x:.1e}").parse().unwrap_or(x);
    [0.1, 0.32, 1.0, 3.2, 10.0].map(|factor| round(factor * centre)).into()
}

/// What each rate ended with, and which was taken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    /// The rates.
    pub rates: Vec<f64>,
    /// The loss that each ended with, on validation rows where there are any, else on the training rows with the penalty;
    /// absent where it diverged.
    pub losses: Vec<Option<f64>>,
    /// The place of the rate that was taken; absent when all diverged.
    pub best: Option<usize>,
    /// The passes over the rows that each rate got, where these are fewer than a run has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
}

impl Search {
    /// Takes the rate with the lowest loss; of equal ones, the smallest.
    pub fn new(rates: &[f64], losses: Vec<f64>) -> Self {
        let finite = |i: &usize| losses[*i].is_finite();
        let best = (0..rates.len()).filter(finite).min_by(|&a, &b| losses[a].total_cmp(&losses[b]));
        let losses = losses.into_iter().map(|x| x.is_finite().then_some(x)).collect();
        Self { rates: rates.to_vec(), losses, best, epochs: None }
    }

    /// The rate that was taken; the smallest when all diverged.
    pub fn rate(&self) -> f64 {
        self.rates[self.best.unwrap_or(0)]
    }

    /// How many rates were tried, in a word.
    pub fn count(&self) -> String {
        match self.rates.len() {
            5 => "five".into(),
            9 => "nine".into(),
            n => n.to_string(),
        }
    }

    /// Whether the best rate is the first or the last that was tried, so that a better one may lie outside.
    pub fn at_the_edge(&self) -> bool {
        self.best.is_some_and(|b| b == 0 || b + 1 == self.rates.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn diverged_rates_are_never_taken() {
        let search =
            Search::new(&ON_FUNCTIONS, vec![3.0, 2.0, 1.0, 1.0, 2.0, 3.0, f64::NAN, f64::INFINITY, f64::NAN]);
        assert_eq!((search.best, search.rate(), search.at_the_edge()), (Some(2), 1e-3, false));
        assert_eq!(search.losses[7], None);
        assert_eq!(Search::new(&ON_FUNCTIONS, vec![f64::NAN; 9]).best, None);
        assert_eq!(on_networks(1e-3), [1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2]);
        assert_eq!(on_networks(0.05), [0.005, 0.016, 0.05, 0.16, 0.5]);
    }
}
