use ipc_proto::gateway::CorsOrigins;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;

/// An environment whose home has this `config.toml`, with further variables.
fn environment(file: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Environment) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), file).unwrap();
    let home = ("MLXD_HOME".to_owned(), folder.path().to_str().unwrap().to_owned());
    let others = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    (
        folder,
        Environment { settings: others.chain([home]).collect(), user_home: None, ..Environment::default() },
    )
}

fn resolve_all(file: &str, variables: &[(&str, &str)], flags: Flags) -> Result<Config, String> {
    let (_folder, environment) = environment(file, variables);
    resolve(flags, environment).map_err(|error| error.to_string())
}

fn resolve_file(file: &str) -> Result<Config, String> {
    resolve_all(file, &[], Flags::default())
}

fn gateway(config: &Config) -> GatewayConfig {
    serde_json::from_str(config.gateway.expose_secret()).unwrap()
}

#[test]
fn empty_configuration_gives_the_documented_defaults() {
    let environment = Environment { user_home: Some("/nowhere".into()), ..Environment::default() };
    let config = resolve(Flags::default(), environment).unwrap();
    assert_eq!((config.host.as_str(), config.port), ("localhost", 10240));
    assert_eq!(config.home, Path::new("/nowhere/.mlxd"));
    assert_eq!(config.models, [Path::new("/nowhere/.mlxd/models")]);
    assert_eq!(config.drain_seconds, 600);
    let gateway = gateway(&config);
    assert_eq!((gateway.recoveries, gateway.drain_seconds, gateway.response_days), (2, 600, 30));
    assert!(gateway.api_keys.is_empty() && gateway.cors_origins == CorsOrigins::default());
}

#[test]
fn file_sets_host_port_and_folders() {
    let config = resolve_file("host = \"localhost\"\nport = 1\nmodels = [\"/\"]").unwrap();
    assert_eq!((config.host.as_str(), config.port, config.models), ("localhost", 1, vec!["/".into()]));
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let (file, variables) = ("port = 1", &[("MLXD_PORT", "2")][..]);
    assert_eq!(resolve_all(file, variables, Flags::default()).unwrap().port, 2);
    assert_eq!(resolve_all(file, variables, Flags { port: Some(3), ..Flags::default() }).unwrap().port, 3);
}

#[test]
fn model_folders_of_the_environment_are_separated_by_colons() {
    let config = resolve_all("", &[("MLXD_MODELS", "/:/tmp")], Flags::default()).unwrap();
    assert_eq!(config.models, [Path::new("/"), Path::new("/tmp")]);
}

#[test]
fn wrong_file_is_refused_with_its_path_and_key() {
    for (text, word) in [
        ("prot = 1", "prot"),
        ("port = \"x\"", "port"),
        ("port = 99999", "port"),
        ("port", "line 1"),
        ("[models.m]\npni = true", "pni"),
        ("[models.m]\nreplicas = 0", "replicas"),
        ("models = 3", "models"),
        ("idle_seconds = \"x\"", "idle_seconds"),
        ("recoveries = -1", "recoveries"),
        ("response_days = 0", "response_days: must lie between 1 and 36500"),
        ("cors_origins = [\"a.example\"]", "cors_origins: \"a.example\" is no origin"),
    ] {
        let error = resolve_file(text).unwrap_err();
        assert!(error.contains(word) && error.contains("config.toml: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn wrong_types_are_described_in_the_words_of_toml() {
    for (text, sentence) in [
        ("models = 3", "models must be a list, not 3"),
        ("idle_seconds = \"x\"", "idle_seconds must be a whole number that is not negative, not \"x\""),
        ("[models]\nm = 3", "models.\"m\" must be a table, not 3"),
        ("[models.m]\naliases = 3", "models.\"m\".aliases must be a list, not 3"),
        (
            "[models.m]\npriority = \"x\"",
            "models.\"m\".priority must be one of \"high\", \"normal\", \"low\", not \"x\"",
        ),
    ] {
        let error = resolve_file(text).unwrap_err();
        assert!(error.ends_with(&format!("config.toml: {sentence}")), "{error}");
    }
}

#[test]
fn missing_folder_of_models_is_blamed_on_its_setting() {
    let error = resolve_all("", &[("MLXD_MODELS", "/no/such/folder")], Flags::default()).unwrap_err();
    assert_eq!(error, "MLXD_MODELS: /no/such/folder is no folder");
    let error = resolve_file("models = [\"/no/such/folder\"]").unwrap_err();
    assert!(error.ends_with("config.toml: models: /no/such/folder is no folder"), "{error}");
}

#[test]
fn unknown_key_is_refused_with_the_known_ones() {
    let error = resolve_file("recoverys = 1").unwrap_err();
    assert!(error.contains("recoverys") && error.contains("port") && error.contains("recoveries"), "{error}");
}

#[test]
fn wrong_variable_is_refused_by_name() {
    for (name, value) in [
        ("MLXD_PORT", "many"),
        ("MLXD_PORT", "65536"),
        ("MLXD_IDLE_SECONDS", "-1"),
        ("MLXD_RESPONSE_DAYS", "36501"),
        ("MLXD_MEMORY", "lots"),
        ("MLXD_CORS_ORIGINS", "https://a.example/x"),
        ("MLXD_ALLOWED_HOSTS", "my-mac.local:10240"),
    ] {
        let error = resolve_all("", &[(name, value)], Flags::default()).unwrap_err();
        assert!(error.starts_with(&format!("{name}: ")), "{error}");
    }
}

#[test]
fn wrong_flag_is_refused_by_name() {
    let flags = Flags { models: vec!["/no/such/folder".into()], ..Flags::default() };
    assert!(resolve_all("", &[], flags).unwrap_err().contains("/no/such/folder"));
    let flags = Flags { memory: Some("lots".into()), ..Flags::default() };
    assert!(resolve_all("", &[], flags).unwrap_err().starts_with("--memory: "));
    for wrong in ["a.example", "https://a.example/x", "*, https://a.example"] {
        let flags = Flags { cors_origins: Some(wrong.into()), ..Flags::default() };
        let error = resolve_all("", &[], flags).unwrap_err();
        assert!(error.starts_with("--cors-origins: "), "{error}");
    }
}

#[test]
fn gateway_settings_come_from_the_file() {
    let text =
        "cors_origins = [\"https://a.example\", \"https://b.example\"]\nresponse_days = 7\ndrain_seconds = 5";
    let config = resolve_file(text).unwrap();
    let origins = ["https://a.example", "https://b.example"].map(String::from);
    assert_eq!(gateway(&config).cors_origins, CorsOrigins::Only(origins.into()));
    assert_eq!((gateway(&config).response_days, config.drain_seconds), (7, 5));
}

#[test]
fn allowed_hosts_come_from_flag_variable_and_file() {
    let flags = Flags { allowed_hosts: Some("a.local, b.local".into()), ..Flags::default() };
    for config in [
        resolve_all("", &[], flags),
        resolve_all("", &[("MLXD_ALLOWED_HOSTS", "a.local,b.local")], Flags::default()),
        resolve_file("allowed_hosts = [\"a.local\", \"b.local\"]"),
    ] {
        let hosts = gateway(&config.unwrap()).allowed_hosts;
        assert!(hosts.includes("a.local") && hosts.includes("b.local"), "{hosts:?}");
    }
}

#[test]
fn gateway_settings_of_the_environment_beat_the_file() {
    let variables = [
        ("MLXD_CORS_ORIGINS", "*"),
        ("MLXD_RESPONSE_DAYS", "9"),
        ("MLXD_DRAIN_SECONDS", "20"),
        ("MLXD_RECOVERIES", "0"),
        ("MLXD_API_KEYS", "1234, sk-two,"),
    ];
    let text = "cors_origins = [\"https://a.example\"]\nresponse_days = 7\napi_keys = [\"sk-file\"]";
    let config = resolve_all(text, &variables, Flags::default()).unwrap();
    let gateway = gateway(&config);
    assert_eq!((gateway.recoveries, gateway.drain_seconds, gateway.response_days), (0, 20, 9));
    assert_eq!(gateway.cors_origins, CorsOrigins::Any);
    assert!(gateway.api_keys.expose().eq(["1234", "sk-two"]));
}

#[test]
fn other_machines_need_a_key_or_a_session_even_if_there_is_none() {
    let flags = |host: &str| Flags { host: Some(host.into()), ..Flags::default() };
    let requires = |config: &Config| gateway(config).require_login;
    for host in ["0.0.0.0", "192.168.1.5", "::", "example.test"] {
        for keyless in ["", "api_keys = []", "api_keys = [\"\", \" \"]"] {
            let config = resolve_all(keyless, &[], flags(host)).unwrap();
            assert!(requires(&config) && is_unclaimed(&config), "{host} {keyless}");
        }
        let config = resolve_all("api_keys = [\"sk-1\", \"sk-2\"]", &[], flags(host)).unwrap();
        assert!(requires(&config) && !is_unclaimed(&config));
    }
    let (folder, environment) = environment("", &[]);
    std::fs::write(folder.path().join(KEYS_REQUIRED), "").unwrap();
    assert!(!is_unclaimed(&resolve(flags("0.0.0.0"), environment).unwrap()), "the database has keys");
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
        let config = resolve_all("", &[], flags(host)).unwrap();
        assert!(!requires(&config) && !is_unclaimed(&config));
        let closed = resolve_all("require_login = true", &[], flags(host)).unwrap();
        assert!(requires(&closed) && is_unclaimed(&closed));
    }
}

#[test]
fn keys_are_never_printed() {
    let config = resolve_file("api_keys = [\"sk-hidden\"]").unwrap();
    assert!(!format!("{config:?}").contains("sk-hidden"));
    for wrong in ["api_keys = \"sk-hidden\"", "api_keys = [\"sk-hidden\", 3]", "api_keys = [\"sk-hidden\""] {
        let error = resolve_file(wrong).unwrap_err();
        assert!(!error.contains("sk-hidden"), "{error}");
    }
}

#[test]
fn wrong_route_is_refused_with_its_line() {
    let first = "[[routes]]\nmodel = \"a\"\ntargets = [\"m\"]\n\n";
    for (second, parts) in [
        ("[[routes]]\nmodel_regex = \"a(\"\ntargets = [\"m\"]", ["line 5: ", "character 2"]),
        (
            "[[routes]]\nhas_tools = 3\ntargets = [\"m\"]",
            ["line 5: ", "has_tools must be true or false, not 3"],
        ),
        ("[[routes]]\nmodel = \"a\"\ntargets = [\"m\"]", ["line 5: ", "route 2 (a): it is never reached"]),
        ("[[routes]]\nmodel = \"b\"\ntarget = [\"m\"]", ["line 5: ", "route 2"]),
    ] {
        let problem = resolve_file(&format!("{first}{second}")).unwrap_err();
        assert!(parts.iter().all(|part| problem.contains(part)), "{problem}");
        assert!(!problem.trim_end().contains('\n'), "{problem}");
    }
    assert!(resolve_file(first).is_ok());
}

#[test]
fn judges_and_roles_are_checked_against_the_other_settings() {
    let far = "[providers.far]\nkind = \"openai\"\nurl = \"https://far.example\"\nmodels = [\"m\"]\n";
    let route = |more: &str| format!("[[routes]]\nmodel = \"a\"\ntargets = [\"m\"]\n{more}\n");
    let roles = "[roles]\nfast = [\"m\", \"far/m\"]\nown = { targets = [\"m\", \"n\"], first_token_seconds = 3, local_only = true }\n";
    let judge = "[judge]\nmodel = \"small\"\ntimeout_ms = 300\n";
    let all = format!("{far}{roles}{judge}{}", route("sentence = \"it is a poem\""));
    let config = gateway(&resolve_file(&all).unwrap());
    assert_eq!((config.judge.model.as_deref(), config.judge.timeout_ms), (Some("small"), 300));
    assert_eq!(config.judge.max_prompt_bytes, 4000);
    assert!(config.roles.find("role:own").unwrap().local_only);
    for (text, part) in [
        (format!("{far}[judge]\nmodel = \"far/m\"\n"), "judge: model: \"far/m\" is a provider's model"),
        (route("sentence = \"it is a poem\""), "routes: route 1 (a): sentence: set a model that judges"),
        ("[judge]\ntimeout_ms = 0\n".into(), "between 1 and 60000"),
        ("[[routes]]\nmodel = \"a\"\ntargets = [\"role:slow\"]\n".into(), "there is no \"role:slow\""),
        ("[roles]\nfast = [\"role:slow\"]\n".into(), "fast: \"role:slow\" is a role"),
        ("[roles]\nfast = 3\n".into(), "a list of models"),
    ] {
        let problem = resolve_file(&text).unwrap_err();
        assert!(problem.contains(part), "{text}: {problem}");
    }
}

#[test]
fn models_as_a_table_are_settings() {
    let text = "memory = \"1GiB\"\nidle_seconds = 60\nmodel_folders = [\"/\"]\n\
                [models.\"org/name\"]\naliases = [\"short\"]\npin = true\npriority = \"low\"\nreplicas = 2\n";
    let config = resolve_all(text, &[("MLXD_HANG_SECONDS", "7")], Flags::default()).unwrap();
    assert_eq!(config.models, [Path::new("/")]);
    let policy = config.policy;
    assert_eq!((policy.memory, policy.idle_seconds, policy.hang_seconds), (Some(1 << 30), Some(60), 7));
    let settings = &policy.models["org/name"];
    assert!(settings.pin && settings.replicas == 2 && settings.aliases == ["short"]);
}

#[test]
fn memory_of_the_environment_beats_the_file() {
    let config = resolve_all("memory = \"1GiB\"", &[("MLXD_MEMORY", "2GiB")], Flags::default()).unwrap();
    assert_eq!(config.policy.memory, Some(2 << 30));
}

proptest! {
    #[test]
    fn highest_layer_with_a_value_decides(
        flag in proptest::option::of(any::<u16>()),
        variable in proptest::option::of(any::<u16>()),
        key in proptest::option::of(any::<u16>()),
    ) {
        let file = key.map_or_else(String::new, |port| format!("port = {port}"));
        let variable = variable.map(|port| port.to_string());
        // An empty variable is unset; `Environment::read` drops it.
        let variables: Vec<(&str, &str)> = variable.iter().map(|text| ("MLXD_PORT", text.as_str())).collect();
        let config = resolve_all(&file, &variables, Flags { port: flag, ..Flags::default() }).unwrap();
        let expected = flag.or(variable.as_ref().and_then(|text| text.parse().ok())).or(key).unwrap_or(10240);
        prop_assert_eq!(config.port, expected);
    }

    #[test]
    fn variable_and_key_give_the_same_gateway_settings(
        numbers in (any::<u32>(), any::<u32>(), 1u32..=36_500),
        keys in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 1..4),
    ) {
        let (recoveries, drain, days) = numbers;
        let file = format!("recoveries = {recoveries}\ndrain_seconds = {drain}\nresponse_days = {days}\napi_keys = {keys:?}");
        let texts = [recoveries.to_string(), drain.to_string(), days.to_string(), keys.join(",")];
        let names = ["MLXD_RECOVERIES", "MLXD_DRAIN_SECONDS", "MLXD_RESPONSE_DAYS", "MLXD_API_KEYS"];
        let variables: Vec<(&str, &str)> = names.into_iter().zip(texts.iter().map(String::as_str)).collect();
        let (in_file, in_variables) =
            (resolve_file(&file).unwrap(), resolve_all("", &variables, Flags::default()).unwrap());
        prop_assert_eq!(in_file.gateway.expose_secret(), in_variables.gateway.expose_secret());
        prop_assert_eq!(in_file.drain_seconds, drain);
    }
}

#[test]
fn downloads_are_limited_and_begun_by_requests_as_the_file_or_the_environment_says() {
    let hub = |config: &Config| -> HubConfig { serde_json::from_str(config.hub.expose_secret()).unwrap() };
    let none = resolve_file("").unwrap();
    assert!(hub(&none).download_limit.is_none() && !gateway(&none).auto_download);
    for (text, expected) in
        [("\"1.5MB\"", Some(1_500_000)), ("7000", Some(7000)), ("0", None), ("\"0\"", None)]
    {
        let config = resolve_file(&format!("download_limit = {text}\nauto_download = true")).unwrap();
        assert_eq!(hub(&config).download_limit, expected, "{text}");
        assert!(gateway(&config).auto_download);
    }
    let variables = [("MLXD_DOWNLOAD_LIMIT", "2kB"), ("MLXD_AUTO_DOWNLOAD", "true")];
    let config = resolve_all("", &variables, Flags::default()).unwrap();
    assert_eq!((hub(&config).download_limit, gateway(&config).auto_download), (Some(2000), true));
    for (text, word) in [
        ("download_limit = \"fast\"", "10MB"),
        ("download_limit = -1", "negative"),
        ("download_limit = true", "10MB"),
        ("auto_download = 3", "auto_download"),
    ] {
        let error = resolve_file(text).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    let error = resolve_all("", &[("MLXD_AUTO_DOWNLOAD", "yes")], Flags::default()).unwrap_err();
    assert!(error.contains("MLXD_AUTO_DOWNLOAD") && error.contains("neither true nor false"), "{error}");
}

#[test]
fn token_of_the_hub_is_in_the_hub_processs_document_only() {
    let (_folder, mut environment) = environment("", &[]);
    environment.others.insert("HF_TOKEN".into(), "hf_hidden".into());
    environment.others.insert("OTHER_TOKEN".into(), "no".into());
    let config = resolve(Flags::default(), environment).unwrap();
    let hub: HubConfig = serde_json::from_str(config.hub.expose_secret()).unwrap();
    assert_eq!(hub.variables.into_keys().collect::<Vec<_>>(), ["HF_TOKEN"]);
    assert!(!config.gateway.expose_secret().contains("hf_hidden"));
}

#[test]
fn wrong_backend_is_refused_with_its_line() {
    let head = "port = 1\n[backends.lm]\npreset = \"mlx-lm\"\nmodel = \"org/m\"\n";
    for (rest, sentence) in [
        ("memory = \"lots\"", "line 5: backends.lm.memory: \"lots\" is no size of memory"),
        ("memory = 4", "line 5: backends.lm.memory must be"),
        ("memory = \"1GiB\"\nstart_seconds = 0", "line 6: backends.lm.start_seconds: must lie between 1"),
        ("", "line 2: backends.lm"),
        (
            "memory = \"1GiB\"\n[providers.lm]\nkind = \"openai\"\nurl = \"http://x\"\nmodels = [\"m\"]",
            "line 2: backends.lm.name: a provider has this name, too",
        ),
        (
            "memory = \"1GiB\"\n[models.\"lm/org/m\"]\nmax_batch = 3",
            "models.\"lm/org/m\": max_batch has no effect",
        ),
    ] {
        let error = resolve_file(&format!("{head}{rest}")).unwrap_err();
        assert!(error.contains(sentence), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let config = resolve_file(&format!("{head}memory = \"1GiB\"\nalias = \"fast\"")).unwrap();
    assert_eq!(config.externals.len(), 1);
    assert_eq!(config.policy.models["lm/org/m"].aliases, ["fast"]);
    assert_eq!(gateway(&config).backends.get("lm").unwrap().model, "org/m");
}
