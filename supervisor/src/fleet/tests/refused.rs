//! Models that cannot be served, and orders that cannot be followed: nothing else pays for them.

use super::served::{count_ready, kill, serving_fleet};
use super::*;

const MIB: u64 = 1 << 20;

fn small(memory: u64) -> Policy {
    Policy { memory: Some(memory), ..Policy::default() }
}

async fn ready(stage: &Stage, id: &str) -> usize {
    count_ready(&stage.fleet.model(id.to_owned()).await.unwrap())
}

async fn set_aliases(stage: &Stage, id: &str, aliases: &[&str]) -> Result<()> {
    let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
    stage.fleet.set_settings(id.to_owned(), ModelSettings { aliases, ..ModelSettings::default() }).await
}

#[tokio::test]
async fn alias_that_names_another_model_is_refused_with_its_owner() {
    let stage = setup("exit 3");
    set_aliases(&stage, "n", &["short"]).await.unwrap();
    for (alias, owner) in [("n", "n"), ("short", "n"), ("m", "m")] {
        let error = set_aliases(&stage, "m", &["fine", alias]).await.unwrap_err();
        assert_eq!((error.kind, &error.field), (ErrorKind::InvalidRequest, &Some("aliases".into())));
        let expected = format!("\"{alias}\" is already a name of the model \"{owner}\"");
        assert!(error.message.contains(&expected), "{error}");
    }
    set_aliases(&stage, "n", &["short", "shorter"]).await.unwrap();
    assert_eq!(stage.fleet.model("shorter".into()).await.unwrap().id, "n");
}

/// Impossible numbers once gave a retryable error about memory, or evicted others.
#[tokio::test]
async fn broken_model_without_room_is_refused_as_broken_and_evicts_nobody() {
    let (stage, _) = serving_fleet(small(500 * MIB));
    stage.fleet.ensure_ready(Want::model("n")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let folder = stage.folder.path().join("models/m");
    let config = r#"{"model_type": "llama", "num_hidden_layers": 1000000, "num_attention_heads": 1, "head_dim": 1000000}"#;
    fs::write(folder.join("config.json"), config).unwrap();
    let error = stage.refused().await;
    assert_eq!((error.kind, error.is_retryable()), (ErrorKind::ModelBroken, false));
    assert!(error.message.contains("num_hidden_layers is 1000000"), "{error}");
    assert_eq!(ready(&stage, "n").await, 1);
}

#[tokio::test]
async fn restart_of_the_last_worker_of_a_model_with_broken_files_leaves_it() {
    let (stage, _) = serving_fleet(small(500 * MIB));
    stage.fleet.ensure_ready(Want::model("m")).await.unwrap();
    fs::remove_file(stage.folder.path().join("models/m/tokenizer.json")).unwrap();
    let error = stage.fleet.restart("m".into()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelBroken, "{error}");
    assert!(error.message.contains("tokenizer.json") && error.message.contains("stays"), "{error}");
    assert_eq!(ready(&stage, "m").await, 1);
}

#[tokio::test]
async fn restart_without_room_for_two_evicts_an_idle_model_first() {
    let (stage, _) = serving_fleet(small(900 * MIB));
    stage.fleet.ensure_ready(Want::model("m")).await.unwrap();
    stage.fleet.ensure_ready(Want::model("n")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let fleet = stage.fleet.clone();
    let restarting = tokio::spawn(async move { fleet.restart("m".into()).await });
    while !restarting.is_finished() {
        assert!(ready(&stage, "m").await >= 1, "it serves all the time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    restarting.await.unwrap().unwrap();
    assert_eq!(ready(&stage, "n").await, 0);
}

/// Five deaths would open the breaker.
#[tokio::test]
async fn deaths_that_requests_are_to_blame_for_open_no_breaker() {
    let (stage, _) = serving_fleet(Policy::default());
    for incarnation in 1..=6 {
        let ready = tokio::time::timeout(Duration::from_secs(5), stage.fleet.ensure_ready(Want::model("m")));
        assert_eq!(ready.await.unwrap().unwrap()[0].incarnation, incarnation);
        let pids = stage.wait_for_starts(incarnation as usize).await;
        if incarnation % 2 == 0 {
            // The gateway may know of a death before the supervisor does.
            stage.fleet.excuse("m".into(), incarnation).await.unwrap();
        }
        kill(pids[incarnation as usize - 1]);
        stage.until(|entry| entry.workers.is_empty()).await;
        stage.fleet.excuse("m".into(), incarnation).await.unwrap();
    }
}

#[tokio::test]
async fn new_settings_end_the_rest_after_a_failed_load() {
    let stage = setup("exit 3");
    let first = stage.refused().await;
    assert_eq!((stage.refused().await, stage.starts().len()), (first, 1));
    set_aliases(&stage, "m", &["other"]).await.unwrap();
    stage.refused().await;
    assert_eq!(stage.starts().len(), 2, "it is tried with the new settings at once");
}

/// It waited for a start that took long, or failed, and not for memory.
#[tokio::test]
async fn caller_that_has_waited_long_is_served_where_there_is_room() {
    let (stage, _) = serving_fleet(small(500 * MIB));
    let since = Instant::now() - Duration::from_secs(600);
    let ensure = |reply| ModelCall::Ensure(Caller { want: Want::model("m"), since, reply });
    let addresses = stage.fleet.call_model("m".into(), ensure).await.unwrap();
    assert_eq!(addresses.len(), 1);
}
