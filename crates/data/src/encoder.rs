//! [`Encoder`]: what was learnt about columns, kept with the model.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dates::DatePart;
use crate::target::Task;

/// How each column becomes numbers: learnt on training rows ([`Encoder::learn`]), stored with the model, applied to any table
/// ([`Encoder::encode`]).
///
/// Its serialised form has a fixed order and every bit of every number (with a writer that keeps them, as `serde_json` with
/// `float_roundtrip` does).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Encoder {
    /// The columns, in the order of the training data; the target, the weight and what was told to be ignored are not among them.
    pub columns: Vec<ColumnCode>,
    /// The target.
    pub target: Option<TargetCode>,
    /// The column of weights.
    pub weight: Option<String>,
}

/// How one column becomes numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnCode {
    /// The column.
    pub name: String,
    /// How.
    pub code: Code,
}

/// How a column becomes numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Code {
    /// (x − center) / scale; a missing cell gives 0, the mean.
    Number {
        /// The mean of the training rows.
        center: f64,
        /// Their population standard deviation; 1 for a constant.
        scale: f64,
        /// Whether the number differs between training rows; without, there is no feature but the indicator.
        varies: bool,
        /// Whether cells were missing in training: then a feature says so (1 if missing, else 0).
        missing: bool,
    },
    /// One feature for each level, then one for the pooled levels, then one for missing cells.
    Category {
        /// The levels, sorted by bytes.
        levels: Vec<String>,
        /// Whether rare levels are pooled; levels that training has not seen join them. Without, they are all zeros.
        other: bool,
        /// Whether cells were missing in training; without, a missing cell is an unseen level.
        missing: bool,
    },
    /// Some numbers read off a date, each (x − center) / scale; a missing cell gives 0.
    Date {
        /// The first date of the training rows, from which days are counted.
        first: String,
        /// The parts that differ between training rows.
        parts: Vec<PartCode>,
        /// Whether cells were missing in training: then a feature says so.
        missing: bool,
    },
    /// No feature.
    Ignored {
        /// Why.
        reason: Reason,
    },
}

/// How a part of a date becomes a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartCode {
    /// The part.
    pub part: DatePart,
    /// The mean of the training rows.
    pub center: f64,
    /// Their population standard deviation.
    pub scale: f64,
}

/// Why a column is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// All training rows have the same value.
    Constant,
    /// No training row has a value.
    Empty,
    /// Text in which more than half of the present values differ.
    Distinct,
    /// Text of which no level has enough rows.
    Rare,
    /// It was asked for.
    Asked,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Constant => "it is the same in every training row",
            Reason::Empty => "it is missing in every training row",
            Reason::Distinct => "it is text, and more than half of its values differ",
            Reason::Rare => "it is text, and no value of it has 5 training rows",
            Reason::Asked => "as asked",
        })
    }
}

/// How the target becomes a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetCode {
    /// The column.
    pub column: String,
    /// What is predicted. A class becomes its place in the list.
    pub task: Task,
    /// The mean of a numeric target over training rows; 0 for classes. Encoding does not use it: see
    /// [`Dataset::standardise_target`](crate::Dataset::standardise_target).
    pub center: f64,
    /// Its population standard deviation; 1 for classes.
    pub scale: f64,
}

/// What a feature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureKind {
    /// The number in the column.
    Number,
    /// A part of the date in the column.
    Date(DatePart),
    /// 1 where the cell is missing (of a number or a date).
    Missing,
    /// 1 where the column has this level.
    Level,
    /// 1 where the column has a pooled or unseen level.
    Other,
    /// 1 where the category is missing.
    MissingLevel,
}

/// A feature: one number that a linear model gives a coefficient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Its name: `age`, `age (missing)`, `sold.month`, `kind=red`, `kind (other)`, `kind (missing)`.
    pub name: String,
    /// The column that it comes from.
    pub column: String,
    /// The level, for [`FeatureKind::Level`].
    pub level: Option<String>,
    /// What was subtracted: the feature is (x − center) / scale of the number in the file.
    pub center: f64,
    /// What it was divided by.
    pub scale: f64,
    /// What it is.
    pub kind: FeatureKind,
}

impl Feature {
    fn plain(column: &str, kind: FeatureKind, name: String, level: Option<&str>) -> Self {
        Self { name, column: column.into(), level: level.map(String::from), center: 0.0, scale: 1.0, kind }
    }

    fn scaled(column: &str, kind: FeatureKind, name: String, center: f64, scale: f64) -> Self {
        Self { center, scale, ..Self::plain(column, kind, name, None) }
    }
}

impl Code {
    /// How many numeric features it gives.
    pub fn width(&self) -> usize {
        match self {
            Code::Number { varies, missing, .. } => usize::from(*varies) + usize::from(*missing),
            Code::Date { parts, missing, .. } => parts.len() + usize::from(*missing),
            Code::Category { .. } | Code::Ignored { .. } => 0,
        }
    }

    /// How many one-hot features it gives.
    pub fn levels(&self) -> usize {
        match self {
            Code::Category { levels, other, missing } => {
                levels.len() + usize::from(*other) + usize::from(*missing)
            }
            _ => 0,
        }
    }
}

impl Encoder {
    /// How many numbers a row has in [`Dataset::dense`](crate::Dataset::dense).
    pub fn width(&self) -> usize {
        self.columns.iter().map(|c| c.code.width()).sum()
    }

    /// How many codes a row has: the categorical columns.
    pub fn code_width(&self) -> usize {
        self.columns.iter().filter(|c| matches!(c.code, Code::Category { .. })).count()
    }

    /// How many one-hot features there are: codes are below this number (or unseen).
    pub fn levels(&self) -> usize {
        self.columns.iter().map(|c| c.code.levels()).sum()
    }

    /// All features: the numeric ones in the order of a row of `dense`, then the one-hot ones in the order of their codes.
    pub fn features(&self) -> Vec<Feature> {
        let mut features = Vec::with_capacity(self.width() + self.levels());
        for ColumnCode { name, code } in &self.columns {
            let missing = || Feature::plain(name, FeatureKind::Missing, format!("{name} (missing)"), None);
            match code {
                Code::Number { center, scale, varies, missing: m } => {
                    if *varies {
                        features.push(Feature::scaled(
                            name,
                            FeatureKind::Number,
                            name.clone(),
                            *center,
                            *scale,
                        ));
                    }
                    features.extend(m.then(missing));
                }
                Code::Date { parts, missing: m, .. } => {
                    for p in parts {
                        let named = format!("{name}.{}", p.part.name());
                        features.push(Feature::scaled(
                            name,
                            FeatureKind::Date(p.part),
                            named,
                            p.center,
                            p.scale,
                        ));
                    }
                    features.extend(m.then(missing));
                }
                Code::Category { .. } | Code::Ignored { .. } => {}
            }
        }
        for ColumnCode { name, code } in &self.columns {
            if let Code::Category { levels, other, missing } = code {
                for l in levels {
                    features.push(Feature::plain(name, FeatureKind::Level, format!("{name}={l}"), Some(l)));
                }
                if *other {
                    features.push(Feature::plain(name, FeatureKind::Other, format!("{name} (other)"), None));
                }
                if *missing {
                    let named = format!("{name} (missing)");
                    features.push(Feature::plain(name, FeatureKind::MissingLevel, named, None));
                }
            }
        }
        features
    }

    /// The columns of `names` whose cells must keep their text, for [`ReadOptions::text`](crate::ReadOptions::text) when a
    /// table is read for this encoder: categories, dates and classes.
    pub fn text_columns(&self) -> Vec<String> {
        let text = |c: &&ColumnCode| matches!(c.code, Code::Category { .. } | Code::Date { .. });
        let columns = self.columns.iter().filter(text).map(|c| c.name.clone());
        let classes = self.target.iter().filter(|t| t.task != Task::Number).map(|t| t.column.clone());
        columns.chain(classes).collect()
    }
}
