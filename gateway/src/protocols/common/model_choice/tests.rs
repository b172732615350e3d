use ipc_proto::supervisor::Details;

use super::*;

fn entry(id: &str, change: impl FnOnce(&mut Details)) -> ModelEntry {
    let mut entry = ModelEntry { id: id.into(), ..ModelEntry::default() };
    change(&mut entry.details);
    entry
}

#[test]
fn missing_model_is_the_only_one_with_the_task() {
    let mut all = vec![
        entry("vectors", |details| details.kind = ModelKind::Embed),
        entry("strange", |details| details.unserved = true),
        entry("broken", |details| details.problem = Some("no weights".into())),
    ];
    let none = only_model(ModelKind::Generate, &all).unwrap_err();
    assert_eq!(none.field, Some("model".into()));
    all.push(entry("m", |_| {}));
    assert_eq!(only_model(ModelKind::Generate, &all).unwrap(), "m");
    assert_eq!(only_model(ModelKind::Embed, &all).unwrap(), "vectors");
    let none = only_model(ModelKind::Rerank, &all).unwrap_err();
    assert_eq!(none.message, "model is missing, and no model that ranks documents is there");
}

#[test]
fn missing_model_error_lists_the_first_models() {
    let several = |count| (0..count).map(|at| entry(&format!("m{at}"), |_| {})).collect::<Vec<_>>();
    let message = |count| only_model(ModelKind::Generate, &several(count)).unwrap_err().message;
    assert!(message(2).ends_with(": m0, m1"), "{}", message(2));
    assert!(message(9).contains("m7, …") && !message(9).contains("m8"), "{}", message(9));
}
