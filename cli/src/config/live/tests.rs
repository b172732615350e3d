use std::fs;
use std::path::Path;

use super::*;

const FILE: &str = "# Mine.\nbody_seconds = 7 # slow clients\n\n# Two links.\nmemory = \"1GiB\"\n\n[models.\"org/m\"]\npin = true # always\n";

/// A home with this file, and its settings.
fn live(text: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, LiveFile) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), text).unwrap();
    let settings = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let environment = Environment { settings: settings.collect(), ..Environment::default() };
    let (_, live) = LiveFile::open(Flags::at(Some(folder.path().to_owned())), environment).unwrap();
    (folder, live)
}

fn change(values: &[(&str, &str)]) -> SettingsChange {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    SettingsChange { expected: None, values: values.collect() }
}

fn written(folder: &Path) -> String {
    fs::read_to_string(folder.join("config.toml")).unwrap()
}

fn setting(live: &LiveFile, name: &str) -> LiveSetting {
    live.read().unwrap().settings.into_iter().find(|setting| setting.name == name).unwrap()
}

#[test]
fn change_keeps_comments_order_and_other_tables() {
    let (folder, live) = live(FILE, &[]);
    let values = [("body_seconds", "9"), ("cors_origins", r#"["http://a.test"]"#), ("auto_download", "true")];
    let Ok(Edited::Written { config, settings }) = live.change(&change(&values)) else {
        panic!("it is refused")
    };
    let text = written(folder.path());
    assert!(
        text.starts_with("# Mine.\nbody_seconds = 9 # slow clients\n\n# Two links.\nmemory = \"1GiB\"\n"),
        "{text}"
    );
    assert!(
        text.contains("cors_origins = [\"http://a.test\"]\n") && text.contains("auto_download = true\n"),
        "{text}"
    );
    assert!(text.ends_with("[models.\"org/m\"]\npin = true # always\n"), "{text}");
    assert_eq!(settings, live.read().unwrap());
    assert_eq!((config.policy.memory, config.policy.models.len()), (Some(1 << 30), 1));
    assert!(settings.settings.iter().all(|setting| !setting.is_pending));
}

#[test]
fn null_takes_the_line_away_and_leaves_the_comments_above() {
    let (folder, live) = live(FILE, &[]);
    live.change(&change(&[("body_seconds", "null"), ("memory", "null"), ("port", "null")])).unwrap();
    assert_eq!(
        written(folder.path()),
        "# Mine.\n\n# Two links.\n\n[models.\"org/m\"]\npin = true # always\n"
    );
    let body = setting(&live, "body_seconds");
    assert_eq!((&*body.value, body.source), ("30", SettingSource::Default));
}

#[test]
fn list_over_several_lines_is_taken_away_whole() {
    let text = "cors_origins = [\n  \"http://a.test\", # one\n]\nport = 1\n";
    assert_eq!(without(text, "cors_origins").unwrap(), "port = 1\n");
    assert_eq!(without("port = 1", "port").unwrap(), "");
}

#[test]
fn wrong_change_is_refused_by_its_name_and_writes_nothing() {
    let (folder, live) = live(FILE, &[("MLXD_RESPONSE_DAYS", "9")]);
    for (values, field, part) in [
        (&[("auto_download", "true"), ("request_days", "3")][..], "request_days", "between 31 and 36500"),
        (&[("memory", r#""much""#)], "memory", "no size of memory"),
        (&[("memory", "{}")], "memory", "a list of texts or null"),
        (&[("port", r#""http""#)], "port", "port"),
        (&[("allowed_hosts", r#"["a:1"]"#)], "allowed_hosts", "a:1"),
        (&[("host", r#""0.0.0.0""#)], "host", "there is no API key"),
        (&[("response_days", "8")], "response_days", "set by MLXD_RESPONSE_DAYS"),
        (&[("api_keys", r#"["sk-a"]"#)], "api_keys", "none of host, port"),
    ] {
        let error = live.change(&change(values)).unwrap_err();
        assert_eq!(error.field, Some(field.into()), "{error}");
        assert!(error.message.contains(part) && !error.message.contains("config.toml: "), "{error}");
    }
    assert_eq!(written(folder.path()), FILE);
    let days = setting(&live, "response_days");
    assert_eq!(
        (&*days.value, days.source, days.place.as_deref()),
        ("9", SettingSource::Environment, Some("MLXD_RESPONSE_DAYS"))
    );
}

#[test]
fn change_of_another_revision_is_stale() {
    let (folder, live) = live(FILE, &[]);
    let expected = Some(live.read().unwrap().revision);
    let first = SettingsChange { expected, ..change(&[("body_seconds", "8")]) };
    assert!(matches!(live.change(&first), Ok(Edited::Written { .. })));
    assert!(matches!(live.change(&first), Ok(Edited::Stale)));
    assert!(written(folder.path()).contains("body_seconds = 8"));
}

#[test]
fn settings_that_need_another_server_are_pending() {
    let (folder, live) = live("", &[]);
    live.change(&change(&[("port", "10999"), ("idle_seconds", "60")])).unwrap();
    assert_eq!(written(folder.path()), "port = 10999\nidle_seconds = 60\n");
    assert!(setting(&live, "port").is_pending && !setting(&live, "idle_seconds").is_pending);
    // Neither does a line count that somebody has written meanwhile.
    fs::write(folder.path().join("config.toml"), "hang_seconds = 5\n").unwrap();
    assert!(setting(&live, "hang_seconds").is_pending && !setting(&live, "port").is_pending);
}

#[test]
fn broken_file_is_said_to_be_broken() {
    let (folder, live) = live("", &[]);
    fs::write(folder.path().join("config.toml"), "port = \n").unwrap();
    assert!(live.read().unwrap_err().message.contains("line 1"));
    assert!(live.change(&change(&[("port", "1")])).unwrap_err().message.contains("line 1"));
}

#[test]
fn texts_of_the_environment_have_the_type_of_the_setting() {
    let variables =
        [("MLXD_PORT", "1"), ("MLXD_CORS_ORIGINS", "http://a.test, "), ("MLXD_AUTO_DOWNLOAD", "1")];
    let (_folder, live) = live("", &variables);
    let value = |name: &str| setting(&live, name).value;
    assert_eq!(
        (value("port"), value("cors_origins"), value("auto_download")),
        ("1".into(), r#"["http://a.test"]"#.into(), "true".into())
    );
}

/// Every other setting of the groups is a secret, a folder, or has its own place.
#[test]
fn all_settings_are_keys_of_the_file() {
    for (name, _) in SETTINGS {
        let problem = super::super::check(&format!("{name} = {{ }}"), Path::new("config.toml")).unwrap_err();
        assert!(!problem.to_string().contains("unknown field"), "{problem}");
    }
}
