//! Plans: what they print they parse, what they refuse they point at, and no text makes them panic.

use proptest::prelude::*;
use thalweg_core::hyper::Hyper;
use thalweg_core::random::{Purpose, Stream};
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALIASES, ALL};
use thalweg_optim::schedule::CURVES;
use thalweg_optim::{Plan, Schedule};

use crate::common::{Run, inside, layout, numbers, setup, write};

/// Draws for one random plan; each decides one thing.
struct Draws(Stream);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0.uniform()
    }
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.next() * of.len() as f64) as usize]
    }
    fn maybe(&mut self) -> bool {
        self.next() < 0.5
    }
    /// A value in the range, written in one of the ways the language has.
    fn value(&mut self, hyper: &Hyper) -> String {
        let values = inside(&hyper.range);
        let (a, b, share) = (self.pick(&values), self.pick(&values), self.next());
        if hyper.range.is_switch() {
            return (a == 1.0).to_string();
        }
        if !hyper.range.words().is_empty() {
            return hyper.print(a);
        }
        let x = if self.maybe() { a } else { a + (b - a) * share };
        let x = if hyper.range.is_whole() { x.round() } else { x };
        match self.pick(&[0, 1, 2]) {
            0 if hyper.range.contains(x * 100.0 / 100.0) => format!("{}%", x * 100.0),
            1 => format!("{x:e}"),
            _ => format!(" {x} "),
        }
    }
    fn length(&mut self) -> String {
        let x = (self.next() * 30.0).round() / 2.0;
        format!("{x}{}", self.pick(&[" steps", " step", " epochs", " epoch", "%", ""]))
    }
    fn rate(&mut self) -> String {
        let lr = libm::pow(10.0, -4.0 * self.next());
        if self.maybe() {
            return lr.to_string();
        }
        let curve = self.pick(&CURVES);
        let mut args = vec![];
        if self.maybe() {
            args.push(format!("lr={lr}"));
        }
        for hyper in curve.hyper {
            if self.maybe() {
                args.push(format!("{}={}", hyper.name, self.value(hyper)));
            }
        }
        if curve.joins {
            args.extend(["linear".into(), self.pick(&["cosine(0.5)", "step(every=3 steps)"]).into()]);
        }
        for name in curve.lengths.iter().map(|l| l.name).chain(["warmup"]) {
            if self.maybe() {
                args.push(format!("{name}={}", self.length()));
            }
        }
        if args.is_empty() && self.maybe() {
            curve.name.into()
        } else {
            format!("{}({})", curve.name, args.join(","))
        }
    }
    fn plan(&mut self) -> String {
        let entry = self.pick(&ALL);
        let name = if self.next() < 0.2 { self.pick(&ALIASES).0 } else { entry.name };
        let mut args = vec![];
        if self.maybe() {
            args.push(format!("lr={}", self.rate()));
        }
        if name == entry.name {
            for hyper in entry.hyper {
                if self.maybe() {
                    args.push(format!("{}={}", hyper.name, self.value(hyper)));
                }
            }
        }
        let mut calls = vec![format!("{name}({})", args.join(", "))];
        let (mut before, mut after) = (vec![], vec![]);
        for stage in STAGES {
            // A proximal step is for rules that work coordinate by coordinate.
            let proximal = stage.hyper.iter().any(|h| h.name == "l1");
            // It needs all parameters in one chain, where such a rule leaves some to another.
            if stage.name == "sam" && entry.rest.is_some() {
                continue;
            }
            if (!proximal || Plan::parse(entry.name).unwrap().is_proximal()) && self.maybe() {
                let values: Vec<String> = stage.hyper.iter().map(|h| self.value(h)).collect();
                let call = format!("{}({})", stage.name, values.join(", "));
                if stage.before { before.push(call) } else { after.push(call) }
            }
        }
        if self.maybe() {
            before.reverse();
        }
        before.append(&mut calls);
        before.append(&mut after);
        before.join(if self.maybe() { " | " } else { "|" })
    }
}

/// Every bit after four steps, and the expression that the optimizer gives. Some rules refuse some stages: then after none.
fn run(expression: &str) -> (Vec<u64>, String) {
    let mut run = Run::<f64>::new(expression, &layout(&[7, -3]), &setup(), &numbers(1, 10));
    (2..6).for_each(|seed| {
        let layout = run.theta.layout().clone();
        write(&layout, run.grads.flat_mut(), &numbers(seed, 10));
        run.grads.total = thalweg_core::Total { loss: 0.5, weight: 1.0 };
        if let Err(error) = run.try_go() {
            let what = error.to_string();
            assert!(what.starts_with("accumulate takes no") || what.starts_with("a stage before"), "{what}");
        }
    });
    (run.bits(), run.optimizer.expression())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn what_a_plan_prints_is_the_same_plan(seed: u64) {
        let text = Draws(Stream::new(seed, Purpose::Data, 3)).plan();
        let plan = match Plan::parse(&text) {
            Ok(plan) => plan,
            Err(error) => {
                // Only values that do not go together are refused.
                let first = error.to_string().lines().next().unwrap().to_string();
                let known = ["momentum", "dampening", "step_size_min is above", "decoupled step",
                    "has no proximal step", "sign(θ)", "|θ|", "has no l1 in it"];
                prop_assert!(known.iter().any(|k| first.contains(k)), "{}", error);
                return Ok(());
            }
        };
        let printed = plan.to_string();
        let again = Plan::parse(&printed).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(again.to_string(), printed.clone(), "{}", text);
        prop_assert_eq!(again.short_name(), plan.short_name());
        prop_assert_eq!(again.lr_is_open(), plan.lr_is_open());
        prop_assert_eq!(run(&text), run(&printed), "{} prints as {}", text, printed);
        // The optimizer's own expression has everything filled in, and is the same optimizer.
        let (bits, full) = run(&text);
        prop_assert!(!Plan::parse(&full).unwrap().lr_is_open());
        prop_assert_eq!(run(&full), (bits, full.clone()));
    }

    #[test]
    fn no_text_makes_a_plan_panic(text in "[a-z0-9(){}=,.;:|% _éβ-]{0,60}") {
        if let Err(error) = Plan::parse(&text) {
            prop_assert!(error.to_string().contains('^'));
        }
        if let Err(error) = Schedule::parse(&text) {
            prop_assert!(error.to_string().contains('^'));
        }
    }

    /// Pieces of the language in any order come closer to it than letters do.
    #[test]
    fn no_pieces_make_a_plan_panic(pieces in proptest::collection::vec(0usize..400, 0..16)) {
        let names = ALL.iter().map(|e| e.name).chain(ALIASES.iter().map(|a| a.0)).chain(CURVES.iter().map(|c| c.name));
        let hypers = ALL.iter().flat_map(|e| e.hyper.iter().map(|h| h.name));
        let marks = ["(", ")", "(", ")", ",", "=", "|", "{", "}", ":", ";", "%", "-", "+", ".", "e", "é", "\n", "\t", "\u{a0}",
            "\u{200b}", "0", "1", "1e999", "1e-999", "-1", "1_0", "5%", "3 steps", "2 epochs", "true", "false", "until", "then",
            "lr=", "lr", "NaN", "inf", "warmup=", "over=", "every=", "end="];
        let words: Vec<&str> = names.chain(hypers).chain(STAGES.iter().map(|s| s.name)).chain(marks).collect();
        let text: String = pieces.iter().map(|&i| words[i % words.len()]).collect();
        match Plan::parse(&text) {
            Ok(plan) => {
                let printed = plan.to_string();
                prop_assert_eq!(Plan::parse(&printed).map(|p| p.to_string()), Ok(printed), "{}", text);
            }
            Err(error) => prop_assert!(error.to_string().contains('^')),
        }
    }
}

fn error(text: &str) -> String {
    Plan::parse(text).unwrap_err().to_string()
}

#[test]
fn an_unknown_name_is_pointed_at_with_the_nearest_one() {
    assert_eq!(
        error("clip(1) | adma(lr=0.1)"),
        "there is no optimizer \"adma\"\n  clip(1) | adma(lr=0.1)\n            ^^^^ did you mean \"adam\"?"
    );
    assert!(error("Adam").ends_with("did you mean \"adam\"?"));
    assert!(error("nestrov").ends_with("did you mean \"nesterov\"?"));
    assert!(error("cilp(1) | adam").ends_with("did you mean \"clip\"?"));
    let all = error("wibblewobble");
    for name in
        ALL.iter().map(|e| e.name).chain(ALIASES.iter().map(|a| a.0)).chain(STAGES.iter().map(|s| s.name))
    {
        assert!(all.contains(name), "{all}");
        // Every name is known as it is printed.
        let required = STAGES.iter().filter(|s| s.name == name).flat_map(|s| s.hyper);
        let required: Vec<&str> = required.filter(|h| h.default.is_nan()).map(|_| "1").collect();
        let call = if required.is_empty() { name.into() } else { format!("{name}({})", required.join(", ")) };
        let text = match STAGES.iter().find(|s| s.name == name) {
            Some(stage) if stage.before => format!("{call} | sgd"),
            Some(_) => format!("sgd | {call}"),
            None => call,
        };
        Plan::parse(&text).unwrap();
    }
    assert_eq!(
        error("adam(beta3=0.9)"),
        "adam has no hyperparameter \"beta3\"\n  adam(beta3=0.9)\n       ^^^^^^^^^ did you mean \"beta1\"?"
    );
    assert!(error("adam(momentum=0.9)").ends_with("^^^^^^^^^^^^ it has lr, beta1, beta2, eps, weight_decay"));
    assert!(error("adam | ema(0.9) | wibble").starts_with("there is no such rule or stage"));
    assert!(error("ema(dekay=0.9)").starts_with("ema stands after the rule"));
    assert!(error("sgd | ema(dekay=0.9)").ends_with("did you mean \"decay\"?"));
}

#[test]
fn a_wrong_value_is_pointed_at() {
    assert_eq!(
        error("adam(lr=0.1, beta1=1.2)"),
        "beta1 must be in [0, 1), got 1.2\n  adam(lr=0.1, beta1=1.2)\n                     ^^^"
    );
    assert_eq!(
        error("adam(0.1, 1.2)"),
        "beta1 must be in [0, 1), got 1.2\n  adam(0.1, 1.2)\n            ^^^"
    );
    assert_eq!(error("adam(lr=-1)"), "lr must be in [0, ∞), got -1\n  adam(lr=-1)\n          ^^");
    assert_eq!(error("adam(eps=true)"), "eps takes a number, got true\n  adam(eps=true)\n           ^^^^");
    assert_eq!(
        error("sgd(momentum=0.9, nesterov=1)"),
        "nesterov takes true or false, got 1\n  sgd(momentum=0.9, nesterov=1)\n                             ^"
    );
    assert!(error("adam(lr=true)").starts_with("lr takes a number or a schedule, got true"));
    assert!(error("adam(lr=5%)").starts_with("lr takes a number or a schedule, got 5%"));
    assert!(error("adam(beta1=cosine)").starts_with("beta1 takes a number, got cosine"));
    assert!(error("adam(beta1=2 steps)").starts_with("beta1 takes a number, got 2 steps"));
    assert!(error("adam(lr=cosine(0.1, over=-5%))").starts_with("over must be in [0, ∞), got -5%"));
    assert!(error("clip | adam").starts_with("clip needs max_norm: "));
    assert!(error("adam(1, 0.9, 0.9, 1, 0, 7)").starts_with("adam takes no more values than lr, beta1"));
}

#[test]
fn nothing_is_given_twice() {
    assert_eq!(
        error("adam(lr=0.1, lr=0.2)"),
        "lr is given twice\n  adam(lr=0.1, lr=0.2)\n               ^^^^^^"
    );
    assert!(error("adam(0.1, lr=0.2)").starts_with("lr is given twice"));
    assert!(error("adam(0.1, 0.9, beta1=0.8)").starts_with("beta1 is given twice"));
    assert!(error("clip(1) | clip(2) | adam").starts_with("clip stands here twice"));
    assert!(error("adam | ema | ema(0.5)").starts_with("ema stands here twice"));
    assert!(
        error("adam | sgd").starts_with("a chain has one rule\n  adam | sgd\n         ^^^ there are sgd, ")
    );
}

#[test]
fn a_stage_has_its_place() {
    assert_eq!(error("adam | clip(1)"), "clip stands before the rule\n  adam | clip(1)\n         ^^^^");
    assert_eq!(error("ema | adam"), "ema stands after the rule\n  ema | adam\n  ^^^");
    assert_eq!(error("clip(1)"), "a chain needs a rule, as in clip(1) | adam\n  clip(1)\n  ^^^^^^^");
    assert!(error("{ weight: adam; weight: sgd }").starts_with("the group \"weight\" stands here twice"));
    assert!(error("").starts_with("expected a name, found the end"));
}

#[test]
fn values_that_cannot_go_together_are_refused() {
    assert_eq!(
        error("sgd(nesterov=true)"),
        "nesterov=true needs a momentum above 0\n  sgd(nesterov=true)\n      ^^^^^^^^^^^^^"
    );
    assert!(error("nesterov(momentum=0)").starts_with("nesterov=true needs a momentum above 0"));
    assert!(error("nesterov(dampening=0.1)").starts_with("nesterov=true has no dampening"));
    assert!(error("sgd(dampening=0.1)").starts_with("dampening acts on momentum, and momentum is 0"));
}

#[test]
fn aliases_are_what_they_stand_for() {
    for (name, stands_for, _) in ALIASES {
        let (alias, plain) = (Plan::parse(name).unwrap(), Plan::parse(stands_for).unwrap());
        assert_eq!(alias.to_string(), plain.to_string());
        assert_eq!(alias.short_name(), name);
        assert_eq!(run(name), run(stands_for));
    }
    // What is given goes before what the alias presets.
    let plan = Plan::parse("momentum(0.1, 0.5, weight_decay=0.01)").unwrap();
    assert_eq!(plan.to_string(), "sgd(lr=0.1, momentum=0.5, dampening=0, weight_decay=0.01, nesterov=false)");
    assert_eq!(Plan::parse("nesterov(nesterov=false)").unwrap().short_name(), "momentum");
    assert_eq!(Plan::parse("sgd(momentum=0.9)").unwrap().short_name(), "momentum");
    assert!(Plan::parse("gd | ema").unwrap().is_plain_descent());
    assert!(
        !Plan::parse("momentum").unwrap().is_plain_descent()
            && !Plan::parse("adam").unwrap().is_plain_descent()
    );
}

/// `--lr` and `--schedule` fill what the expression leaves open.
#[test]
fn an_open_rate_can_be_filled() {
    for entry in ALL {
        let mut plan = Plan::parse(entry.name).unwrap();
        assert!(plan.lr_is_open());
        // Built as it is, it takes the rule's default.
        let built = Run::<f64>::new(entry.name, &layout(&[1]), &setup(), &[0.0]).optimizer.expression();
        assert!(
            built.starts_with(&format!("{}(lr={}", entry.name, thalweg_core::expr::number(entry.lr))),
            "{built}"
        );
        *plan.lr_mut() = Some(Schedule::parse("cosine").unwrap());
        assert!(plan.lr_is_open(), "the curve is known, its rate is not");
        assert_eq!(Plan::parse(&plan.to_string()).unwrap().to_string(), plan.to_string());
        plan.fill_lr(0.25);
        assert!(!plan.lr_is_open());
        assert!(plan.to_string().starts_with(&format!("{}(lr=cosine(0.25, end=0, over=100%)", entry.name)));
        plan.fill_lr(0.5);
        assert!(plan.to_string().contains("cosine(0.25"), "what is given stays");
    }
    let mut plan = Plan::parse("adam(lr=cosine(warmup=5%))").unwrap();
    assert!(plan.lr_is_open());
    plan.fill_lr(0.1);
    assert!(plan.to_string().starts_with("adam(lr=cosine(0.1, end=0, over=100%, warmup=5%), beta1=0.9"));
    let mut plan = Plan::parse("adam(lr=0.1)").unwrap();
    plan.fill_lr(0.2);
    assert!(plan.to_string().starts_with("adam(lr=0.1"));
}

#[test]
fn hostile_text_is_refused_in_words() {
    let deep = |open: &str, n: usize| open.repeat(n);
    for text in [
        deep("(", 100_000),
        deep("adam(", 100_000),
        deep("adam(lr=", 10_000),
        deep("{", 100_000),
        deep("adam|", 10_000),
        format!("adam(lr={})", "9".repeat(100_000)),
        format!("adam({})", "0.1,".repeat(10_000)),
        format!("{}(lr=1)", "x".repeat(100_000)),
        "adam(lr=1e999)".into(),
        "adam(lr=1e-999999999999)x".into(),
        "adam(lr=--1)".into(),
        "adam(lr=1__.)x".into(),
        "\u{feff}adam(".into(),
        "adam\0".into(),
        "аdam".into(),
        "🦀".into(),
        "adam(lr=🦀)".into(),
    ] {
        let error = Plan::parse(&text).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 3, "{}", &error[..error.len().min(200)]);
    }
    // A caret stands under its character, however many bytes come before it.
    assert!(
        error("éé | adam").starts_with("there is no optimizer \"éé\"\n  éé | adam\n  ^^ there are sgd, ")
    );
}
