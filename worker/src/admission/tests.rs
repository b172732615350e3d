use std::sync::LazyLock;

use ipc_proto::generate::{
    ChatPrompt, ChoiceId, Logprobs, Message, Role, Sampling, Tool, ToolChanges, ToolInput,
};
use proptest::prelude::*;

use super::*;
use crate::text::model_formats::Overrides;
use crate::text::reasoning::ReasoningFormat;
use crate::text::tokenizer::tests::model;

static FILES: LazyLock<ModelFiles> =
    LazyLock::new(|| ModelFiles::read(&model("SmolLM2-135M-Instruct")).unwrap());
const MAX_LENGTH: u32 = 64;

/// `submission` after a change.
fn edited(mut submission: Submission, edit: impl FnOnce(&mut Submission)) -> Submission {
    edit(&mut submission);
    submission
}

fn submission(prompt: Prompt) -> Submission {
    let generation = Generation { prompt, ..Generation::default() };
    let choices = vec![Choice { id: ChoiceId(3), ..Choice::default() }];
    Submission { generation, choices, ..Submission::default() }
}

fn text(text: &str) -> Submission {
    submission(Prompt::Text(text.to_owned()))
}

fn admit_all(files: &ModelFiles, max_length: u32, submission: Submission) -> Result<Vec<EngineRequest>> {
    admit(files, max_length, (StreamId(9), &Span::none()), submission, &|| true)
}

/// Admits a submission of one choice.
fn admit_one(files: &ModelFiles, max_length: u32, submission: Submission) -> Result<EngineRequest> {
    let mut requests = admit_all(files, max_length, submission)?;
    assert_eq!(requests.len(), 1);
    Ok(requests.remove(0))
}

fn admitted(submission: Submission) -> Result<EngineRequest> {
    admit_one(&FILES, MAX_LENGTH, submission)
}

fn refused(submission: Submission) -> (ErrorKind, Option<Field>) {
    let error = admitted(submission).unwrap_err();
    (error.kind, error.field)
}

fn sampled(sampling: Sampling) -> Result<SamplingParams> {
    admitted(edited(text("x"), |submission| submission.generation.sampling = sampling))
        .map(|request| request.params.sampling)
}

#[test]
fn max_tokens_is_limited_by_the_context() {
    let request = admitted(text("one two three")).unwrap();
    assert_eq!(request.params.prompt.len() as u32 + request.limits.max_tokens, MAX_LENGTH);
    let more = edited(text("one two three"), |submission| submission.generation.max_tokens = Some(1000));
    assert_eq!(admitted(more).unwrap().limits.max_tokens, request.limits.max_tokens);
    let less = edited(text("one two three"), |submission| submission.generation.max_tokens = Some(5));
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
    let invalid = |field| (ErrorKind::InvalidRequest, Some(field));
    assert_eq!(refused(text("")), invalid(Field::Prompt));
    let raises = ChatPrompt { template_kwargs: Some("[".into()), ..ChatPrompt::default() };
    assert_eq!(refused(submission(Prompt::Chat(raises))), invalid(Field::Messages));
    let unknown =
        edited(text("x"), |submission| submission.generation.sampling.logit_bias = vec![(49_152, 1.0)]);
    assert_eq!(refused(unknown), invalid(Field::LogitBias));
}

#[test]
fn choices_share_the_prompt_and_add_their_index_to_the_seed() {
    let choice = |id, index| Choice { id: ChoiceId(id), index, ..Choice::default() };
    let chosen = |choices: Vec<Choice>| {
        let submission = edited(text("one two"), |submission| {
            submission.choices = choices;
            submission.generation.sampling.seed = Some(5);
        });
        admit_all(&FILES, MAX_LENGTH, submission).unwrap()
    };
    let prompt = admitted(text("one two")).unwrap().params.prompt;
    let requests = chosen(vec![choice(7, 0), choice(8, 1), choice(9, 2)]);
    let numbers = requests.iter().map(|request| (request.id, request.params.sampling.seed));
    assert_eq!(numbers.collect::<Vec<_>>(), [(ChoiceId(7), 5), (ChoiceId(8), 6), (ChoiceId(9), 7)]);
    assert!(requests.iter().all(|request| request.params.prompt == prompt));
    // After a failover, another worker resumes a choice alone.
    let [resumed] = &chosen(vec![choice(4, 40)])[..] else { panic!("one choice is one request") };
    assert_eq!((resumed.id, resumed.params.sampling.seed), (ChoiceId(4), 45));
}

#[test]
fn seed_past_the_largest_number_wraps_around() {
    let last = edited(text("x"), |submission| {
        submission.generation.sampling.seed = Some(u64::MAX);
        submission.choices[0].index = 2;
    });
    assert_eq!(admitted(last).unwrap().params.sampling.seed, 1);
}

#[test]
fn choices_without_a_seed_share_a_random_one() {
    let choice = |index: u32| Choice { id: ChoiceId(index.into()), index, ..Choice::default() };
    let two = edited(text("x"), |submission| submission.choices = vec![choice(0), choice(1)]);
    let requests = admit_all(&FILES, MAX_LENGTH, two).unwrap();
    let [first, second] = &requests[..] else { panic!("two choices are two requests") };
    assert_eq!(second.params.sampling.seed, first.params.sampling.seed.wrapping_add(1));
}

#[test]
fn each_choice_continues_its_own_output() {
    let choice =
        |index, generated: &[u32]| Choice { index, generated: generated.to_vec(), ..Choice::default() };
    let resumed = |second: &[u32]| {
        edited(text("x"), |submission| submission.choices = vec![choice(0, &[7]), choice(1, second)])
    };
    let requests = admit_all(&FILES, MAX_LENGTH, resumed(&[8, 9])).unwrap();
    let generated: Vec<_> = requests.into_iter().map(|request| request.params.generated).collect();
    assert_eq!(generated, [vec![7], vec![8, 9]]);
    let error = admit_all(&FILES, MAX_LENGTH, resumed(&[49_152])).unwrap_err();
    assert_eq!(error.field, Some(Field::Generated), "none is admitted");
}

#[test]
fn chat_is_rendered_with_the_template() {
    let message = Message { content: "Hi".into(), ..Message::default() };
    let chat = ChatPrompt { messages: vec![message], ..ChatPrompt::default() };
    let request = admitted(submission(Prompt::Chat(chat))).unwrap();
    // The template begins with <|im_start|>.
    assert_eq!(request.params.prompt[0], FILES.tokenizer.id("<|im_start|>").unwrap());
    assert!(request.limits.eos.contains(&FILES.tokenizer.id("<|im_end|>").unwrap()));
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
        let submission = edited(text("x"), |submission| submission.generation.sampling = sampling);
        admit_one(&files, MAX_LENGTH, submission).unwrap().params.sampling.penalties.repetition
    };
    assert_eq!((penalty(None), penalty(Some(1.0)), penalty(Some(1.5))), (1.1, 1.0, 1.5));
}

#[test]
fn seeds_are_random() {
    let seeds: HashSet<u64> = (0..50).map(|_| sampled(Sampling::default()).unwrap().seed).collect();
    assert_eq!(seeds.len(), 50);
}

#[test]
fn max_tokens_of_zero_scores_the_prompt_only() {
    let scored = edited(text("one two"), |submission| {
        submission.generation.max_tokens = Some(0);
        submission.generation.logprobs = Some(Logprobs { top: 3, prompt: true });
    });
    assert_eq!(admitted(scored).unwrap().limits.max_tokens, 0);
}

#[test]
fn ignore_eos_and_min_tokens_are_passed_on() {
    let endless = edited(text("x"), |submission| {
        submission.generation.ignore_eos = true;
        submission.generation.min_tokens = 7;
    });
    let endless = admitted(endless).unwrap();
    assert!(endless.limits.eos.is_empty());
    assert_eq!(endless.params.sampling.min_tokens, 7);
    assert!(!endless.params.sampling.ends.is_empty());
}

#[test]
fn constraint_is_compiled_or_refused() {
    let broken = edited(text("x"), |submission| {
        submission.generation.constraint = Some(Constraint::Regex("(".into()))
    });
    assert_eq!(refused(broken).1, Some(Field::OutputFormat));
    let valid =
        edited(text("x"), |submission| submission.generation.constraint = Some(Constraint::JsonObject));
    let valid = admitted(valid).unwrap();
    assert!(valid.constraint.is_some() && valid.params.masked);
}

#[test]
fn constraint_has_consumed_what_another_worker_generated() {
    let encode = |text: &str| FILES.tokenizer.encode(text, false).unwrap();
    let resumed = |generated: &str| {
        let generated = encode(generated);
        edited(text("x"), |submission| {
            submission.generation.constraint = Some(Constraint::Regex("one two".into()));
            submission.choices[0].generated = generated;
        })
    };
    let mut rest = admitted(resumed("one")).unwrap().constraint.unwrap();
    assert!(!rest.is_complete());
    for token in encode(" two") {
        rest.push(token).unwrap();
    }
    assert!(admitted(resumed("one two")).unwrap().constraint.unwrap().is_complete());
    assert_eq!(refused(resumed("two")).0, ErrorKind::Internal);
}

#[test]
fn time_limit_becomes_a_deadline() {
    let timed = edited(text("x"), |submission| submission.generation.time_limit_ms = Some(5));
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
        edited(submission(Prompt::Chat(chat)), |submission| submission.generation.reasoning_budget = Some(4))
    };
    let files = reasoning_files();
    let admitted = |submission| admit_one(&files, 256, submission).unwrap();
    let open = admitted(say("<think>hm"));
    assert!(open.budget.is_some() && open.params.masked && open.limits.output_format.reasoning_open);
    let answers = admitted(say("<think>hm</think>So"));
    assert!(answers.budget.is_none() && !answers.params.masked && answers.limits.output_format.in_answer);
    let plain = admit_one(&FILES, 256, say("<think>hm")).unwrap();
    assert!(plain.budget.is_none(), "a model that does not think has nothing to close");
}

#[test]
fn stop_tokens_extend_the_models_end_tokens() {
    let more = edited(text("x"), |submission| submission.generation.stop_tokens = vec![7]);
    let eos = admitted(more).unwrap().limits.eos;
    assert!(eos.contains(&7) && FILES.eos.is_subset(&eos));
    let wrong = edited(text("x"), |submission| submission.generation.stop_tokens = vec![49_152]);
    assert_eq!(refused(wrong).1, Some(Field::StopTokens));
}

static QWEN: LazyLock<ModelFiles> = LazyLock::new(|| ModelFiles::read(&model("toy-qwen2")).unwrap());

fn with_tools(choice: ToolChoice, schema: &str, strict: bool) -> Result<EngineRequest> {
    let input = ToolInput::Json { schema: Some(schema.into()), strict };
    let tool = Tool { name: "f".into(), input, ..Tool::default() };
    let message = Message { content: "Hi".into(), ..Message::default() };
    let chat = ChatPrompt {
        messages: vec![message],
        tools: vec![tool],
        tool_choice: choice,
        ..ChatPrompt::default()
    };
    admit_one(&QWEN, 4096, submission(Prompt::Chat(chat)))
}

#[test]
fn tool_choice_and_strict_determine_the_constraint() {
    let constrained = |choice, strict| {
        let request = with_tools(choice, r#"{"type": "object"}"#, strict).unwrap();
        let has_functions = request.limits.output_format.functions.is_some();
        (has_functions, request.constraint.is_some(), request.params.masked)
    };
    assert_eq!(constrained(ToolChoice::Auto, false), (true, false, false));
    assert_eq!(constrained(ToolChoice::Auto, true), (true, true, true));
    assert_eq!(constrained(ToolChoice::Required, false), (true, true, true));
    assert_eq!(constrained(ToolChoice::Named("f".into()), false), (true, true, true));
    assert_eq!(constrained(ToolChoice::None, true), (false, false, false));
    let unknown = with_tools(ToolChoice::Named("g".into()), "{}", false).unwrap_err();
    assert_eq!(unknown.field, Some(Field::ToolChoice));
    let unique = r#"{"type": "object", "properties": {"a": {"type": "array", "uniqueItems": true}}}"#;
    assert!(with_tools(ToolChoice::Required, unique, false).is_ok(), "a hint only");
    let strict = with_tools(ToolChoice::Auto, unique, true).unwrap_err();
    assert!(strict.field == Some(Field::Tools) && strict.message.contains("uniqueItems"), "{strict}");
}

/// The head of the prompt is the same before and after a change, so its blocks stay cached.
#[test]
fn tool_changes_alter_the_callable_tools_and_not_the_prompt() {
    let tool = |name: &str| Tool {
        name: name.into(),
        input: ToolInput::Json { schema: Some("{}".into()), strict: false },
        ..Tool::default()
    };
    let admitted = |added: &[&str], withdrawn: &[&str], choice| {
        let chat = ChatPrompt {
            messages: vec![Message { content: "Hi".into(), ..Message::default() }],
            tools: vec![tool("f")],
            tool_changes: ToolChanges {
                added: added.iter().map(|name| tool(name)).collect(),
                withdrawn: withdrawn.iter().map(|name| (*name).to_owned()).collect(),
            },
            tool_choice: choice,
            ..ChatPrompt::default()
        };
        admit_one(&QWEN, 4096, submission(Prompt::Chat(chat)))
    };
    let callable = |added: &[&str], withdrawn: &[&str]| {
        let functions = admitted(added, withdrawn, ToolChoice::Auto).unwrap().limits.output_format.functions;
        functions.map(|functions| ["f", "g"].map(|name| functions.contains(name)))
    };
    assert_eq!(callable(&[], &[]), Some([true, false]));
    assert_eq!(callable(&["g"], &[]), Some([true, true]));
    assert_eq!(callable(&["g"], &["f"]), Some([false, true]));
    assert_eq!(callable(&[], &["f"]), None);
    let prompt = |added: &[&str], withdrawn: &[&str]| {
        admitted(added, withdrawn, ToolChoice::Auto).unwrap().params.prompt
    };
    assert_eq!(prompt(&["g"], &["f"]), prompt(&[], &[]));
    let named = |name: &str| admitted(&["g"], &["f"], ToolChoice::Named(name.into()));
    assert!(named("g").unwrap().constraint.is_some());
    assert_eq!(named("f").unwrap_err().field, Some(Field::ToolChoice));
}

#[test]
fn reasoning_may_precede_a_constrained_answer() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(model("toy-qwen2")).unwrap() {
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
            let submission = edited(submission(Prompt::Chat(chat)), |submission| {
                submission.generation.constraint = constraint
            });
            let mut matcher = admit_one(&files, 4096, submission).unwrap().constraint.unwrap();
            let tokens = files.tokenizer.encode(text, false).unwrap();
            let fits = tokens.iter().all(|token| matcher.push(*token).is_ok()) && matcher.may_end();
            assert_eq!(fits, allowed, "{mode}: {text}");
        }
    }
}

/// Formats other than JSON cannot express every schema.
#[test]
fn inexpressible_schema_of_a_strict_function_names_the_keyword() {
    let mut files = ModelFiles::read(&model("toy-qwen2")).unwrap();
    files.formats.tools = ToolFormat::QwenXml;
    let schema = r#"{"anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}]}"#;
    for strict in [true, false] {
        let input = ToolInput::Json { schema: Some(schema.into()), strict };
        let tool = Tool { name: "f".into(), input, ..Tool::default() };
        let message = Message { content: "Hi".into(), ..Message::default() };
        let chat = ChatPrompt {
            messages: vec![message],
            tools: vec![tool],
            tool_choice: ToolChoice::Required,
            ..ChatPrompt::default()
        };
        match admit_one(&files, 4096, submission(Prompt::Chat(chat))) {
            Err(error) => {
                assert!(
                    strict && error.field == Some(Field::Tools) && error.message.contains("anyOf"),
                    "{error}"
                )
            }
            Ok(request) => assert!(!strict && request.constraint.is_some()),
        }
    }
}

proptest! {
    #[test]
    fn admitted_requests_are_in_range(
        prompt in ".{0,80}",
        temperature in prop::option::of(0.0f32..=100.0),
        top_p in prop::option::of(f32::MIN_POSITIVE..=1.0),
        min_p in prop::option::of(0.0f32..=1.0),
        max_tokens in prop::option::of(1..=u32::MAX),
    ) {
        let sampling = Sampling { temperature, top_p, min_p, ..Default::default() };
        let submission = edited(text(&prompt), |submission| {
            submission.generation.sampling = sampling;
            submission.generation.max_tokens = max_tokens;
        });
        if let Ok(request) = admitted(submission) {
            let row = request.params.sampling.row;
            prop_assert!((0.0..=100.0).contains(&row.temperature));
            prop_assert!(row.top_p > 0.0 && row.top_p <= 1.0 && (0.0..=1.0).contains(&row.min_p));
            let length = request.params.prompt.len() as u32;
            prop_assert!(length > 0 && request.limits.max_tokens > 0);
            prop_assert!(length + request.limits.max_tokens <= MAX_LENGTH);
        }
    }
}
