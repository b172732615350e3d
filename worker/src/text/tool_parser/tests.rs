use super::*;

#[test]
fn detect_finds_the_format_in_the_template() {
    for (template, format) in [
        ("…tools… <tool_call>{\"name\"", ToolFormat::Hermes),
        ("<tool_call> <function=example> <parameter=x>", ToolFormat::QwenXml),
        ("tools <|python_tag|>", ToolFormat::Llama),
        (r#"{"name": function name, "parameters": dictionary of argument name"#, ToolFormat::Llama),
        ("[func_name1(params_name1=params_value1", ToolFormat::Pythonic),
        ("[AVAILABLE_TOOLS] [TOOL_CALLS]", ToolFormat::Mistral),
        ("[TOOL_CALLS] [ARGS]", ToolFormat::MistralArgs),
        ("tools <start_function_call>", ToolFormat::Gemma),
        ("tools <|tool_call>call:", ToolFormat::Gemma4),
        ("<|tool_list_start|>[", ToolFormat::Lfm2),
        ("tools <|tool_call|>", ToolFormat::Phi),
        ("<|start_of_role|> tools <|tool_call|>", ToolFormat::Granite),
        ("<tool_call>{function-name} <arg_key>", ToolFormat::Glm),
        ("<seed:tool_call> <function=example> <parameter=x>", ToolFormat::Seed),
        ("<minimax:tool_call> <invoke name=", ToolFormat::MiniMax),
        ("<|START_ACTION|>[{\"tool_name\"", ToolFormat::Cohere),
        ("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", ToolFormat::DeepSeek),
        ("<｜tool▁calls▁begin｜> \n```json\n", ToolFormat::DeepSeekR1),
        ("<|tool_calls_section_begin|>", ToolFormat::Kimi),
        ("{% if tools %}", ToolFormat::Json),
        ("{{ messages }}", ToolFormat::Hermes),
        ("<|start|>assistant<|channel|>final", ToolFormat::Harmony),
    ] {
        assert_eq!(ToolFormat::detect(template), format, "{template}");
    }
}
