//! Python's behaviour where chat templates can see it.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

pub(crate) mod filters;
pub(crate) mod json;
pub(crate) mod methods;
pub(crate) mod repr;
pub(crate) mod tests;
pub(crate) mod time;

/// `str(value)` where that differs from minijinja's own text: floats, lists and maps.
///
/// # Errors
/// The template has used up its budget.
pub(crate) fn text(state: &State, value: &Value) -> Result<Option<String>, Error> {
    match value.kind() {
        ValueKind::Number if !value.is_integer() => Ok(f64::try_from(value.clone()).ok().map(repr::float)),
        ValueKind::Seq | ValueKind::Map => repr::repr(value, &|fuel| state.consume_fuel(fuel)).map(Some),
        _ => Ok(None),
    }
}
