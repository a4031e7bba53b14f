//! Weight w is the row w times, weight 0 the row absent: encoder, default penalty, training, validation and scores together.

use thalweg_core::random::{Purpose, Stream};
use thalweg_data::{BatchSize, ClassWeight, Code, Part, SplitBy};
use thalweg_models::losses::Loss;
use thalweg_train::job::{Job, Outcome, Prepared};

use crate::common::{Recorder, job, plan, table, told, train};

const HEADER: &str = "a,b,kind,when,part,y,count,large,which,w";

/// Rows as cells, with whole weights from 1 to 3: numbers (some missing), a category with rare levels (some missing), dates, the
/// part of the split, a number, a count, two and three classes.
fn rows(n: usize) -> Vec<(String, u32)> {
    let mut stream = Stream::new(5, Purpose::Data, 0);
    let mut row = |i: usize| {
        let (a, b) = (10.0 + 3.0 * stream.normal(), 0.001 * stream.normal());
        let kind = stream.below(3);
        // Twice each: rare as rows, and with weights of 3 not.
        let rare = if i % 50 == 1 { "violet" } else { ["red", "green", ""][kind as usize] };
        let y = 0.3 * a + 500.0 * b + f64::from(kind) + stream.normal();
        let count = (y.abs() * 2.0).round();
        let large = if y + stream.normal() > 4.0 { "yes" } else { "no" };
        let which = ["low", "middle", "high"][(y + stream.normal()).clamp(2.0, 4.5) as usize - 2];
        let day = 1 + stream.below(28);
        let part = ["train", "train", "train", "valid", "test"][stream.below(5) as usize];
        let a = if i % 9 == 4 { String::new() } else { a.to_string() };
        let weight = if rare == "violet" { 3 } else { 1 + stream.below(3) };
        (format!("{a},{b},{rare},2024-0{}-{day:02},{part},{y},{count},{large},{which}", 1 + kind), weight)
    };
    (0..n).map(&mut row).collect()
}

fn text(rows: impl Iterator<Item = (String, u32)>) -> String {
    rows.fold(format!("{HEADER}\n"), |text, (row, w)| text + &row + "," + &w.to_string() + "\n")
}

/// The targets: name, loss and what else is set.
fn settings() -> Vec<(&'static str, Job)> {
    let of = |loss: &str| Some(loss.parse::<Loss>().unwrap());
    vec![
        ("squared", job("y")),
        ("lasso", Job { l1: 0.05, l2: Some(0.01), ..job("y") }),
        ("absolute", Job { loss: of("absolute"), ..job("y") }),
        ("huber", Job { loss: of("huber(0.5)"), ..job("y") }),
        ("quantile", Job { loss: of("quantile(0.8)"), ..job("y") }),
        ("poisson", Job { loss: of("poisson"), ..job("count") }),
        ("logistic", Job { l2: None, ..job("large") }),
        ("logistic, balanced", Job { l2: None, class_weight: ClassWeight::Balanced, ..job("large") }),
        ("softmax", Job { l2: None, ..job("which") }),
        ("softmax, weighed", Job { class_weight: "high=2, low=0.5".parse().unwrap(), ..job("which") }),
    ]
}

/// Ready to predict the target from the columns that are not targets.
fn prepare(mut asked: Job, text: &str, weighted: bool) -> Prepared {
    asked.learn.weight = weighted.then(|| "w".into());
    let unused = ["y", "count", "large", "which", "w"].map(String::from).into_iter();
    asked.learn.ignore = unused.filter(|c| *c != asked.target).collect();
    Prepared::of_table(asked, &table(text)).unwrap()
}

/// What is compared of two numbers: they are sums of the same terms in another order.
#[track_caller]
fn near(a: f64, b: f64, bound: f64) {
    assert!((a - b).abs() <= bound * a.abs().max(1.0), "{a} {b}: {:e} apart", (a - b).abs());
}

/// Every number that was learnt: centers and scales, in the encoder's order.
fn learnt(prepared: &Prepared) -> Vec<f64> {
    let target = prepared.encoder.target.as_ref().unwrap();
    let features = prepared.encoder.features();
    features.iter().flat_map(|f| [f.center, f.scale]).chain([target.center, target.scale]).collect()
}

/// 300 rows, each up to three times. Both runs do the same sums of at most 900 terms, in another order: with terms of order 1 their
/// means differ by at most 900·u = 1e-13, and on average by √900·u. Centers and scales differ by that, so the features too.
/// A step of descent at most adds its rate, 0.05, times the difference of two gradients: 60 steps, 60·0.05·1e-13·(10 terms of
/// a score) = 3e-12. What is learnt is of order 1, and without weights it is 1e-3 away at least.
#[test]
fn a_weight_is_so_many_rows() {
    const BOUND: f64 = 3e-12;
    let once = rows(300);
    let many = once.iter().flat_map(|(row, w)| vec![(row.clone(), *w); *w as usize]);
    let (weighted, repeated) = (text(once.iter().cloned()), text(many));
    for (name, asked) in settings() {
        let asked = Job {
            epochs: Some(60),
            split: SplitBy::Column("part".into()),
            test: Part::Fraction(0.2),
            ..asked
        };
        let run = |text: &str, weighted: bool| {
            let ready = prepare(asked.clone(), text, weighted);
            // Momentum: whatever one step gets wrong, all later ones repeat.
            let mut recorder = Recorder::new(|_| Ok(()));
            let lr = if asked.target == "count" { 0.005 } else { 0.05 };
            let outcome =
                told(&ready, &plan(&format!("momentum(lr={lr}, momentum=0.5)")), &mut [&mut recorder]);
            (ready, outcome, recorder.epochs)
        };
        let (ready, outcome, epochs) = run(&weighted, true);
        let (as_rows, same, repeated_epochs) = run(&repeated, false);
        let (_, other, _) = run(&weighted, false);

        // The encoder: the same features, the rare level one of them, and the same numbers.
        let names = |p: &Prepared| p.encoder.features().into_iter().map(|f| f.name).collect::<Vec<_>>();
        assert_eq!(names(&ready), names(&as_rows), "{name}");
        let levels = |p: &Prepared| {
            p.encoder.columns.iter().any(
                |c| matches!(&c.code, Code::Category { levels, .. } if levels.contains(&"violet".into())),
            )
        };
        assert!(levels(&ready), "six violet rows that weigh 3");
        learnt(&ready).into_iter().zip(learnt(&as_rows)).for_each(|(a, b)| near(a, b, BOUND));
        ready.answer.iter().zip(&as_rows.answer).for_each(|(a, b)| near(*a, *b, BOUND));
        near(ready.penalty.l2, as_rows.penalty.l2, BOUND);
        assert!(asked.l2.is_some() || ready.penalty.l2 > 0.0);

        // The weights, what was said on the way, and the scores on parts that weigh as well.
        let moved =
            outcome.model.params.values().zip(other.model.params.values()).map(|(a, b)| (a - b).abs());
        assert!(moved.fold(0.0, f64::max) > 1e-3, "{name}: weights matter");
        outcome.model.params.values().zip(same.model.params.values()).for_each(|(a, b)| near(a, b, BOUND));
        near(outcome.fitted.train_loss, same.fitted.train_loss, BOUND);
        for (a, b) in epochs.iter().zip(&repeated_epochs) {
            near(a.train_loss, b.train_loss, BOUND);
            near(a.grad_norm, b.grad_norm, BOUND);
            near(a.valid_loss.unwrap(), b.valid_loss.unwrap(), BOUND);
            near(a.valid_score.unwrap(), b.valid_score.unwrap(), BOUND);
        }
        assert_eq!(outcome.fitted.best_epoch, same.fitted.best_epoch, "{name}");
        near(outcome.test_loss.unwrap(), same.test_loss.unwrap(), BOUND);
        let scores = |o: &Outcome| {
            o.test.as_ref().unwrap().all.iter().map(|s| (s.metric, s.value)).collect::<Vec<_>>()
        };
        assert!(scores(&outcome).len() >= 3);
        for (a, b) in scores(&outcome).into_iter().zip(scores(&same)) {
            assert_eq!(a.0, b.0);
            near(a.1, b.1, BOUND);
        }
        let baseline = |o: &Outcome| o.test.as_ref().unwrap().baseline;
        if baseline(&outcome).is_finite() {
            near(baseline(&outcome), baseline(&same), BOUND);
        }
    }
}

/// Rows that weigh 0 may say anything: other numbers, text where numbers are, new categories and classes, no target. Every bit of
/// encoder, split, weights and scores is as if they were not in the file.
#[test]
fn weight_0_is_a_row_that_is_not_there() {
    let plain = rows(200);
    let wild = [
        "1e300,-1e300,pink,1999-12-31,train,1e300,3,maybe,lowest,0",
        "hello,,red,not a date,test,-7,-5,yes,high,0",
        ",,,,valid,,,,,0",
        "inf,0,violet,2024-02-03,train,5,5,no,low,0.0",
    ];
    let mut spoilt = format!("{HEADER}\n");
    for (i, (row, w)) in plain.iter().enumerate() {
        if i % 7 == 3 {
            spoilt += &format!("{}\n", wild[i / 7 % 4]);
        }
        spoilt += &format!("{row},{w}\n");
    }
    let text = text(plain.into_iter());
    assert!(spoilt.lines().count() > text.lines().count() + 25);
    for (name, asked) in settings() {
        for (split, batch) in [
            (SplitBy::Column("part".into()), BatchSize::Full),
            (SplitBy::Shuffled, BatchSize::Rows(16)),
            (SplitBy::Ordered, BatchSize::Full),
        ] {
            let asked = Job {
                epochs: Some(12),
                split,
                batch: Some(batch),
                test: Part::Fraction(0.2),
                valid: Part::Fraction(0.2),
                ..asked.clone()
            };
            let run = |text: &str| {
                let ready = prepare(asked.clone(), text, true);
                let mut recorder = Recorder::new(|_| Ok(()));
                let outcome = told(&ready, &plan("adam(lr=0.01)"), &mut [&mut recorder]);
                let test = outcome.test.as_ref().unwrap();
                let scores: Vec<(f64, Option<(f64, f64)>)> =
                    test.all.iter().map(|s| (s.value, s.interval)).collect();
                let bits: Vec<u64> = outcome.model.params.values().map(f64::to_bits).collect();
                let numbers = (outcome.fitted.train_loss, outcome.fitted.valid_loss, outcome.test_loss);
                let sizes = (ready.split.train.len(), ready.split.valid.len(), ready.split.test.len());
                (ready.encoder, ready.answer, sizes, bits, numbers, scores, recorder.steps)
            };
            assert_eq!(run(&text), run(&spoilt), "{name}");
        }
    }
}

/// Rows that weigh 0 only in training (a class whose weight is 0) are absent from every sum, to the bit.
#[test]
fn a_row_of_weight_0_in_training_changes_no_bit() {
    for (name, asked) in settings() {
        let with = |weight: &dyn Fn(usize) -> f64, drop: bool| {
            let mut ready =
                prepare(Job { epochs: Some(5), ..asked.clone() }, &text(rows(4000).into_iter()), false);
            let data = &mut ready.train;
            let kept: Vec<usize> = (0..data.len()).filter(|&i| !drop || weight(i) > 0.0).collect();
            let (width, codes) = (data.width, data.code_width);
            data.dense = kept.iter().flat_map(|&i| data.dense[i * width..(i + 1) * width].to_vec()).collect();
            data.codes = kept.iter().flat_map(|&i| data.codes[i * codes..(i + 1) * codes].to_vec()).collect();
            data.target = kept.iter().map(|&i| data.target[i]).collect();
            data.weight = Some(kept.iter().map(|&i| weight(i)).collect());
            data.rows = kept.iter().map(|&i| data.rows[i]).collect();
            let outcome = train(&ready, &plan("momentum(lr=0.01)"));
            let bits: Vec<u64> = outcome.model.params.values().map(f64::to_bits).collect();
            (bits, outcome.fitted.train_loss.to_bits(), outcome.train.value.to_bits())
        };
        let weight = |i: usize| (i * 7 % 5) as f64 * 0.5;
        assert_eq!(with(&weight, true), with(&weight, false), "{name}");
    }
}

/// scikit-learn's `class_weight`: the row's weight times n/(k·n_c), with n and n_c weighed themselves.
#[test]
fn class_weights_multiply_row_weights() {
    let text = text(rows(120).into_iter());
    let weights = |asked: Job| {
        let ready = prepare(asked, &text, true);
        (ready.train.weight.clone().unwrap(), ready.train.target.clone(), ready.penalty)
    };
    let (plain, target, penalty) = weights(Job { l2: None, ..job("large") });
    let all: f64 = plain.iter().sum();
    let of =
        |class: f64| plain.iter().zip(&target).filter(|(_, t)| **t == class).map(|(w, _)| w).sum::<f64>();
    let (balanced, _, same) = weights(Job { l2: None, class_weight: ClassWeight::Balanced, ..job("large") });
    for (i, w) in balanced.iter().enumerate() {
        near(*w, plain[i] * all / (2.0 * of(target[i])), 1e-15);
    }
    assert_eq!((penalty, penalty.l2), (same, 1.0 / all));
    let given = ClassWeight::Given(vec![("yes".into(), 3.0)]);
    let (given, ..) = weights(Job { class_weight: given, ..job("large") });
    assert!(given.iter().enumerate().all(|(i, w)| *w == plain[i] * if target[i] == 1.0 { 3.0 } else { 1.0 }));
}

/// Weights that are only relative, a thousandth each, train the same model: no rarer levels, no other penalty. The factor cancels in
/// every mean but for its rounding: 150 terms, 40 steps of 0.01.
#[test]
fn relative_weights_keep_their_proportions() {
    let once = rows(150);
    let as_given = text(once.iter().map(|(row, _)| (row.clone(), 1)));
    let small = as_given
        .lines()
        .enumerate()
        .fold(String::new(), |text, (i, line)| text + line + if i == 0 { "" } else { ".0e-3" } + "\n");
    for (name, asked) in settings() {
        let asked = Job { epochs: Some(40), ..asked };
        let run = |text: &str| {
            let ready = prepare(asked.clone(), text, true);
            (train(&ready, &plan("gd(lr=0.01)")), ready.penalty.l2)
        };
        let ((a, l2), (b, small_l2)) = (run(&as_given), run(&small));
        assert_eq!(l2, small_l2, "{name}");
        a.model.params.values().zip(b.model.params.values()).for_each(|(a, b)| near(a, b, 1e-12));
    }
}
