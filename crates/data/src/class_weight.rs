//! [`ClassWeight`]: some classes count more than others.

use std::fmt;
use std::str::FromStr;

use thalweg_core::Float;

use crate::encode::Dataset;
use crate::error::{EncodeError, list};

/// What a row's weight is multiplied by, for its class: `none`, `balanced`, or `yes=3, no=1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClassWeight {
    /// 1.
    #[default]
    None,
    /// n / (k·n_c) with n the weight of all training rows, n_c that of class c, k the number of classes: all classes weigh the
    /// same together. (scikit-learn's `class_weight="balanced"`.)
    Balanced,
    /// What is given for the class; 1 where nothing is.
    Given(Vec<(String, f64)>),
}

impl ClassWeight {
    /// The factor of each class, in the order of `labels`; `train` holds the training rows, with the class as the target.
    ///
    /// # Errors
    /// If a class that is given does not exist.
    pub fn factors<F: Float>(&self, labels: &[String], train: &Dataset<F>) -> Result<Vec<f64>, EncodeError> {
        match self {
            ClassWeight::None => Ok(vec![1.0; labels.len()]),
            ClassWeight::Balanced => {
                let mut of = vec![0.0; labels.len()];
                for (i, class) in train.target.iter().enumerate() {
                    of[class.to_f64() as usize] += train.weight.as_ref().map_or(1.0, |w| w[i].to_f64());
                }
                let all: f64 = of.iter().sum();
                let factor = |n: f64| if n > 0.0 { all / (labels.len() as f64 * n) } else { 1.0 };
                Ok(of.into_iter().map(factor).collect())
            }
            ClassWeight::Given(given) => {
                let mut factors = vec![1.0; labels.len()];
                for (class, factor) in given {
                    let Some(i) = labels.iter().position(|l| l == class) else {
                        let known = list(labels.iter().map(String::as_str));
                        return Err(EncodeError::NoSuchClass { class: class.clone(), known });
                    };
                    factors[i] = *factor;
                }
                Ok(factors)
            }
        }
    }
}

impl<F: Float> Dataset<F> {
    /// Multiplies the weight of each row by the factor of its class (see [`ClassWeight::factors`]).
    pub fn weigh_classes(&mut self, factors: &[f64]) {
        if factors.iter().all(|&f| f == 1.0) {
            return;
        }
        let mut weight = self.weight.take().unwrap_or_else(|| vec![F::one(); self.target.len()]);
        for (w, class) in weight.iter_mut().zip(&self.target) {
            *w = F::from_f64(w.to_f64() * factors[class.to_f64() as usize]);
        }
        self.weight = Some(weight);
    }
}

impl FromStr for ClassWeight {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => return Ok(Self::None),
            "balanced" => return Ok(Self::Balanced),
            _ => {}
        }
        let pair = |pair: &str| {
            let (class, weight) = pair.rsplit_once('=').ok_or_else(|| {
                format!("expected none, balanced or a list such as yes=3, no=1, got {text:?}")
            })?;
            let class = class.trim().to_owned();
            match weight.trim().parse::<f64>() {
                Ok(w) if w >= 0.0 && w.is_finite() => Ok((class, w)),
                _ => Err(format!("the weight of class {class:?} must be in [0, ∞), got {:?}", weight.trim())),
            }
        };
        text.split(',').map(pair).collect::<Result<_, _>>().map(Self::Given)
    }
}

impl fmt::Display for ClassWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClassWeight::None => f.write_str("none"),
            ClassWeight::Balanced => f.write_str("balanced"),
            ClassWeight::Given(given) => {
                let pairs: Vec<String> = given.iter().map(|(c, w)| format!("{c}={w}")).collect();
                f.write_str(&pairs.join(", "))
            }
        }
    }
}
