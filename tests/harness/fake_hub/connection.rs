//! One connection: reads requests, sends answers, and lets go wrong what should.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use super::answers::{self, Answer, Asked};
use super::{Request, State, pause};

/// Bytes of a slow answer that go out at once.
const SLOW_PIECE: usize = 16 << 10;
const PIECE: usize = 256 << 10;

/// Serves requests until the client leaves.
pub(super) fn serve(stream: &TcpStream, state: &State, port: u16) {
    let mut reader = BufReader::new(stream);
    while let Some((request, body)) = read(&mut reader) {
        let asked = Asked { request: &request, body: &body, port };
        let answer = fault(state, &request).unwrap_or_else(|| answers::answer(state, &asked));
        if !send(stream, state, request, &answer) {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<(Request, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let mut request =
        Request { method: words.next()?.to_owned(), path: words.next()?.to_owned(), ..Request::default() };
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        let value = value.trim().to_owned();
        match name.to_lowercase().as_str() {
            "host" => request.host = value,
            "range" => request.range = Some(value),
            "authorization" => request.authorization = Some(value),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((request, body))
}

/// The answer of a server that fails now.
fn fault(state: &State, request: &Request) -> Option<Answer> {
    let mut faults = state.faults();
    let (part, ..) = faults.statuses.front()?;
    if !request.path.contains(part) {
        return None;
    }
    let (_, status, headers) = faults.statuses.pop_front()?;
    Some(Answer::new(status, headers.to_owned(), Arc::default()))
}

/// Sends an answer and records it. Returns whether the connection goes on.
fn send(mut stream: &TcpStream, state: &State, mut request: Request, answer: &Answer) -> bool {
    let body = answer.body();
    let head = format!(
        "HTTP/1.1 {} Answer\r\nContent-Length: {}\r\n{}\r\n",
        answer.status,
        body.len(),
        answer.headers
    );
    request.status = answer.status;
    let at = {
        let mut requests = state.requests.lock().unwrap();
        requests.push(request.clone());
        requests.len() - 1
    };
    if stream.write_all(head.as_bytes()).is_err() {
        return false;
    }
    if request.method == "HEAD" {
        return true;
    }
    let cut = if answer.is_file { state.faults().cuts.pop_front() } else { None };
    let slow = state.faults().slow.filter(|_| answer.is_file);
    let end = cut.map_or(body.len(), |cut| cut.min(body.len()));
    for piece in body[..end].chunks(if slow.is_some() { SLOW_PIECE } else { PIECE }) {
        if stream.write_all(piece).is_err() {
            return false;
        }
        state.requests.lock().unwrap()[at].sent += piece.len() as u64;
        if let Some(rate) = slow {
            thread::sleep(pause(piece.len(), rate));
        }
    }
    end == body.len()
}
