//! [`Reader`]: what an expression's call says.

use thalweg_core::expr::{Arg, Call, ExprError, Value};
use thalweg_core::hyper::{self, Hyper};
use thalweg_core::suggest::nearest;

use super::{ALL, Item};

/// A call, and the text that it stands in.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The call.
    pub call: &'a Call,
    /// The text.
    pub source: &'a str,
}

impl<'a> Reader<'a> {
    /// The values of `declared`, defaults filled in; arguments named in `words` are left out.
    ///
    /// # Errors
    /// As for [`hyper::resolve`].
    pub fn values(&self, declared: &[Hyper], words: &[&str]) -> Result<Vec<f64>, ExprError> {
        let is_word = |arg: &Arg| arg.name.as_deref().is_some_and(|name| words.contains(&name));
        if self.call.args.iter().any(is_word) {
            let args = self.call.args.iter().filter(|arg| !is_word(arg)).cloned().collect();
            return hyper::resolve(&Call { args, ..self.call.clone() }, declared, self.source);
        }
        hyper::resolve(self.call, declared, self.source)
    }
    /// As [`Reader::values`], each a whole number.
    ///
    /// # Errors
    /// As there, and a value with a fraction.
    pub fn whole(&self, declared: &[Hyper]) -> Result<Vec<usize>, ExprError> {
        let values = self.values(declared, &[])?;
        match declared.iter().zip(&values).find(|(_, v)| v.fract() != 0.0) {
            None => Ok(values.into_iter().map(|v| v as usize).collect()),
            Some((hyper, v)) => {
                let message = format!("{} must be a whole number, got {v}", hyper.name);
                Err(ExprError::new(self.source, self.call.span, message))
            }
        }
    }
    /// The call for rows and the call for columns: of an argument for one of `names` (all of them in order in `declared`) that is
    /// `size(rows, columns)`, each has its own; of all others both have the same.
    ///
    /// # Errors
    /// A `size` that has not two values.
    pub fn sides(&self, declared: &[Hyper], names: &[&str]) -> Result<[Call; 2], ExprError> {
        let mut sides = [self.call.clone(), self.call.clone()];
        for (nth, arg) in self.call.args.iter().enumerate() {
            let name = arg.name.as_deref().or(declared.get(nth).map(|h| h.name)).unwrap_or_default();
            let Value::Call(Call { name: word, args, .. }) = &arg.value else { continue };
            if word != "size" || !names.contains(&name) {
                continue;
            }
            let [rows, columns] = &args[..] else {
                let message = format!("size has the rows and the columns of {name}, as in {name}=size(3, 5)");
                return Err(ExprError::new(self.source, arg.value_span, message));
            };
            for (side, one) in sides.iter_mut().zip([rows, columns]) {
                side.args[nth].value = one.value.clone();
                side.args[nth].value_span = one.value_span;
            }
        }
        Ok(sides)
    }
    /// The arguments without names, then those with.
    pub fn split(&self) -> (Vec<&'a Arg>, Call) {
        let (bare, named): (Vec<_>, Vec<_>) = self.call.args.iter().partition(|arg| arg.name.is_none());
        (bare, Call { args: named.into_iter().cloned().collect(), ..self.call.clone() })
    }
    /// The call that is given as `name=call`, if any: a word is a call without arguments.
    ///
    /// # Errors
    /// When the value is a number, or there are two.
    pub fn word(&self, name: &str) -> Result<Option<&'a Call>, ExprError> {
        let mut found = None;
        for arg in self.call.args.iter().filter(|arg| arg.name.as_deref() == Some(name)) {
            let Value::Call(call) = &arg.value else {
                let message = format!("{name} takes a name, got {}", arg.value);
                return Err(ExprError::new(self.source, arg.value_span, message));
            };
            if found.replace(call).is_some() {
                return Err(ExprError::new(self.source, arg.span, format!("{name} is given twice")));
            }
        }
        Ok(found)
    }
    /// As [`Reader::word`], but a number is none.
    ///
    /// # Errors
    /// When there are two.
    pub fn word_or_number(&self, name: &str) -> Result<Option<&'a Call>, ExprError> {
        let is_call = |arg: &&Arg| arg.name.as_deref() == Some(name) && matches!(arg.value, Value::Call(_));
        if self.call.args.iter().any(|arg| is_call(&arg)) { self.word(name) } else { Ok(None) }
    }
    /// The layers that the call stands for.
    ///
    /// # Errors
    /// An unknown layer (with the nearest known one), or what its reader finds wrong.
    pub fn items(&self) -> Result<Vec<Item>, ExprError> {
        let Some(entry) = ALL.iter().find(|e| e.name == self.call.name) else {
            let names = ALL.iter().map(|e| e.name);
            let help = match nearest(&self.call.name, names.clone()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
            };
            let message = format!("there is no layer {:?}", self.call.name);
            return Err(ExprError::new(self.source, self.call.span, message).help(help));
        };
        let modules = (entry.read)(self)?;
        Ok(modules.into_iter().map(|module| Item::new(module, self.call.span)).collect())
    }
}
