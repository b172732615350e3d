//! HTTP/1.1 messages over connections that stay open, at little cost, for measuring clients and servers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// A request or a response.
pub(super) struct Message {
    /// The first line and the headers.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Message {
    /// The next message; `None` at the end of the connection.
    pub(super) fn read(from: &mut impl BufRead) -> anyhow::Result<Option<Self>> {
        let mut head = String::new();
        loop {
            let before = head.len();
            let count = from.read_line(&mut head)?;
            if count == 0 && before == 0 {
                return Ok(None);
            }
            ensure!(count > 0, "the connection ended within a head");
            if head[before..].trim().is_empty() {
                break;
            }
        }
        head.make_ascii_lowercase();
        let mut body = Vec::new();
        if field(&head, "transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            while read_chunk(from, &mut body)? {}
        } else if let Some(length) = field(&head, "content-length") {
            read_exactly(from, length.parse()?, &mut body)?;
        }
        Ok(Some(Self { head, body }))
    }
}

/// The value of a header of a head in lower case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// Appends the next chunk. Returns false after the last one.
fn read_chunk(from: &mut impl BufRead, body: &mut Vec<u8>) -> anyhow::Result<bool> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim(), 16).context("the length of a chunk")?;
    read_exactly(from, length, body)?;
    line.clear();
    from.read_line(&mut line)?;
    Ok(length > 0)
}

fn read_exactly(from: &mut impl BufRead, length: usize, body: &mut Vec<u8>) -> anyhow::Result<()> {
    let start = body.len();
    body.resize(start + length, 0);
    Ok(from.read_exact(&mut body[start..])?)
}

/// A request to send many times.
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn post(path: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self(
            format!(
                "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

/// A connection of a client.
pub(super) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(super) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request, and returns the time until its whole answer has come.
    ///
    /// # Errors
    /// The answer is not 200.
    pub(super) fn ask(&mut self, Request(request): &Request) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.0.get_mut().write_all(request)?;
        let answer = Message::read(&mut self.0)?.context("the server closed the connection")?;
        let elapsed = start.elapsed();
        let status = answer.head.split(' ').nth(1).unwrap_or_default();
        ensure!(status == "200", "{status}: {}", String::from_utf8_lossy(&answer.body));
        Ok(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_follow_each_other() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let mut from = text.as_bytes();
        let mut body = || Message::read(&mut from).unwrap().map(|message| message.body);
        assert_eq!((body(), body(), body()), (Some(b"ok".to_vec()), Some(b"abcd".to_vec()), None));
    }
}
