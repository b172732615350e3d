//! The hub's answers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{COMMIT, Content, Model, Request, State, TOKEN};

/// A request with its body.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    pub(super) body: &'a [u8],
    pub(super) port: u16,
}

/// An answer.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Whole lines.
    pub(super) headers: String,
    /// The body is a file's, from `begin` to `end`.
    pub(super) is_file: bool,
    bytes: Arc<Vec<u8>>,
    range: (usize, usize),
}

impl Answer {
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[self.range.0..self.range.1]
    }

    pub(super) fn new(status: u16, headers: String, bytes: Arc<Vec<u8>>) -> Self {
        let range = (0, bytes.len());
        Self { status, headers, bytes, range, ..Self::default() }
    }

    fn json(value: &Value) -> Self {
        let headers = "Content-Type: application/json\r\n".to_owned();
        Self::new(200, headers, Arc::new(value.to_string().into_bytes()))
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let headers = format!(
            "Content-Type: application/json\r\nX-Error-Code: {code}\r\nX-Error-Message: {message}\r\n"
        );
        Self::new(status, headers, Arc::new(json!({"error": message}).to_string().into_bytes()))
    }
}

/// Answers a request.
pub(super) fn answer(state: &State, asked: &Asked<'_>) -> Answer {
    let (path, query) = asked.request.path.split_once('?').unwrap_or((&asked.request.path, ""));
    let path = decoded(path);
    if let Some(rest) = path.strip_prefix("/cdn/") {
        return signed_file(state, asked, rest);
    }
    if path == "/api/models" {
        return search(state, asked, query);
    }
    if path == "/api/whoami-v2" {
        return match &asked.request.authorization {
            Some(value) if *value == format!("Bearer {TOKEN}") => {
                Answer::json(&json!({"name": "me", "type": "user"}))
            }
            _ => Answer::error(401, "", "Invalid username or password."),
        };
    }
    if let Some(rest) = path.strip_prefix("/api/models/") {
        return api(state, asked, rest, query);
    }
    match path.trim_start_matches('/').split_once("/resolve/") {
        Some((id, rest)) => resolve(state, asked, id, rest),
        None => Answer::error(404, "", "Not Found"),
    }
}

/// Information, trees and lists of paths.
fn api(state: &State, asked: &Asked<'_>, rest: &str, query: &str) -> Answer {
    let mut parts = rest.splitn(4, '/');
    let id = [parts.next(), parts.next()].map(Option::unwrap_or_default).join("/");
    let (what, revision) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("main"));
    let models = state.models.lock().unwrap();
    let Some(model) = models.get(&id) else {
        return Answer::error(401, "RepoNotFound", "Repository not found");
    };
    let commit = revision.split('/').next().unwrap_or_default();
    if !["main", "v1", COMMIT].contains(&commit) {
        return Answer::error(404, "RevisionNotFound", &format!("Invalid rev id: {commit}"));
    }
    match what {
        "" | "revision" => Answer::json(&info(&id, model, query.to_lowercase().contains("blobs=true"))),
        "tree" => {
            let xet = state.faults().xet;
            let mut all: Vec<Value> = model.files.iter().map(|(path, file)| entry(path, file, xet)).collect();
            all.push(json!({"type": "directory", "oid": "0".repeat(40), "size": 0, "path": "folder"}));
            Answer::json(&all.into())
        }
        "paths-info" => {
            let body = String::from_utf8_lossy(asked.body).into_owned();
            let wanted = |path: &str| decoded(&body).contains(path);
            let files = model.files.iter().filter(|(path, _)| wanted(path));
            Answer::json(&files.map(|(path, file)| entry(path, file, false)).collect())
        }
        _ => Answer::error(404, "", "Not Found"),
    }
}

fn info(id: &str, model: &Model, with_blobs: bool) -> Value {
    let sibling = |(path, file): (&String, &Content)| {
        let mut sibling = json!({"rfilename": path});
        if with_blobs {
            sibling["size"] = file.bytes.len().into();
            sibling["blobId"] = file.git_sha1.as_str().into();
            if is_large(path) {
                sibling["lfs"] = json!({"sha256": file.sha256, "size": file.bytes.len(), "pointerSize": 134});
            }
        }
        sibling
    };
    let config = model.files.get("config.json").and_then(|file| serde_json::from_slice(&file.bytes).ok());
    let mut tags = vec!["mlx".to_owned(), "license:mit".to_owned()];
    tags.extend(model.tags.clone());
    json!({
        "_id": "1", "id": id, "modelId": id, "author": id.split('/').next(), "sha": COMMIT,
        "lastModified": "2026-10-01T00:00:00.000Z", "createdAt": "2026-10-01T00:00:00.000Z", "private": false,
        "gated": if model.gated { json!("auto") } else { json!(false) }, "disabled": false, "downloads": 12, "likes": 3,
        "tags": tags, "pipeline_tag": "text-generation", "library_name": "mlx",
        "siblings": model.files.iter().map(sibling).collect::<Vec<_>>(),
        "usedStorage": model.files.values().map(|file| file.bytes.len()).sum::<usize>(),
        "safetensors": {"parameters": {"BF16": 1_500_000}, "total": 1_500_000},
        "config": config.unwrap_or_else(|| json!({})),
    })
}

fn entry(path: &str, file: &Content, xet: bool) -> Value {
    let mut entry = json!({"type": "file", "oid": file.git_sha1, "size": file.bytes.len(), "path": path});
    if is_large(path) {
        entry["lfs"] = json!({"oid": file.sha256, "size": file.bytes.len(), "pointerSize": 134});
        if xet {
            entry["xetHash"] = file.sha256.as_str().into();
        }
    }
    entry
}

/// Pages of one model each, as far as `limit` is 1. Models without the words of `search` are left out.
fn search(state: &State, asked: &Asked<'_>, query: &str) -> Answer {
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(&value.replace('+', " ")))
    };
    let words = parameter("search").unwrap_or_default().to_lowercase();
    let models = state.models.lock().unwrap();
    let found: Vec<Value> = models
        .iter()
        .filter(|(id, _)| words.split_whitespace().all(|word| id.to_lowercase().contains(word)))
        .filter(|(id, _)| parameter("author").is_none_or(|author| id.starts_with(&format!("{author}/"))))
        .map(|(id, model)| info(id, model, false))
        .collect();
    let first: usize = parameter("cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let limit: usize = parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(100);
    let page: Vec<Value> = found.iter().skip(first).take(limit).cloned().collect();
    let mut answer = Answer::json(&page.into());
    if first + limit < found.len() {
        let (host, next) = (&asked.request.host, first + limit);
        let rest: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("cursor=")).collect();
        let link =
            format!("Link: <http://{host}/api/models?{}&cursor={next}>; rel=\"next\"\r\n", rest.join("&"));
        answer.headers.push_str(&link);
    }
    answer
}

/// A small file itself, or the address of a large one.
fn resolve(state: &State, asked: &Asked<'_>, id: &str, rest: &str) -> Answer {
    let models = state.models.lock().unwrap();
    let Some(model) = models.get(id) else {
        return Answer::error(401, "RepoNotFound", "Repository not found");
    };
    let authorization = asked.request.authorization.as_deref();
    if model.gated && authorization != Some(&format!("Bearer {TOKEN}")) {
        let status = if authorization.is_some() { 403 } else { 401 };
        return Answer::error(status, "GatedRepo", &format!("Access to model {id} is restricted."));
    }
    let path = rest.split_once('/').unwrap_or_default().1;
    let mut headers = format!("X-Repo-Commit: {COMMIT}\r\nAccept-Ranges: bytes\r\n");
    let Some(file) = model.files.get(path) else {
        return Answer::error(404, "EntryNotFound", "Entry not found");
    };
    if !is_large(path) {
        return part(state, asked, file, headers + &format!("ETag: \"{}\"\r\n", file.git_sha1));
    }
    // Each address is another one, as a signature with a time is.
    let number = state.requests.lock().unwrap().len();
    let (size, sha256, host) = (file.bytes.len(), &file.sha256, format!("localhost:{}", asked.port));
    headers.push_str(&format!("X-Linked-Size: {size}\r\nX-Linked-Etag: \"{sha256}\"\r\n"));
    headers.push_str(&format!("Location: http://{host}/cdn/{number}/{id}/{path}?sig=1\r\n"));
    if state.faults().xet {
        let route = format!("/api/models/{id}/xet-read-token/{COMMIT}");
        headers.push_str(&format!("X-Xet-Hash: {sha256}\r\nX-Xet-Refresh-Route: {route}\r\n"));
        let link = format!("Link: <http://{}{route}>; rel=\"xet-auth\"\r\n", asked.request.host);
        headers.push_str(&link);
    }
    Answer::new(302, headers, Arc::new(b"Found. Redirecting".to_vec()))
}

/// A large file at the server with another name, whose addresses expire.
fn signed_file(state: &State, asked: &Asked<'_>, rest: &str) -> Answer {
    let mut parts = rest.splitn(4, '/').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let (number, id, path) = (next(), format!("{}/{}", next(), next()), next());
    if let Some(limit) = state.faults().uses {
        let mut uses = state.uses.lock().unwrap();
        let used = uses.entry(number).or_default();
        *used += 1;
        if *used > limit {
            return Answer::new(403, String::new(), Arc::new(b"Request has expired".to_vec()));
        }
    }
    let models = state.models.lock().unwrap();
    match models.get(&id).and_then(|model| model.files.get(&path)) {
        // A store's own name for the content, which is not the hub's.
        Some(file) => {
            part(state, asked, file, format!("ETag: \"{}-1\"\r\nAccept-Ranges: bytes\r\n", &file.sha256[..8]))
        }
        None => Answer::new(404, String::new(), Arc::default()),
    }
}

/// The part of a file that the request asks for.
fn part(state: &State, asked: &Asked<'_>, file: &Content, mut headers: String) -> Answer {
    headers.push_str("Content-Type: application/octet-stream\r\n");
    let (mut bytes, size) = (Arc::clone(&file.bytes), file.bytes.len());
    let faults = state.faults();
    if faults.wrong && size > 0 {
        let mut wrong = bytes.to_vec();
        wrong[size / 2] ^= 1;
        bytes = Arc::new(wrong);
    }
    let range = asked.request.range.as_deref().and_then(|range| range.strip_prefix("bytes="));
    let Some((begin, end)) = range.and_then(|range| range.split_once('-')).filter(|_| !faults.no_ranges)
    else {
        return Answer { is_file: true, ..Answer::new(200, headers, bytes) };
    };
    let begin: usize = begin.parse().unwrap_or(0);
    let end = end.parse().map_or(size, |end: usize| size.min(end + 1));
    if begin >= size {
        return Answer::new(416, format!("Content-Range: bytes */{size}\r\n"), Arc::default());
    }
    headers.push_str(&format!("Content-Range: bytes {begin}-{}/{size}\r\n", end - 1));
    Answer { status: 206, headers, is_file: true, bytes, range: (begin, end) }
}

fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors")
}

/// A path or form without percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code =
            tail.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
