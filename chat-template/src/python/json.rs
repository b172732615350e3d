//! The filter `tojson` as Transformers has it: Python's `json.dumps` with its options, and no HTML escapes.

use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Error, ErrorKind, State};

use super::repr::BYTES_PER_FUEL;

/// Deeper values are an error. No value of a request is so deep.
const MAX_DEPTH: usize = 256;
/// Spaces of one level, at most.
const MAX_INDENT: usize = 16;

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
///
/// # Errors
/// An option that there is not, or is of a wrong form; a value that is too deep, or larger than the template can pay for.
pub(crate) fn tojson(state: &State, value: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let arguments = arguments.into_values();
    let (given, options) = from_args::<(&[Value], Kwargs)>(&arguments)?;
    if given.len() > 4 {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let option = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        let named: Option<Value> = options.get(name)?;
        let value = given.get(place).cloned().or(named);
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let indent = option(1, "indent")?.map(indentation).transpose()?;
    let between = if indent.is_some() { "," } else { ", " };
    let separators = option(2, "separators")?.map(pair).transpose()?;
    let (between, colon) = separators.unwrap_or_else(|| (between.to_owned(), ": ".to_owned()));
    let is = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let ascii = is(option(0, "ensure_ascii")?);
    let sorted = is(option(3, "sort_keys")?);
    options.assert_all_used()?;
    let mut dump = Dump { state, text: String::new(), paid: 0, indent, between, colon, ascii, sorted };
    dump.value(value, 0)?;
    Ok(Value::from_safe_string(dump.text))
}

/// The indentation of each level: a number of spaces, or a text.
#[expect(clippy::needless_pass_by_value, reason = "it is mapped over")]
fn indentation(value: Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.chars().take(MAX_INDENT).collect());
    }
    let width = i64::try_from(value.clone()).map_err(|_| wrong("indent is a number or a text"))?;
    Ok(" ".repeat(usize::try_from(width).unwrap_or(0).min(MAX_INDENT)))
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over")]
fn pair(value: Value) -> Result<(String, String), Error> {
    let items: Vec<Value> = value.try_iter()?.take(3).collect();
    match items.as_slice() {
        [between, colon] => match (between.as_str(), colon.as_str()) {
            (Some(between), Some(colon)) => Ok((between.to_owned(), colon.to_owned())),
            _ => Err(wrong("separators are two texts")),
        },
        _ => Err(wrong("separators are two texts")),
    }
}

fn wrong(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("tojson: {what}"))
}

struct Dump<'a, 'template, 'env> {
    state: &'a State<'template, 'env>,
    text: String,
    /// Bytes of `text` that are paid for.
    paid: usize,
    indent: Option<String>,
    between: String,
    colon: String,
    ascii: bool,
    sorted: bool,
}

impl Dump<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let new = self.text.len() - self.paid;
        self.paid = self.text.len();
        self.state.consume_fuel(1 + new as u64 / BYTES_PER_FUEL)?;
        if depth > MAX_DEPTH {
            return Err(wrong("the value is too deep"));
        }
        match value.kind() {
            ValueKind::Map => self.object(value, depth),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.all('[', ']', depth, &items, |dump, item| dump.value(item, depth + 1))
            }
            _ => {
                let leaf = leaf(value)?;
                self.push(&leaf);
                Ok(())
            }
        }
    }

    fn object(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let mut members = Vec::new();
        for key in value.try_iter()? {
            let member = value.get_item(&key)?;
            let name = match key.as_str() {
                Some(name) => name.to_owned(),
                None => leaf(&key)?,
            };
            members.push((name, member));
        }
        if self.sorted {
            members.sort_by(|a, b| a.0.cmp(&b.0));
        }
        self.all('{', '}', depth, &members, |dump, (name, member)| {
            let name = serde_json::Value::from(name.as_str()).to_string();
            dump.push(&name);
            dump.text.push_str(&dump.colon.clone());
            dump.value(member, depth + 1)
        })
    }

    /// Items between brackets, each in a line of its own where there is an indentation.
    fn all<T>(
        &mut self,
        open: char,
        close: char,
        depth: usize,
        items: &[T],
        mut write: impl FnMut(&mut Self, &T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.text.push(open);
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.text.push_str(&self.between.clone());
            }
            self.line(depth + 1);
            write(self, item)?;
        }
        if !items.is_empty() {
            self.line(depth);
        }
        self.text.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.text.push('\n');
            self.text.push_str(&indent.repeat(depth));
        }
    }

    /// JSON that was written already.
    fn push(&mut self, json: &str) {
        if !self.ascii {
            return self.text.push_str(json);
        }
        for c in json.chars() {
            if c.is_ascii() {
                self.text.push(c);
            } else {
                let units = c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect::<String>();
                self.text.push_str(&units);
            }
        }
    }
}

/// A value that holds no others.
fn leaf(value: &Value) -> Result<String, Error> {
    if value.kind() == ValueKind::Number && !value.is_integer() {
        let number = f64::try_from(value.clone())?;
        // The words that Python's json module writes for numbers that JSON does not have.
        return Ok(match number {
            f64::INFINITY => "Infinity".to_owned(),
            f64::NEG_INFINITY => "-Infinity".to_owned(),
            number if number.is_nan() => "NaN".to_owned(),
            number => super::repr::float(number),
        });
    }
    serde_json::to_string(value).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}
