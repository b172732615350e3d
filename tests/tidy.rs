//! The code's own rules, checked instead of remembered (ARCHITECTURE.md lists them).

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use e2e::places::repository;

const CRATES: [&str; 13] = [
    "ipc-proto",
    "chat-template",
    "image-input",
    "mlx-cpu-kernels",
    "model-folder",
    "supervisor",
    "gateway",
    "worker",
    "hub",
    "runner",
    "cli",
    "tests",
    "xtask",
];
/// The modules that may use `unsafe`. Each has its reason in its own head.
const UNSAFE_MODULES: [&str; 16] = [
    "gateway/src/server/listener.rs",
    "ipc-proto/src/lifeline.rs",
    "mlx-cpu-kernels/tests/native/arrays.rs",
    "mlx-cpu-kernels/tests/native/level.rs",
    "supervisor/src/machine/macos/calls.rs",
    "supervisor/src/signals.rs",
    "worker/src/doctor/about.rs",
    "worker/src/kernels.rs",
    "worker/src/kernels/linux.rs",
    "worker/src/kernels/none.rs",
    "worker/src/kernels/tests.rs",
    "worker/src/kv/in_place.rs",
    "worker/src/memory.rs",
    "worker/src/quantize/pack.rs",
    "worker/src/stacks/linux.rs",
    "worker/src/weights/mapping.rs",
];
const MAX_LINES: usize = 600;

struct Source {
    /// Relative to the repository, with '/' separators.
    path: String,
    text: String,
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    collect_files(folder, "rs", found);
}

/// The files below `folder` with this ending.
fn collect_files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            if !matches!(entry.file_name().to_str(), Some("target" | ".mlx" | "node_modules")) {
                collect_files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let root = repository();
    let mut paths = Vec::new();
    for name in CRATES {
        collect(&root.join(name), &mut paths);
    }
    assert!(paths.len() > 40, "the walk found the sources");
    let relative = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|path| Source { path: relative(path), text: fs::read_to_string(path).unwrap() })
        .collect()
}

impl Source {
    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }

    fn under(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// The code without its line comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(n, line)| (n + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// Fails with every occurrence of one of `words` in the code of the files that `applies` selects.
fn forbid(rule: &str, words: &[&str], applies: impl Fn(&Source) -> bool) {
    let mut broken = Vec::new();
    let sources = sources();
    assert!(sources.iter().any(&applies), "the rule '{rule}' looks at no file: did a folder move?");
    for source in sources.iter().filter(|s| applies(s)) {
        for (line, code) in source.code() {
            broken.extend(
                words.iter().filter(|w| code.contains(*w)).map(|w| format!("{}:{line}: {w}", source.path)),
            );
        }
    }
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn engine_has_no_tensors_and_scheduler_is_pure() {
    let tensors = ["mlx_rs", "crate::kernels", "crate::kv", "crate::layers", "crate::models", "crate::mlx"];
    forbid("engine/ never imports mlx_rs or modules with tensors", &tensors, |s| {
        s.under(&["worker/src/engine/", "worker/src/engine.rs"])
    });
    forbid("the scheduler is pure", &["std::time", "Instant::", "tokio", "std::fs", "std::net"], |s| {
        s.under(&["worker/src/engine/scheduler", "worker/src/engine/block_allocator"]) && !s.is_test()
    });
}

/// The modules of the worker that handle tensors, lowest first. Each imports only those before it.
const TENSOR_MODULES: [&str; 6] = ["kernels", "weights", "kv", "layers", "models", "mlx"];

#[test]
fn tensor_modules_import_only_lower_ones() {
    for (level, module) in TENSOR_MODULES.iter().enumerate() {
        let mut forbidden: Vec<String> =
            TENSOR_MODULES[level + 1..].iter().map(|higher| format!("crate::{higher}")).collect();
        if *module != "mlx" {
            forbidden
                .extend(["crate::rpc", "crate::admission", "crate::text", "crate::embed"].map(String::from));
        }
        // The KV pool and the runner read the engine's batches.
        if !matches!(*module, "kv" | "mlx") {
            forbidden.push("crate::engine".into());
        }
        let forbidden: Vec<&str> = forbidden.iter().map(String::as_str).collect();
        let paths = [format!("worker/src/{module}.rs"), format!("worker/src/{module}/")];
        forbid(&format!("{module} imports only lower modules of the worker"), &forbidden, |s| {
            s.under(&paths.each_ref().map(String::as_str)) && !s.is_test()
        });
    }
}

/// The modules of the gateway, lowest first. Each imports only those before it.
const GATEWAY_MODULES: [&str; 14] = [
    "inference",
    "secrets",
    "access",
    "fleet",
    "store",
    "telemetry",
    "audit",
    "backends",
    "dispatch",
    "protocols",
    "admin",
    "openapi",
    "server",
    "commands",
];

#[test]
fn gateway_modules_import_only_lower_ones() {
    for (level, module) in GATEWAY_MODULES.iter().enumerate() {
        let higher: Vec<String> =
            GATEWAY_MODULES[level + 1..].iter().map(|higher| format!("crate::{higher}")).collect();
        let mut forbidden: Vec<&str> = higher.iter().map(String::as_str).collect();
        // The neutral middle knows no HTTP, and the wings reach a backend by the dispatcher only.
        match *module {
            "inference" => forbidden.extend(["crate::", "axum"]),
            "backends" | "fleet" => forbidden.push("axum"),
            "protocols" | "admin" => forbidden.push("crate::backends"),
            _ => {}
        }
        let paths = [format!("gateway/src/{module}.rs"), format!("gateway/src/{module}/")];
        forbid(&format!("{module} imports only lower modules of the gateway"), &forbidden, |s| {
            s.under(&paths.each_ref().map(String::as_str)) && !s.is_test()
        });
    }
}

/// The files of the gateway that handle secrets in clear.
const SECRET_FILES: [&str; 14] = [
    "gateway/src/access/password.rs",
    "gateway/src/access/secret.rs",
    "gateway/src/access/token.rs",
    "gateway/src/admin/keys.rs",
    "gateway/src/admin/login.rs",
    "gateway/src/admin/providers.rs",
    "gateway/src/backends/providers/client.rs",
    "gateway/src/main.rs",
    "gateway/src/secrets.rs",
    "gateway/src/secrets/command.rs",
    "gateway/src/secrets/keyring.rs",
    "gateway/src/store/login_store.rs",
    "gateway/src/store/routing_store.rs",
    "gateway/src/telemetry/client.rs",
];

#[test]
fn secrets_and_connections_to_providers_stay_in_their_files() {
    forbid("a secret is revealed in listed files only", &["expose_secret", ".expose()"], |s| {
        s.under(&["gateway/src/"]) && !s.is_test() && !SECRET_FILES.contains(&s.path.as_str())
    });
    let clients = [
        "gateway/src/backends/local/images/fetch.rs",
        "gateway/src/backends/providers/client.rs",
        "gateway/src/telemetry/client.rs",
    ];
    forbid(
        "only the clients of providers, of collectors and of images connect to other hosts",
        &["reqwest::Client"],
        |s| s.under(&["gateway/src/"]) && !s.under(&clients),
    );
}

#[test]
fn vendor_field_names_occur_only_at_the_gateways_edges() {
    let vendor =
        ["max_completion_tokens", "finish_reason", "\"choices\"", "prompt_tokens_details", "stop_sequences"];
    let edges = [
        "gateway/src/protocols",
        "gateway/src/backends/providers",
        "xtask/src",
        "gateway/tests",
        "cli/src/bench",
        "cli/src/doctor",
        "cli/src/run",
    ];
    forbid("vendor field names live where a client or a provider is spoken to", &vendor, |s| {
        !s.under(&edges) && !s.path.starts_with("tests/")
    });
}

#[test]
fn sqlx_mlx_and_bincode_stay_in_their_modules() {
    forbid("sqlx occurs only in gateway/src/store", &["sqlx::"], |s| {
        !s.under(&["gateway/src/store", "gateway/tests"]) && !s.path.starts_with("tests/")
    });
    forbid("mlx_rs occurs only in worker/", &["mlx_rs::"], |s| !s.under(&["worker/", "tests/", "xtask/"]));
    forbid("bincode occurs only in ipc-proto's codec", &["bincode::"], |s| {
        !s.under(&["ipc-proto/src/codec", "tests/"])
    });
    for manifest in ["supervisor", "cli", "gateway", "hub", "runner", "ipc-proto"] {
        let text = fs::read_to_string(repository().join(manifest).join("Cargo.toml")).unwrap();
        assert!(!text.contains("mlx-rs"), "{manifest} never links MLX");
    }
    let supervisor = fs::read_to_string(repository().join("supervisor/Cargo.toml")).unwrap();
    assert!(
        !supervisor.contains("axum") && !supervisor.contains("hyper"),
        "the supervisor never parses HTTP"
    );
}

#[test]
fn gateway_reads_no_environment_variable() {
    let reading = ["env::var", "env = \""];
    forbid("the gateway's settings are one document (ipc-proto/src/gateway.rs)", &reading, |s| {
        s.under(&["gateway/src/"]) && !s.is_test()
    });
}

#[test]
fn test_doubles_are_behind_a_feature() {
    let variables = ["MLXD_TEST_HANG", "MLXD_TEST_PRESSURE", "MLXD_WORKER_RUNNER"];
    forbid("only test doubles read variables of tests", &variables, |s| {
        s.under(&["cli/", "supervisor/", "gateway/", "worker/"])
            && !s.is_test()
            && !s.path.contains("/test_doubles")
    });
    for path in ["supervisor/src/lib.rs", "worker/src/lib.rs"] {
        let text = fs::read_to_string(repository().join(path)).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let module = lines.iter().position(|line| line.ends_with("mod test_doubles;")).unwrap();
        assert!(lines[module - 1].contains("feature = \"test-doubles\""), "{path}: {}", lines[module - 1]);
    }
}

#[test]
fn unsafe_code_is_only_in_listed_modules() {
    let sources = sources();
    let with: Vec<&str> = sources
        .iter()
        .filter(|s| {
            s.code().any(|(_, code)| {
                code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
            })
        })
        .map(|s| s.path.as_str())
        .filter(|path| *path != "tests/tidy.rs")
        .collect();
    for path in &with {
        assert!(
            UNSAFE_MODULES.contains(path),
            "{path} has unsafe code: name it in tests/tidy.rs or do without"
        );
    }
    for path in UNSAFE_MODULES {
        assert!(with.contains(&path), "{path} has no unsafe code any more: take it off the list");
    }
}

#[test]
fn files_are_small_and_start_with_a_doc_comment() {
    let mut broken = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > MAX_LINES && !source.is_test() {
            broken.push(format!("{}: {lines} lines, at most {MAX_LINES}", source.path));
        }
        if source.path.ends_with("/main.rs") && lines > 130 {
            broken.push(format!("{}: {lines} lines, at most 130 for a main.rs", source.path));
        }
        if source.path.ends_with("/mod.rs") {
            broken.push(format!("{}: foo.rs + foo/, never mod.rs", source.path));
        }
        if !source.is_test() && !source.text.starts_with("//!") {
            broken.push(format!("{}: begins with a //! about its purpose", source.path));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn code_has_no_todo_ignore_or_allow() {
    let open = ["todo!(", "unimplemented!(", "#[ignore", "#[allow("];
    forbid("no open ends", &open, |s| s.path != "tests/tidy.rs");
    let words = ["TODO", "FIXME", "XXX"];
    for source in sources().iter().filter(|s| s.path != "tests/tidy.rs") {
        for word in words {
            assert!(!source.text.contains(word), "{}: {word}", source.path);
        }
    }
}

#[test]
fn dependency_versions_are_in_the_root_manifest() {
    for name in CRATES {
        let path = repository().join(name).join("Cargo.toml");
        for line in fs::read_to_string(&path).unwrap().lines() {
            let wild = line.contains("version = \"") && !line.contains("workspace");
            assert!(!wild, "{}: `{line}` belongs to [workspace.dependencies]", path.display());
        }
    }
}

/// A target missing from the nightly workflow or the manifest would never run.
#[test]
fn every_fuzz_target_runs_nightly_and_has_seeds() {
    let root = repository();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (workflow, manifest) = (read(".github/workflows/nightly.yml"), read("fuzz/Cargo.toml"));
    let matrix = workflow.lines().find_map(|line| line.trim().strip_prefix("target: [")?.strip_suffix(']'));
    let mut nightly: Vec<&str> = matrix.unwrap().split(", ").collect();
    nightly.sort_unstable();
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<String> =
            entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        all.sort_unstable();
        all
    };
    let targets = names("fuzz/fuzz_targets");
    assert!(targets.len() >= 5, "{targets:?}");
    assert_eq!(nightly, targets);
    assert_eq!(names("fuzz/seeds"), targets);
    for target in &targets {
        assert!(
            manifest.contains(&format!("name = \"{target}\"\npath = \"fuzz_targets/{target}.rs\"")),
            "{target}"
        );
    }
    assert!(workflow.contains("-max_total_time="), "each is bounded");
}

/// The targets of `[text](target)` in a page.
fn link_targets(page: &str) -> Vec<&str> {
    page.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn links_between_pages_resolve() {
    let root = repository();
    let mut pages: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
            .iter()
            .map(|name| root.join(name))
            .collect();
    collect_files(&root.join("docs/src"), "md", &mut pages);
    assert!(pages.len() > 20, "the walk found the book");
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for target in link_targets(&text).into_iter().filter(|target| !target.contains("://")) {
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !page.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links to nothing:\n{}", broken.join("\n"));
}

#[test]
fn every_page_is_in_the_books_summary() {
    let book = repository().join("docs/src");
    let summary = fs::read_to_string(book.join("SUMMARY.md")).unwrap();
    let mut pages = Vec::new();
    collect_files(&book, "md", &mut pages);
    for page in pages {
        let page = page.strip_prefix(&book).unwrap().to_str().unwrap().to_owned();
        assert!(
            page == "SUMMARY.md" || summary.contains(&format!("({page})")),
            "{page} is not in SUMMARY.md"
        );
    }
}

/// Packages that `cargo xtask test` installs and that are no clients of the server's APIs.
const NO_CLIENTS: [&str; 5] = ["email-validator", "huggingface_hub", "playwright-core", "axe-core", "rotel"];

/// The tables of `docs/src/clients.md` have each client in the version that the tests install, and each row names its tests.
#[test]
fn tables_of_clients_name_installed_versions_and_tests() {
    let root = repository();
    let page = fs::read_to_string(root.join("docs/src/clients.md")).unwrap();
    let tables: Vec<&str> = page.lines().filter(|line| line.starts_with('|')).collect();
    let installed = fs::read_to_string(root.join("xtask/src/test.rs")).unwrap();
    let quoted = installed.split('"').skip(1).step_by(2);
    let packages = quoted.filter_map(|text| {
        let (name, version) = text.split_once("==").or_else(|| text.rsplit_once('@'))?;
        version.starts_with(|first: char| first.is_ascii_digit()).then_some((name, version))
    });
    let packages: Vec<_> = packages.collect();
    assert!(packages.len() > 20, "{packages:?}");
    for (name, version) in packages.into_iter().filter(|(name, _)| !NO_CLIENTS.contains(name)) {
        let name = name.split('[').next().unwrap();
        let shown = match name {
            "@anthropic-ai/claude-code" => format!("Claude Code {version}"),
            "@openai/codex" => format!("Codex {version}"),
            "opencode-ai" => format!("OpenCode {version}"),
            name => format!("`{name}` {version}"),
        };
        assert!(tables.iter().any(|line| line.contains(&shown)), "no table has {shown}");
    }
    let mut sources = Vec::new();
    collect(&root.join("tests/e2e"), &mut sources);
    let tests: String = sources.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let is_row = |line: &&&str| !line.starts_with("|--") && !line.ends_with("| Test |");
    for row in tables.iter().filter(is_row) {
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "a row without a test: {row}");
        for name in names {
            assert!(tests.contains(&format!("{name}() {{")), "there is no test {name}");
        }
    }
}

/// Former names without meaning. Each has a standard term now.
const OLD_VOCABULARY: [&str; 14] = [
    "fn told",
    "fn tell",
    "fn obey",
    "fn heed",
    "struct Place",
    "enum Place",
    "struct Manner",
    "struct Dialect",
    "enum Dialect",
    "struct Tape",
    "struct Maker",
    "struct Flight",
    "State as Extract",
    "Extract<State>",
];

#[test]
fn old_vocabulary_does_not_occur() {
    forbid("names are the field's terms (docs/src/glossary.md)", &OLD_VOCABULARY, |s| {
        s.under(&[
            "supervisor/",
            "worker/",
            "ipc-proto/",
            "chat-template/",
            "hub/",
            "cli/",
            "xtask/",
            "tests/e2e",
            "tests/harness",
            "gateway/",
        ])
    });
}
