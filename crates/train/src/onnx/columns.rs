//! Columns of a table into numbers and codes: what an [`Encoder`] does, as operators.

use std::collections::HashSet;

use thalweg_data::{Code, Encoder, MISSING_TEXTS};
use thalweg_models::onnx::{Attribute, Edge, Graph, Type};

use super::dates;

/// How NaN is spelled in tables, beside [`MISSING_TEXTS`].
const NAN_TEXTS: [&str; 4] = ["NaN", "nan", "NAN", "Nan"];

/// Rows in the units of training.
pub(super) struct Rows {
    /// `[n, width]` in double, unless there is no number.
    pub numbers: Option<Edge>,
    /// `[n]` in int64 for each column of categories, counted from 0 in that column; −1 where neither training nor its pool has it.
    pub codes: Vec<Edge>,
}

/// A number of a row.
struct Feature {
    /// Which of the raw columns.
    raw: usize,
    /// Whether it says that the cell is missing.
    missing: bool,
}

/// Columns of numbers as they come in, and what is made of them. All are worked on as one matrix, so that a wide table does not
/// become thousands of operators.
#[derive(Default)]
struct Numbers {
    raw: Vec<Edge>,
    center: Vec<f64>,
    scale: Vec<f64>,
    features: Vec<Feature>,
}

impl Numbers {
    fn push(&mut self, raw: Edge, center: f64, scale: f64) -> usize {
        self.raw.push(raw);
        self.center.push(center);
        self.scale.push(scale);
        self.raw.len() - 1
    }

    fn feature(&mut self, raw: usize, missing: bool) {
        self.features.push(Feature { raw, missing });
    }

    /// `(x − center)/scale`, 0 where x is NaN; 1 where x is NaN, for the indicators; in the order of the features.
    fn finish(self, graph: &mut Graph) -> Option<Edge> {
        if self.features.is_empty() {
            return None;
        }
        let count = self.raw.len();
        let x = graph.concat(&self.raw, 1);
        let center = graph.constant("center", &[count], &self.center);
        let scale = graph.constant("scale", &[count], &self.scale);
        let zero = graph.scalar(0.0f64);
        let missing = graph.node("IsNaN", &[&x], []);
        let y = graph.node("Sub", &[&x, &center], []);
        let y = graph.node("Div", &[&y, &scale], []);
        let y = graph.node("Where", &[&missing, &zero, &y], []);
        let plain = self.features.len() == count && self.features.iter().all(|f| !f.missing);
        if plain {
            return Some(y);
        }
        let missing = graph.cast(&missing, Type::Double);
        let both = graph.concat(&[y, missing], 1);
        let place = |f: &Feature| (f.raw + if f.missing { count } else { 0 }) as i64;
        let order: Vec<i64> = self.features.iter().map(place).collect();
        let order = graph.wholes(&order);
        Some(graph.node("Gather", &[&both, &order], [Attribute::whole("axis", 1)]))
    }
}

/// Adds an input for each column that gives a feature, and the rows that the encoder makes of them.
pub(super) fn encode(encoder: &Encoder, graph: &mut Graph) -> Rows {
    let column = [None, Some(1)];
    let used = || encoder.columns.iter().filter(|c| c.code.width() + c.code.levels() > 0);
    // All inputs first: they keep their names.
    let inputs: Vec<Edge> = used()
        .map(|c| match &c.code {
            Code::Category { .. } => {
                graph.input(&c.name, Type::Text, &column, "a category; \"\" where it is missing")
            }
            Code::Date { .. } => {
                let doc = "a date in days since 1970-01-01; NaN where it is missing";
                graph.input(&c.name, Type::Double, &column, doc)
            }
            _ => graph.input(&c.name, Type::Double, &column, "a number; NaN where it is missing"),
        })
        .collect();
    graph.within("encoder", |graph| {
        let (mut numbers, mut codes) = (Numbers::default(), Vec::new());
        for (c, x) in used().zip(inputs) {
            match &c.code {
                &Code::Number { center, scale, varies, missing } => {
                    let raw = numbers.push(x, center, scale);
                    if varies {
                        numbers.feature(raw, false);
                    }
                    if missing {
                        numbers.feature(raw, true);
                    }
                }
                Code::Date { first, parts, missing } => {
                    let kinds: Vec<_> = parts.iter().map(|p| p.part).collect();
                    for (part, x) in parts.iter().zip(dates::parts(graph, &x, first, &kinds)) {
                        let raw = numbers.push(x, part.center, part.scale);
                        numbers.feature(raw, false);
                    }
                    if *missing {
                        let raw = numbers.push(x, 0.0, 1.0);
                        numbers.feature(raw, true);
                    }
                }
                Code::Category { levels, other, missing } => {
                    codes.push(category(graph, &x, levels, *other, *missing))
                }
                Code::Ignored { .. } => {}
            }
        }
        Rows { numbers: numbers.finish(graph), codes }
    })
}

/// The codes of a column of texts.
///
/// A number may be spelled as it is in the table, in its shortest form (`1`), or with a point (`1.0`): so it is the same level whether a program
/// reads the column as text, as whole numbers or as floats.
fn category(graph: &mut Graph, x: &Edge, levels: &[String], other: bool, missing: bool) -> Edge {
    let mut known: HashSet<String> = levels.iter().cloned().collect();
    let mut keys: Vec<String> = levels.to_vec();
    let mut codes: Vec<i64> = (0..levels.len() as i64).collect();
    let mut add = |text: String, code: i64| {
        if known.insert(text.clone()) {
            keys.push(text);
            codes.push(code);
        }
    };
    for (level, code) in levels.iter().zip(0..) {
        if let Some(x) = level.parse::<f64>().ok().filter(|x| x.is_finite()) {
            // −0 is 0.
            let x = x + 0.0;
            add(x.to_string(), code);
            add(format!("{x:?}"), code);
        }
    }
    let pooled = if other { levels.len() as i64 } else { -1 };
    if missing {
        let code = (levels.len() + usize::from(other)) as i64;
        [""].iter().chain(&MISSING_TEXTS).chain(&NAN_TEXTS).for_each(|text| add((*text).into(), code));
    }
    let attributes = [
        Attribute::texts("keys_strings", &keys),
        Attribute::wholes("values_int64s", &codes),
        Attribute::whole("default_int64", pooled),
    ];
    let codes = graph.ml_node("LabelEncoder", &[x], attributes);
    graph.squeeze(&codes, 1)
}
