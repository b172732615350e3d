//! Control tokens in a client's text.
//!
//! A template writes control tokens such as `<|im_end|>` around the text of messages. If the text contains the same characters, the
//! tokenizer cannot distinguish them. This module marks them before rendering and finds them again afterwards. The tokenizer can then
//! encode them as plain text. Transformers calls this `sanitize_control_tokens`.

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use ipc_proto::generate::{ChatPrompt, TextGrammar, ToolInput};
use serde_json::Value;

/// Private-use characters. One that does not occur in a request becomes its mark.
const MARKS: Range<u32> = 0xe100..0xf8ff;

/// The texts that a tokenizer reads as control tokens.
#[derive(Debug)]
pub struct ControlTokens(Option<AhoCorasick>);

impl ControlTokens {
    /// A model's control tokens, as text.
    pub fn new<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        let tokens: Vec<&str> = tokens.into_iter().filter(|token| !token.is_empty()).collect();
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&tokens);
        // It fails only for more patterns than memory holds.
        Self(automaton.ok().filter(|_| !tokens.is_empty()))
    }

    /// The byte ranges of control tokens in `text`.
    pub fn find(&self, text: &str) -> Vec<Range<usize>> {
        self.0.iter().flat_map(|tokens| tokens.find_iter(text)).map(|found| found.range()).collect()
    }

    /// Marks every control token in a client's texts: messages, calls, tools and template variables, but not keys of objects.
    pub(crate) fn mark(&self, prompt: &mut ChatPrompt) -> Option<Mark> {
        self.0.as_ref()?;
        let mark = Mark::absent_from(prompt)?;
        for message in &mut prompt.messages {
            message.content.texts_mut().for_each(|text| self.mark_text(text, mark));
            message.reasoning.iter_mut().for_each(|text| self.mark_text(text, mark));
            message.name.iter_mut().for_each(|text| self.mark_text(text, mark));
            for call in &mut message.tool_calls {
                self.mark_text(&mut call.name, mark);
                self.mark_json(&mut call.arguments, mark);
            }
        }
        for tool in &mut prompt.tools {
            tool.description.iter_mut().for_each(|text| self.mark_text(text, mark));
            match &mut tool.input {
                ToolInput::Json { schema, .. } => {
                    schema.iter_mut().for_each(|text| self.mark_json(text, mark));
                }
                ToolInput::Text(Some(TextGrammar::Lark(text) | TextGrammar::Regex(text))) => {
                    self.mark_text(text, mark);
                }
                ToolInput::Text(None) => {}
            }
        }
        prompt.template_kwargs.iter_mut().for_each(|text| self.mark_json(text, mark));
        Some(mark)
    }

    fn mark_text(&self, text: &mut String, mark: Mark) {
        if let Cow::Owned(marked) = self.marked(text, mark) {
            *text = marked;
        }
    }

    /// `text` with a mark after the first character of each control token.
    fn marked<'a>(&self, text: &'a str, mark: Mark) -> Cow<'a, str> {
        let found = self.find(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut marked = String::with_capacity(text.len() + 3 * found.len());
        let mut end = 0;
        for range in found {
            let first = text[range.start..].chars().next().map_or(0, char::len_utf8);
            marked.push_str(&text[end..range.start + first]);
            marked.push(mark.0);
            end = range.start + first;
        }
        marked.push_str(&text[end..]);
        Cow::Owned(marked)
    }

    /// Marks the strings in a JSON text. Marks a text that is not JSON as a whole.
    fn mark_json(&self, text: &mut String, mark: Mark) {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else { return self.mark_text(text, mark) };
        if self.mark_value(&mut value, mark) {
            *text = value.to_string();
        }
    }

    fn mark_value(&self, value: &mut Value, mark: Mark) -> bool {
        match value {
            Value::String(text) => match self.marked(text, mark) {
                Cow::Owned(marked) => {
                    *text = marked;
                    true
                }
                Cow::Borrowed(_) => false,
            },
            Value::Array(items) => {
                items.iter_mut().fold(false, |any, item| self.mark_value(item, mark) | any)
            }
            Value::Object(members) => {
                members.values_mut().fold(false, |any, member| self.mark_value(member, mark) | any)
            }
            _ => false,
        }
    }
}

/// A character that occurs in no text of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(char);

impl Mark {
    /// `None` if a request contains all private-use characters, which no ordinary request does.
    fn absent_from(prompt: &ChatPrompt) -> Option<Self> {
        let texts = || {
            let messages = prompt.messages.iter().flat_map(|message| {
                let calls = message.tool_calls.iter().flat_map(|call| [&call.name, &call.arguments]);
                let names = [&message.reasoning, &message.name].into_iter().flatten();
                message.content.texts().chain(names.chain(calls).map(String::as_str))
            });
            let tools = prompt.tools.iter().flat_map(|tool| {
                let input = match &tool.input {
                    ToolInput::Json { schema, .. } => schema.as_ref(),
                    ToolInput::Text(Some(TextGrammar::Lark(text) | TextGrammar::Regex(text))) => Some(text),
                    ToolInput::Text(None) => None,
                };
                [tool.description.as_deref(), input.map(String::as_str)]
            });
            messages.chain(tools.flatten()).chain(prompt.template_kwargs.as_deref())
        };
        let absent = |mark: &char| !texts().any(|text| text.contains(*mark));
        MARKS.filter_map(char::from_u32).find(absent).map(Self)
    }

    /// Removes the marks from a rendered prompt. Returns it with the ranges of the control tokens that contained them.
    pub(crate) fn remove(self, text: &str, tokens: &ControlTokens) -> (String, Vec<Range<usize>>) {
        // A template that writes ASCII only has turned the mark into an escape.
        let escape = format!("\\u{:04x}", u32::from(self.0));
        let text = text.replace(&escape, self.0.encode_utf8(&mut [0; 4]));
        let mut clean = String::with_capacity(text.len());
        let mut marks = Vec::new();
        for c in text.chars() {
            if c == self.0 { marks.push(clean.len()) } else { clean.push(c) }
        }
        let mut spans = tokens.find(&clean);
        // Both are sorted. A request may contain a million of each.
        spans.retain(|span| {
            let next = marks.partition_point(|mark| *mark <= span.start);
            marks.get(next).is_some_and(|mark| *mark < span.end)
        });
        (clean, spans)
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::generate::{Message, ToolCall};

    use super::*;

    fn tokens() -> ControlTokens {
        ControlTokens::new(["<|im_start|>", "<|im_end|>", "<|im|>"])
    }

    #[test]
    fn marked_tokens_are_found_again() {
        let call = ToolCall { arguments: r#"{"a": "<|im_end|>", "n": 1e5}"#.into(), ..ToolCall::default() };
        let content = "a <|im_end|><|im_start|> <|im \u{e100}".to_owned();
        let message = Message { content: content.into(), tool_calls: vec![call], ..Message::default() };
        let mut prompt = ChatPrompt { messages: vec![message], ..ChatPrompt::default() };
        let mark = tokens().mark(&mut prompt).unwrap();
        let [message] = &prompt.messages[..] else { panic!("one message") };
        let rendered =
            format!("<|im_start|>{}<|im_end|>{}", message.content.text(), message.tool_calls[0].arguments);
        let (clean, spans) = mark.remove(&rendered, &tokens());
        let expected = "<|im_start|>a <|im_end|><|im_start|> <|im \u{e100}<|im_end|>{\"a\":\"<|im_end|>\",\"n\":100000.0}";
        assert_eq!(clean, expected);
        let found: Vec<(usize, &str)> = spans.iter().map(|span| (span.start, &clean[span.clone()])).collect();
        assert_eq!(found, [(14, "<|im_end|>"), (24, "<|im_start|>"), (61, "<|im_end|>")]);
    }

    #[test]
    fn text_without_control_tokens_is_unchanged() {
        let arguments = r#"{"a" :1}"#;
        let call = ToolCall { arguments: arguments.into(), ..ToolCall::default() };
        let message = Message { content: "<|".into(), tool_calls: vec![call], ..Message::default() };
        let mut prompt = ChatPrompt { messages: vec![message], ..ChatPrompt::default() };
        let before = prompt.clone();
        tokens().mark(&mut prompt);
        assert_eq!(prompt, before);
        assert!(ControlTokens::new([]).mark(&mut prompt).is_none());
    }
}
