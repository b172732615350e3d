//! Python's behaviour where chat templates can see it.

use minijinja::value::{Value, ValueKind};

pub(crate) mod filters;
pub(crate) mod json;
pub(crate) mod methods;
pub(crate) mod repr;
pub(crate) mod tests;
pub(crate) mod time;

/// `str(value)` where that differs from minijinja's own text: floats, lists and maps.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value.kind() {
        ValueKind::Number if !value.is_integer() => f64::try_from(value.clone()).ok().map(repr::float),
        ValueKind::Seq | ValueKind::Map => Some(repr::repr(value)),
        _ => None,
    }
}
