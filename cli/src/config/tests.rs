use super::*;

fn with_file(text: &str) -> (tempfile::TempDir, Environment) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), text).unwrap();
    let home = Some(folder.path().to_owned());
    (folder, Environment { home, ..Environment::default() })
}

#[test]
fn nothing_given_gives_the_documented_defaults() {
    let environment = Environment { user_home: Some("/nobody".into()), ..Environment::default() };
    let config = resolve(Flags::default(), environment).unwrap();
    assert_eq!((config.host.as_str(), config.port), ("127.0.0.1", 10240));
    assert_eq!(config.home, Path::new("/nobody/.mlxd"));
    assert_eq!(config.models, [Path::new("/nobody/.mlxd/models")]);
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let (_folder, environment) = with_file("host = \"localhost\"\nport = 1\nmodels = [\"/\"]");
    let config = resolve(Flags::default(), environment).unwrap();
    assert_eq!((config.host.as_str(), config.port, config.models), ("localhost", 1, vec!["/".into()]));
    let (_folder, mut environment) = with_file("port = 1");
    environment.port = Some("2".into());
    assert_eq!(resolve(Flags::default(), environment).unwrap().port, 2);
    let (_folder, mut environment) = with_file("port = 1");
    environment.port = Some("2".into());
    assert_eq!(resolve(Flags { port: Some(3), ..Flags::default() }, environment).unwrap().port, 3);
}

#[test]
fn what_is_wrong_is_named() {
    for (text, word) in
        [("prot = 1", "prot"), ("port = \"x\"", "port"), ("port = 99999", "port"), ("port", "port")]
    {
        let (_folder, environment) = with_file(text);
        let error = resolve(Flags::default(), environment).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("config.toml"), "{error}");
    }
    let (_folder, mut environment) = with_file("");
    environment.port = Some("many".into());
    assert!(resolve(Flags::default(), environment).unwrap_err().to_string().starts_with("MLXD_PORT"));
    let (_folder, environment) = with_file("");
    let flags = Flags { models: vec!["/no/such/folder".into()], ..Flags::default() };
    assert!(resolve(flags, environment).unwrap_err().to_string().contains("/no/such/folder"));
}

#[test]
fn origins_and_days_come_from_everywhere_and_are_checked() {
    let (_folder, environment) =
        with_file("cors_origins = [\"https://a.example\", \"https://b.example\"]\nresponse_days = 7");
    let config = resolve(Flags::default(), environment).unwrap();
    assert_eq!(config.cors_origins.as_deref(), Some("https://a.example,https://b.example"));
    assert_eq!((config.response_days, config.drain_seconds), (Some(7), 600));
    let (_folder, environment) = with_file("drain_seconds = 5");
    assert_eq!(resolve(Flags::default(), environment).unwrap().drain_seconds, 5);
    let (_folder, mut environment) = with_file("cors_origins = [\"https://a.example\"]\nresponse_days = 7");
    (environment.cors_origins, environment.response_days) = (Some("*".into()), Some("9".into()));
    environment.drain_seconds = Some("20".into());
    let config = resolve(Flags::default(), environment).unwrap();
    assert_eq!((config.cors_origins.as_deref(), config.response_days), (Some("*"), Some(9)));
    assert_eq!(config.drain_seconds, 20);
    let flags = |list: &str| Flags { cors_origins: Some(list.into()), ..Flags::default() };
    for wrong in ["a.example", "https://a.example/x", "*, https://a.example"] {
        let error = resolve(flags(wrong), with_file("").1).unwrap_err().to_string();
        assert!(error.starts_with("cors_origins"), "{error}");
    }
    let (_folder, environment) = with_file("response_days = 0");
    assert!(resolve(Flags::default(), environment).unwrap_err().to_string().starts_with("response_days"));
}

#[test]
fn other_machines_are_let_in_with_a_key_only() {
    for host in ["0.0.0.0", "192.168.1.5", "::", "example.test"] {
        let flags = || Flags { host: Some(host.into()), ..Flags::default() };
        let (_folder, environment) = with_file("");
        assert!(matches!(resolve(flags(), environment), Err(ConfigError::Open(_))), "{host}");
        let (_folder, environment) = with_file("api_keys = [\"sk-1\", \"sk-2\"]");
        assert!(resolve(flags(), environment).is_ok());
    }
    for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost"] {
        let (_folder, environment) = with_file("");
        assert!(resolve(Flags { host: Some(host.into()), ..Flags::default() }, environment).is_ok());
    }
}

#[test]
fn keys_are_never_printed() {
    let (_folder, environment) = with_file("api_keys = [\"sk-hidden\"]");
    let config = resolve(Flags::default(), environment).unwrap();
    assert!(!format!("{config:?}").contains("sk-hidden"));
}

#[test]
fn models_are_folders_or_settings() {
    let text = "memory = \"1GiB\"\nidle_seconds = 60\nmodel_folders = [\"/\"]\n\
                [models.\"org/name\"]\naliases = [\"short\"]\npin = true\npriority = \"low\"\nreplicas = 2\n";
    let (_folder, mut environment) = with_file(text);
    environment.hang_seconds = Some("7".into());
    let config = resolve(Flags::default(), environment).unwrap();
    assert_eq!(config.models, [Path::new("/")]);
    let policy = config.policy;
    assert_eq!((policy.memory, policy.idle_seconds, policy.hang_seconds), (Some(1 << 30), Some(60), 7));
    let settings = &policy.models["org/name"];
    assert!(settings.pin && settings.replicas == 2 && settings.aliases == ["short"]);
    for (text, word) in [
        ("[models.m]\npni = true", "pni"),
        ("[models.m]\nreplicas = 0", "replicas"),
        ("models = 3", "models"),
        ("idle_seconds = \"x\"", "idle_seconds"),
    ] {
        let (_folder, environment) = with_file(text);
        let error = resolve(Flags::default(), environment).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("config.toml"), "{error}");
    }
    let (_folder, mut environment) = with_file("memory = \"1GiB\"");
    environment.memory = Some("2GiB".into());
    let config = resolve(Flags::default(), environment).unwrap();
    assert_eq!(config.policy.memory, Some(2 << 30));
    let (_folder, environment) = with_file("");
    let flags = Flags { memory: Some("lots".into()), ..Flags::default() };
    assert!(resolve(flags, environment).unwrap_err().to_string().starts_with("--memory"));
}
