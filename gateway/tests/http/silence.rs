//! The supervisor is stopped. What the gateway knows is answered, the rest refused soon.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::fakes::Gateway;
use super::json;

/// Asks for all paths at once. Each answer must come soon.
fn ask_all(gateway: &Gateway, asked: &[(&'static str, &'static str)]) -> Vec<(u16, String)> {
    std::thread::scope(|scope| {
        let ask = |(path, headers): (&'static str, &'static str)| {
            let begun = Instant::now();
            let (status, _, body) = gateway.ask("GET", path, headers, "");
            assert!(begun.elapsed() < Duration::from_secs(8), "{path}: {:?}", begun.elapsed());
            (status, body)
        };
        let asking: Vec<_> = asked.iter().map(|asked| scope.spawn(move || ask(*asked))).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

const ANTHROPIC: &str = "anthropic-version: 2023-06-01\r\n";

#[test]
fn models_are_listed_as_last_known_and_the_gateway_measures_itself() {
    let gateway = Gateway::start("");
    let lists = [("/v1/models", ""), ("/v1/models", ANTHROPIC), ("/v1/models/m", ""), ("/api/tags", "")];
    let before = ask_all(&gateway, &lists);
    assert!(before.iter().all(|(status, _)| *status == 200), "{before:?}");
    assert_eq!(gateway.complete("count 1", false).0, 200);
    gateway.silence_supervisor();
    assert_eq!(ask_all(&gateway, &lists), before);
    let rest =
        [("/v1/models/unknown", ""), ("/metrics", ""), ("/admin/v1/pool", ""), ("/admin/v1/models", "")];
    let [unknown, metrics, pool, models] = &ask_all(&gateway, &rest)[..] else { panic!() };
    assert_eq!((unknown.0, metrics.0, pool.0, models.0), (503, 200, 503, 503));
    assert!(metrics.1.contains("mlxd_supervisor_up 0"), "{}", metrics.1);
    assert!(metrics.1.contains("mlxd_requests_total{endpoint=\"/v1/completions\",outcome=\"finished\"} 1"));
    assert!(json(&pool.1)["detail"].as_str().unwrap().contains("the supervisor does not answer"), "{pool:?}");
    // A loaded model goes on.
    assert_eq!(gateway.complete("count 1", false).0, 200);
}

#[test]
fn without_a_last_answer_the_refusal_has_the_shape_of_the_protocol() {
    let gateway = Gateway::start("");
    gateway.silence_supervisor();
    let asked = [
        ("/v1/models", "", "/error/message"),
        ("/v1/models", ANTHROPIC, "/error/message"),
        ("/api/tags", "", "/error"),
        ("/api/v0/models", "", "/error/message"),
    ];
    let answers = ask_all(&gateway, &asked.map(|(path, headers, _)| (path, headers)));
    for ((path, headers, pointer), (status, body)) in asked.into_iter().zip(answers) {
        assert_eq!(status, 503, "{path}: {body}");
        let body = json(&body);
        assert_eq!(body["type"] == "error", headers == ANTHROPIC, "{body}");
        let message = body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(message.contains("the supervisor does not answer"), "{path}: {body}");
    }
}
