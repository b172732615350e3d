//! Signing in to the web UI over HTTP: password, one-time link, sessions, and what a cookie may not do.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gateway::store::Db;
use gateway::store::key_store::KeyStore;
use gateway::store::login_store::LoginStore;
use ipc_proto::gateway::GatewayConfig;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::fakes::{Gateway, completion};
use super::{json as parse, wait_until};

const PASSWORD: &str = "correct horse";
/// The header of the web UI's own requests.
const PAGE: &str = "x-mlxd-page: 1\r\n";

fn post(gateway: &Gateway, path: &str, headers: &str, body: &Value) -> (u16, String, Value) {
    let (status, head, body) = gateway.ask("POST", path, headers, &body.to_string());
    (status, head, serde_json::from_str(&body).unwrap_or_default())
}

fn get(gateway: &Gateway, path: &str, headers: &str) -> (u16, Value) {
    let (status, _, body) = gateway.ask("GET", path, headers, "");
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// The `Cookie` header for what a response sets. Its value has both cases, which the head of [`Gateway::ask`] has not.
fn signed_in(gateway: &Gateway, path: &str, headers: &str, body: &Value) -> String {
    let body = body.to_string();
    let answer = raw(
        gateway,
        &format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        ),
    );
    let line = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = line.unwrap_or_else(|| panic!("no cookie: {answer}"));
    format!("cookie: {}\r\n", cookie.split(';').next().unwrap())
}

fn raw(gateway: &Gateway, request: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A gateway with a password, and the headers of a browser that has signed in.
fn closed() -> (Gateway, String) {
    let gateway = Gateway::start("");
    let cookie = signed_in(&gateway, "/admin/v1/password", "", &json!({"new": PASSWORD}));
    (gateway, format!("{cookie}{PAGE}"))
}

fn sign_in(gateway: &Gateway) -> String {
    let cookie = signed_in(
        gateway,
        "/admin/v1/session",
        "user-agent: Firefox/1 Linux\r\n",
        &json!({"password": PASSWORD}),
    );
    format!("{cookie}{PAGE}")
}

/// The sign-in of the gateway's home folder, as another process has it.
fn store(gateway: &Gateway) -> LoginStore {
    let home = gateway.home.path();
    let db = Db::new(home);
    LoginStore::new(db.clone(), KeyStore::new(db, home, std::sync::Arc::default()).into())
}

#[test]
fn first_password_closes_an_open_server_and_signs_in() {
    let gateway = Gateway::start("");
    let (_, who) = get(&gateway, "/admin/v1/session", "");
    assert_eq!((&who["by"], &who["has_password"]), (&json!("loopback"), &json!(false)));
    let short = post(&gateway, "/admin/v1/password", "", &json!({"new": "short"}));
    assert_eq!((short.0, &short.2["param"]), (400, &json!("new")), "{}", short.2);
    assert_eq!(get(&gateway, "/v1/models", "").0, 200, "it is open still");
    let cookie = signed_in(&gateway, "/admin/v1/password", "", &json!({"new": PASSWORD}));
    let own = format!("{cookie}{PAGE}");
    for path in ["/v1/models", "/admin/v1/keys", "/metrics", "/ui/v1/chats"] {
        assert_eq!((get(&gateway, path, "").0, get(&gateway, path, &own).0), (401, 200), "{path}");
    }
    let (_, who) = get(&gateway, "/admin/v1/session", &own);
    assert_eq!((&who["by"], &who["scopes"]), (&json!("session"), &json!(["inference", "admin"])));
    let (status, who) = get(&gateway, "/admin/v1/session", "");
    assert_eq!((status, &who["by"], &who["has_password"]), (200, &Value::Null, &json!(true)));
    assert_eq!(gateway.ask("POST", "/v1/completions", &own, &completion("count 1", false)).0, 200);
}

#[test]
fn right_password_sets_a_cookie_for_this_server_only() {
    let (gateway, _) = closed();
    let wrong = post(&gateway, "/admin/v1/session", "", &json!({"password": "wrong horse"}));
    assert_eq!((wrong.0, &wrong.2["param"]), (401, &json!("password")), "{}", wrong.2);
    assert!(!wrong.1.contains("set-cookie"), "{}", wrong.1);
    let (status, head, who) = post(&gateway, "/admin/v1/session", "", &json!({"password": PASSWORD}));
    assert_eq!((status, &who["by"]), (200, &json!("session")));
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    for part in ["mlxd_session_", "path=/;", "max-age=2592000;", "httponly", "samesite=strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("secure"), "{cookie}");
    let over_https = "origin: https://localhost\r\n";
    let (_, head, _) = post(&gateway, "/admin/v1/session", over_https, &json!({"password": PASSWORD}));
    assert!(head.contains("; secure"), "{head}");
    for body in [json!({}), json!({"password": 12_345_678}), json!({"password": PASSWORD, "more": 1})] {
        let (status, _, problem) = post(&gateway, "/admin/v1/session", "", &body);
        assert_eq!(status, 400, "{problem}");
        assert!(
            !problem.to_string().contains("12345678") && !problem.to_string().contains(PASSWORD),
            "{problem}"
        );
    }
    let long = json!({"password": "a".repeat(20_000)});
    assert_eq!(post(&gateway, "/admin/v1/session", "", &long).0, 413);
}

/// Every way in which a browser may send a cookie that the page of this server did not ask for.
#[test]
fn cookie_counts_only_for_pages_of_this_server() {
    let (gateway, own) = closed();
    let cookie = own.strip_suffix(PAGE).unwrap();
    let calls = [
        ("GET", "/v1/models"),
        ("GET", "/admin/v1/events"),
        ("POST", "/v1/completions"),
        ("POST", "/admin/v1/keys"),
        ("PUT", "/admin/v1/routes"),
        ("PATCH", "/admin/v1/settings"),
        ("DELETE", "/admin/v1/sessions/ses_0"),
        ("DELETE", "/admin/v1/session"),
        ("POST", "/admin/v1/password"),
    ];
    let foreign = [
        ("origin: http://localhost:3000\r\n", 403),
        ("origin: null\r\n", 403),
        ("sec-fetch-site: same-site\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
        ("origin: http://localhost\r\nsec-fetch-site: cross-site\r\n", 403),
    ];
    for (method, path) in calls {
        for (headers, expected) in foreign {
            let (status, _, body) = gateway.ask(method, path, &format!("{own}{headers}"), "{}");
            assert_eq!(status, expected, "{method} {path} {headers}{body}");
        }
        if path == "/admin/v1/session" {
            continue;
        }
        let (status, _, body) = gateway.ask(method, path, cookie, "{}");
        assert_eq!(status, 401, "without the page's header: {method} {path} {body}");
        for key in
            ["authorization: Bearer wrong\r\n", "authorization: Basic YTpi\r\n", "x-api-key: wrong\r\n"]
        {
            let (status, _, body) = gateway.ask(method, path, &format!("{own}{key}"), "{}");
            assert_eq!(status, 401, "beside a wrong key: {method} {path} {body}");
        }
    }
    assert_eq!(
        get(&gateway, "/v1/models", &format!("{own}origin: http://localhost\r\n")).0,
        200,
        "nothing has ended it"
    );
    // A sign-in without the header of the page ends no session either.
    let (status, _, _) = gateway.ask("DELETE", "/admin/v1/session", cookie, "");
    assert_eq!((status, get(&gateway, "/v1/models", &own).0), (200, 200));
}

/// The page's own name resolves to this machine: for browsers all is of one origin.
#[test]
fn name_that_was_rebound_signs_nobody_in() {
    let (gateway, own) = closed();
    let ask = |method: &str, path: &str, body: &str| {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: evil.test:10240\r\nconnection: close\r\n");
        let length = body.len();
        write!(
            request,
            "origin: http://evil.test:10240\r\nsec-fetch-site: same-origin\r\ncontent-length: {length}\r\n{own}\r\n{body}"
        )
        .unwrap();
        raw(&gateway, &request)
    };
    let body = json!({"password": PASSWORD}).to_string();
    for (method, path, body) in
        [("POST", "/admin/v1/session", &*body), ("GET", "/v1/models", ""), ("POST", "/admin/v1/setup", "{}")]
    {
        let answer = ask(method, path, body);
        assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("allowed_hosts"), "{answer}");
    }
    let config = serde_json::from_value::<GatewayConfig>(json!({"allowed_hosts": ["evil.test"]})).unwrap();
    let gateway = Gateway::with(config);
    let mine = signed_in(&gateway, "/admin/v1/password", "", &json!({"new": PASSWORD}));
    let request =
        format!("GET /v1/models HTTP/1.1\r\nhost: evil.test:1\r\nconnection: close\r\n{mine}{PAGE}\r\n");
    assert!(raw(&gateway, &request).starts_with("HTTP/1.1 200"), "a configured name is the server's own");
}

#[test]
fn sessions_are_listed_and_ended() {
    let (gateway, first) = closed();
    let second = sign_in(&gateway);
    let (_, listed) = get(&gateway, "/admin/v1/sessions", &second);
    let sessions = listed["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2, "{listed}");
    let of = |current: bool| sessions.iter().find(|one| one["is_current"] == json!(current)).unwrap();
    assert_eq!(of(true)["name"], "Firefox, Linux");
    assert!(!listed.to_string().contains("digest"), "{listed}");
    let path = format!("/admin/v1/sessions/{}", of(false)["id"].as_str().unwrap());
    let mut stream = gateway.send("GET", "/admin/v1/events", &first, "");
    assert_eq!(gateway.ask("DELETE", &path, &second, "").0, 204);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "its stream has ended: {rest}");
    assert_eq!((get(&gateway, "/v1/models", &first).0, get(&gateway, "/v1/models", &second).0), (401, 200));
    assert_eq!(gateway.ask("DELETE", &path, &second, "").0, 404);
    let (status, head, _) = gateway.ask("DELETE", "/admin/v1/session", &second, "");
    assert!(status == 200 && head.contains("max-age=0"), "{head}");
    assert_eq!(get(&gateway, "/v1/models", &second).0, 401);
    assert!(!sign_in(&gateway).is_empty());
}

#[test]
fn new_password_needs_the_old_one_and_ends_other_sessions() {
    let (gateway, own) = closed();
    let other = sign_in(&gateway);
    for body in [json!({"new": "another horse"}), json!({"old": "wrong horse", "new": "another horse"})] {
        let (status, _, problem) = post(&gateway, "/admin/v1/password", &own, &body);
        assert_eq!((status, &problem["param"]), (400, &json!("old")), "{problem}");
    }
    let change = json!({"old": PASSWORD, "new": "another horse"});
    assert_eq!(post(&gateway, "/admin/v1/password", "", &change).0, 401, "nobody changes it from outside");
    assert_eq!(post(&gateway, "/admin/v1/password", &own, &change).0, 200);
    assert_eq!((get(&gateway, "/v1/models", &own).0, get(&gateway, "/v1/models", &other).0), (200, 401));
    assert_eq!(post(&gateway, "/admin/v1/session", "", &json!({"password": PASSWORD})).0, 401);
    assert_eq!(post(&gateway, "/admin/v1/session", "", &json!({"password": "another horse"})).0, 200);
}

#[test]
fn link_of_the_command_line_sets_a_password_once() {
    let gateway = Gateway::with(GatewayConfig { require_login: true, ..GatewayConfig::default() });
    assert_eq!(get(&gateway, "/v1/models", "").0, 401, "it is closed although there is nothing");
    let (_, who) = get(&gateway, "/admin/v1/session", "");
    assert_eq!((&who["by"], &who["has_password"]), (&Value::Null, &json!(false)));
    let store = store(&gateway);
    let link = gateway.block_on(store.new_link()).unwrap();
    let body = |token: &str, password: &str| json!({"token": token, "password": password});
    let token = link.token.expose_secret();
    let (status, _, problem) = post(&gateway, "/admin/v1/setup", "", &body("wrong", PASSWORD));
    assert_eq!((status, &problem["param"]), (400, &json!("token")), "{problem}");
    let (status, _, problem) = post(&gateway, "/admin/v1/setup", "", &body(token, "short"));
    assert_eq!((status, &problem["param"]), (400, &json!("password")), "{problem}");
    let own = format!("{}{PAGE}", signed_in(&gateway, "/admin/v1/setup", "", &body(token, PASSWORD)));
    assert_eq!(get(&gateway, "/admin/v1/keys", &own).0, 200);
    let again = post(&gateway, "/admin/v1/setup", "", &body(token, PASSWORD));
    assert_eq!((again.0, &again.2["param"]), (400, &json!("token")), "{}", again.2);
    assert_eq!(post(&gateway, "/admin/v1/session", "", &json!({"password": PASSWORD})).0, 200);
    gateway.block_on(store.remove()).unwrap();
    wait_until("the session has ended", || get(&gateway, "/v1/models", &own).0 == 401);
}

#[test]
fn wrong_passwords_have_to_wait_longer_and_longer() {
    let (gateway, own) = closed();
    let guess = |password: &str| post(&gateway, "/admin/v1/session", "", &json!({"password": password}));
    for _ in 0..5 {
        assert_eq!(guess("wrong horse").0, 401);
    }
    let start = Instant::now();
    let (status, head, problem) = guess(PASSWORD);
    assert_eq!((status, &problem["status"]), (429, &json!(429)), "even the right one waits: {problem}");
    assert!(head.contains("retry-after: 2") || head.contains("retry-after: 1"), "{head}");
    let change =
        post(&gateway, "/admin/v1/password", &own, &json!({"old": PASSWORD, "new": "another horse"}));
    assert_eq!(change.0, 429, "nor may a session guess");
    assert_eq!(get(&gateway, "/v1/models", &own).0, 200, "sessions go on");
    let link = gateway.block_on(store(&gateway).new_link()).unwrap();
    let body = json!({"token": link.token.expose_secret(), "password": "another horse"});
    assert_eq!(post(&gateway, "/admin/v1/setup", "", &body).0, 200, "the owner has another way");
    wait_until("the wait is over", || guess("another horse").0 == 200);
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());
    assert_eq!(guess("wrong horse").0, 401, "a success forgives");
}

/// Guesses are hashed one at a time beside the threads that serve.
#[test]
fn many_guesses_at_once_do_not_stop_other_requests() {
    let (gateway, own) = closed();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let guess = || post(&gateway, "/admin/v1/session", "", &json!({"password": "wrong horse"})).0;
        let guesses: Vec<_> = (0..64).map(|_| scope.spawn(guess)).collect();
        let start = Instant::now();
        for _ in 0..20 {
            assert_eq!(get(&gateway, "/v1/models", &own).0, 200);
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
    });
    let checked = statuses.iter().filter(|status| **status == 401).count();
    assert_eq!(checked, 5, "the others were not even hashed: {statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
}

#[test]
fn key_goes_on_beside_the_password() {
    let gateway = Gateway::start("sk-admin");
    let admin = "authorization: Bearer sk-admin\r\n";
    let (_, who) = get(&gateway, "/admin/v1/session", admin);
    assert_eq!((&who["by"], &who["key"]), (&json!("key"), &Value::Null));
    assert_eq!(get(&gateway, "/admin/v1/session", "x-api-key: wrong\r\n").0, 401);
    assert_eq!(post(&gateway, "/admin/v1/session", "", &json!({"password": PASSWORD})).0, 401, "none is set");
    let (status, head, who) = post(&gateway, "/admin/v1/password", admin, &json!({"new": PASSWORD}));
    assert_eq!((status, &who["by"]), (200, &json!("key")));
    assert!(!head.contains("set-cookie"), "a program needs no session: {head}");
    let reader =
        parse(&gateway.ask("POST", "/admin/v1/keys", admin, r#"{"name": "a", "scopes": ["admin-read"]}"#).2);
    let reader = format!("x-api-key: {}\r\n", reader["secret"].as_str().unwrap());
    assert_eq!(get(&gateway, "/admin/v1/sessions", &reader).0, 200);
    for (method, path) in [("DELETE", "/admin/v1/sessions/ses_1"), ("POST", "/admin/v1/password")] {
        assert_eq!(gateway.ask(method, path, &reader, "{}").0, 403, "{method} {path}");
    }
    assert!(!sign_in(&gateway).is_empty());
}
