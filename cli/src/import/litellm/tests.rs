use super::*;
use crate::import::plan::{Kind, Left};

fn planned(text: &str) -> Plan {
    plan(text, &|name| (name == "VLLM_URL").then(|| "http://10.0.0.5:8000/v1".to_owned())).unwrap()
}

const WHOLE: &str = r#"
model_list:
  - model_name: fast
    litellm_params:
      model: openai/gpt-4.1-mini
      api_key: os.environ/WORK_KEY
      rpm: 300
    model_info: { max_input_tokens: 128000, input_cost_per_token: 4.0e-07, output_cost_per_token: 0.0000016 }
  - model_name: fast
    litellm_params: { model: groq/llama-3.3-70b-versatile, rpm: 100 }
  - model_name: clever
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      temperature: 0.2
      timeout: 120
  - model_name: own
    litellm_params:
      model: hosted_vllm/Qwen/Qwen3-8B
      api_base: os.environ/VLLM_URL
      api_key: none
  - model_name: pictures
    litellm_params: { model: openai/gpt-image-1 }
    model_info: { mode: image_generation }
  - model_name: "openrouter/*"
    litellm_params: { model: "openrouter/*" }
  - model_name: corporate
    litellm_params: { model: azure/gpt-4.1, api_base: "https://corp.example", api_key: sk-very-secret }
litellm_settings:
  drop_params: true
  fallbacks: [{ "clever": ["fast", "corporate"] }]
router_settings:
  routing_strategy: latency-based-routing
  model_group_alias: { "gpt-4o": "clever" }
general_settings:
  master_key: sk-master
  database_url: postgres://user:secret@db
"#;

#[test]
fn deployments_become_models_of_providers() {
    let plan = planned(WHOLE);
    let providers: Vec<(&str, Kind, &str, Option<&str>)> = plan
        .providers
        .iter()
        .map(|(name, one)| (name.as_str(), one.kind, one.url.as_str(), one.key_env.as_deref()))
        .collect();
    assert_eq!(
        providers,
        [
            ("10.0.0.5-8000", Kind::Compatible, "http://10.0.0.5:8000/v1", None),
            ("anthropic", Kind::Anthropic, "https://api.anthropic.com", Some("ANTHROPIC_API_KEY")),
            ("groq", Kind::Compatible, "https://api.groq.com/openai/v1", Some("GROQ_API_KEY")),
            ("openai", Kind::Openai, "https://api.openai.com/v1", Some("WORK_KEY")),
        ]
    );
    let own = &plan.providers["10.0.0.5-8000"].models;
    assert_eq!((own[0].id.as_str(), own[0].alias.as_deref()), ("Qwen/Qwen3-8B", Some("own")));
    let fast = &plan.providers["openai"].models[0];
    assert_eq!(fast.context, Some(128_000));
    assert_eq!(fast.price, Some(Price { input: 0.4, cached_input: None, output: 1.6 }));
    assert_eq!(plan.providers["anthropic"].timeout_seconds, Some(120));
}

/// As LiteLLM 1.110.2 reads them.
#[test]
fn numbers_may_be_texts_and_have_a_point() {
    let plan = planned(
        "model_list:
  - model_name: fast
    litellm_params: { model: openai/a, timeout: 9, timeout: 600.0, input_cost_per_token: '3e-07', output_cost_per_token: 2e-6, weight: 0.5 }
    model_info: { max_input_tokens: 12e3 }
",
    );
    let provider = &plan.providers["openai"];
    assert_eq!(provider.timeout_seconds, Some(600), "the last value of a key counts");
    assert_eq!(provider.models[0].price, Some(Price { input: 0.3, cached_input: None, output: 2.0 }));
    assert_eq!(provider.models[0].context, Some(12_000));
    assert!(plan.left.iter().any(|left| left.what.starts_with("weight of fast")), "{:?}", plan.left);
}

#[test]
fn groups_and_fallbacks_become_routes() {
    let route = |model: &str, split: &[(&str, u32)], targets: &[&str]| Route {
        model: model.into(),
        split: split.iter().map(|(model, weight)| ((*model).to_owned(), *weight)).collect(),
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
    };
    let (mini, llama) = ("openai/gpt-4.1-mini", "groq/llama-3.3-70b-versatile");
    let sonnet = "anthropic/claude-sonnet-4-5";
    let plan = planned(WHOLE);
    assert_eq!(
        plan.routes,
        [
            route("fast", &[(mini, 300), (llama, 100)], &[mini, llama]),
            route("clever", &[], &[sonnet, mini, llama]),
            route("gpt-4o", &[], &[sonnet, mini, llama]),
        ]
    );
}

#[test]
fn what_stays_behind_is_named_and_no_secret_is_shown() {
    let plan = planned(WHOLE);
    let why = |what: &str| {
        let found = plan.left.iter().find(|left| left.what.starts_with(what));
        found.unwrap_or_else(|| panic!("{what} in {:?}", plan.left)).why.as_str()
    };
    assert!(why("corporate (azure/gpt-4.1)").contains("azure has a protocol of its own"));
    assert!(why("pictures").contains("image_generation"));
    assert!(why("openrouter/*").contains("one by one"));
    assert!(why("api_key of own").contains("clear text"));
    assert!(why("clever (anthropic/claude-sonnet-4-5): temperature").contains("as the client sent them"));
    assert!(why("fallback of clever to corporate").contains("not taken over"));
    assert!(why("router_settings: routing_strategy latency-based-routing").contains("weights"));
    assert!(why("general_settings: master_key").contains("mlxd key add"));
    assert!(
        !why("general_settings: database_url").is_empty() && !why("litellm_settings: drop_params").is_empty()
    );
    let shown = format!("{plan:?}");
    for secret in ["very-secret", "sk-master", "user:secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn one_service_with_two_keys_is_two_providers() {
    let plan = planned(
        "model_list:\n- model_name: a\n  litellm_params: {model: gpt-5, api_key: os.environ/ONE}\n\
         - model_name: b\n  litellm_params: {model: openai/gpt-5, api_key: os.environ/TWO}\n\
         - model_name: c\n  litellm_params: {model: ollama_chat/qwen3, api_base: \"http://localhost:11434\"}\n",
    );
    let keys: Vec<(&str, Option<&str>)> =
        plan.providers.iter().map(|(name, one)| (name.as_str(), one.key_env.as_deref())).collect();
    assert_eq!(keys, [("localhost-11434", None), ("openai", Some("ONE")), ("openai-2", Some("TWO"))]);
    assert_eq!(plan.providers["localhost-11434"].url, "http://localhost:11434/v1");
    assert_eq!((plan.routes, plan.left), (Vec::new(), Vec::<Left>::new()));
}

#[test]
fn other_files_are_refused() {
    for (text, part) in [("models: {}", "model_list"), ("a: [", "line"), ("- 1", "model_list")] {
        let problem = plan(text, &|_| None).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
    let plan = planned("model_list:\n- {}\n- model_name: x\n  litellm_params: {model: mystery}\n");
    assert_eq!((plan.providers.len(), plan.left.len()), (0, 2));
}
