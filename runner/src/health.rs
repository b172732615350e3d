//! The health check: one GET, of whose answer only the status is read.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Time for one answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Pause between two checks of a program that starts.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of an answer's first line that are read.
const LINE: usize = 256;

/// Waits until the program answers with success. Returns the last problem if it does not within `limit`.
///
/// # Errors
/// The last problem.
pub async fn wait(port: u16, path: &str, limit: Duration) -> Result<(), String> {
    let mut last = "it did not listen".to_owned();
    let checks = async {
        loop {
            match status(port, path).await {
                Ok(200..=299) => return,
                Ok(status) => last = format!("it answered with status {status}"),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => last = format!("its answer failed: {error}"),
            }
            sleep(PAUSE).await;
        }
    };
    let done = timeout(limit, checks).await.is_ok();
    if done { Ok(()) } else { Err(last) }
}

/// The status of the answer to `GET path`.
///
/// # Errors
/// The program does not listen, does not answer in time, or its answer is not of HTTP.
pub async fn status(port: u16, path: &str) -> io::Result<u16> {
    timeout(ANSWER, ask(port, path)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(port: u16, path: &str) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::new();
    let mut answer = stream.take(LINE as u64);
    while !line.contains(&b'\n') && answer.read_buf(&mut line).await? > 0 {}
    status_of(&line).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not of HTTP"))
}

/// The status in the first line of an answer.
fn status_of(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(rest.get(2..5)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn status_is_the_number_after_the_version() {
        assert_eq!(status_of(b"HTTP/1.1 200 OK\r\n"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 503 no\r\n"), Some(503));
        for wrong in [&b"HTTP/2 200"[..], b"HTTP/1.1 x", b"SSH-2.0", b""] {
            assert_eq!(status_of(wrong), None);
        }
    }

    async fn server(answers: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 500];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn program_is_ready_with_the_first_success() {
        let port = server(&["HTTP/1.1 503 x\r\n\r\n", "nonsense\n", "HTTP/1.1 204 x\r\n\r\n"]).await;
        assert_eq!(wait(port, "/health", Duration::from_secs(20)).await, Ok(()));
    }

    #[tokio::test]
    async fn last_problem_is_named() {
        let limit = Duration::from_millis(50);
        let port = server(&["HTTP/1.1 404 x\r\n\r\n"]).await;
        assert_eq!(wait(port, "/health", limit).await, Err("it answered with status 404".into()));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert_eq!(wait(closed, "/health", limit).await, Err("it did not listen".into()));
    }
}
