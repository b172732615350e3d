//! Changes of a model's settings, written `key=value` with values as in config.toml. Pure.

use ipc_proto::supervisor::ModelSettings;
use toml::{Table, Value};

use crate::config::wording;

/// Applies changes to `settings`. Texts need no quotes, and commas separate `aliases`. An empty value resets the setting.
pub(crate) fn apply(settings: &ModelSettings, changes: &[String]) -> Result<ModelSettings, String> {
    let mut table = Table::try_from(settings).map_err(|e| e.to_string())?;
    for change in changes {
        let (key, text) = change.split_once('=').ok_or_else(|| format!("\"{change}\" is no KEY=VALUE"))?;
        match value(key, text) {
            Some(value) => drop(table.insert(key.to_owned(), value)),
            None => drop(table.remove(key)),
        }
    }
    let settings: ModelSettings = table.try_into().map_err(|error| wording::sentence("settings", &error))?;
    settings.check().map_err(|e| e.message)?;
    Ok(settings)
}

fn value(key: &str, text: &str) -> Option<Value> {
    if text.is_empty() {
        return None;
    }
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let plain = || match key {
        "aliases" => Value::Array(text.split(',').map(|name| Value::from(name.trim())).collect()),
        _ => Value::from(text),
    };
    Some(parsed.unwrap_or_else(plain))
}

/// Explains that some changes of a running model wait; empty if none does.
pub(crate) fn restart_note(model: &str, waiting: &[&str]) -> String {
    if waiting.is_empty() {
        return String::new();
    }
    format!("these count from the next start of a worker (mlxd restart {model}): {}\n", waiting.join(", "))
}

/// The settings in TOML, one on each line.
pub(crate) fn to_toml(settings: &ModelSettings) -> Result<String, String> {
    toml::to_string(settings).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use ipc_proto::generate::Priority;

    use super::*;

    fn set(settings: &ModelSettings, changes: &[&str]) -> Result<ModelSettings, String> {
        apply(settings, &changes.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn changes_are_written_as_in_the_file_and_taken_back() {
        let all = [
            "context=4096",
            "pin=true",
            "priority=high",
            "draft_model=org/tiny",
            "aliases=a, b",
            "adapter=\"/x y\"",
        ];
        let settings = set(&ModelSettings::default(), &all).unwrap();
        assert_eq!((settings.context, settings.pin, settings.priority), (Some(4096), true, Priority::High));
        assert_eq!(
            (settings.draft_model.as_deref(), &*settings.aliases),
            (Some("org/tiny"), &["a".into(), "b".into()][..])
        );
        assert_eq!(settings.adapter.as_deref(), Some(std::path::Path::new("/x y")));
        assert_eq!(set(&settings, &["aliases=[\"c\"]"]).unwrap().aliases, ["c"]);
        let fewer = set(&settings, &["context=", "aliases="]).unwrap();
        assert!(fewer.context.is_none() && fewer.aliases.is_empty() && fewer.pin, "the rest stays");
        assert!(to_toml(&settings).unwrap().contains("context = 4096\n"));
        assert_eq!(to_toml(&settings).unwrap().parse::<Table>().unwrap().try_into(), Ok(settings));
    }

    #[test]
    fn sanitizing_of_control_tokens_can_be_set_and_reset() {
        let settings = set(&ModelSettings::default(), &["sanitize_control_tokens=true"]).unwrap();
        assert!(settings.sanitize_control_tokens);
        assert!(!set(&settings, &["sanitize_control_tokens="]).unwrap().sanitize_control_tokens);
    }

    #[test]
    fn settings_that_wait_for_a_restart_are_named() {
        let before = ModelSettings::default();
        let after = set(&before, &["context=4096", "pin=true", "max_batch=4", "aliases=a"]).unwrap();
        let waiting = after.waiting_for_restart(&before);
        assert_eq!(
            restart_note("m", &waiting),
            "these count from the next start of a worker (mlxd restart m): context, max_batch\n"
        );
        assert_eq!(restart_note("m", &after.waiting_for_restart(&after)), "");
    }

    #[test]
    fn wrong_change_is_refused_by_name() {
        for (change, name) in [
            ("replicas=0", "replicas"),
            ("contxt=5", "contxt"),
            ("pin", "KEY=VALUE"),
            ("context=many", "context"),
        ] {
            let problem = set(&ModelSettings::default(), &[change]).unwrap_err();
            assert!(problem.contains(name), "{change}: {problem}");
        }
    }
}
