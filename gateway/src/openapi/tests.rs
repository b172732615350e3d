use super::*;

/// Every reference resolves, and no two types share a name.
#[test]
fn document_references_resolve() {
    let document = document();
    let text = document.to_string();
    let references = text.match_indices("\"$ref\":\"#").map(|(at, _)| {
        let rest = &text[at + "\"$ref\":\"#".len()..];
        rest.split_once('"').unwrap().0
    });
    let mut count = 0;
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
        count += 1;
    }
    assert!(count > 50, "{count}");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let doubled = schemas.keys().find(|name| name.ends_with('2'));
    assert_eq!(doubled, None, "two types have one name: rename one for schemars");
}

#[test]
fn request_schemas_have_properties_and_required_fields() {
    let schemas = &document()["components"]["schemas"];
    for (name, field) in [
        ("ChatRequest", "messages"),
        ("CompletionRequest", "prompt"),
        ("MessagesRequest", "thinking"),
        ("ResponsesRequest", "previous_response_id"),
        ("EmbeddingsRequest", "dimensions"),
        ("RerankRequest", "documents"),
    ] {
        assert!(schemas[name]["properties"].get(field).is_some(), "{name}.{field}");
    }
}

#[test]
fn prompt_operations_describe_all_request_forms() {
    let schemas = &document()["components"]["schemas"];
    for name in ["ChatRequest", "MessagesRequest", "ResponsesRequest"] {
        assert!(schemas[name]["properties"].get("sanitize_control_tokens").is_some(), "{name}");
    }
    let tokenize = &document()["paths"]["/tokenize"]["post"];
    let body = &tokenize["requestBody"]["content"]["application/json"]["schema"]["anyOf"];
    assert_eq!(body[0]["$ref"], "#/components/schemas/TokenizeRequest");
    assert_eq!(body[1]["allOf"][0]["$ref"], "#/components/schemas/ChatRequest");
    let failure = &document()["paths"]["/v1/messages/render"]["post"]["responses"]["default"];
    assert_eq!(
        failure["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/MessagesError"
    );
}

#[test]
fn model_operations_describe_queries_and_both_forms() {
    let models = &document()["paths"]["/v1/models"]["get"];
    let names: Vec<_> = models["parameters"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["limit", "after_id", "before_id"]);
    let forms = &models["responses"]["200"]["content"]["application/json"]["schema"]["anyOf"];
    assert_eq!(forms[1]["$ref"], "#/components/schemas/AnthropicModelList");
    let stored = &document()["paths"]["/v1/responses/{id}"]["get"]["parameters"];
    assert_eq!(stored[0]["name"], "stream");
    assert_eq!(stored[2]["in"], "path");
}

/// Reads the source of the router: axum has no list of its routes.
#[test]
fn every_route_is_described() {
    let source = include_str!("../server/router.rs");
    let described = document()["paths"].as_object().unwrap();
    let routes = source.split(".route(\"").skip(1).map(|rest| rest.split_once('"').unwrap().0);
    let mut count = 0;
    for route in routes {
        let path = route.replace("{*id}", "{id}").replace("{*path}", "{id}");
        assert!(described.contains_key(&path), "{path}");
        count += 1;
    }
    assert!(count > 20, "{count}");
    let orders = ["load", "unload", "restart", "pin"].map(|order| format!("/admin/v1/models/{{id}}/{order}"));
    assert!(orders.iter().all(|path| described[path].get("post").is_some()));
    let settings = &described["/admin/v1/models/{id}/settings"];
    assert!(settings.get("get").is_some());
    assert_eq!(settings["put"]["requestBody"]["required"], true);
    let failure = &described["/admin/v1/pool"]["get"]["responses"]["default"]["content"];
    assert!(failure.get("application/problem+json").is_some(), "{failure}");
    for path in ["/api/tags", "/api/version"] {
        let failure = &described[path]["get"]["responses"]["default"]["content"]["application/json"];
        assert_eq!(failure["schema"]["$ref"], "#/components/schemas/OllamaError", "{path}");
    }
}

/// The page would read a field that nothing writes.
#[test]
fn fields_of_the_web_ui_are_in_the_document() {
    let schemas = &document()["components"]["schemas"];
    let mut count = 0;
    for part in include_str!("../../../ui/src/lib/types.ts").split("/** @schema ").skip(1) {
        let (name, rest) = part.split_once(" */").unwrap();
        let fields = rest.split_once('{').unwrap().1.split_once("\n}").unwrap().0;
        for field in fields.lines().filter_map(|line| line.split_once(':')) {
            let field = field.0.trim().trim_end_matches('?');
            assert!(schemas[name]["properties"].get(field).is_some(), "{name}.{field}");
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}
