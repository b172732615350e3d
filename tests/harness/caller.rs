//! A model that calls functions: SmolLM2 behind a chat template that shows three calls of `get_weather` where a request has
//! functions. The examples make this small model call it unforced, in the form of Hermes and Qwen.

use std::path::Path;

use crate::derived;

/// The model's name.
pub const CALLER: &str = "caller";

const TEMPLATE: &str = r#"{%- if tools %}
{{- '<|im_start|>system\nYou call functions.\n<tools>' }}
{%- for tool in tools %}{{ '\n' + (tool | tojson) }}{% endfor %}
{{- '\n</tools><|im_end|>\n' }}
{%- for city in ['Rome', 'Berlin', 'Madrid'] %}
{{- '<|im_start|>user\nWhat is the weather in ' + city + '?<|im_end|>\n<|im_start|>assistant\n' }}
{{- '<tool_call>\n{"name": "get_weather", "arguments": {"city": "' + city + '"}}\n</tool_call><|im_end|>\n' }}
{%- endfor %}
{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}
{{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\n' }}"#;

/// Writes the model into `folder`.
///
/// # Panics
/// When the files cannot be written.
pub fn write(folder: &Path) {
    derived::write_whole(folder, CALLER, TEMPLATE);
}
