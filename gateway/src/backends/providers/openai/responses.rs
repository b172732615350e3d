//! Reads streams of OpenAI's Responses, for the record of an answer that passes as it came.

use ipc_proto::Result;
use ipc_proto::generate::{Event, FinishReason, Part, Usage};
use serde_json::Value;

use super::super::count_at;
use super::super::failure::message;
use super::super::translator::{Events, Pieces, Translator, broken, json, reported};
use super::events::kind_of;

/// The state of one stream.
#[derive(Default)]
pub(in super::super) struct Responses {
    pieces: Pieces,
    has_calls: bool,
    finish: Option<FinishReason>,
    usage: Usage,
}

impl Translator for Responses {
    fn event(&mut self, data: &str) -> Result<Events> {
        let event = json(data)?;
        let delta = || event["delta"].as_str().unwrap_or_default().to_owned();
        let parts = match event["type"].as_str().unwrap_or_default() {
            "response.output_text.delta" | "response.refusal.delta" => vec![Part::Text(delta())],
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                vec![Part::Reasoning(delta())]
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                vec![Part::Arguments(delta())]
            }
            "response.output_item.added" => self.call(&event["item"]).into_iter().collect(),
            "response.completed" => {
                self.end_with(&event["response"], FinishReason::Stop);
                Vec::new()
            }
            "response.incomplete" => {
                let reason = match event["response"]["incomplete_details"]["reason"].as_str() {
                    Some("content_filter") => FinishReason::Filtered,
                    _ => FinishReason::Length,
                };
                self.end_with(&event["response"], reason);
                Vec::new()
            }
            "response.failed" => return Err(failure(&event["response"]["error"])),
            "error" => return Err(failure(&event)),
            _ => Vec::new(),
        };
        Ok(self.pieces.delta(parts).map(|event| (0, event)).into_iter().collect())
    }

    fn end(&mut self) -> Result<Events> {
        let reason = self.finish.ok_or_else(|| broken("ended its stream before the answer's end"))?;
        Ok(vec![(0, Event::Finished { reason, usage: self.usage })])
    }
}

impl Responses {
    /// The call that an item begins, if it is one of a function.
    fn call(&mut self, item: &Value) -> Option<Part> {
        if !matches!(item["type"].as_str()?, "function_call" | "custom_tool_call") {
            return None;
        }
        self.has_calls = true;
        let text = |field: &str| item[field].as_str().unwrap_or_default().to_owned();
        Some(Part::Call { id: text("call_id"), name: text("name") })
    }

    fn end_with(&mut self, response: &Value, reason: FinishReason) {
        self.usage = usage_of(response);
        let called = self.has_calls && reason == FinishReason::Stop;
        self.finish = Some(if called { FinishReason::ToolCalls } else { reason });
    }
}

/// An error of the stream: its code and its message.
fn failure(error: &Value) -> ipc_proto::Error {
    let text = error["message"].as_str().map(str::to_owned).or_else(|| message(error));
    reported(kind_of(error), &text.unwrap_or_else(|| error.to_string()))
}

/// The token counts of a whole response.
pub(in super::super) fn usage_of(response: &Value) -> Usage {
    let usage = &response["usage"];
    Usage {
        prompt_tokens: count_at(usage, "/input_tokens"),
        cached_tokens: count_at(usage, "/input_tokens_details/cached_tokens"),
        cache_written_tokens: count_at(usage, "/input_tokens_details/cache_write_tokens"),
        completion_tokens: count_at(usage, "/output_tokens"),
        reasoning_tokens: count_at(usage, "/output_tokens_details/reasoning_tokens"),
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::ErrorKind;
    use ipc_proto::generate::Delta;
    use serde_json::json;

    use super::*;

    fn run(events: &[Value]) -> Result<Vec<Event>> {
        let mut translator = Responses::default();
        let mut all = Vec::new();
        for event in events {
            all.extend(translator.event(&event.to_string())?);
        }
        all.extend(translator.end()?);
        Ok(all.into_iter().map(|(_, event)| event).collect())
    }

    #[test]
    fn reasoning_text_calls_and_counts_are_read() {
        let usage = json!({"input_tokens": 30, "input_tokens_details": {"cached_tokens": 20}, "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 4}});
        let call = json!({"type": "function_call", "call_id": "call_1", "name": "look"});
        let events = run(&[
            json!({"type": "response.created", "response": {"status": "in_progress"}}),
            json!({"type": "response.reasoning_summary_text.delta", "delta": "hm"}),
            json!({"type": "response.output_text.delta", "delta": "a"}),
            json!({"type": "response.output_item.added", "item": call}),
            json!({"type": "response.function_call_arguments.delta", "delta": "{}"}),
            json!({"type": "response.completed", "response": {"usage": usage}}),
        ]);
        let mut parts = Vec::new();
        for event in events.unwrap() {
            match event {
                Event::Delta(Delta { parts: some, .. }) => parts.extend(some),
                Event::Finished { reason, usage } => {
                    assert_eq!(reason, FinishReason::ToolCalls);
                    let counts = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens);
                    assert_eq!((counts, usage.reasoning_tokens), ((30, 20, 9), 4));
                }
                other => panic!("{other:?}"),
            }
        }
        let call = Part::Call { id: "call_1".into(), name: "look".into() };
        let expected =
            [Part::Reasoning("hm".into()), Part::Text("a".into()), call, Part::Arguments("{}".into())];
        assert_eq!(parts, expected);
    }

    #[test]
    fn ends_are_told_apart() {
        let incomplete = |reason: &str| {
            let details = json!({"reason": reason});
            let last =
                run(&[json!({"type": "response.incomplete", "response": {"incomplete_details": details}})]);
            let Some(Event::Finished { reason, .. }) = last.unwrap().pop() else { panic!("no end") };
            reason
        };
        assert_eq!(incomplete("max_output_tokens"), FinishReason::Length);
        assert_eq!(incomplete("content_filter"), FinishReason::Filtered);
        let failed = json!({"code": "rate_limit_exceeded", "message": "slow down"});
        let error = run(&[json!({"type": "response.failed", "response": {"error": failed}})]).unwrap_err();
        assert!(error.kind == ErrorKind::RateLimited && error.message.contains("slow down"), "{error}");
        let error = run(&[json!({"type": "error", "code": "server_error", "message": "oh"})]).unwrap_err();
        assert!(error.kind == ErrorKind::Upstream && error.message.contains("oh"), "{error}");
        assert!(run(&[]).unwrap_err().message.contains("before the answer's end"));
    }
}
