//! Grammars of calls that are a name, a marker and then arguments in JSON.

use super::super::{ToolFormat, deepseek, kimi, mistral};
use super::{CallSyntax, LarkBuilder, literal};

impl LarkBuilder<'_> {
    pub(super) fn mistral_calls(&mut self) -> Result<CallSyntax, String> {
        self.call_rules(|builder, at, tool| {
            let args = builder.marker(mistral::ARGS);
            format!("{} {args} args{at}", literal(&tool.name))
        })?;
        let next = Some(format!("{} call", self.marker(mistral::OPEN)));
        Ok(CallSyntax { open: Some(mistral::OPEN), first: "call".into(), next, no_call: None })
    }

    pub(super) fn deepseek_calls(&mut self, format: ToolFormat) -> Result<CallSyntax, String> {
        let is_r1 = format == ToolFormat::DeepSeekR1;
        self.call_rules(|builder, at, tool| {
            let [call, name_end, end] =
                [deepseek::CALL, deepseek::NAME_END, deepseek::CALL_END].map(|marker| builder.marker(marker));
            if !is_r1 {
                return format!("{call} {} {name_end} args{at} {end}", literal(&tool.name));
            }
            let [open, close] = deepseek::FENCE;
            let (open, close) = (literal(&format!("{}{open}", tool.name)), literal(close));
            format!("{call} {} {name_end} {open} args{at} {close} {end}", literal(deepseek::KIND))
        })?;
        let next = if is_r1 { r#""\n" call"# } else { "call" };
        Ok(self.calls_within(deepseek::OPEN, next, deepseek::CLOSE))
    }

    pub(super) fn kimi_calls(&mut self) -> Result<CallSyntax, String> {
        self.rule("INDEX", "/[0-9]{1,4}/");
        self.call_rules(|builder, at, tool| {
            let [call, name_end, end] =
                [kimi::CALL, kimi::NAME_END, kimi::CALL_END].map(|marker| builder.marker(marker));
            let id = literal(&format!("functions.{}:", tool.name));
            format!("{call} {id} INDEX {name_end} args{at} {end}")
        })?;
        Ok(self.calls_within(kimi::OPEN, "call", kimi::CLOSE))
    }

    /// Calls between two markers, one pair for all. `next` is a call after another one.
    fn calls_within(&self, open: &'static str, next: &str, close: &str) -> CallSyntax {
        let more = if self.spec.parallel { format!(" ({next})*") } else { String::new() };
        let first = format!("call{more} {}", self.marker(close));
        CallSyntax { open: Some(open), first, ..CallSyntax::default() }
    }
}
