use ipc_proto::supervisor::{Details, ModelState};

use super::*;

fn model() -> ModelEntry {
    let details = Details {
        folder: "/models/org/name".into(),
        architecture: "qwen3".into(),
        parameters: 596_049_920,
        quantization: "4-bit".into(),
        context: Some(40960),
        capabilities: Capabilities { chat: true, tools: true, ..Capabilities::default() },
        weight_bytes: 335 << 20,
        kv_bytes_per_token: 114_688,
        ..Details::default()
    };
    ModelEntry { id: "org/name".into(), aliases: vec!["short".into()], details, ..ModelEntry::default() }
}

fn rendered() -> serde_json::Value {
    serde_json::json!({
        "model": "m", "prompt": "<s>Hi", "token_ids": [1, 2], "token_count": 2, "max_model_len": 64,
        "template": {
            "name": "tool_use", "file": "chat_template.jinja", "adaptations": ["turns are merged"],
            "sanitized_control_tokens": 3,
        },
        "tool_format": {"name": "hermes", "reason": "the template has <tool_call>"},
        "reasoning_format": null,
    })
}

#[test]
fn known_facts_are_listed_and_unknown_ones_left_out() {
    let settings = ModelSettings { context: Some(8192), pin: true, ..ModelSettings::default() };
    let text = facts(&model(), &settings).unwrap();
    assert_eq!(
        text,
        "model          org/name\naliases        short\nfolder         /models/org/name\nstate          stopped\n\
         family         qwen3\nparameters     596.0M\nquantisation   4-bit\ncontext        40960 tokens\n\
         capabilities   chat, tools\nweights        335 MiB\nKV cache       114688 bytes per token\n\
         setting        context=8192\nsetting        pin=true\n"
    );
}

#[test]
fn problems_are_shown_in_full() {
    let mut model = model();
    model.details.chat_problem = Some("line 3: unexpected end\nof the template".into());
    model.state = ModelState::Failed("no weights".into());
    let text = facts(&model, &ModelSettings::default()).unwrap();
    assert!(text.contains("chat problem   line 3: unexpected end\nof the template\n"), "{text}");
    assert!(text.contains("state          failed: no weights\n") && !text.contains("setting"), "{text}");
}

#[test]
fn note_explains_the_prompt() {
    let rendered: Rendered = serde_json::from_value(rendered()).unwrap();
    assert_eq!(
        rendered.note("a chat request"),
        "read as        a chat request\ntemplate       chat_template.jinja (tool_use)\nadaptation     turns are merged\n\
         sanitized      3 control tokens of the client are read as text\ntool format    hermes: the template has <tool_call>\n\
         tokens         2 of 64\n"
    );
}

#[test]
fn ids_have_their_texts_on_one_line_each() {
    let mut answer = rendered();
    answer["tokens"] = serde_json::json!([{"id": 1, "piece": "a\n"}, {"id": 128_000, "piece": [226, 128]}]);
    let rendered: Rendered = serde_json::from_value(answer).unwrap();
    assert_eq!(rendered.ids(), "      1  \"a\\n\"\n 128000  \\xe2\\x80\n");
}
