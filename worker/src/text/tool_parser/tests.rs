use super::*;

#[test]
fn templates_show_their_format() {
    for (template, format) in [
        ("…tools… <tool_call>{\"name\"", Format::Hermes),
        ("<tool_call> <function=example> <parameter=x>", Format::QwenXml),
        ("tools <|python_tag|>", Format::Llama),
        (r#"{"name": function name, "parameters": dictionary of argument name"#, Format::Llama),
        ("[func_name1(params_name1=params_value1", Format::Pythonic),
        ("[AVAILABLE_TOOLS] [TOOL_CALLS]", Format::Mistral),
        ("[TOOL_CALLS] [ARGS]", Format::MistralArgs),
        ("tools <start_function_call>", Format::Gemma),
        ("tools <|tool_call|>", Format::Phi),
        ("{% if tools %}", Format::Json),
        ("{{ messages }}", Format::Hermes),
        ("<|start|>assistant<|channel|>final", Format::Harmony),
    ] {
        assert_eq!(Format::detect(template), format, "{template}");
    }
}
