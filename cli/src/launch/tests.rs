use std::path::Path;

use serde_json::{Value, json};

use super::setup::Filled;
use super::table::{Content, Line, Template};
use super::*;

fn offer(id: &str, context: u32) -> Offer {
    let mut offer = Offer::unknown(id);
    offer.context = Some(context);
    offer
}

fn setup(client: &Client, model: &str, key: Option<&str>) -> Setup {
    let values =
        Values::new("http://127.0.0.1:10240", &offer(model, 32_768), key, Path::new("/home/launch/x"));
    Setup::new(client, &values, Vec::new())
}

/// The part of the documentation below a heading.
fn section(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/src/clients.md");
    let page = std::fs::read_to_string(page).unwrap();
    let begin = page.find(&format!("\n## {name}\n")).unwrap_or_else(|| panic!("no section {name}"));
    let section = &page[begin + 1..];
    section[..section[1..].find("\n## ").map_or(section.len(), |end| end + 1)].to_owned()
}

/// The blocks of code in a language.
fn blocks<'a>(section: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    section.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Where a user has the file, and its contents.
fn by_hand<'a>(client: &'a Client, setup: &'a Setup) -> Vec<(&'a Template, &'a Filled)> {
    client.files.iter().zip(setup.files.iter().map(|(_, content)| content)).collect()
}

#[test]
fn documentation_has_every_set_up() {
    for client in table::all().unwrap() {
        let (section, setup) = (section(&client.name), setup(&client, "MODEL", None));
        for (template, content) in by_hand(&client, &setup) {
            let place = template.place.as_deref().unwrap();
            assert!(section.contains(place), "{}: {place}", client.id);
            let found = match content {
                Filled::Json(value) => blocks(&section, "json")
                    .iter()
                    .any(|text| serde_json::from_str::<Value>(text).unwrap() == *value),
                Filled::Toml(text) => blocks(&section, "toml").contains(&text.as_str()),
                Filled::Fetched(path) => {
                    section.contains(&format!("curl -o {place} 'http://127.0.0.1:10240{path}'"))
                }
            };
            assert!(found, "{}: {content:?} is not in the documentation", client.id);
        }
        for name in client.variables.keys() {
            let line = format!("export {name}={}\n", setup.variables[name]);
            assert!(section.contains(&line), "{}: {line}", client.id);
        }
        for (name, content) in client.files.iter().map(|file| (&file.path, &file.content)) {
            let Content::Toml(lines) = content else { continue };
            for line in lines {
                if let Line::Keyed { keyed } = line {
                    assert!(section.contains(keyed), "{name}: {keyed}");
                }
            }
        }
    }
}

#[test]
fn help_and_documentation_name_every_agent() {
    let mut command = <Flags as clap::Args>::augment_args(clap::Command::new("launch"));
    let help = command.render_long_help().to_string();
    let documented = section("`mlxd launch AGENT`");
    for client in table::all().unwrap() {
        assert!(
            help.contains(&client.id) && documented.contains(&format!("`{}`", client.id)),
            "{}",
            client.id
        );
    }
}

#[test]
fn every_profile_is_private() {
    for client in table::all().unwrap() {
        let setup = setup(&client, "m", None);
        let leads = |text: &String| text.contains("/home/launch/x");
        let led = setup.variables.values().any(leads) || setup.arguments.iter().any(leads);
        assert!(led, "{} does not know its profile", client.id);
        for (path, _) in &setup.files {
            assert!(path.is_relative() && !path.starts_with(".."), "{}: {}", client.id, path.display());
        }
        let unset: Vec<_> = setup.unset.iter().filter(|name| setup.variables.contains_key(*name)).collect();
        assert!(unset.is_empty(), "{}: {unset:?} are set and taken away", client.id);
    }
}

#[test]
fn values_are_quoted_and_not_searched_for_names() {
    let codex = table::find("codex").unwrap();
    let named = |key| setup(&codex, "a\"b\\{key}", key);
    let Filled::Toml(text) = named(Some("sk-1")).files[0].1.clone() else { panic!("no TOML") };
    let table: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(table["model"].as_str(), Some("a\"b\\{key}"));
    assert_eq!(table["model_providers"]["mlxd"]["env_key"].as_str(), Some("MLXD_API_KEY"));
    assert_eq!(named(Some("sk-1")).variables["MLXD_API_KEY"], "sk-1");
    let keyless = named(None);
    let Filled::Toml(text) = &keyless.files[0].1 else { panic!("no TOML") };
    assert!(!text.contains("env_key") && !keyless.variables.contains_key("MLXD_API_KEY"), "{text}");
}

#[test]
fn limits_follow_the_context() {
    let opencode = table::find("opencode").unwrap();
    for (context, output) in [(8192, 2048), (1_000_000, 32_000)] {
        let values = Values::new("http://h", &offer("m", context), None, Path::new("/p"));
        let setup = Setup::new(&opencode, &values, Vec::new());
        let Filled::Json(config) = &setup.files[0].1 else { panic!("no JSON") };
        let limit = &config["provider"]["mlxd"]["models"]["m"]["limit"];
        assert_eq!(*limit, json!({"context": context, "output": output}));
    }
}

#[test]
fn arguments_of_the_user_stand_for_the_agents_own() {
    let goose = table::find("goose").unwrap();
    assert_eq!(setup(&goose, "m", None).arguments, ["session"]);
    let values = Values::new("http://h", &offer("m", 4096), None, Path::new("/p"));
    let given = |id: &str| Setup::new(&table::find(id).unwrap(), &values, vec!["run".into()]).arguments;
    assert_eq!(given("goose"), ["run"]);
    assert_eq!(given("zed"), ["--user-data-dir", "/p", "run"]);
}

#[test]
fn agent_without_files_to_set_is_refused_with_the_way_to_do_it() {
    for (name, word) in [("xcode", "locally hosted"), ("claude-desktop", "Third-Party Inference")] {
        let error = table::find(name).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let error = table::find("cloud").unwrap_err().to_string();
    assert!(error.contains("\"cloud\"") && error.contains("qwen-code"), "{error}");
}

#[test]
fn profile_keeps_what_the_agent_has_written() {
    let home = tempfile::tempdir().unwrap();
    let (codex, claude) = (table::find("codex").unwrap(), table::find("claude").unwrap());
    let profile = Profile::new(home.path(), "codex");
    let fetch = |path: &str| Ok(format!("answer of {path}"));
    profile.write(&setup(&codex, "one", None), fetch).unwrap();
    let config = profile.folder().join("config.toml");
    let text =
        std::fs::read_to_string(&config).unwrap() + "\n[projects.\"/work\"]\ntrust_level = \"trusted\"\n";
    std::fs::write(&config, text).unwrap();
    profile.write(&setup(&codex, "two", None), fetch).unwrap();
    let table: toml::Table = toml::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    assert_eq!(table["model"].as_str(), Some("two"));
    assert_eq!(table["projects"]["/work"]["trust_level"].as_str(), Some("trusted"));
    assert_eq!(table["model_providers"]["mlxd"]["wire_api"].as_str(), Some("responses"));
    assert_eq!(profile.read("mlxd.json").unwrap().unwrap(), "answer of /v1/models?client_version=0.171.0");

    let profile = Profile::new(home.path(), "claude");
    profile.write(&setup(&claude, "m", None), fetch).unwrap();
    profile.save(".claude.json", b"{\"theme\": \"dark\"}").unwrap();
    profile.write(&setup(&claude, "m", None), fetch).unwrap();
    let text = profile.read(".claude.json").unwrap().unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state, json!({"theme": "dark", "hasCompletedOnboarding": true}));
    profile.remove().unwrap();
    assert!(!profile.folder().exists() && home.path().join("launch/codex").exists());
}

#[test]
fn only_the_owner_reads_a_profile() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().unwrap();
    let profile = Profile::new(home.path(), "opencode");
    let opencode = table::find("opencode").unwrap();
    profile.write(&setup(&opencode, "m", Some("sk-1")), |_| Ok(String::new())).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(profile.folder()), 0o700);
    assert_eq!(mode(&profile.folder().join("config/opencode/opencode.json")), 0o600);
}

#[test]
fn print_shows_all_and_hides_the_key() {
    let home = Path::new("/home");
    let codex = table::find("codex").unwrap();
    let values = Values::new(
        "http://127.0.0.1:10240",
        &offer("org/m", 8192),
        Some(print::HIDDEN),
        Path::new("/home/launch/codex"),
    );
    let setup = Setup::new(&codex, &values, vec!["exec".into(), "it's done?".into()]);
    let text = print::text(&setup, &Profile::new(home, "codex"), &["no server runs: one is started".into()]);
    for part in [
        "note: no server runs: one is started\nprofile: /home/launch/codex\n",
        "\nfile: config.toml\n  model = \"org/m\"\n",
        "  the server's answer to GET /v1/models?client_version=0.171.0\n",
        "  CODEX_HOME=/home/launch/codex\n  MLXD_API_KEY=(hidden)\n  CODEX_SQLITE_HOME is not passed on\n",
        "\ncommand:\n  codex exec 'it'\\''s done?'\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}
