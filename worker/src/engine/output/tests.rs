use ipc_proto::generate::{Priority, Tool};

use super::*;
use crate::engine::scheduler;
use crate::text::reasoning::ReasoningFormat;
use crate::text::tokenizer::tests::byte_fallback;
use crate::text::tool_parser::ToolFormat;
use crate::text::tool_parser::functions::Functions;

/// Ends the output.
const END: u32 = 1;
const CALL: &str = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Oslo\"}}\n</tool_call>";

/// A token for each byte of a text.
fn tokens(text: &str) -> Vec<u32> {
    text.bytes().map(|byte| 2 + u32::from(byte)).collect()
}

fn with_functions(tool_format: ToolFormat) -> OutputFormat {
    let tool = Tool { name: "f".into(), ..Tool::default() };
    OutputFormat { tool_format, functions: Some(Functions::from_tools(&[tool])), ..OutputFormat::default() }
}

fn thinking() -> OutputFormat {
    OutputFormat {
        reasoning: ReasoningFormat::Think,
        reasoning_open: true,
        ..with_functions(ToolFormat::Hermes)
    }
}

fn start(output_format: OutputFormat, stop: &[&str], max_tokens: u32) -> Output {
    let limits = OutputLimits {
        eos: Arc::new(HashSet::from([END])),
        stop: stop.iter().map(|text| (*text).to_owned()).collect(),
        max_tokens,
        output_format,
        markers: Arc::default(),
    };
    let params = scheduler::tests::params(vec![5], Priority::Normal);
    Output::new(Arc::new(byte_fallback()), limits, &params)
}

/// Pushes tokens until the output ends. Returns reasoning, text and calls in short, and the reason of the end.
fn run(output: &mut Output, tokens: &[u32]) -> (String, FinishReason) {
    let mut short = String::new();
    let mut end = None;
    for token in tokens {
        let ended = output.push(*token, None, false, |event| match event {
            Event::Delta(delta) => delta.parts.iter().for_each(|part| match part {
                Part::Text(text) => short += text,
                Part::Reasoning(text) => short += &text.to_uppercase(),
                Part::Call { name, .. } => short += &format!("|{name}|"),
                Part::Arguments(text) => short += text,
            }),
            Event::Finished { reason, .. } => end = Some(reason),
            Event::Progress(_) | Event::Prompt { .. } | Event::Failed(_) => panic!("{event:?}"),
        });
        if ended {
            break;
        }
    }
    (short, end.unwrap())
}

fn whole(format: OutputFormat, stop: &[&str], text: &str) -> (String, FinishReason) {
    run(&mut start(format, stop, 1000), &[tokens(text), vec![END]].concat())
}

#[test]
fn stop_text_ends_the_answer_and_not_the_reasoning() {
    let text = "the sum of two</think>\n\nThe sum is two, the sum.";
    let found = whole(thinking(), &["sum is", "the"], text);
    assert_eq!(found, ("THE SUM OF TWOThe ".into(), FinishReason::StopText(0)));
    let found = whole(thinking(), &["the"], text);
    assert_eq!(found, ("THE SUM OF TWOThe sum is two, ".into(), FinishReason::StopText(0)));
}

/// The white space after the reasoning is no part of the answer.
#[test]
fn stop_text_of_line_ends_does_not_end_the_output_after_the_reasoning() {
    let found = whole(thinking(), &["\n\n"], "a\n\nb</think>\n\nThe sum.\n\nMore");
    assert_eq!(found, ("A\n\nBThe sum.".into(), FinishReason::StopText(0)));
}

#[test]
fn stop_text_in_arguments_does_not_cut_the_call_off() {
    let found = whole(with_functions(ToolFormat::Hermes), &["\"city\"", "\n"], CALL);
    assert_eq!(found, ("|f|{\"city\": \"Oslo\"}".into(), FinishReason::ToolCalls));
}

/// The calls are whole, and the client must answer them.
#[test]
fn stop_text_after_a_call_ends_the_turn_with_the_call() {
    let found =
        whole(with_functions(ToolFormat::Hermes), &["Observation:"], &format!("{CALL}\nObservation: 3"));
    assert_eq!(found, ("|f|{\"city\": \"Oslo\"}\n".into(), FinishReason::ToolCalls));
}

#[test]
fn resumed_output_ends_at_the_same_stop_text() {
    let all = tokens("of the sum</think>\n\nIt is: the sum");
    for lost_at in 0..all.len() {
        let mut output = start(thinking(), &["the sum"], 1000);
        assert!(all[..lost_at].iter().all(|token| output.resume(*token, false).is_none()), "{lost_at}");
        let (text, reason) = run(&mut output, &all[lost_at..]);
        assert_eq!(reason, FinishReason::StopText(0));
        assert!("OF THE SUMIt is: ".ends_with(&text), "{lost_at}: {text}");
        assert_eq!(output.usage.reasoning_tokens, 18, "{lost_at}");
    }
}

/// Format, and a call that is cut off after each of its bytes in turn.
#[test]
fn call_that_is_cut_off_does_not_end_the_turn() {
    let harmony = "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"city\": \"Oslo\"}";
    let xml = "<tool_call>\n<function=f>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>";
    for (format, text) in [
        (ToolFormat::Hermes, CALL),
        (ToolFormat::Harmony, harmony),
        (ToolFormat::QwenXml, xml),
        (ToolFormat::Glm, "<tool_call>f\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>"),
        (
            ToolFormat::MiniMax,
            "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"city\">Oslo</parameter>\n</invoke>\n</minimax:tool_call>",
        ),
        (ToolFormat::Mistral, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"city\": \"Oslo\"}}]"),
        (ToolFormat::MistralArgs, "[TOOL_CALLS]f[ARGS]{\"city\": \"Oslo\"}"),
        (ToolFormat::Llama, "{\"name\": \"f\", \"parameters\": {\"city\": \"Oslo\"}}"),
        (ToolFormat::Pythonic, "[f(city=\"Oslo\")]"),
        (ToolFormat::Gemma, "<start_function_call>call:f{city:<escape>Oslo<escape>}<end_function_call>"),
    ] {
        let mut whole_calls = 0;
        for length in 1..=text.len() {
            let (found, reason) = whole(with_functions(format), &[], &text[..length]);
            // The beginning of a closing marker can follow the arguments.
            let is_whole = ["|f|{\"city\": \"Oslo\"}", "|f|{\"city\":\"Oslo\"}"]
                .iter()
                .any(|call| found.starts_with(call));
            // In Harmony, a call with an empty message is one without arguments.
            let is_whole = is_whole || (format == ToolFormat::Harmony && found == "|f|{}");
            let expected = if is_whole { FinishReason::ToolCalls } else { FinishReason::Stop };
            assert_eq!(reason, expected, "{format:?} at {length}: {found}");
            whole_calls += usize::from(is_whole);
        }
        assert!(whole_calls > 0, "{format:?}");
    }
}

#[test]
fn call_that_is_cut_off_by_the_limit_has_reached_the_limit() {
    let text = tokens(CALL);
    let mut output = start(with_functions(ToolFormat::Hermes), &[], text.len() as u32 - 25);
    let (found, reason) = run(&mut output, &text);
    assert!(reason == FinishReason::Length && found.starts_with("|f|{\"ci"), "{found}");
}
