use std::path::Path;

use super::*;
use crate::import::plan::{Backend, Kind, Price};

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Merges a plan into a text, with the model "here" on disk and the variable "KEY".
fn merged(plan: Plan, config: &str) -> Outcome {
    let present = Present {
        config,
        overridden: &set(&["set"]),
        models: &set(&["here", "org/here"]),
        has_variable: &|name| name == "KEY",
        size: &|path| (path == Path::new("/gguf/m.gguf")).then_some(3 << 30),
    };
    let outcome = merge(plan, &present).unwrap();
    crate::config::check(&outcome.text, Path::new("config.toml")).unwrap();
    outcome
}

fn provider(key_env: Option<&str>, models: &[(&str, Option<&str>)]) -> Provider {
    let model = |(id, alias): &(&str, Option<&str>)| ProviderModel {
        id: (*id).to_owned(),
        alias: alias.map(str::to_owned),
        ..ProviderModel::default()
    };
    Provider {
        kind: Kind::Compatible,
        url: "https://far.example/v1".into(),
        key_env: key_env.map(str::to_owned),
        timeout_seconds: None,
        models: models.iter().map(model).collect(),
    }
}

fn left(outcome: &Outcome) -> Vec<&str> {
    outcome.left.iter().map(|left| left.what.as_str()).collect()
}

#[test]
fn plan_becomes_a_configuration() {
    let mut far = provider(Some("KEY"), &[("big", Some("fast"))]);
    far.timeout_seconds = Some(90);
    far.models[0].context = Some(32_000);
    far.models[0].price = Some(Price { input: 0.4, cached_input: None, output: 1.6 });
    let model = Model { aliases: vec!["nick".into()], context: Some(8192), pin: true, ..Model::default() };
    let plan = Plan {
        folders: vec!["/models".into()],
        idle_seconds: Some(600),
        models: BTreeMap::from([("org/new".to_owned(), model)]),
        providers: BTreeMap::from([("far".to_owned(), far)]),
        routes: vec![Route {
            model: "any".into(),
            split: vec![("here".into(), 1), ("far/big".into(), 3)],
            targets: vec!["here".into(), "far/big".into(), "gone/x".into()],
        }],
        ..Plan::default()
    };
    let outcome = merged(plan, "");
    assert_eq!(
        outcome.text,
        "model_folders = [\"/models\"]\nidle_seconds = 600\n\n[models.\"org/new\"]\naliases = [\"nick\"]\ncontext = 8192\n\
         pin = true\n\n[providers.far]\nkind = \"openai-compatible\"\nurl = \"https://far.example/v1\"\n\
         api_key_env = \"KEY\"\ntimeout_seconds = 90\nmodels = [\n    { id = \"big\", alias = \"fast\", context = 32000, \
         price = { input = 0.4, output = 1.6 } },\n]\n\n[[routes]]\nmodel = \"any\"\ntargets = [\"here\", \"far/big\"]\n\
         split = [{ model = \"here\", weight = 1 }, { model = \"far/big\", weight = 3 }]\n"
    );
    assert_eq!((outcome.pulls, outcome.taken.len()), (vec!["org/new".to_owned()], 5));
}

#[test]
fn what_is_there_stays_with_its_comments() {
    let config = "# mine\nport = 7000 # not 10240\n\n# where models are\nmodels = [\"/old\"]\nidle_seconds = 60\n\n[providers.far]\n\
                  kind = \"openai\"\nurl = \"https://other.example\"\nmodels = [{ id = \"m\", alias = \"fast\" }]\n\n\
                  [[routes]]\nmodel = \"any\"\ntargets = [\"here\"]\n";
    let plan = Plan {
        folders: vec!["/old".into(), "/models".into()],
        idle_seconds: Some(600),
        models: BTreeMap::from([
            ("here".to_owned(), Model { aliases: vec!["a".into(), "org/here".into()], ..Model::default() }),
            ("set".to_owned(), Model { pin: true, ..Model::default() }),
        ]),
        providers: BTreeMap::from([
            ("far".to_owned(), provider(None, &[("x", None)])),
            ("near".to_owned(), provider(None, &[("y", Some("fast"))])),
            ("shut".to_owned(), provider(Some("UNSET"), &[("z", None)])),
        ]),
        routes: vec![
            Route { model: "any".into(), targets: vec!["here".into()], ..Route::default() },
            Route { model: "shut".into(), targets: vec!["shut/z".into()], ..Route::default() },
        ],
        ..Plan::default()
    };
    let outcome = merged(plan, config);
    let text = &outcome.text;
    assert!(text.contains("# mine\nport = 7000 # not 10240\n"), "{text}");
    assert!(text.contains("# where models are\nmodel_folders = [\"/old\", \"/models\"]"), "{text}");
    assert!(text.contains("idle_seconds = 60\n") && text.contains("https://other.example"), "{text}");
    assert!(text.contains("[models.here]\naliases = [\"a\"]"), "{text}");
    assert!(text.contains("{ id = \"y\" }") && !text.contains("shut"), "{text}");
    assert_eq!(
        left(&outcome),
        [
            "idle time of 600 s",
            "here: the name org/here",
            "set",
            "provider far",
            "provider shut",
            "route any",
            "route shut"
        ]
    );
}

#[test]
fn second_import_changes_nothing() {
    let plan = || Plan {
        folders: vec!["/models".into()],
        idle_seconds: Some(600),
        models: BTreeMap::from([(
            "here".to_owned(),
            Model { aliases: vec!["a".into()], context: Some(4096), ..Model::default() },
        )]),
        providers: BTreeMap::from([("far".to_owned(), provider(Some("KEY"), &[("x", None)]))]),
        routes: vec![Route {
            model: "r".into(),
            targets: vec!["far/x".into(), "here".into()],
            ..Route::default()
        }],
        ..Plan::default()
    };
    let first = merged(plan(), "");
    let second = merged(plan(), &first.text);
    assert_eq!(left(&second), ["route r"]);
    assert_eq!((second.text, second.taken), (first.text, Vec::<String>::new()));
}

#[test]
fn damaged_file_is_refused_by_its_line() {
    let present = Present {
        config: "port = 1\napi_keys = [\"sk-secret\"",
        overridden: &set(&[]),
        models: &set(&[]),
        has_variable: &|_| true,
        size: &|_| None,
    };
    let problem = merge(Plan::default(), &present).unwrap_err();
    assert!(problem.starts_with("line 2") && !problem.contains("secret"), "{problem}");
}

#[test]
fn backends_are_added_with_their_models_switches_and_routes() {
    let backend = Backend {
        command: vec!["llama-server".into(), "--port".into(), "{port}".into()],
        model: "small".into(),
        alias: "small".into(),
        weights: Some("/gguf/m.gguf".into()),
        idle_seconds: Some(60),
        start_seconds: Some(90),
        health: Some("/ready".into()),
        preload: true,
        ..Backend::default()
    };
    let plan = || Plan {
        backends: BTreeMap::from([("one".into(), backend.clone())]),
        routes: vec![Route { model: "tiny".into(), split: Vec::new(), targets: vec!["one/small".into()] }],
        ..Plan::default()
    };
    let outcome = merged(plan(), "port = 1\n");
    for line in [
        "[backends.one]",
        "command = [\"llama-server\", \"--port\", \"{port}\"]",
        "memory = \"5GiB\"",
        "start_seconds = 90",
        "health = \"/ready\"",
        "[models.\"one/small\"]\npreload = true",
        "targets = [\"one/small\"]",
    ] {
        assert!(outcome.text.contains(line), "{line}: {}", outcome.text);
    }
    assert_eq!(left(&outcome), ["memory of backend one"]);
    let again = merged(plan(), &outcome.text);
    assert_eq!(again.text, outcome.text);
    let unknown = Backend { weights: None, ..backend.clone() };
    let guessed = merged(Plan { backends: BTreeMap::from([("x".into(), unknown)]), ..Plan::default() }, "");
    assert!(guessed.text.contains("memory = \"8GiB\""), "{}", guessed.text);
}
