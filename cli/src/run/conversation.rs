//! A conversation, and the requests that it makes. Pure.

use serde_json::{Value, json};

/// The turns so far, and how to answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Conversation {
    pub(super) model: String,
    pub(super) system: Option<String>,
    pub(super) max_tokens: Option<u32>,
    pub(super) temperature: Option<f64>,
    turns: Vec<Value>,
}

impl Conversation {
    pub(super) fn new(model: String) -> Self {
        Self { model, ..Self::default() }
    }

    /// The user says this next.
    pub(super) fn ask(&mut self, text: &str) {
        self.turns.push(json!({"role": "user", "content": text}));
    }

    /// The model has said this. Nothing at all takes the question back.
    pub(super) fn answer(&mut self, text: &str) {
        if text.is_empty() {
            self.turns.pop();
        } else {
            self.turns.push(json!({"role": "assistant", "content": text}));
        }
    }

    /// Takes the last question and its answer back. Returns the question.
    pub(super) fn undo(&mut self) -> Option<String> {
        let at = self.turns.iter().rposition(|turn| turn["role"] == "user")?;
        let question = self.turns[at]["content"].as_str().map(str::to_owned);
        self.turns.truncate(at);
        question
    }

    /// Forgets all turns.
    pub(super) fn clear(&mut self) {
        self.turns.clear();
    }

    /// The body of the request for the next answer.
    pub(super) fn request(&self, stream: bool) -> Value {
        let system = self.system.iter().map(|text| json!({"role": "system", "content": text}));
        let messages: Vec<Value> = system.chain(self.turns.iter().cloned()).collect();
        let mut body = json!({"model": self.model, "messages": messages, "stream": stream});
        if let Some(tokens) = self.max_tokens {
            body["max_tokens"] = tokens.into();
        }
        if let Some(temperature) = self.temperature {
            body["temperature"] = temperature.into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_has_the_system_message_first_and_all_turns() {
        let mut conversation = Conversation::new("m".into());
        conversation.system = Some("short".into());
        conversation.max_tokens = Some(5);
        conversation.ask("a");
        conversation.answer("b");
        conversation.ask("c");
        let body = conversation.request(true);
        let roles: Vec<&str> =
            body["messages"].as_array().unwrap().iter().filter_map(|turn| turn["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "user"]);
        assert_eq!((&body["max_tokens"], body.get("temperature")), (&json!(5), None));
    }

    #[test]
    fn undo_returns_the_last_question() {
        let mut conversation = Conversation::new("m".into());
        conversation.ask("a");
        conversation.answer("b");
        conversation.ask("c");
        conversation.answer("");
        assert_eq!(conversation.undo().as_deref(), Some("a"));
        assert_eq!(conversation.undo(), None);
    }
}
