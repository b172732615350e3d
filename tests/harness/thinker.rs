//! A model that thinks: SmolLM2 behind a chat template that opens `<think>` and renders earlier thoughts. Examples in the
//! conversation teach it the form.

use std::path::Path;

use serde_json::{Value, json};

use crate::derived;

/// The model's name.
pub const THINKER: &str = "thinker";

/// ChatML with thoughts. The prompt opens the thought; where `enable_thinking` is false it holds empty tags.
const TEMPLATE: &str = r#"{%- if tools %}{{ '<|im_start|>system\n# Tools\n<tools>' }}{% for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}
{{- '\n</tools>\nA call is a JSON object in tags: <tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.reasoning_content %}{{ '<think>\n' + message.reasoning_content + '\n</think>\n\n' }}{% endif %}
{{- message.content or '' }}
{%- for call in message.tool_calls or [] %}{{ '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\n</tool_call>' }}{% endfor %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% elif not hybrid %}{{ '<think>\n' }}{% endif %}"#;

/// Writes the model into `folder`.
///
/// # Panics
/// When the files cannot be written.
pub fn write(folder: &Path) {
    derived::write_whole(folder, THINKER, TEMPLATE);
}

/// Question, thought and answer of each example.
pub const EXAMPLES: [[&str; 3]; 3] = [
    ["What is 2 + 3?", "The user wants the sum of 2 and 3. I count 3 up from 2: 3, 4, 5.", "The sum is 5."],
    ["What is 6 + 2?", "The user wants the sum of 6 and 2. I count 2 up from 6: 7, 8.", "The sum is 8."],
    [
        "What is 3 + 4?",
        "The user wants the sum of 3 and 4. I count 4 up from 3: 4, 5, 6, 7.",
        "The sum is 7.",
    ],
];

/// The examples as chat messages in OpenAI's form, then a question.
pub fn lesson(question: &str) -> Value {
    let turns = EXAMPLES.iter().flat_map(|[asked, thought, answered]| {
        let answer = json!({"role": "assistant", "content": answered, "reasoning_content": thought});
        [json!({"role": "user", "content": asked}), answer]
    });
    turns.chain([json!({"role": "user", "content": question})]).collect()
}
