//! `{"name": …, "arguments": {…}}`, one or several, bare or in a list. Arguments go out as they come.

use super::functions::Functions;
use super::syntax::Consumed;
use crate::text::sink::Sink;

/// A sequence of calls.
#[derive(Debug, Default)]
pub(crate) struct JsonCalls {
    /// Within a list.
    list: bool,
    /// A call has ended.
    has_ended_call: bool,
    fence: Fence,
    call: Option<JsonCall>,
}

/// A Markdown fence (```` ```json ````) around the calls.
#[derive(Debug, Default, PartialEq, Eq)]
enum Fence {
    #[default]
    None,
    /// The opening line so far.
    Opening(String),
    Inside,
    /// The number of closing backticks so far.
    Closing(u8),
}

impl JsonCalls {
    /// Begins after `marker`, which may open the list.
    pub(crate) fn begin(&mut self, marker: &str) {
        self.list = marker.ends_with('[');
    }

    /// Whether the text so far is a call, or calls and separators.
    pub(crate) fn is_calling(&self) -> bool {
        match &self.call {
            Some(call) => call.named,
            None => self.has_ended_call,
        }
    }

    /// Ends the output: arguments that are no object go out as far as they have come.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        if let Some(JsonCall { state: State::Value(Field::Arguments, value), named: true, .. }) = &self.call
            && !value.is_nested()
        {
            sink.arguments(&value.beginning());
        }
    }

    /// Parses the next character.
    pub(crate) fn push(
        &mut self,
        c: char,
        functions: &Functions,
        known_only: bool,
        sink: &mut Sink,
    ) -> Consumed {
        let Some(call) = &mut self.call else { return self.push_between(c) };
        match call.push(c, functions, known_only, sink) {
            Consumed::Done => {
                self.call = None;
                self.has_ended_call = true;
                Consumed::Called
            }
            // The client has the call's name already, so the call ends here.
            Consumed::Failed if call.named => {
                call.end(sink);
                Consumed::DoneBefore
            }
            _ if call.named => Consumed::Called,
            consumed => consumed,
        }
    }

    /// Parses a character outside of the calls: fence, list and separators.
    fn push_between(&mut self, c: char) -> Consumed {
        match (&mut self.fence, c) {
            (Fence::Opening(line), c) => {
                line.push(c);
                if c == '\n' {
                    self.fence = Fence::Inside;
                } else if line.len() > "```tool_call".len() {
                    return Consumed::Failed;
                }
                Consumed::More
            }
            (Fence::Closing(2), '`') => Consumed::Done,
            (Fence::Closing(n), '`') => {
                *n += 1;
                Consumed::More
            }
            (Fence::Closing(_), _) => Consumed::DoneBefore,
            (Fence::Inside, '`') if self.has_ended_call => {
                self.fence = Fence::Closing(1);
                Consumed::More
            }
            (Fence::None, '`') if !self.has_ended_call && !self.list => {
                self.fence = Fence::Opening("`".into());
                Consumed::More
            }
            (_, ',' | ';') if self.has_ended_call => Consumed::More,
            (_, c) if c.is_whitespace() => Consumed::More,
            (_, '{') => {
                self.call = Some(JsonCall::default());
                Consumed::More
            }
            (_, '[') if !self.list && !self.has_ended_call => {
                self.list = true;
                Consumed::More
            }
            (fence, ']') if self.list && self.has_ended_call => {
                self.list = false;
                if *fence == Fence::Inside { Consumed::More } else { Consumed::Done }
            }
            _ if self.has_ended_call => Consumed::DoneBefore,
            _ => Consumed::Failed,
        }
    }
}

/// One call.
#[derive(Debug, Default)]
struct JsonCall {
    state: State,
    /// Open inner objects: `"function": {…}`.
    depth: u32,
    name: Option<String>,
    /// Arguments that came before the name.
    early_arguments: String,
    /// The name has gone out.
    named: bool,
    /// Arguments have gone out.
    has_arguments: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    BeforeKey,
    Key(JsonScan),
    AfterKey(String),
    Value(Field, JsonScan),
    AfterValue,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Arguments,
    Function,
    Other,
}

impl Field {
    fn from_key(key: &str) -> Self {
        match key {
            "name" | "tool_name" => Self::Name,
            "arguments" | "parameters" => Self::Arguments,
            "function" => Self::Function,
            _ => Self::Other,
        }
    }
}

/// Finds the end of a JSON value that arrives character by character.
#[derive(Debug, Default)]
pub(crate) struct JsonScan {
    text: String,
    depth: u32,
    quoted: bool,
    escaped: bool,
}

/// The position of a character relative to a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Before,
    Inside,
    Last,
    After,
}

impl JsonScan {
    /// Takes the next character.
    pub(crate) fn push(&mut self, c: char) -> Position {
        if self.text.is_empty() && c.is_whitespace() {
            return Position::Before;
        }
        if self.quoted {
            return self.push_quoted(c);
        }
        match c {
            ',' | '}' | ']' | ':' if self.depth == 0 => return Position::After,
            _ if self.depth == 0 && c.is_whitespace() => return Position::After,
            '"' => self.quoted = true,
            '{' | '[' => self.depth += 1,
            '}' | ']' => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.text.push(c);
                    return Position::Last;
                }
            }
            _ => {}
        }
        self.text.push(c);
        Position::Inside
    }

    fn push_quoted(&mut self, c: char) -> Position {
        self.text.push(c);
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' => self.escaped = true,
            '"' => {
                self.quoted = false;
                if self.depth == 0 {
                    return Position::Last;
                }
            }
            _ => {}
        }
        Position::Inside
    }

    /// Whether the value is an object or a list, which can go out as it comes.
    pub(crate) fn is_nested(&self) -> bool {
        self.text.starts_with(['{', '['])
    }

    /// The text of an incomplete value. Of a string, its content.
    fn beginning(&self) -> String {
        if !self.text.starts_with('"') {
            return self.text.clone();
        }
        // The text may end within an escape. The longest, a surrogate pair, has twelve characters.
        let without_end = |bytes: usize| self.text.get(..self.text.len().checked_sub(bytes)?);
        let closed = |text| serde_json::from_str(&format!("{text}\"")).ok();
        (0..12).filter_map(without_end).find_map(closed).unwrap_or_else(|| self.text.clone())
    }

    fn string(&self) -> Option<String> {
        serde_json::from_str(&self.text).ok()
    }

    /// The arguments that a scalar stands for: some models write the object as a string. `None` for null and empty strings.
    fn scalar_arguments(&self) -> Option<String> {
        if let Some(text) = self.string().filter(|text| !text.trim().is_empty()) {
            return Some(text);
        }
        (self.text != "null" && !self.text.starts_with('"')).then(|| self.text.clone())
    }
}

impl JsonCall {
    fn push(&mut self, c: char, functions: &Functions, known_only: bool, sink: &mut Sink) -> Consumed {
        match &mut self.state {
            State::BeforeKey => match c {
                '"' => {
                    let mut key = JsonScan::default();
                    key.push(c);
                    self.state = State::Key(key);
                }
                '}' => return self.close(sink),
                ',' => {}
                c if c.is_whitespace() => {}
                _ => return Consumed::Failed,
            },
            State::Key(key) => {
                if key.push(c) == Position::Last {
                    let Some(key) = key.string() else { return Consumed::Failed };
                    self.state = State::AfterKey(key);
                }
            }
            State::AfterKey(key) => match c {
                ':' => self.state = State::Value(Field::from_key(key), JsonScan::default()),
                c if c.is_whitespace() => {}
                _ => return Consumed::Failed,
            },
            State::Value(Field::Function, value) if value.text.is_empty() && c == '{' => {
                self.depth += 1;
                self.state = State::BeforeKey;
            }
            State::Value(..) => return self.push_value(c, functions, known_only, sink),
            State::AfterValue => match c {
                ',' => self.state = State::BeforeKey,
                '}' => return self.close(sink),
                c if c.is_whitespace() => {}
                _ => return Consumed::Failed,
            },
        }
        Consumed::More
    }

    fn push_value(&mut self, c: char, functions: &Functions, known_only: bool, sink: &mut Sink) -> Consumed {
        let State::Value(field, value) = &mut self.state else { return Consumed::Failed };
        let field = *field;
        let position = value.push(c);
        if field == Field::Arguments
            && value.is_nested()
            && matches!(position, Position::Inside | Position::Last)
        {
            if self.named {
                self.has_arguments = true;
                sink.arguments(c.encode_utf8(&mut [0; 4]));
            } else {
                self.early_arguments.push(c);
            }
        }
        match position {
            Position::Before | Position::Inside => return Consumed::More,
            Position::After if value.text.is_empty() => return Consumed::Failed,
            Position::Last | Position::After => {}
        }
        let value = std::mem::take(value);
        self.state = State::AfterValue;
        let consumed = self.end_value(field, &value, functions, known_only, sink);
        if consumed == Consumed::Failed || position == Position::Last {
            return consumed;
        }
        match self.push(c, functions, known_only, sink) {
            // The characters before `c` still count as a call.
            Consumed::More => consumed,
            after => after,
        }
    }

    /// Handles a complete value.
    fn end_value(
        &mut self,
        field: Field,
        value: &JsonScan,
        functions: &Functions,
        known_only: bool,
        sink: &mut Sink,
    ) -> Consumed {
        match field {
            Field::Name | Field::Function if self.name.is_none() => {
                let name = value.string().filter(|name| !name.is_empty());
                let Some(name) = name.filter(|name| !known_only || functions.contains(name)) else {
                    return Consumed::Failed;
                };
                sink.begin_call(&name);
                self.named = true;
                if !self.early_arguments.is_empty() {
                    self.has_arguments = true;
                    sink.arguments(&std::mem::take(&mut self.early_arguments));
                }
                self.name = Some(name);
                Consumed::Called
            }
            Field::Arguments if !value.is_nested() => {
                match value.scalar_arguments() {
                    Some(text) if self.named => {
                        self.has_arguments = true;
                        sink.arguments(&text);
                    }
                    Some(text) => self.early_arguments = text,
                    None => {}
                }
                Consumed::More
            }
            _ => Consumed::More,
        }
    }

    fn close(&mut self, sink: &mut Sink) -> Consumed {
        if self.depth > 0 {
            self.depth -= 1;
            self.state = State::AfterValue;
            return Consumed::More;
        }
        if !self.named {
            return Consumed::Failed;
        }
        self.end(sink);
        Consumed::Done
    }

    fn end(&self, sink: &mut Sink) {
        if !self.has_arguments {
            sink.arguments("{}");
        }
        sink.end_call();
    }
}
