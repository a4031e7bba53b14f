//! The documentation page of all optimizers, made from the registry.

use thalweg_core::hyper::Hyper;
use thalweg_optim::Plan;
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALIASES, ALL};
use thalweg_optim::schedule::CURVES;

use super::describe::numbers_per_parameter;
use crate::show;

fn hypers(hyper: &[Hyper], text: &mut String) {
    if hyper.is_empty() {
        return;
    }
    text.push_str("| value | default | range | meaning |\n|---|---|---|---|\n");
    for h in hyper {
        let default = if h.default.is_nan() { "required".into() } else { h.print(h.default) };
        text.push_str(&format!(
            "| `{}` | {default} | {} | {} |\n",
            h.name,
            h.range,
            h.doc.replace('|', "\\|")
        ));
    }
    text.push('\n');
}

/// The page, in Markdown.
pub fn page() -> String {
    let mut text = String::from(
        "# Optimizers\n\nMade by `thalweg optimizers --markdown` from the registry that the command, the library and the tests read. \
         The formulas are traced from the code that runs: `g` is the gradient of a parameter, `t` counts steps from 1, a name on the \
         right of an arrow is the value so far (`ₜ₋₁`: the one before this step), and x/0 counts as 0. Memory is in numbers a \
         parameter, of a 64×64 matrix where the rule looks at a tensor's shape.\n\n| rule | memory | bytes a step (f32) | for |\n|---|---|---|---|\n",
    );
    for entry in ALL {
        let plan = Plan::parse(entry.name).ok();
        let memory = plan.as_ref().and_then(numbers_per_parameter).map_or("".into(), |n| show::number(n, 3));
        let bytes = plan.and_then(|p| p.trace()).map_or("".into(), |t| t.bytes(4, false).to_string());
        let name = entry.name;
        text.push_str(&format!(
            "| [`{name}`](#{name}) | {memory} | {bytes} | {} |\n",
            entry.summary.replace('|', "\\|")
        ));
    }
    text.push('\n');
    for entry in ALL {
        text.push_str(&format!("## {}\n\n{}. Source: {}.\n\n", entry.name, entry.summary, entry.source));
        if let Some(trace) = Plan::parse(entry.name).ok().and_then(|p| p.trace()) {
            text.push_str(&format!("```text\n{}\n```\n\n", trace.formula.join("\n")));
        }
        text.push_str(&format!(
            "Learning rate: {} where nothing is said.\n\n",
            thalweg_core::expr::number(entry.lr)
        ));
        hypers(entry.hyper, &mut text);
    }
    text.push_str("# Short names\n\n");
    for (name, stands_for, summary) in ALIASES {
        text.push_str(&format!("- `{name}` = `{stands_for}`: {summary}\n"));
    }
    text.push_str("\n# Around an optimizer\n\nAs in `clip(1) | adam | ema(0.999)`.\n\n");
    for stage in STAGES {
        let place = if stage.before { "before the rule" } else { "after the rule" };
        text.push_str(&format!("## {}\n\n{} ({place}).\n\n", stage.name, stage.summary));
        hypers(stage.hyper, &mut text);
    }
    text.push_str("# Schedules\n\nAs in `adam(lr=cosine(0.05, warmup=5%))`; k counts steps from 0 after the warm-up.\n\n");
    for curve in CURVES {
        text.push_str(&format!("## {}\n\n`{}`\n\n", curve.name, curve.formula));
        text.push_str("| value | default | range | meaning |\n|---|---|---|---|\n");
        for [name, default, range, meaning] in super::schedule::values(curve) {
            text.push_str(&format!("| `{name}` | {default} | {range} | {} |\n", meaning.replace('|', "\\|")));
        }
        text.push('\n');
    }
    text
}
