//! How well a classifier of two classes ranks and how honest its probabilities are: ROC and calibration,
//! computed and drawn.

use super::charts::{Axis, Calibration, CalibrationBin, Roc, Size};
use super::figure;
use super::number::{human, percent};
use super::plot::{Hover, Key, Look, Plot, legend_into};
use super::scale::{Margin, Scale};
use super::{svg, thin};

impl Roc {
    /// The curve of these probabilities: `positive[i]` says whether row i is of the positive class. Equal
    /// probabilities make one step, as they must; weights default to 1.
    pub fn of(
        name: impl Into<String>,
        probability: &[f64],
        positive: &[bool],
        weight: Option<&[f64]>,
    ) -> Roc {
        let rows = ordered(probability, positive, weight);
        let total = |side: bool| rows.iter().filter(|r| r.1 == side).map(|r| r.2).sum::<f64>();
        let (positives, negatives) = (total(true), total(false));
        let rate = |sum: f64, of: f64| if of > 0.0 { sum / of } else { f64::NAN };
        let (mut hits, mut alarms, mut area) = (0.0, 0.0, 0.0);
        let mut curve = vec![(0.0, 0.0)];
        let mut half = None;
        for group in rows.chunk_by(|a, b| a.0 == b.0).rev() {
            if half.is_none() && group[0].0 < 0.5 {
                half = Some((rate(alarms, negatives), rate(hits, positives)));
            }
            let side = |side: bool| group.iter().filter(|r| r.1 == side).map(|r| r.2).sum::<f64>();
            let (more_hits, more_alarms) = (side(true), side(false));
            area += more_alarms * (hits + more_hits * 0.5);
            hits += more_hits;
            alarms += more_alarms;
            curve.push((rate(alarms, negatives), rate(hits, positives)));
        }
        Roc {
            title: "ROC curve".into(),
            note: String::new(),
            positive: name.into(),
            curve,
            auc: rate(area, positives * negatives),
            half: half.or(Some((1.0, 1.0))).filter(|p| !p.0.is_nan() && !p.1.is_nan()),
            size: Size::Half,
        }
    }
}

impl Calibration {
    /// Ten groups of about equal weight, by rising probability; equal probabilities stay together. The
    /// interval is Wilson's, 95%.
    pub fn of(
        name: impl Into<String>,
        probability: &[f64],
        positive: &[bool],
        weight: Option<&[f64]>,
    ) -> Self {
        let rows = ordered(probability, positive, weight);
        let total: f64 = rows.iter().map(|r| r.2).sum();
        let mut bins = Vec::new();
        let mut bin = (0.0, 0.0, 0.0); // weight, weighted probability, positives
        let mut before = 0.0;
        for group in rows.chunk_by(|a, b| a.0 == b.0) {
            for (p, is, w) in group {
                bin.0 += w;
                bin.1 += w * p;
                bin.2 += if *is { *w } else { 0.0 };
            }
            if before + bin.0 >= total * (bins.len() + 1) as f64 / 10.0 - total * 1e-9 {
                before += bin.0;
                bins.extend(finished(bin));
                bin = (0.0, 0.0, 0.0);
            }
        }
        bins.extend(finished(bin));
        Calibration {
            title: "Calibration".into(),
            note: String::new(),
            positive: name.into(),
            bins,
            size: Size::Half,
        }
    }
}

/// Rows by rising probability; rows without one, or without weight, are left out.
fn ordered(probability: &[f64], positive: &[bool], weight: Option<&[f64]>) -> Vec<(f64, bool, f64)> {
    let weight = |i: usize| weight.map_or(1.0, |w| w.get(i).copied().unwrap_or(0.0));
    let mut rows: Vec<(f64, bool, f64)> =
        probability.iter().zip(positive).enumerate().map(|(i, (p, is))| (*p, *is, weight(i))).collect();
    rows.retain(|r| r.0.is_finite() && r.2 > 0.0);
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows
}

fn finished((weight, sum, positives): (f64, f64, f64)) -> Option<CalibrationBin> {
    if weight <= 0.0 {
        return None;
    }
    let share = (positives / weight).min(1.0);
    let z2 = 1.959_963_984_540_054 * 1.959_963_984_540_054;
    let centre = (share + z2 / (2.0 * weight)) / (1.0 + z2 / weight);
    let reach = libm::sqrt(z2 * (share * (1.0 - share) / weight + z2 / (4.0 * weight * weight)));
    let reach = reach / (1.0 + z2 / weight);
    Some(CalibrationBin {
        predicted: sum / weight,
        observed: share,
        interval: ((centre - reach).max(0.0), (centre + reach).min(1.0)),
        weight,
    })
}

fn unit() -> Scale {
    Scale::fit(&Axis::linear("").range(0.0, 1.0), std::iter::empty(), Margin::None)
}

fn diagonal(plot: &mut Plot<'_>, look: Look) {
    plot.path(&format!("r {}", look.class()), &svg::polyline(&[(0.0, 0.0), (1.0, 1.0)]), "");
}

const MODEL: Look = Look { place: 0, colour: Some(0) };
const EXPECTED: Look = Look { place: 1, colour: None };

pub(super) fn roc_into(out: &mut String, roc: &Roc) {
    figure::open_into(out, roc.size, "roc", &roc.title, &roc.note);
    let auc = human(libm::round(roc.auc * 1e4) / 1e4);
    let key = |look, name: &str, note, shape| Key { look, name: name.into(), note, shape };
    let positive = format!("model, positive = {}", roc.positive);
    legend_into(
        out,
        &[key(MODEL, &positive, format!("AUC {auc}"), 'l'), key(EXPECTED, "chance", "AUC 0.5".into(), 'r')],
    );
    out.push_str(figure::BODY);
    let names = ("false positive rate", "true positive rate");
    let mut plot = Plot::new(unit(), unit(), names, Hover::Nearest, (5, 5));
    let kept = thin::path(&roc.curve, 1000);
    let points: Vec<(f64, f64)> = kept.iter().map(|&i| roc.curve[i]).collect();
    diagonal(&mut plot, EXPECTED);
    let across: Vec<f64> = points.iter().map(|p| p.0).collect();
    let up: Vec<f64> = points.iter().map(|p| p.1).collect();
    plot.path("b s1 k1 d0", &svg::band(&across, &vec![0.0; up.len()], &up), "");
    let values = Plot::values("model", points.iter().copied(), None);
    plot.path("l s1 k1 d0", &svg::polyline(&points), &values);
    if let Some(at) = roc.half {
        plot.mark("ring s1 k1", at, "threshold ½");
    }
    out.push_str(&plot.finish(&format!("ROC curve, area {auc}"), "square"));
    if roc.half.is_some() {
        out.push_str("<p class=\"more\">The ring is the threshold ½.</p>");
    }
    out.push_str(figure::CLOSE);
}

pub(super) fn calibration_into(out: &mut String, calibration: &Calibration) {
    figure::open_into(out, calibration.size, "calibration", &calibration.title, &calibration.note);
    let key = |look, name: &str, note: &str, shape| Key { look, name: name.into(), note: note.into(), shape };
    legend_into(
        out,
        &[key(MODEL, "model", "with 95% intervals", 'p'), key(EXPECTED, "perfectly calibrated", "", 'r')],
    );
    out.push_str(figure::BODY);
    let across = format!("predicted probability of {}", calibration.positive);
    let mut plot = Plot::new(unit(), unit(), (&across, "observed share"), Hover::Nearest, (5, 5));
    diagonal(&mut plot, EXPECTED);
    let bins = &calibration.bins;
    let points: Vec<(f64, f64)> = bins.iter().map(|b| (b.predicted, b.observed)).collect();
    for bin in bins {
        let (low, high) = bin.interval;
        let bar = svg::polyline(&[(bin.predicted, low), (bin.predicted, high)]);
        plot.path("i s1 k1", &bar, "");
    }
    let values = Plot::values("model", points.iter().copied(), None);
    plot.path("l s1 k1 d0", &svg::polyline(&points), &values);
    plot.path("o s1 k1", &svg::dots(points.iter().copied()), "");
    out.push_str(&plot.finish("Calibration: observed share against predicted probability", "square"));
    let least = bins.iter().map(|b| b.weight).fold(f64::INFINITY, f64::min);
    let most = bins.iter().map(|b| b.weight).fold(0.0, f64::max);
    if most > 0.0 {
        let worst = bins.iter().map(|b| (b.observed - b.predicted).abs()).fold(0.0, f64::max);
        let rows = if least == most { human(most) } else { format!("{} to {}", human(least), human(most)) };
        out.push_str(&format!(
            "<p class=\"more\">{} groups of {rows} rows; largest gap {}.</p>",
            bins.len(),
            percent(worst)
        ));
    }
    out.push_str(figure::CLOSE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_counts_pairs() {
        let p = [0.1, 0.4, 0.35, 0.8];
        let roc = Roc::of("yes", &p, &[false, false, true, true], None);
        assert_eq!(roc.auc, 0.75); // the example of scikit-learn's roc_auc_score
        assert_eq!(roc.curve, [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        assert_eq!(roc.half, Some((0.0, 0.5)));
    }

    #[test]
    fn ties_count_half_and_weights_are_repetitions() {
        let tied = Roc::of("yes", &[0.5; 4], &[true, false, true, false], None);
        assert_eq!((tied.auc, tied.curve.len()), (0.5, 2));
        let weighted = Roc::of("y", &[0.2, 0.6, 0.7], &[false, true, false], Some(&[2.0, 1.0, 0.0]));
        let repeated = Roc::of("y", &[0.2, 0.2, 0.6], &[false, false, true], None);
        assert_eq!((weighted.auc, weighted.curve), (repeated.auc, repeated.curve));
    }

    #[test]
    fn one_class_has_no_area() {
        assert!(Roc::of("yes", &[0.1, 0.2], &[true, true], None).auc.is_nan());
        assert!(Roc::of("yes", &[], &[], None).auc.is_nan());
    }

    #[test]
    fn groups_are_about_equal_and_wilson_intervals_hold_the_share() {
        let p: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        let is: Vec<bool> = (0..1000).map(|i| (i * 7919) % 1000 < i).collect();
        let calibration = Calibration::of("yes", &p, &is, None);
        assert_eq!(calibration.bins.len(), 10);
        for bin in &calibration.bins {
            assert_eq!(bin.weight, 100.0);
            assert!(bin.interval.0 <= bin.observed && bin.observed <= bin.interval.1);
            assert!((bin.predicted - bin.observed).abs() < 0.1);
        }
        assert_eq!(Calibration::of("yes", &[0.5; 30], &[true; 30], None).bins.len(), 1);
        assert!(Calibration::of("yes", &[], &[], None).bins.is_empty());
    }
}
