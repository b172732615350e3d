use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;

/// Copies its settings to a file of its own in the home, writes its arguments beside them, and waits for its lifeline.
const SCRIPT: &str = r#"#!/bin/sh
echo "$@" > "HOME_FOLDER/$$.arguments"
while [ "$1" != --config ]; do shift; done
cat "$2" > "HOME_FOLDER/$$.tmp" 2>&1 || exit 1
mv "HOME_FOLDER/$$.tmp" "HOME_FOLDER/$$.config"
exec cat
"#;

fn launch(home: &Path, document: &str) -> GatewayLaunch {
    let program = home.join("gateway.sh");
    let script = SCRIPT.replace("HOME_FOLDER", home.to_str().unwrap());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    GatewayLaunch {
        program,
        listeners: vec![TcpListener::bind("127.0.0.1:0").unwrap()],
        supervisor: home.join("s.sock"),
        home: home.to_owned(),
        settings: settings(document),
    }
}

fn settings(document: &str) -> GatewaySettings {
    GatewaySettings { config: document.into(), drain: Duration::ZERO, hang: Duration::from_secs(60) }
}

/// The contents of all files with this ending.
fn contents(home: &Path, extension: &str) -> Vec<String> {
    let paths = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let with_extension = paths.filter(|path| path.extension().is_some_and(|end| end == extension));
    with_extension.map(|path| fs::read_to_string(path).unwrap()).collect()
}

async fn wait_for_documents(home: &Path, count: usize) -> Vec<String> {
    for _ in 0..500 {
        let documents = contents(home, "config");
        if documents.len() >= count {
            return documents;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not {count} documents within ten seconds");
}

#[tokio::test]
async fn every_gateway_reads_the_whole_document() {
    let folder = tempfile::tempdir().unwrap();
    // More than a pipe holds.
    let document = "sk-test ".repeat(50_000);
    let gateway = start(launch(folder.path(), &document));
    assert_eq!(wait_for_documents(folder.path(), 1).await, std::slice::from_ref(&document));
    gateway.restart().await.unwrap();
    assert_eq!(wait_for_documents(folder.path(), 2).await, [document.clone(), document]);
    gateway.stop(Duration::from_secs(5)).await;
    let arguments = contents(folder.path(), "arguments");
    assert!(
        arguments.iter().all(|line| line.contains("--config") && !line.contains("sk-test")),
        "{arguments:?}"
    );
}

#[tokio::test]
async fn gateway_that_does_not_read_its_document_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path(), &"x".repeat(1 << 20));
    fs::write(&launch.program, "#!/bin/sh\nexec cat\n").unwrap();
    let gateway = start(launch);
    gateway.restart().await.unwrap();
    gateway.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn other_settings_need_another_gateway_and_the_same_ones_none() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(launch(folder.path(), "one"));
    assert_eq!(wait_for_documents(folder.path(), 1).await, ["one"]);
    gateway.configure(settings("one")).await.unwrap();
    gateway.configure(settings("two")).await.unwrap();
    let mut documents = wait_for_documents(folder.path(), 2).await;
    documents.sort();
    assert_eq!(documents, ["one", "two"]);
    // The next one has them too.
    gateway.restart().await.unwrap();
    assert_eq!(wait_for_documents(folder.path(), 3).await.iter().filter(|text| *text == "two").count(), 2);
    gateway.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn gateway_that_cannot_be_replaced_keeps_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path(), "good");
    let program = launch.program.clone();
    let gateway = start(launch);
    wait_for_documents(folder.path(), 1).await;
    let script = fs::read_to_string(&program).unwrap();
    fs::write(&program, "#!/bin/sh\nexit 3\n").unwrap();
    let error = gateway.configure(settings("bad")).await.unwrap_err();
    assert!(error.message.contains("the old one stays"), "{error}");
    fs::write(&program, script).unwrap();
    gateway.restart().await.unwrap();
    assert_eq!(wait_for_documents(folder.path(), 2).await, ["good", "good"]);
    gateway.stop(Duration::from_secs(5)).await;
}
