use super::*;

fn planned(text: &str) -> Plan {
    plan(text, &|_| None, &Recommended::read().unwrap()).unwrap()
}

const WHOLE: &str = r#"
healthCheckTimeout: 60
globalTTL: 900
macros:
  "serve": "${venv}/bin/mlx_lm.server --port ${PORT}"
  "venv": /opt/mlx
apiKeys: ["sk-for-clients"]
models:
  coder:
    cmd: |
      # MLX
      ${serve} --model mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit --max-kv-size ${tokens}
    macros: { tokens: 65536 }
    aliases: ["gpt-4o", "coder-latest"]
    ttl: 300
    concurrencyLimit: 4
    filters: { stripParams: temperature }
  mine:
    cmd: ${serve} --model /models/mine --draft-model org/tiny
    ttl: 0
  small:
    cmd: llama-server --port ${PORT} -m /gguf/Llama-3.2-1B-Instruct-Q8_0.gguf
    aliases: [tiny]
  unknown:
    cmd: docker run vllm/vllm-openai --model deepseek-ai/DeepSeek-V3
hooks:
  on_startup: { preload: ["coder", "small", "unknown"] }
groups:
  always: { persistent: true, swap: false, members: [mine] }
  rest: { members: [coder, small] }
peers:
  studio:
    proxy: http://192.168.1.20:8080
    models: [big, embed]
  cloud:
    proxy: https://cloud.example/api/
    apiKey: ${env.CLOUD_KEY}
    models: [big, vendor/huge]
    filters: { stripParams: top_p }
  clear: { proxy: "https://clear.example", apiKey: sk-in-clear, models: [x] }
selectors:
  best: { strategy: warm, targets: [coder, cloud/vendor/huge, embed] }
  fixed: { strategy: pin, targets: [mine, coder] }
  lost: { strategy: spillover, targets: [unknown] }
"#;

#[test]
fn models_of_mlx_servers_keep_names_and_settings() {
    let plan = planned(WHOLE);
    let coder = Model {
        aliases: vec!["coder".into(), "coder-latest".into(), "gpt-4o".into()],
        context: Some(65_536),
        idle_seconds: Some(300),
        max_batch: Some(4),
        pin: false,
        preload: true,
    };
    assert_eq!(plan.models["mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit"], coder);
    assert_eq!(plan.models["mine"], Model { pin: true, ..Model::default() });
    assert_eq!(plan.models.len(), 2);
    assert_eq!((plan.links, plan.idle_seconds), (vec![PathBuf::from("/models/mine")], Some(900)));
}

#[test]
fn peers_become_providers_and_selectors_routes() {
    let plan = planned(WHOLE);
    let provider = |name: &str| {
        let one = &plan.providers[name];
        let models: Vec<(&str, Option<&str>)> =
            one.models.iter().map(|model| (model.id.as_str(), model.alias.as_deref())).collect();
        (one.url.as_str(), one.key_env.as_deref(), models)
    };
    let studio = vec![("big", None), ("embed", Some("embed"))];
    assert_eq!(provider("studio"), ("http://192.168.1.20:8080/v1", None, studio));
    let cloud = vec![("big", None), ("vendor/huge", Some("vendor/huge"))];
    assert_eq!(provider("cloud"), ("https://cloud.example/api/v1", Some("CLOUD_KEY"), cloud));
    let routes: Vec<(&str, Vec<&str>)> = plan
        .routes
        .iter()
        .map(|route| (route.model.as_str(), route.targets.iter().map(String::as_str).collect()))
        .collect();
    let coder = "mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit";
    let expected = [
        ("tiny", vec!["small/small"]),
        ("best", vec![coder, "cloud/vendor/huge", "studio/embed"]),
        ("fixed", vec!["mine"]),
    ];
    assert_eq!(routes, expected);
}

#[test]
fn what_stays_behind_is_named_and_no_secret_is_shown() {
    let plan = planned(WHOLE);
    let why = |what: &str| {
        let found = plan.left.iter().find(|left| left.what == what);
        found.unwrap_or_else(|| panic!("{what} in {:?}", plan.left)).why.as_str()
    };
    assert!(why("unknown").contains("docker starts it out of reach"), "{}", why("unknown"));
    assert!(why("unknown").contains("mlxd search DeepSeek-V3"), "{}", why("unknown"));
    assert!(why("mine: --draft-model").contains("no counterpart"));
    assert!(why("mine: ttl 0").contains("pin=true"));
    assert!(why("coder: filters").contains("as the client sent them"));
    assert!(why("hooks: preload unknown").contains("not taken over"));
    assert!(why("groups: rest").contains("budget of memory"));
    assert!(why("apiKey of peer clear").contains("clear text"));
    assert!(why("apiKeys").contains("mlxd key add"));
    assert!(why("selector lost").contains("none of its models"));
    let shown = format!("{plan:?}");
    assert!(!shown.contains("sk-"), "{shown}");
    assert!(!plan.left.iter().any(|left| left.what.contains("healthCheckTimeout")));
}

#[test]
fn other_files_are_refused() {
    for text in ["model_list: []", "models: [a]", "3"] {
        let problem = plan(text, &|_| None, &Recommended::read().unwrap()).unwrap_err();
        assert!(problem.contains("llama-swap"), "{text}: {problem}");
    }
}

#[test]
fn other_programs_become_backends() {
    let plan = planned(WHOLE);
    let small = Backend {
        command: ["llama-server", "--port", "{port}", "-m", "/gguf/Llama-3.2-1B-Instruct-Q8_0.gguf"]
            .map(String::from)
            .into(),
        model: "small".into(),
        alias: "small".into(),
        weights: Some("/gguf/Llama-3.2-1B-Instruct-Q8_0.gguf".into()),
        start_seconds: Some(60),
        preload: true,
        ..Backend::default()
    };
    assert_eq!(plan.backends, BTreeMap::from([("small".into(), small)]));
}
