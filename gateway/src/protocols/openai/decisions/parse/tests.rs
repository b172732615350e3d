use super::*;
use crate::protocols::openai::decisions::questions::Kind;
use crate::protocols::openai::decisions::wire::ChoiceValue;

fn parsed(change: &Value) -> Result<ValidDecision> {
    let mut request = json!({"model": "m", "input": "Hi", "questions": [
        {"type": "predicate", "instructions": "It is a greeting."}]});
    request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    parse(body::parse(request.to_string().as_bytes())?)
}

fn question(question: Value) -> Result<ValidQuestion> {
    parsed(&json!({"questions": Value::Array(vec![question])})).map(|mut valid| valid.questions.remove(0))
}

#[test]
fn prompt_is_the_input_then_the_question_and_the_beginning_of_the_answer() {
    let valid = parsed(&json!({})).unwrap();
    let Prompt::Chat(chat) = valid.prompt(&valid.questions[0]) else { panic!() };
    let turns: Vec<_> =
        chat.messages.iter().map(|turn| (turn.role, turn.content.text().into_owned())).collect();
    assert_eq!(
        turns,
        [
            (Role::User, "Hi\n\nIt is a greeting.\n\nIs this true? Answer with Yes or No.".to_owned()),
            (Role::Assistant, "Answer:".to_owned()),
        ]
    );
    assert!(chat.continues && chat.template_kwargs.unwrap().contains("\"enable_thinking\":false"));
}

#[test]
fn input_items_become_turns_and_json_becomes_text() {
    let input = json!([
        {"role": "system", "content": "Rules"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "Ticket: "}, {"type": "input_json", "data": {"id": 7}}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"}]);
    let messages = parsed(&json!({"input": input})).unwrap().messages;
    assert_eq!(messages[1], Message::text(Role::User, "Ticket: {\"id\":7}"));
    assert_eq!(messages[3], Message::result(Some("c1".into()), Some("f".into()), "done"));
}

#[test]
fn choices_are_typed_and_quoted() {
    let valid = question(json!({"type": "choice", "instructions": "Which?", "name": "team", "choices": [
        {"value": "billing", "description": "Payments"}, {"value": "true"}, {"value": true}]}))
    .unwrap();
    let text = |text: &str| ChoiceValue::Text(text.into());
    assert_eq!(valid.kind, Kind::Choice(vec![text("billing"), text("true"), ChoiceValue::Bool(true)]));
    assert_eq!(valid.kind.answer_texts(), [" \"billing\"", " \"true\"", " true"]);
    assert!(valid.text.contains("- \"billing\" (Payments)\n- \"true\"\n- true\n"), "{}", valid.text);
    assert_eq!(valid.name.as_deref(), Some("team"));
}

#[test]
fn values_without_descriptions_are_not_listed() {
    let choices = json!([{"value": "red"}, {"value": "green"}]);
    let valid = question(json!({"type": "choice", "instructions": "Which?", "choices": choices})).unwrap();
    assert_eq!(valid.text, "Which?");
}

#[test]
fn question_after_a_turn_of_the_model_is_a_turn_of_its_own() {
    let input = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]);
    let valid = parsed(&json!({"input": input})).unwrap();
    let Prompt::Chat(chat) = valid.prompt(&valid.questions[0]) else { panic!() };
    let roles: Vec<_> = chat.messages.iter().map(|turn| turn.role).collect();
    assert_eq!(roles, [Role::User, Role::Assistant, Role::User, Role::Assistant]);
}

#[test]
fn levels_are_numbered_from_zero() {
    let valid =
        question(json!({"type": "score", "instructions": [{"type": "input_text", "text": "How bad?"}],
        "levels": [{"label": "fine"}, {"label": "broken", "description": "nothing works"}]}))
        .unwrap();
    assert_eq!(valid.kind.answer_texts(), [" 0", " 1"]);
    assert!(valid.text.contains("- 0: fine\n- 1: broken (nothing works)\n"), "{}", valid.text);
}

#[test]
fn invalid_item_of_a_question_is_named() {
    for (question, text) in [
        (json!({"type": "score", "levels": ["a"]}), "questions[0].levels[0] must be an object, not \"a\""),
        (json!({"type": "score", "levels": [{}]}), "questions[0].levels[0].label is missing"),
        (
            json!({"type": "choice", "choices": [{"value": 3}]}),
            "questions[0].choices[0] must be a string or a boolean",
        ),
    ] {
        let mut question = question;
        question["instructions"] = json!("a");
        let error = parsed(&json!({"questions": [question]})).unwrap_err();
        assert_eq!(error.message, text);
        let field = text.split_whitespace().next().unwrap();
        assert_eq!(error.field, Some(field.into()));
    }
}

#[test]
fn invalid_field_is_named() {
    let predicate = json!({"type": "predicate", "instructions": "a"});
    let many: Vec<_> = (0..401).map(|_| predicate.clone()).collect();
    let image = json!([{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}]);
    let one = |question: Value| json!({"questions": [question]});
    let levels = |count: usize| (0..count).map(|at| json!({"label": at.to_string()})).collect::<Vec<_>>();
    for (change, field) in [
        (json!({"questions": []}), "questions"),
        (json!({"questions": many}), "questions"),
        (json!({"input": ""}), "input"),
        (json!({"input": 3}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": image}), "input"),
        (json!({"timeout": 0}), "timeout"),
        (one(json!({"type": "predicate", "instructions": " "})), "questions[0].instructions"),
        (
            one(json!({"type": "predicate", "instructions": [{"type": "input_image"}]})),
            "questions[0].instructions[0].type",
        ),
        (
            one(json!({"type": "choice", "instructions": "a", "choices": [{"value": "x"}]})),
            "questions[0].choices",
        ),
        (
            one(json!({"type": "choice", "instructions": "a", "choices": [{"value": "x"}, {"value": "x"}]})),
            "questions[0].choices",
        ),
        (one(json!({"type": "score", "instructions": "a", "levels": levels(1)})), "questions[0].levels"),
        (one(json!({"type": "score", "instructions": "a", "levels": levels(11)})), "questions[0].levels"),
    ] {
        assert_eq!(parsed(&change).unwrap_err().field, Some(field.into()), "{change}");
    }
}
