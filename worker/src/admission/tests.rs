use std::sync::LazyLock;

use ipc_proto::generate::{ChatPrompt, Logprobs, Message, RequestId, Role, Sampling, Tool};
use proptest::prelude::*;

use super::*;
use crate::text::model_formats::Overrides;
use crate::text::reasoning::ReasoningFormat;
use crate::text::tokenizer::tests::model;

static FILES: LazyLock<ModelFiles> =
    LazyLock::new(|| ModelFiles::read(&model("SmolLM2-135M-Instruct")).unwrap());
const MAX_LENGTH: u32 = 64;

fn request(prompt: Prompt) -> GenerateRequest {
    GenerateRequest { id: RequestId(3), prompt, ..GenerateRequest::default() }
}

fn text(text: &str) -> GenerateRequest {
    request(Prompt::Text(text.to_owned()))
}

fn admitted(request: GenerateRequest) -> Result<Submission> {
    admit(&FILES, MAX_LENGTH, StreamId(9), request)
}

fn refused(request: GenerateRequest) -> (ErrorKind, Option<String>) {
    let error = admitted(request).unwrap_err();
    (error.kind, error.param)
}

fn sampled(sampling: Sampling) -> Result<SamplingParams> {
    admitted(GenerateRequest { sampling, ..text("x") }).map(|submission| submission.params.sampling)
}

#[test]
fn max_tokens_is_limited_by_the_context() {
    let submission = admitted(text("one two three")).unwrap();
    assert_eq!(submission.params.prompt.len() as u32 + submission.limits.max_tokens, MAX_LENGTH);
    let more = GenerateRequest { max_tokens: Some(1000), ..text("one two three") };
    assert_eq!(admitted(more).unwrap().limits.max_tokens, submission.limits.max_tokens);
    let less = GenerateRequest { max_tokens: Some(5), ..text("one two three") };
    assert_eq!(admitted(less).unwrap().limits.max_tokens, 5);
}

#[test]
fn a_prompt_that_fills_the_context_is_refused_with_both_numbers() {
    let error = admitted(text(&"word ".repeat(90))).unwrap_err();
    assert_eq!((error.kind, error.origin), (ErrorKind::ContextLength, Origin::Client));
    assert!(error.message.contains("91") && error.message.contains("64"), "{error}");
}

#[test]
fn invalid_values_name_their_field() {
    let invalid = |param: &str| (ErrorKind::InvalidRequest, Some(param.to_owned()));
    assert_eq!(refused(text("")), invalid("prompt"));
    assert_eq!(refused(GenerateRequest { max_tokens: Some(0), ..text("x") }), invalid("max_tokens"));
    for stop in [vec![String::new()], vec!["x".repeat(1025)], vec!["x".into(); 33]] {
        assert_eq!(refused(GenerateRequest { stop, ..text("x") }), invalid("stop"));
    }
    let raises = ChatPrompt { template_kwargs: Some("[".into()), ..ChatPrompt::default() };
    assert_eq!(refused(request(Prompt::Chat(raises))), invalid("messages"));
    for (sampling, param) in [
        (Sampling { temperature: Some(-1.0), ..Default::default() }, "temperature"),
        (Sampling { temperature: Some(f32::NAN), ..Default::default() }, "temperature"),
        (Sampling { top_p: Some(0.0), ..Default::default() }, "top_p"),
        (Sampling { min_p: Some(1.5), ..Default::default() }, "min_p"),
        (Sampling { repetition_penalty: Some(0.0), ..Default::default() }, "repetition_penalty"),
        (Sampling { presence_penalty: Some(f32::NAN), ..Default::default() }, "presence_penalty"),
        (Sampling { frequency_penalty: Some(f32::INFINITY), ..Default::default() }, "frequency_penalty"),
        (Sampling { logit_bias: vec![(49_152, 1.0)], ..Default::default() }, "logit_bias"),
        (Sampling { logit_bias: vec![(1, f32::NAN)], ..Default::default() }, "logit_bias"),
    ] {
        assert_eq!(refused(GenerateRequest { sampling, ..text("x") }), invalid(param));
    }
}

#[test]
fn chat_is_rendered_with_the_template() {
    let message = Message { content: "Hi".into(), ..Message::default() };
    let chat = ChatPrompt { messages: vec![message], ..ChatPrompt::default() };
    let submission = admitted(request(Prompt::Chat(chat))).unwrap();
    // The template begins with <|im_start|>.
    assert_eq!(submission.params.prompt[0], FILES.tokenizer.id("<|im_start|>").unwrap());
    assert!(submission.limits.eos.contains(&FILES.tokenizer.id("<|im_end|>").unwrap()));
}

#[test]
fn sampling_prefers_the_request_then_the_model_then_neutral_values() {
    let defaults = FILES.defaults;
    let ours = sampled(Sampling::default()).unwrap().row;
    assert_eq!(ours.temperature, defaults.temperature.unwrap_or(1.0));
    assert_eq!(ours.top_p, defaults.top_p.unwrap_or(1.0));
    let requested = Sampling {
        temperature: Some(0.5),
        top_p: Some(0.25),
        top_k: Some(7),
        seed: Some(1),
        ..Default::default()
    };
    let SamplingParams { row, seed, penalties, .. } = sampled(requested).unwrap();
    assert_eq!(penalties, Penalties::default());
    assert_eq!((row.temperature, row.top_p, row.top_k, row.min_p, seed), (0.5, 0.25, 7, 0.0, 1));
    // Logits divided by this temperature would overflow, so the sampling is greedy.
    let cold = sampled(Sampling { temperature: Some(1e-30), ..Default::default() }).unwrap();
    assert_eq!(cold.row.temperature, 0.0);
}

/// The text files of a real model with another generation_config.json.
fn files_with(generation: &str) -> ModelFiles {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(model("SmolLM2-135M-Instruct").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("generation_config.json"), generation).unwrap();
    ModelFiles::read(folder.path()).unwrap()
}

#[test]
fn repetition_penalty_defaults_to_the_models() {
    let files = files_with(r#"{"repetition_penalty": 1.1}"#);
    let penalty = |requested| {
        let sampling = Sampling { repetition_penalty: requested, ..Sampling::default() };
        let submission = admit(&files, MAX_LENGTH, StreamId(9), GenerateRequest { sampling, ..text("x") });
        submission.unwrap().params.sampling.penalties.repetition
    };
    assert_eq!((penalty(None), penalty(Some(1.0)), penalty(Some(1.5))), (1.1, 1.0, 1.5));
}

#[test]
fn seeds_are_random() {
    let seeds: HashSet<u64> = (0..50).map(|_| sampled(Sampling::default()).unwrap().seed).collect();
    assert_eq!(seeds.len(), 50);
}

#[test]
fn max_tokens_may_be_zero_only_to_score_the_prompt() {
    let scored = |max_tokens, prompt| GenerateRequest {
        max_tokens: Some(max_tokens),
        logprobs: Some(Logprobs { top: 3, prompt }),
        ..text("one two")
    };
    assert_eq!(refused(scored(0, false)).1.as_deref(), Some("max_tokens"));
    assert_eq!(admitted(scored(0, true)).unwrap().limits.max_tokens, 0);
}

#[test]
fn too_many_top_logprobs_are_refused() {
    let many = GenerateRequest { logprobs: Some(Logprobs { top: 21, prompt: false }), ..text("x") };
    assert_eq!(refused(many).1.as_deref(), Some("top_logprobs"));
}

#[test]
fn ignore_eos_and_min_tokens_are_passed_on() {
    let endless = GenerateRequest { ignore_eos: true, min_tokens: 7, ..text("x") };
    let endless = admitted(endless).unwrap();
    assert!(endless.limits.eos.is_empty());
    assert_eq!(endless.params.sampling.min_tokens, 7);
    assert!(!endless.params.sampling.ends.is_empty());
}

#[test]
fn constraint_is_compiled_or_refused() {
    let broken = GenerateRequest { constraint: Some(Constraint::Regex("(".into())), ..text("x") };
    assert_eq!(refused(broken).1.as_deref(), Some("response_format"));
    let valid = GenerateRequest { constraint: Some(Constraint::JsonObject), ..text("x") };
    let valid = admitted(valid).unwrap();
    assert!(valid.constraint.is_some() && valid.params.masked);
}

#[test]
fn time_limit_becomes_a_deadline() {
    let timed = GenerateRequest { time_limit_ms: Some(5), ..text("x") };
    assert!(admitted(timed).unwrap().deadline.is_some());
}

fn reasoning_files() -> ModelFiles {
    let overrides = Overrides { reasoning: Some(ReasoningFormat::Think), ..Overrides::default() };
    ModelFiles::read_with(&model("SmolLM2-135M-Instruct"), overrides).unwrap()
}

/// The last turn of the prompt is unfinished and holds reasoning.
#[test]
fn reasoning_budget_applies_within_reasoning_only() {
    let say = |content: &str| {
        let assistant = Message { role: Role::Assistant, content: content.into(), ..Message::default() };
        let messages = vec![Message { content: "Hi".into(), ..Message::default() }, assistant];
        let chat = ChatPrompt { messages, continues: true, ..ChatPrompt::default() };
        GenerateRequest { reasoning_budget: Some(4), ..request(Prompt::Chat(chat)) }
    };
    let files = reasoning_files();
    let admitted = |request| admit(&files, 256, StreamId(9), request).unwrap();
    let open = admitted(say("<think>hm"));
    assert!(open.budget.is_some() && open.params.masked && open.limits.output_format.reasoning_open);
    let answers = admitted(say("<think>hm</think>So"));
    assert!(answers.budget.is_none() && !answers.params.masked && answers.limits.output_format.in_answer);
    let plain = admit(&FILES, 256, StreamId(9), say("<think>hm")).unwrap();
    assert!(plain.budget.is_none(), "a model that does not think has nothing to close");
}

#[test]
fn stop_tokens_extend_the_models_end_tokens() {
    let more = GenerateRequest { stop_tokens: vec![7], ..text("x") };
    let eos = admitted(more).unwrap().limits.eos;
    assert!(eos.contains(&7) && FILES.eos.is_subset(&eos));
    let wrong = GenerateRequest { stop_tokens: vec![49_152], ..text("x") };
    assert_eq!(refused(wrong).1.as_deref(), Some("stop_token_ids"));
}

static QWEN: LazyLock<ModelFiles> =
    LazyLock::new(|| ModelFiles::read(&model("Qwen2.5-Coder-0.5B-Instruct")).unwrap());

fn with_tools(choice: ToolChoice, schema: &str, strict: bool) -> Result<Submission> {
    let tool = Tool { name: "f".into(), parameters: Some(schema.into()), strict, ..Tool::default() };
    let message = Message { content: "Hi".into(), ..Message::default() };
    let chat = ChatPrompt {
        messages: vec![message],
        tools: vec![tool],
        tool_choice: choice,
        ..ChatPrompt::default()
    };
    admit(&QWEN, 4096, StreamId(9), request(Prompt::Chat(chat)))
}

#[test]
fn tool_choice_and_strict_determine_the_constraint() {
    let constrained = |choice, strict| {
        let submission = with_tools(choice, r#"{"type": "object"}"#, strict).unwrap();
        (
            submission.limits.output_format.functions.is_some(),
            submission.constraint.is_some(),
            submission.params.masked,
        )
    };
    assert_eq!(constrained(ToolChoice::Auto, false), (true, false, false));
    assert_eq!(constrained(ToolChoice::Auto, true), (true, true, true));
    assert_eq!(constrained(ToolChoice::Required, false), (true, true, true));
    assert_eq!(constrained(ToolChoice::Named("f".into()), false), (true, true, true));
    assert_eq!(constrained(ToolChoice::None, true), (false, false, false));
    let unknown = with_tools(ToolChoice::Named("g".into()), "{}", false).unwrap_err();
    assert_eq!(unknown.param.as_deref(), Some("tool_choice"));
    let unique = r#"{"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}}"#;
    assert!(with_tools(ToolChoice::Required, unique, false).is_ok(), "a hint only");
    let strict = with_tools(ToolChoice::Auto, unique, true).unwrap_err();
    assert!(strict.param.as_deref() == Some("tools") && strict.message.contains("uniqueItems"), "{strict}");
}

#[test]
fn reasoning_may_precede_a_constrained_answer() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(model("Qwen2.5-Coder-0.5B-Instruct")).unwrap() {
        let file = file.unwrap();
        std::os::unix::fs::symlink(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let template = "{% for m in messages %}{{ m.content }}{% endfor %}\
        {% if mode == 'open' %}<think>\n{% elif mode == 'off' %}<think>\n\n</think>\n\n{% endif %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
    let files = ModelFiles::read(folder.path()).unwrap();
    let (thought, closed, bare) = ("<think>Hm.</think>\n\n1", "Hm.</think>1", "1");
    for (mode, allowed) in
        [("hybrid", [true, false, true]), ("open", [true, true, false]), ("off", [false, false, true])]
    {
        for (text, allowed) in [thought, closed, bare].into_iter().zip(allowed) {
            let chat = ChatPrompt {
                messages: vec![Message { content: "Hi".into(), ..Message::default() }],
                template_kwargs: Some(format!("{{\"mode\": \"{mode}\"}}")),
                ..ChatPrompt::default()
            };
            let constraint = Some(Constraint::JsonSchema(r#"{"const": 1}"#.into()));
            let request = GenerateRequest { constraint, ..request(Prompt::Chat(chat)) };
            let mut matcher = admit(&files, 4096, StreamId(9), request).unwrap().constraint.unwrap();
            let tokens = files.tokenizer.encode(text, false).unwrap();
            let fits = tokens.iter().all(|token| matcher.push(*token).is_ok()) && matcher.may_end();
            assert_eq!(fits, allowed, "{mode}: {text}");
        }
    }
}

/// Formats other than JSON cannot express every schema.
#[test]
fn inexpressible_schema_of_a_strict_function_names_the_keyword() {
    let mut files = ModelFiles::read(&model("Qwen2.5-Coder-0.5B-Instruct")).unwrap();
    files.formats.tools = ToolFormat::QwenXml;
    let schema = r#"{"anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}]}"#;
    for strict in [true, false] {
        let tool = Tool { name: "f".into(), parameters: Some(schema.into()), strict, ..Tool::default() };
        let message = Message { content: "Hi".into(), ..Message::default() };
        let chat = ChatPrompt {
            messages: vec![message],
            tools: vec![tool],
            tool_choice: ToolChoice::Required,
            ..ChatPrompt::default()
        };
        let outcome = admit(&files, 4096, StreamId(9), request(Prompt::Chat(chat)));
        match outcome {
            Err(error) => assert!(
                strict && error.param.as_deref() == Some("tools") && error.message.contains("anyOf"),
                "{error}"
            ),
            Ok(submission) => assert!(!strict && submission.constraint.is_some()),
        }
    }
}

proptest! {
    #[test]
    fn admitted_requests_are_in_range(
        prompt in ".{0,80}",
        temperature in prop::option::of(any::<f32>()),
        top_p in prop::option::of(any::<f32>()),
        min_p in prop::option::of(any::<f32>()),
        max_tokens in prop::option::of(any::<u32>()),
    ) {
        let sampling = Sampling { temperature, top_p, min_p, ..Default::default() };
        if let Ok(submission) = admitted(GenerateRequest { sampling, max_tokens, ..text(&prompt) }) {
            let row = submission.params.sampling.row;
            prop_assert!((0.0..=100.0).contains(&row.temperature));
            prop_assert!(row.top_p > 0.0 && row.top_p <= 1.0 && (0.0..=1.0).contains(&row.min_p));
            let length = submission.params.prompt.len() as u32;
            prop_assert!(length > 0 && submission.limits.max_tokens > 0);
            prop_assert!(length + submission.limits.max_tokens <= MAX_LENGTH);
        }
    }
}
