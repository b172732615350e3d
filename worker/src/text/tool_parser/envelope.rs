//! `{"name": …, "arguments": {…}}`, one or several, in a list or not. Arguments go out as they come.

use super::Known;
use super::body::Fed;
use crate::adapters::reading::Sink;

/// Objects one after another.
#[derive(Debug, Default)]
pub(crate) struct Envelopes {
    list: bool,
    /// Some call has ended.
    some: bool,
    fence: Fence,
    object: Option<Envelope>,
}

/// ```` ```json ```` around it.
#[derive(Debug, Default, PartialEq, Eq)]
enum Fence {
    #[default]
    None,
    Open(String),
    Inside,
    Close(u8),
}

impl Envelopes {
    /// The marker may be the list's own beginning.
    pub(crate) fn opened(&mut self, marker: &str) {
        self.list = marker.ends_with('[');
    }

    /// Whether what has come is a call, or calls and what belongs between them.
    pub(crate) fn is_calling(&self) -> bool {
        match &self.object {
            Some(object) => object.called,
            None => self.some,
        }
    }

    /// Nothing more comes: arguments that are no object, as far as they have come.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        if let Some(Envelope { state: State::Value(Field::Arguments, value), called: true, .. }) =
            &self.object
            && !value.is_nested()
        {
            sink.arguments(&value.beginning());
        }
    }

    pub(crate) fn feed(&mut self, c: char, known: &Known, known_only: bool, sink: &mut Sink) -> Fed {
        if let Some(object) = &mut self.object {
            let fed = object.feed(c, known, known_only, sink);
            return match fed {
                Fed::Done => {
                    self.object = None;
                    self.some = true;
                    Fed::Called
                }
                // Too late to take the call back: it ends here.
                Fed::Failed if object.called => {
                    object.end(sink);
                    Fed::DoneBefore
                }
                _ if object.called => Fed::Called,
                fed => fed,
            };
        }
        match (&mut self.fence, c) {
            (Fence::Open(text), c) => {
                text.push(c);
                match () {
                    () if c == '\n' => self.fence = Fence::Inside,
                    () if text.len() > "```tool_call".len() => return Fed::Failed,
                    () => {}
                }
                Fed::More
            }
            (Fence::Close(2), '`') => Fed::Done,
            (Fence::Close(n), '`') => {
                *n += 1;
                Fed::More
            }
            (Fence::Close(_), _) => Fed::DoneBefore,
            (Fence::Inside, '`') if self.some => {
                self.fence = Fence::Close(1);
                Fed::More
            }
            (Fence::None, '`') if !self.some && !self.list => {
                self.fence = Fence::Open("`".into());
                Fed::More
            }
            (_, ',' | ';') if self.some => Fed::More,
            (_, c) if c.is_whitespace() => Fed::More,
            (_, '{') => {
                self.object = Some(Envelope::default());
                Fed::More
            }
            (_, '[') if !self.list && !self.some => {
                self.list = true;
                Fed::More
            }
            (fence, ']') if self.list && self.some => {
                self.list = false;
                if *fence == Fence::Inside { Fed::More } else { Fed::Done }
            }
            _ if self.some => Fed::DoneBefore,
            _ => Fed::Failed,
        }
    }
}

/// One object.
#[derive(Debug, Default)]
struct Envelope {
    state: State,
    /// Objects that it is inside of, its own excepted: `"function": {…}`.
    nested: u32,
    name: Option<String>,
    /// Arguments that came before the name.
    early: String,
    called: bool,
    /// Arguments have come.
    argued: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Key,
    InKey(Value),
    Colon(String),
    Value(Field, Value),
    After,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Arguments,
    Function,
    Other,
}

/// A JSON value as it comes.
#[derive(Debug, Default)]
pub(crate) struct Value {
    text: String,
    depth: u32,
    quoted: bool,
    escaped: bool,
}

/// Where a character stands to a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum At {
    Before,
    In,
    Last,
    After,
}

impl Value {
    /// Takes the next character.
    pub(crate) fn feed(&mut self, c: char) -> At {
        if self.text.is_empty() && c.is_whitespace() {
            return At::Before;
        }
        if self.quoted {
            self.text.push(c);
            match c {
                _ if self.escaped => self.escaped = false,
                '\\' => self.escaped = true,
                '"' => {
                    self.quoted = false;
                    return if self.depth == 0 { At::Last } else { At::In };
                }
                _ => {}
            }
            return At::In;
        }
        match c {
            ',' | '}' | ']' | ':' if self.depth == 0 => return At::After,
            _ if self.depth == 0 && c.is_whitespace() => return At::After,
            '"' => self.quoted = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.text.push(c);
                    return At::Last;
                }
            }
            _ => {}
        }
        self.text.push(c);
        At::In
    }

    /// Whether it is an object or a list, which can go out as it comes.
    pub(crate) fn is_nested(&self) -> bool {
        self.text.starts_with(['{', '['])
    }

    /// What has come of one that is not whole; of a string, what it says.
    fn beginning(&self) -> String {
        // At most an escape's beginning is in the way, of which a pair has twelve characters.
        let cut = |bytes: usize| self.text.get(..self.text.len().checked_sub(bytes)?);
        let whole = (0..12).filter_map(cut).find_map(|text| serde_json::from_str(&format!("{text}\"")).ok());
        match whole.filter(|_| self.text.starts_with('"')) {
            Some(text) => text,
            None => self.text.clone(),
        }
    }

    fn string(&self) -> Option<String> {
        serde_json::from_str(&self.text).ok()
    }
}

impl Envelope {
    fn feed(&mut self, c: char, known: &Known, known_only: bool, sink: &mut Sink) -> Fed {
        match &mut self.state {
            State::Key => match c {
                '"' => {
                    let mut value = Value::default();
                    value.feed(c);
                    self.state = State::InKey(value);
                    Fed::More
                }
                '}' => self.close(sink),
                ',' => Fed::More,
                c if c.is_whitespace() => Fed::More,
                _ => Fed::Failed,
            },
            State::InKey(value) => {
                if value.feed(c) == At::Last {
                    let Some(key) = value.string() else { return Fed::Failed };
                    self.state = State::Colon(key);
                }
                Fed::More
            }
            State::Colon(key) => match c {
                ':' => {
                    let field = match key.as_str() {
                        "name" => Field::Name,
                        "arguments" | "parameters" => Field::Arguments,
                        "function" => Field::Function,
                        _ => Field::Other,
                    };
                    self.state = State::Value(field, Value::default());
                    Fed::More
                }
                c if c.is_whitespace() => Fed::More,
                _ => Fed::Failed,
            },
            State::Value(Field::Function, value) if value.text.is_empty() && c == '{' => {
                self.nested += 1;
                self.state = State::Key;
                Fed::More
            }
            State::Value(..) => self.value(c, known, known_only, sink),
            State::After => match c {
                ',' => {
                    self.state = State::Key;
                    Fed::More
                }
                '}' => self.close(sink),
                c if c.is_whitespace() => Fed::More,
                _ => Fed::Failed,
            },
        }
    }

    fn value(&mut self, c: char, known: &Known, known_only: bool, sink: &mut Sink) -> Fed {
        let State::Value(field, value) = &mut self.state else { return Fed::Failed };
        let field = *field;
        let at = value.feed(c);
        if field == Field::Arguments && value.is_nested() && matches!(at, At::In | At::Last) {
            if self.called {
                self.argued = true;
                sink.arguments(c.encode_utf8(&mut [0; 4]));
            } else {
                self.early.push(c);
            }
        }
        match at {
            At::Before | At::In => return Fed::More,
            At::After if value.text.is_empty() => return Fed::Failed,
            At::Last | At::After => {}
        }
        let value = std::mem::take(value);
        self.state = State::After;
        let fed = self.take(field, &value, known, known_only, sink);
        match (at, fed) {
            (_, Fed::Failed) => Fed::Failed,
            (At::After, fed) => match self.feed(c, known, known_only, sink) {
                // What came before it counts as called all the same.
                Fed::More => fed,
                after => after,
            },
            (_, fed) => fed,
        }
    }

    /// A value is whole.
    fn take(&mut self, field: Field, value: &Value, known: &Known, known_only: bool, sink: &mut Sink) -> Fed {
        match field {
            Field::Name | Field::Function if self.name.is_none() => {
                let name = value.string().filter(|name| !name.is_empty());
                let name = name.filter(|name| !known_only || known.contains(name));
                let Some(name) = name else { return Fed::Failed };
                sink.call(&name);
                self.called = true;
                if !self.early.is_empty() {
                    self.argued = true;
                    sink.arguments(&std::mem::take(&mut self.early));
                }
                self.name = Some(name);
                Fed::Called
            }
            Field::Arguments if !value.is_nested() => {
                // Some write the object as a string.
                let text = value.string().filter(|text| !text.trim().is_empty());
                let text = text.or_else(|| {
                    (value.text != "null" && !value.text.starts_with('"')).then(|| value.text.clone())
                });
                match text {
                    Some(text) if self.called => {
                        self.argued = true;
                        sink.arguments(&text);
                    }
                    Some(text) => self.early = text,
                    None => {}
                }
                Fed::More
            }
            _ => Fed::More,
        }
    }

    fn close(&mut self, sink: &mut Sink) -> Fed {
        if self.nested > 0 {
            self.nested -= 1;
            self.state = State::After;
            return Fed::More;
        }
        if !self.called {
            return Fed::Failed;
        }
        self.end(sink);
        Fed::Done
    }

    fn end(&self, sink: &mut Sink) {
        if !self.argued {
            sink.arguments("{}");
        }
        sink.end();
    }
}
