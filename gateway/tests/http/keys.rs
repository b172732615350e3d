//! API keys of the database: made, used, bounded and revoked over HTTP.

use std::net::TcpListener;

use gateway::store::Db;
use gateway::store::key_store::KeyStore;
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::generate::Priority;
use serde_json::{Value, json};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;

use super::fakes::{Gateway, completion};
use super::{json as parse, socket, wait_until};

/// The bootstrap key of the tests.
const ADMIN: &str = "authorization: Bearer sk-admin\r\n";

fn gateway() -> Gateway {
    Gateway::start("sk-admin")
}

/// Makes a key with these fields besides its name. Returns its id and the header that carries it.
fn make(gateway: &Gateway, mut fields: Value) -> (String, String) {
    fields["name"] = "laptop".into();
    let (status, _, body) = gateway.ask("POST", "/admin/v1/keys", ADMIN, &fields.to_string());
    let made = parse(&body);
    assert_eq!(status, 201, "{body}");
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("id"), format!("authorization: Bearer {}\r\n", text("secret")))
}

fn complete(gateway: &Gateway, key: &str) -> (u16, String, String) {
    gateway.ask("POST", "/v1/completions", key, &completion("count 1", false))
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
}

#[test]
fn first_key_closes_an_open_server() {
    let gateway = Gateway::start("");
    assert_eq!(complete(&gateway, "").0, 200);
    let (status, _, body) = gateway.ask("POST", "/admin/v1/keys", "", r#"{"name": "laptop"}"#);
    assert_eq!(status, 201, "{body}");
    let key = format!("x-api-key: {}\r\n", parse(&body)["secret"].as_str().unwrap());
    let (status, _, refused) = complete(&gateway, "");
    assert_eq!((status, &parse(&refused)["error"]["code"]), (401, &json!("invalid_api_key")));
    assert_eq!(complete(&gateway, &key).0, 200);
    assert_eq!(gateway.ask("GET", "/admin/v1/keys", "", "").0, 401);
    assert_eq!(gateway.ask("GET", "/health", "", "").0, 200);
}

#[test]
fn revoked_key_is_refused_at_once_and_stays_listed() {
    let gateway = gateway();
    let (id, key) = make(&gateway, json!({}));
    assert_eq!(complete(&gateway, &key).0, 200);
    let path = format!("/admin/v1/keys/{id}");
    let (status, _, body) = gateway.ask("DELETE", &path, ADMIN, "");
    assert_eq!((status, &parse(&body)["status"]), (200, &json!("revoked")));
    let (status, _, body) = complete(&gateway, &key);
    assert_eq!(status, 401);
    assert_eq!(parse(&body)["error"]["message"], "this API key was revoked");
    let one = parse(&gateway.ask("GET", &path, ADMIN, "").2);
    let all = parse(&gateway.ask("GET", "/admin/v1/keys", ADMIN, "").2);
    assert_eq!(all["keys"], json!([one]));
    assert!(one["last_used_at"].is_i64() && one.get("secret").is_none(), "{one}");
    for method in ["GET", "DELETE"] {
        assert_eq!(gateway.ask(method, "/admin/v1/keys/key_0", ADMIN, "").0, 404, "{method}");
    }
}

#[test]
fn scopes_bound_a_key_in_each_protocol() {
    let gateway = gateway();
    let (_, infers) = make(&gateway, json!({}));
    let (_, reads) = make(&gateway, json!({"scopes": ["admin-read"]}));
    let (_, administers) = make(&gateway, json!({"scopes": ["admin"]}));
    let status = |method: &str, path: &str, key: &str, body: &str| gateway.ask(method, path, key, body).0;
    for (key, read, change) in [(&infers, 403, 403), (&reads, 200, 403), (&administers, 200, 200)] {
        for path in ["/admin/v1/models", "/metrics", "/admin/v1/keys"] {
            assert_eq!(status("GET", path, key, ""), read, "{path}");
        }
        assert_eq!(status("POST", "/admin/v1/models/m/pin", key, ""), change);
    }
    let (_, head, body) = gateway.ask("POST", "/admin/v1/keys", &reads, r#"{"name": "more"}"#);
    assert!(head.contains("application/problem+json") && parse(&body)["status"] == 403, "{head} {body}");
    assert!(body.contains("needs an API key of the scope admin; this key has admin-read"), "{body}");
    for (path, pointer, kind) in [
        ("/v1/completions", "/error/code", "permission_denied"),
        ("/v1/messages", "/error/type", "permission_error"),
    ] {
        let (status, _, body) = gateway.ask("POST", path, &reads, "{}");
        assert_eq!((status, parse(&body).pointer(pointer)), (403, Some(&json!(kind))), "{path}: {body}");
    }
    assert_eq!(status("GET", "/api/tags", &reads, ""), 403);
}

#[test]
fn expired_key_is_refused_in_the_protocol_of_its_client() {
    let gateway = gateway();
    let (id, key) = make(&gateway, json!({"expires_at": 4_000_000_000_u64}));
    assert_eq!(complete(&gateway, &key).0, 200);
    let file = gateway.home.path().join("mlxd.db");
    gateway.block_on(async move {
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
        let change = sqlx::query("UPDATE keys SET expires_at = 1000 WHERE id = ?");
        change.bind(id).execute(&pool).await.unwrap();
    });
    // A change of keys reads all of them.
    make(&gateway, json!({}));
    let (status, _, body) = gateway.ask("POST", "/v1/messages", &key, "{}");
    let error = &parse(&body)["error"];
    assert_eq!((status, &error["type"]), (401, &json!("authentication_error")));
    assert_eq!(error["message"], "this API key expired on 1970-01-01 00:16 UTC");
}

#[test]
fn requests_over_a_keys_limit_get_429_with_headers() {
    let gateway = gateway();
    let (_, key) = make(&gateway, json!({"requests_per_minute": 2}));
    let (status, head, _) = complete(&gateway, &key);
    let limits = |head: &str| {
        ["limit", "remaining", "reset"].map(|part| header(head, &format!("x-ratelimit-{part}-requests")))
    };
    assert_eq!((status, limits(&head)), (200, [Some("2".into()), Some("1".into()), Some("30s".into())]));
    // Reads cost nothing.
    assert_eq!(gateway.ask("GET", "/v1/models", &key, "").0, 200);
    assert_eq!(complete(&gateway, &key).0, 200);
    let (status, head, body) = complete(&gateway, &key);
    assert_eq!((status, &parse(&body)["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    assert!(body.contains("limit of 2 requests a minute is reached"), "{body}");
    assert_eq!(limits(&head)[..2], [Some("2".to_owned()), Some("0".to_owned())]);
    let wait: u64 = header(&head, "retry-after").unwrap().parse().unwrap();
    assert!((25..=30).contains(&wait), "{wait}");
    let (status, head, body) = gateway.ask("POST", "/v1/messages", &key, "{}");
    assert_eq!((status, &parse(&body)["error"]["type"]), (429, &json!("rate_limit_error")));
    assert_eq!(header(&head, "anthropic-ratelimit-requests-remaining").as_deref(), Some("0"));
    assert!(header(&head, "anthropic-ratelimit-requests-reset").unwrap().ends_with('z'), "{head}");
    // Others go on.
    assert_eq!(complete(&gateway, ADMIN).0, 200);
}

#[test]
fn tokens_count_by_real_usage() {
    let gateway = gateway();
    // The fake worker says 12 tokens for each request, and the body of one is estimated at 11. Little flows in meanwhile.
    let (_, key) = make(&gateway, json!({"tokens_per_minute": 30, "tokens_per_day": 1000}));
    let remaining =
        |head: &str| header(head, "x-ratelimit-remaining-tokens").unwrap().parse::<u32>().unwrap();
    let (status, head, _) = complete(&gateway, &key);
    assert!(status == 200 && (19..22).contains(&remaining(&head)), "{head}");
    gateway.records(1);
    let (status, head, _) = complete(&gateway, &key);
    assert!(status == 200 && (7..10).contains(&remaining(&head)), "{head}");
    gateway.records(2);
    let (status, head, body) = complete(&gateway, &key);
    assert!(status == 429 && body.contains("30 tokens a minute"), "{body}");
    assert!((6..11).contains(&remaining(&head)), "{head}");
    // A request that a model refuses gives its estimate back.
    let (_, key) = make(&gateway, json!({"tokens_per_minute": 40}));
    for _ in 0..5 {
        let unknown = r#"{"model": "unknown", "prompt": "count 1, and more of it"}"#;
        assert_eq!(gateway.ask("POST", "/v1/completions", &key, unknown).0, 404);
    }
}

#[test]
fn day_of_a_key_is_over_after_its_tokens() {
    let gateway = gateway();
    let (_, key) = make(&gateway, json!({"tokens_per_day": 20}));
    for count in 1..=2 {
        assert_eq!(complete(&gateway, &key).0, 200);
        gateway.records(count);
    }
    let (status, head, body) = complete(&gateway, &key);
    assert!(status == 429 && body.contains("limit of 20 tokens a day (UTC)"), "{body}");
    assert!(header(&head, "retry-after").unwrap().parse::<u64>().unwrap() <= 86_400, "{head}");
}

#[test]
fn burst_of_requests_keeps_the_limit_of_a_day() {
    let gateway = gateway();
    let (_, key) = make(&gateway, json!({"tokens_per_day": 2500}));
    // A quarter of its bytes is the estimate: a little more than 1000 tokens.
    let body = completion("drip 3000", true) + &" ".repeat(4000);
    let begin = || {
        let mut connection = gateway.send("POST", "/v1/completions", &key, &body);
        std::io::Read::read_exact(&mut connection, &mut [0; 500]).unwrap();
        connection
    };
    let running = [begin(), begin()];
    let (status, head, refused) = gateway.ask("POST", "/v1/completions", &key, &body);
    let limit = "limit of 2500 tokens a day (UTC), counting the requests that run";
    assert!(status == 429 && refused.contains(limit), "{refused}");
    assert!(header(&head, "retry-after").unwrap().parse::<u64>().unwrap() <= 5, "{head}");
    assert_eq!(complete(&gateway, &key).0, 200, "a small one fits");
    drop(running);
    gateway.records(3);
    // They have used little, and have given the rest back.
    drop([begin(), begin()]);
}

/// A client that leaves has used what was generated until then.
#[test]
fn cancelled_stream_counts_its_tokens() {
    let gateway = gateway();
    let (_, key) = make(&gateway, json!({"tokens_per_minute": 6000}));
    let mut connection = gateway.send("POST", "/v1/completions", &key, &completion("drip 3000", true));
    std::io::Read::read_exact(&mut connection, &mut [0; 2000]).unwrap();
    drop(connection);
    gateway.records(1);
    let file = gateway.home.path().join("mlxd.db");
    let (prompt, completion): (i64, i64) = gateway.block_on(async move {
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
        sqlx::query_as("SELECT prompt_tokens, completion_tokens FROM requests")
            .fetch_one(&pool)
            .await
            .unwrap()
    });
    assert!(prompt == 3 && completion >= 3, "{prompt} {completion}");
}

#[test]
fn key_for_some_models_sees_and_uses_only_those() {
    let gateway = gateway();
    gateway.serve_one_model_per_task();
    let (_, key) = make(&gateway, json!({"models": ["vec*", "slow"]}));
    let (status, _, body) = complete(&gateway, &key);
    assert_eq!((status, &parse(&body)["error"]["param"]), (403, &json!("model")), "{body}");
    let message = parse(&body)["error"]["message"].clone();
    assert_eq!(message, "this API key may not use the model \"m\"; GET /v1/models lists those that it may");
    let listed = |path: &str, list: &str, id: &str| -> Vec<Value> {
        let body = parse(&gateway.ask("GET", path, &key, "").2);
        body[list].as_array().unwrap().iter().map(|model| model[id].clone()).collect()
    };
    assert_eq!(listed("/v1/models", "data", "id"), ["vectors"]);
    assert_eq!(listed("/api/v0/models", "data", "id"), ["vectors"]);
    assert_eq!(listed("/api/tags", "models", "name"), ["vectors"]);
    assert!(listed("/api/ps", "models", "name").is_empty());
    let ask = |method: &str, path: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        gateway.ask(method, path, &key, &body).0
    };
    for (method, path, body) in [
        ("GET", "/v1/models/m", Value::Null),
        ("GET", "/api/v0/models/m", Value::Null),
        ("POST", "/api/show", json!({"model": "m"})),
        ("POST", "/api/chat", json!({"model": "m", "messages": []})),
        ("POST", "/api/chat", json!({"model": "m", "messages": [], "keep_alive": 0})),
        ("POST", "/api/embed", json!({"model": "m", "input": []})),
        ("POST", "/v1/embeddings", json!({"model": "m", "input": "a"})),
        ("POST", "/v1/rerank", json!({"model": "m", "query": "q", "documents": ["d"]})),
        (
            "POST",
            "/v1/messages/count_tokens",
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}),
        ),
        ("POST", "/v1/responses", json!({"model": "m", "input": "count 1"})),
        ("POST", "/v1/responses/input_tokens", json!({"model": "m", "input": "x"})),
        ("POST", "/tokenize", json!({"model": "m", "content": "x"})),
        ("POST", "/detokenize", json!({"model": "m", "tokens": [1]})),
        ("POST", "/apply-template", json!({"model": "m", "messages": [{"role": "user", "content": "x"}]})),
        ("POST", "/v1/completions/render", json!({"model": "m", "prompt": "x"})),
    ] {
        assert_eq!(ask(method, path, body.clone()), 403, "{path} {body}");
    }
    assert_eq!(ask("POST", "/v1/embeddings", json!({"model": "vectors", "input": "a"})), 200);
}

/// A gateway whose provider `far` is this listener, with a route to it and to a local model.
fn in_front_of(listener: &TcpListener) -> Gateway {
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let far = json!({"kind": "openai-compatible", "url": url, "models": [{"id": "big", "alias": "quick"}]});
    let config = GatewayConfig {
        api_keys: ["sk-admin"].into_iter().collect(),
        providers: serde_json::from_value(json!({"far": far})).unwrap(),
        routes: serde_json::from_value(json!([
            {"model": "mixed", "targets": ["far/big", "m"]},
            {"model": "away", "targets": ["far/big"]},
        ]))
        .unwrap(),
        ..GatewayConfig::default()
    };
    Gateway::with(config)
}

#[test]
fn local_only_key_never_reaches_a_provider() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let gateway = in_front_of(&listener);
    let (_, key) = make(&gateway, json!({"local_only": true}));
    let turns = json!([{"role": "user", "content": "count 1"}]);
    for model in ["far/big", "quick", "away", "far/unlisted"] {
        for (path, mut body) in [
            ("/v1/chat/completions", json!({"messages": turns})),
            ("/v1/completions", json!({"prompt": "count 1"})),
            ("/v1/responses", json!({"input": "count 1"})),
            ("/v1/messages", json!({"messages": turns, "max_tokens": 9})),
            ("/v1/messages/count_tokens", json!({"messages": turns})),
            ("/v1/embeddings", json!({"input": "a"})),
            ("/v1/rerank", json!({"query": "q", "documents": ["d"]})),
            ("/tokenize", json!({"prompt": "x"})),
            ("/api/chat", json!({"messages": turns, "stream": false})),
        ] {
            body["model"] = model.into();
            let (status, _, answer) = gateway.ask("POST", path, &key, &body.to_string());
            assert!(status == 403 && answer.contains("is local only"), "{model} {path}: {status} {answer}");
        }
    }
    let mixed = json!({"model": "mixed", "messages": turns, "max_tokens": 9}).to_string();
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens"] {
        assert_eq!(gateway.ask("POST", path, &key, &mixed).0, 200, "the local model of the route answers");
    }
    let listed = gateway.ask("GET", "/v1/models", &key, "").2;
    assert!(!listed.contains("big") && !listed.contains("quick") && !listed.contains("away"), "{listed}");
    for (model, shown) in [("far/big", 404), ("quick", 404), ("away", 404), ("mixed", 200), ("m", 200)] {
        let path = format!("/v1/models/{model}");
        let (status, _, body) = gateway.ask("GET", &path, &key, "");
        assert_eq!(status, shown, "{model}: {body}");
        if shown == 404 {
            let message = format!("the model \"{model}\" does not exist; GET /v1/models lists those that do");
            assert_eq!(parse(&body)["error"]["message"], message);
        }
        assert_eq!(gateway.ask("GET", &path, ADMIN, "").0, 200, "another key sees {model}");
    }
    assert!(listener.accept().is_err(), "the provider was contacted");
    let body = json!({"model": "quick", "messages": turns}).to_string();
    let _connection = gateway.send("POST", "/v1/chat/completions", ADMIN, &body);
    wait_until("another key reaches the provider", || listener.accept().is_ok());
}

#[test]
fn responses_of_another_key_are_not_found() {
    let gateway = gateway();
    let ((_, one), (_, other)) = (make(&gateway, json!({})), make(&gateway, json!({})));
    let respond = |key: &str, body: Value| gateway.ask("POST", "/v1/responses", key, &body.to_string());
    for background in [false, true] {
        let (status, _, body) =
            respond(&one, json!({"model": "m", "input": "count 1", "background": background}));
        assert_eq!(status, 200, "{body}");
        let id = parse(&body)["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/responses/{id}");
        for (method, path) in [
            ("GET", path.clone()),
            ("GET", format!("{path}?stream=true")),
            ("GET", format!("{path}/input_items")),
            ("POST", format!("{path}/cancel")),
            ("DELETE", path.clone()),
        ] {
            assert_eq!(gateway.ask(method, &path, &other, "").0, 404, "{method} {path}");
        }
        let next = json!({"model": "m", "input": "count 1", "previous_response_id": id});
        let (status, _, body) = respond(&other, next.clone());
        assert_eq!((status, &parse(&body)["error"]["code"]), (400, &json!("previous_response_not_found")));
        wait_until("it ends", || gateway.ask("GET", &path, &one, "").2.contains("completed"));
        assert_eq!(respond(&one, next).0, 200);
    }
}

#[test]
fn audit_row_names_the_key() {
    let gateway = gateway();
    let (id, key) = make(&gateway, json!({}));
    assert_eq!(complete(&gateway, &key).0, 200);
    assert_eq!(gateway.ask("POST", "/v1/embeddings", &key, r#"{"model": "m", "input": "a"}"#).0, 200);
    assert_eq!(complete(&gateway, ADMIN).0, 200);
    gateway.records(3);
    let file = gateway.home.path().join("mlxd.db");
    let rows: Vec<(Option<String>, Option<String>)> = gateway.block_on(async move {
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
        let all = "SELECT key_id, key_name FROM requests ORDER BY started_at_ms, key_id DESC";
        sqlx::query_as(all).fetch_all(&pool).await.unwrap()
    });
    let own = (Some(id), Some("laptop".to_owned()));
    assert_eq!(rows, [own.clone(), own, (None, None)]);
}

#[test]
fn class_of_a_key_reaches_the_workers_queue() {
    let gateway = gateway();
    let (_, low) = make(&gateway, json!({"priority": "low"}));
    let (_, high) = make(&gateway, json!({"priority": "high"}));
    let urgent = json!({"model": "m", "prompt": "count 1", "priority": "high"}).to_string();
    assert_eq!(gateway.ask("POST", "/v1/completions", &low, &urgent).0, 200);
    assert_eq!(complete(&gateway, &high).0, 200);
    assert_eq!(gateway.ask("POST", "/v1/completions", ADMIN, &urgent).0, 200);
    assert_eq!(gateway.priorities(), [Priority::Low, Priority::High, Priority::High]);
}

/// `mlxd key` changes the database of a running server.
#[test]
fn key_of_another_process_opens_and_its_revocation_closes() {
    let gateway = gateway();
    let (id, key) = make(&gateway, json!({}));
    let home = gateway.home.path().to_owned();
    gateway.block_on(async {
        let other = KeyStore::new(Db::new(&home), &home, std::sync::Arc::default());
        other.revoke(&id).await.unwrap().unwrap();
    });
    wait_until("the key is refused", || complete(&gateway, &key).0 == 401);
}

/// A connection outlives its key, but a request on it does not.
#[test]
fn requests_of_an_open_socket_end_with_the_key() {
    let gateway = gateway();
    let (id, key) = make(&gateway, json!({"requests_per_minute": 2}));
    let bearer = key.trim().strip_prefix("authorization: ").unwrap();
    let mut connection = socket::open(&gateway, "/v1/responses", &[("authorization", bearer)]).unwrap();
    let mut last = || {
        socket::send(&mut connection, "count 1", &json!({}));
        socket::events(&mut connection).pop().unwrap()
    };
    for _ in 0..2 {
        assert_eq!(last()["type"], "response.completed");
    }
    let limited = last();
    assert_eq!((&limited["status"], &limited["error"]["code"]), (&json!(429), &json!("rate_limit_exceeded")));
    assert_eq!(gateway.ask("DELETE", &format!("/admin/v1/keys/{id}"), ADMIN, "").0, 200);
    let revoked = last();
    assert_eq!(
        (&revoked["status"], &revoked["error"]["message"]),
        (&json!(401), &json!("this API key was revoked"))
    );
}

#[test]
fn route_of_keys_takes_only_their_requests() {
    let config = json!({"api_keys": ["sk-admin"],
        "routes": [{"name": "laptops", "model": "alias", "keys": ["lap*"], "targets": ["m"]}]});
    let gateway = Gateway::with(serde_json::from_value(config).unwrap());
    let (id, key) = make(&gateway, json!({}));
    let body = json!({"model": "alias", "prompt": "count 1"}).to_string();
    let (status, head, answer) = gateway.ask("POST", "/v1/completions", &key, &body);
    assert_eq!((status, header(&head, "x-mlxd-route").as_deref()), (200, Some("laptops")), "{answer}");
    assert_eq!(gateway.ask("POST", "/v1/completions", ADMIN, &body).0, 404);
    for (asked, route) in [("laptop", json!("laptops")), (id.as_str(), json!(null)), ("desk", json!(null))] {
        let question = json!({"model": "alias", "key": asked}).to_string();
        let (_, _, body) = gateway.ask("POST", "/admin/v1/routes/explain", ADMIN, &question);
        assert_eq!(parse(&body)["route"], route, "{asked}");
    }
}
