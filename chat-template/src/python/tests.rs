//! Jinja2's tests whose answers differ in minijinja.

use minijinja::Environment;
use minijinja::value::{Value, ValueKind};

pub(crate) fn add(environment: &mut Environment<'_>) {
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_test("sequence", |value: &Value| {
        let sized = matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String);
        sized || value.is_undefined()
    });
}
