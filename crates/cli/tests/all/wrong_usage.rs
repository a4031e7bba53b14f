//! The command used wrongly: exit status 2, with a caret and a suggestion where there is one, before anything is read.

use crate::common::Scene;

const FIT: &str = "fit data/diabetes.csv --target progression --out run";

fn refused(extra: &str, says: &[&str]) {
    Scene::new().refuses(&format!("{FIT} {extra}"), 2, says);
}

#[test]
fn unknown_names_get_a_caret_and_a_suggestion() {
    refused("--optimizer adm", &["there is no optimizer \"adm\"", "  adm\n  ^^^ did you mean \"adam\"?"]);
    refused(
        "--optimizer 'clip(1) | adam(beta=0.9)'",
        &["adam has no hyperparameter \"beta\"", "                 ^^^^^^^^ did you mean \"beta1\"?"],
    );
    refused(
        "--optimizer 'adam(lr=cosin(0.1))'",
        &["there is no schedule \"cosin\"", "^^^^^ did you mean \"cosine\"?"],
    );
    refused("--optimizer 'adam(lr=0.1'", &["expected ',' or ')', found the end"]);
    refused("--schedule cosin", &["there is no schedule \"cosin\"", "^^^^^ did you mean \"cosine\"?"]);
    refused("--loss squred", &["there is no loss \"squred\"", "^^^^^^ did you mean \"squared\"?"]);
    refused("--loss huber(delt=2)", &["huber has no hyperparameter \"delt\"", "did you mean \"delta\"?"]);
    refused("--metric rsme", &["there is no metric \"rsme\"", "did you mean \"rmse\"?"]);
    refused("--model mpl(3)", &["there is no layer \"mpl\"", "  mpl(3)\n  ^^^ did you mean \"mlp\"?"]);
    refused("--taget x", &["unexpected argument '--taget'", "'--target'"]);
    refused("--task clases", &["--task", "classes or number"]);
    refused("--types bmi=numbr", &["--types bmi", "number, category, date or ignore"]);
    refused("--types bmi", &["--types takes COL=TYPE"]);
    let scene = Scene::new();
    scene.refuses("fitt", 2, &["unrecognized subcommand 'fitt'", "'fit'"]);
    scene.refuses("optimizers adm", 2, &["\"adm\"", "did you mean \"adam\"?"]);
}

#[test]
fn rules_on_all_rows_take_no_batch() {
    let says = "lbfgs works on all 354 training rows at once, and --batch 16 asks for fewer";
    refused("--optimizer lbfgs --batch 16", &[says, "--batch full"]);
    refused("--optimizer '{ weight: lbfgs; rest: gd }'", &["lbfgs works on all parameters together"]);
}

#[test]
fn values_out_of_range() {
    refused("--optimizer 'adam(beta1=1.2)'", &["beta1 must be in [0, 1), got 1.2", "             ^^^"]);
    refused("--optimizer 'gd(lr=-1)'", &["lr must be in [0, ∞), got -1"]);
    refused("--optimizer 'clip(0) | gd'", &["max_norm must be in (0, ∞), got 0"]);
    refused("--optimizer 'gd(nesterov=true)'", &["nesterov", "momentum"]);
    refused("--loss quantile(2)", &["q must be in (0, 1), got 2"]);
    refused("--loss huber(0)", &["delta must be in (0, ∞), got 0"]);
    for flag in ["lr", "l1", "l2", "tolerance", "loss-tolerance"] {
        for value in ["-1", "nan", "inf"] {
            refused(&format!("--{flag}={value}"), &[&format!("--{flag} must be in [0, ∞)")]);
        }
    }
    refused("--test 1.5", &["--test: expected a fraction in (0, 1), a file or none, got 1.5"]);
    refused("--test 0", &["--test: expected a fraction"]);
    refused("--valid=-0.1", &["--valid: expected a fraction"]);
    refused("--batch 0", &["--batch: expected a number of rows from 1, or full, got \"0\""]);
    refused("--epochs 0", &["--epochs must be in [1, "]);
    refused("--epochs 18446744073709551615", &["--epochs must be in [1, "]);
    refused("--threads 100000", &["--threads", "0..=1024"]);
    refused("--seed=-1", &["'--seed <SEED>'"]);
    refused("--lr x", &["'--lr <X>'"]);
    refused("--delimiter ab", &["--delimiter takes one ASCII character or tab, got \"ab\""]);
    refused("--delimiter é", &["--delimiter takes one ASCII character"]);
    refused("--header maybe", &["--header takes yes or no, got \"maybe\""]);
    refused("--class-weight a=-5", &["the weight of class \"a\" must be in [0, ∞), got \"-5\""]);
    refused("--class-weight a", &["--class-weight: expected none, balanced or a list"]);
}

#[test]
fn one_thing_said_twice() {
    let both = |who: &str| format!("{who} both give the learning rate; leave one out");
    refused("--optimizer adam(lr=0.1) --lr 0.2", &[&both("--optimizer and --lr")]);
    refused("--optimizer adam(lr=cosine(0.1)) --lr 0.2", &[&both("--optimizer and --lr")]);
    refused("--optimizer adam(lr=0.1) --schedule cosine", &[&both("--optimizer and --schedule")]);
    refused("--schedule cosine(0.1) --lr 0.2", &[&both("--schedule and --lr")]);
    refused("--lr 0.1 --lr 0.2", &["'--lr <X>' cannot be used multiple times"]);
    // A curve in the expression leaves its rate open.
    Scene::new().ok(&format!("{FIT} -q --epochs 3 --optimizer adam(lr=cosine) --lr 0.2"));
}

#[test]
fn what_does_not_fit_the_target() {
    refused("--metric accuracy", &["the metric accuracy is for classes, and \"progression\" is a number"]);
    refused("--class-weight balanced", &["--class-weight is for classes"]);
    refused("--loss logistic", &["logistic is for two classes, and \"progression\" has 214"]);
    refused(
        "--loss logistic --task number",
        &["the loss logistic is for classes, and --task says otherwise"],
    );
    refused("--weight progression", &["\"progression\" cannot be the target and the weight at once"]);
    refused("--loss absolute --optimizer gd", &["no rate 1/L exists", "--lr 0.1 --schedule inverse_time"]);
    let scene = Scene::new();
    let iris = "fit data/iris.csv --target species --out run";
    scene.refuses(
        &format!("{iris} --metric r2"),
        2,
        &["the metric r2 is for numbers, and \"species\" is classes"],
    );
    scene.refuses(
        &format!("{iris} --metric roc_auc"),
        2,
        &["roc_auc is for two classes, and \"species\" has 3"],
    );
    scene.refuses(&format!("{iris} --loss logistic"), 2, &["logistic is for two classes", "take softmax"]);
}

#[test]
fn columns_that_are_not_there() {
    let scene = Scene::new();
    for flag in ["weight", "ignore", "keep", "split"] {
        let done = scene.refuses(
            &format!("{FIT} --{flag} bmii"),
            1,
            &["no column \"bmii\"", "did you mean \"bmi\"?"],
        );
        assert!(done.err.contains(flag), "{flag}: {}", done.err);
    }
    scene.refuses(&format!("{FIT} --types bmii=number"), 1, &["no column \"bmii\", named by --types"]);
}

#[test]
fn what_is_needed_is_asked_for() {
    let scene = Scene::new();
    scene.refuses("fit --target y", 2, &["name the table: thalweg fit DATA --target COL"]);
    scene.refuses("fit data/iris.csv", 2, &["name the column to predict: --target COL"]);
    scene.refuses("predict", 2, &["<MODEL>", "<DATA>"]);
    scene.refuses("", 2, &["Usage: thalweg <COMMAND>", "compare", "optimizers"]);
}

#[test]
fn a_configuration_file_that_is_wrong() {
    let scene = Scene::new();
    let line = "fit data/iris.csv --target species --out run --config bad.toml";
    let refused = |toml: &str, says: &[&str]| {
        scene.write("bad.toml", toml);
        scene.refuses(line, 2, says);
    };
    let says = ["bad.toml:2: there is no setting \"tagret\"", "  ^^^^^^ did you mean \"target\"?"];
    refused("seed = 1\ntagret = \"species\"\n", &says);
    refused("seed = \"x\"\n", &["bad.toml:1", "seed = \"x\"", "       ^^^"]);
    refused("seed = 1\nl2 = \n", &["bad.toml:2", "l2 ="]);
    refused("seed = -1\n", &["bad.toml:1", "seed = -1"]);
    refused("seed = 1\nseed = 2\n", &["bad.toml:2", "duplicate key"]);
    refused("[reading]\nheadr = \"no\"\n", &["bad.toml:2", "\"headr\"", "did you mean \"header\"?"]);
    // What the file says passes the same checks as flags.
    refused("loss = \"squred\"\n", &["there is no loss \"squred\"", "did you mean \"squared\"?"]);
    refused("l1 = -1.0\n", &["--l1 must be in [0, ∞), got -1"]);
    refused("optimizer = \"adam(lr=1)\"\nlr = 2.0\n", &["both give the learning rate"]);
    scene.write("bad.toml", [0xff, 0xfe, 0x00]);
    scene.refuses(line, 1, &["cannot read bad.toml"]);
    scene.refuses("fit data/iris.csv --config nowhere.toml", 1, &["cannot read nowhere.toml"]);
}
