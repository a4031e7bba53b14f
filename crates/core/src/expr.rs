//! The expression language of optimizers, models and schedules.
//!
//! ```text
//! spec   := branch ["until" dur "then" spec]            adam until 60% then sgd(lr=0.01)
//! branch := chain | "{" pattern ":" chain (";" pattern ":" chain)* "}"
//! chain  := call ("|" call)*                             clip(1) | adamw(lr=cosine(3e-4, warmup=5%)) | ema(0.999)
//! call   := name ["(" args ")"]                          a value may be a call
//! args   := arg ("," arg)*       arg := [name "="] value
//! value  := number | P% | true | false | dur | call
//! dur    := N steps | N epochs | P%
//! model  := call call*                                   conv(32) relu pool(2) flatten dense(128) relu
//! ```
//!
//! What is parsed prints back as itself (spaces aside), and every error points at its place with a caret.

use std::fmt;

/// A place in the source: first byte and the byte after the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

// Two expressions are equal when they say the same, wherever it stands.
impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A whole specification: a branch, and what follows it in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What runs first.
    pub branch: Branch,
    /// Until when, and what runs then.
    pub then: Option<(Duration, Box<Spec>)>,
}

/// A chain for all parameters, or one for each group of them.
#[derive(Clone, Debug, PartialEq)]
pub enum Branch {
    /// One chain for all.
    Chain(Chain),
    /// A name pattern and its chain, for each group.
    Groups(Vec<(String, Chain)>),
}

/// Calls that pass the gradient on to each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain(pub Vec<Call>);

/// A name with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The name.
    pub name: String,
    /// Its arguments as written.
    pub args: Vec<Arg>,
    /// Where the name stands.
    pub span: Span,
}

/// An argument: a value, with or without its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// The name before `=`.
    pub name: Option<String>,
    /// The value.
    pub value: Value,
    /// Where the whole argument stands.
    pub span: Span,
    /// Where the value stands.
    pub value_span: Span,
}

/// What an argument can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A number with `%`.
    Percent(f64),
    /// `true` or `false`.
    Switch(bool),
    /// A number of steps or epochs.
    Duration(Duration),
    /// A call, or a bare word.
    Call(Call),
}

/// A length of time in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Duration {
    /// Optimizer steps.
    Steps(f64),
    /// Passes over the training data.
    Epochs(f64),
    /// Percent of the run.
    Percent(f64),
}

impl Duration {
    /// The length in steps, rounded, of a run of `total` steps with `per_epoch` steps in an epoch.
    pub fn steps(self, total: u64, per_epoch: u64) -> u64 {
        let steps = match self {
            Duration::Steps(n) => n,
            Duration::Epochs(n) => n * per_epoch as f64,
            Duration::Percent(p) => p / 100.0 * total as f64,
        };
        steps.round().max(0.0) as u64
    }
}

/// Prints a number as it is written in expressions: the shortest text that reads back as the same number.
pub fn number(x: f64) -> String {
    let plain = format!("{x}");
    let short = format!("{x:e}");
    if plain.len() > short.len() + 1 { short } else { plain }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Duration::Steps(n) => write!(f, "{} steps", number(*n)),
            Duration::Epochs(n) => write!(f, "{} epochs", number(*n)),
            Duration::Percent(p) => write!(f, "{}%", number(*p)),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(x) => f.write_str(&number(*x)),
            Value::Percent(x) => write!(f, "{}%", number(*x)),
            Value::Switch(b) => write!(f, "{b}"),
            Value::Duration(d) => d.fmt(f),
            Value::Call(c) => c.fmt(f),
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (i, arg) in self.args.iter().enumerate() {
            f.write_str(if i == 0 { "(" } else { ", " })?;
            if let Some(name) = &arg.name {
                write!(f, "{name}=")?;
            }
            arg.value.fmt(f)?;
        }
        if self.args.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, call) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " | " })?;
            call.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.branch {
            Branch::Chain(chain) => chain.fmt(f)?,
            Branch::Groups(groups) => {
                for (i, (pattern, chain)) in groups.iter().enumerate() {
                    write!(f, "{}{pattern}: {chain}", if i == 0 { "{ " } else { "; " })?;
                }
                f.write_str(" }")?;
            }
        }
        match &self.then {
            Some((until, then)) => write!(f, " until {until} then {then}"),
            None => Ok(()),
        }
    }
}

/// What is wrong with an expression, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct ExprError {
    source: String,
    span: Span,
    message: String,
    help: Option<String>,
}

impl ExprError {
    /// An error at `span` of `source`.
    pub fn new(source: &str, span: Span, message: impl Into<String>) -> Self {
        Self { source: source.into(), span, message: message.into(), help: None }
    }
    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl std::error::Error for ExprError {}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before = self.source.get(..self.span.start).map_or(0, |s| s.chars().count());
        let under = self.source.get(self.span.start..self.span.end).map_or(1, |s| s.chars().count()).max(1);
        writeln!(f, "{}", self.message)?;
        writeln!(f, "  {}", self.source.replace(['\n', '\t'], " "))?;
        write!(f, "  {}{}", " ".repeat(before), "^".repeat(under))?;
        match &self.help {
            Some(help) => write!(f, " {help}"),
            None => Ok(()),
        }
    }
}

/// Parses a whole specification.
///
/// ```
/// use thalweg_core::expr;
/// let spec = expr::parse("clip(1) | adamw(lr=cosine(3e-4, warmup=5%)) | ema(0.999)").unwrap();
/// assert_eq!(spec.to_string(), "clip(1) | adamw(lr=cosine(3e-4, warmup=5%)) | ema(0.999)");
/// ```
///
/// # Errors
/// The first place where the text stops being an expression.
pub fn parse(source: &str) -> Result<Spec, ExprError> {
    let mut p = Parser { source, at: 0 };
    let spec = p.spec()?;
    p.end(spec)
}

/// Parses a single call, as in `huber(delta=1.35)`.
///
/// # Errors
/// As for [`parse`].
pub fn parse_call(source: &str) -> Result<Call, ExprError> {
    let mut p = Parser { source, at: 0 };
    let call = p.call()?;
    p.end(call)
}

/// Parses calls that follow each other, parted by blanks: the layers of a model, as in `conv(32) relu flatten`.
///
/// # Errors
/// As for [`parse`].
pub fn parse_calls(source: &str) -> Result<Vec<Call>, ExprError> {
    let mut p = Parser { source, at: 0 };
    let mut calls = vec![p.call()?];
    while p.peek().is_some() {
        calls.push(p.call()?);
    }
    Ok(calls)
}

/// Parses a single value, as in `cosine(0.1)` or `0.05`.
///
/// # Errors
/// As for [`parse`].
pub fn parse_value(source: &str) -> Result<Value, ExprError> {
    let mut p = Parser { source, at: 0 };
    let value = p.value()?;
    p.end(value)
}

/// Cuts a list at its top-level commas and trims the parts: `"gd, sgd(lr=1, momentum=0.9)"` has two.
pub fn split_list(source: &str) -> Vec<&str> {
    let mut depth = 0i32;
    let mut start = 0;
    let mut parts = Vec::new();
    for (i, c) in source.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(source[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(source[start..].trim());
    parts
}

/// Calls nest at most this deep: a hostile expression must not overflow the stack.
const DEPTH: usize = 32;

struct Parser<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.source.len() - self.rest().trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_blanks();
        self.rest().chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        self.skip_blanks();
        let after = self.rest().strip_prefix(word);
        let found = after.is_some_and(|s| !s.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
        if found {
            self.at += word.len();
        }
        found
    }

    /// An error at the next character.
    fn error(&mut self, expected: &str) -> ExprError {
        let found = match self.peek() {
            Some(c) => format!("{c:?}"),
            None => "the end".into(),
        };
        let end = self.at + self.rest().chars().next().map_or(0, char::len_utf8);
        let span = Span { start: self.at, end };
        ExprError::new(self.source, span, format!("expected {expected}, found {found}"))
    }

    fn end<T>(mut self, parsed: T) -> Result<T, ExprError> {
        match self.peek() {
            None => Ok(parsed),
            Some(_) => Err(self.error("the end of the expression")),
        }
    }

    fn spec(&mut self) -> Result<Spec, ExprError> {
        let branch = if self.eat('{') { self.groups()? } else { Branch::Chain(self.chain()?) };
        let then = if self.eat_word("until") {
            let until = self.duration()?;
            if !self.eat_word("then") {
                return Err(self.error("\"then\""));
            }
            Some((until, Box::new(self.spec()?)))
        } else {
            None
        };
        Ok(Spec { branch, then })
    }

    fn groups(&mut self) -> Result<Branch, ExprError> {
        let mut groups = Vec::new();
        loop {
            self.skip_blanks();
            let Some(len) = self.rest().find([':', ';', '}']).filter(|&n| n > 0) else {
                return Err(self.error("a name pattern"));
            };
            let pattern = self.rest()[..len].trim().to_string();
            self.at += len;
            if !self.eat(':') {
                return Err(self.error("':' after the name pattern"));
            }
            groups.push((pattern, self.chain()?));
            if self.eat('}') {
                return Ok(Branch::Groups(groups));
            }
            if !self.eat(';') {
                return Err(self.error("';' or '}'"));
            }
        }
    }

    fn chain(&mut self) -> Result<Chain, ExprError> {
        let mut calls = vec![self.call()?];
        while self.eat('|') {
            calls.push(self.call()?);
        }
        Ok(Chain(calls))
    }

    fn name(&mut self) -> Result<(String, Span), ExprError> {
        self.skip_blanks();
        let start = self.at;
        let len = self
            .rest()
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'))
            .unwrap_or(self.rest().len());
        if len == 0 || !self.rest().starts_with(|c: char| c.is_alphabetic()) {
            return Err(self.error("a name"));
        }
        self.at += len;
        Ok((self.source[start..self.at].to_string(), Span { start, end: self.at }))
    }

    fn call(&mut self) -> Result<Call, ExprError> {
        self.call_in(0)
    }

    fn call_in(&mut self, depth: usize) -> Result<Call, ExprError> {
        let (name, span) = self.name()?;
        if depth > DEPTH {
            return Err(ExprError::new(self.source, span, format!("calls nest more than {DEPTH} deep")));
        }
        let mut args = Vec::new();
        if self.eat('(') && !self.eat(')') {
            loop {
                args.push(self.arg(depth)?);
                if self.eat(')') {
                    break;
                }
                if !self.eat(',') {
                    return Err(self.error("',' or ')'"));
                }
            }
        }
        Ok(Call { name, args, span })
    }

    fn arg(&mut self, depth: usize) -> Result<Arg, ExprError> {
        self.skip_blanks();
        let start = self.at;
        let name = match self.name() {
            Ok((name, _)) if self.eat('=') => Some(name),
            _ => {
                self.at = start;
                None
            }
        };
        self.skip_blanks();
        let value_start = self.at;
        let value = self.value_in(depth)?;
        let end = self.at;
        Ok(Arg { name, value, span: Span { start, end }, value_span: Span { start: value_start, end } })
    }

    fn value(&mut self) -> Result<Value, ExprError> {
        self.value_in(0)
    }

    fn value_in(&mut self, depth: usize) -> Result<Value, ExprError> {
        if self.peek().is_some_and(|c| c.is_ascii_digit() || "+-.".contains(c)) {
            let x = self.float()?;
            return Ok(match self.unit(x) {
                Some(Duration::Percent(p)) => Value::Percent(p),
                Some(duration) => Value::Duration(duration),
                None => Value::Number(x),
            });
        }
        if self.eat_word("true") {
            return Ok(Value::Switch(true));
        }
        if self.eat_word("false") {
            return Ok(Value::Switch(false));
        }
        if !self.peek().is_some_and(char::is_alphabetic) {
            return Err(self.error("a value"));
        }
        Ok(Value::Call(self.call_in(depth + 1)?))
    }

    fn float(&mut self) -> Result<f64, ExprError> {
        self.skip_blanks();
        let rest = self.rest().as_bytes();
        let mut len = 0;
        while len < rest.len() {
            let exponent_sign = len > 0 && matches!(rest[len - 1], b'e' | b'E');
            match rest[len] {
                b'0'..=b'9' | b'.' | b'_' => {}
                b'e' | b'E' if rest.get(len + 1).is_some_and(|c| c.is_ascii_digit() || b"+-".contains(c)) => {
                }
                b'+' | b'-' if len == 0 || exponent_sign => {}
                _ => break,
            }
            len += 1;
        }
        let text = self.rest()[..len].replace('_', "");
        let Ok(x) = text.parse::<f64>() else { return Err(self.error("a number")) };
        self.at += len;
        Ok(x)
    }

    fn unit(&mut self, x: f64) -> Option<Duration> {
        if self.eat('%') {
            return Some(Duration::Percent(x));
        }
        for (words, make) in [
            (["steps", "step"], Duration::Steps as fn(f64) -> Duration),
            (["epochs", "epoch"], Duration::Epochs),
        ] {
            if words.iter().any(|w| self.eat_word(w)) {
                return Some(make(x));
            }
        }
        None
    }

    fn duration(&mut self) -> Result<Duration, ExprError> {
        let x = self.float()?;
        Ok(self.unit(x).unwrap_or(Duration::Epochs(x)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_parsed_prints_back_as_itself() {
        for text in [
            "adam",
            "adam(lr=0.05)",
            "clip(1) | adamw(lr=cosine(3e-4, warmup=5%)) | ema(0.999)",
            "adam until 60% then sgd(lr=0.01)",
            "adam until 100 steps then sgd(lr=0.01) until 2 epochs then gd",
            "{ matrices: muon(lr=0.02); rest: adamw | ema(0.9) }",
            "sgd(lr=step(0.1, every=2 epochs, gamma=0.5), nesterov=true, momentum=0.9)",
            "sgd(lr=1e-12)",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn errors_point_at_their_place() {
        let error = parse("adam(lr=)").unwrap_err().to_string();
        assert_eq!(error, "expected a value, found ')'\n  adam(lr=)\n          ^");
        let error = parse("adam lr").unwrap_err().to_string();
        assert!(error.contains("expected the end of the expression, found 'l'"), "{error}");
        for wrong in [
            "",
            "(",
            "adam(",
            "adam(lr=1",
            "adam |",
            "1",
            "adam(lr=1e)",
            "adam until then",
            "{a}",
            "{:x}",
            "a(b(}",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let deep = format!("{}1{}", "a(".repeat(5000), ")".repeat(5000));
        assert!(parse(&deep).unwrap_err().to_string().contains("nest"));
    }

    #[test]
    fn calls_follow_each_other() {
        let calls = parse_calls(" conv(32, kernel=3) relu  residual(conv(8), relu) ").unwrap();
        let printed: Vec<String> = calls.iter().map(Call::to_string).collect();
        assert_eq!(printed, ["conv(32, kernel=3)", "relu", "residual(conv(8), relu)"]);
        let error = parse_calls("relu | relu").unwrap_err().to_string();
        assert_eq!(error, "expected a name, found '|'\n  relu | relu\n       ^");
    }

    #[test]
    fn lists_split_on_top_level_commas() {
        assert_eq!(
            split_list("gd, sgd(lr=1, momentum=0.9) ,adam"),
            ["gd", "sgd(lr=1, momentum=0.9)", "adam"]
        );
        assert_eq!(split_list("gd"), ["gd"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z0-9(){}=,.;:|% é-]{0,40}") {
            if let Ok(spec) = parse(&text) {
                let printed = spec.to_string();
                prop_assert_eq!(parse(&printed).map_err(|e| e.to_string()), Ok(spec), "{}", printed);
            }
        }
    }
}
