//! The documentation page of all optimizers, made from the registry.

use thalweg_core::hyper::Hyper;
use thalweg_optim::Plan;
use thalweg_optim::chain::STAGES;
use thalweg_optim::rules::{ALIASES, ALL, Kind};
use thalweg_optim::schedule::CURVES;

use super::describe::memory;
use super::prose;

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
         What stands first is the documentation above a rule's code; the formula behind it, *as the code runs it*, is traced from \
         that code with the driver's around it: `g` is the gradient of a parameter, `t` counts steps from 1, a name on the right of \
         an arrow is the value so far (`ₜ₋₁`: the one before this step), and x/0 counts as 0. Lines with a dash say in words what is \
         done to whole tensors, or to the whole vector, which is not traced. Memory is in numbers a parameter, of a 64×64 matrix \
         where the rule looks at a tensor's shape.\n\n| rule | memory | bytes a step (f32) | for |\n|---|---|---|---|\n",
    );
    for entry in ALL {
        let plan = Plan::parse(entry.name).ok();
        let memory = plan.as_ref().map_or(String::new(), memory);
        let bytes = match (&plan, entry.kind) {
            (Some(plan), Kind::Elementwise) => plan.trace().bytes(4, false).to_string(),
            _ => String::new(),
        };
        let name = entry.name;
        text.push_str(&format!(
            "| [`{name}`](#{name}) | {memory} | {bytes} | {} |\n",
            entry.summary.replace('|', "\\|")
        ));
    }
    text.push('\n');
    for entry in ALL {
        text.push_str(&format!("## {}\n\n{}\n", entry.name, prose::plain(entry.about)));
        if let Ok(plan) = Plan::parse(entry.name) {
            let trace = plan.trace();
            let lines =
                trace.formula.iter().map(|l| format!("{}{}\n", if l.traced { "" } else { "– " }, l.text));
            text.push_str(&format!("As the code runs it:\n\n```text\n{}```\n\n", lines.collect::<String>()));
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
        text.push_str(&format!("{}\n", prose::plain(stage.about)));
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
