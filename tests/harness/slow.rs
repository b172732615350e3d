//! Connections that do not go on: silent, with half a head, or with a byte of a body.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The bytes that each connection sends, in turn.
const SENT: [&str; 3] = [
    "",
    "POST /v1/chat/completions HTTP/1.1\r\nhost: loc",
    "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{",
];

/// The most open files that macOS takes as a soft limit, whatever the hard limit is.
const OPEN_MAX: u64 = 10_240;

/// Lets this process and its children open as many files as the system allows.
///
/// # Panics
/// When the system refuses.
pub fn raise_descriptor_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let soft = if cfg!(target_os = "macos") { hard.min(OPEN_MAX) } else { hard };
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}

/// Opens `count` connections.
///
/// # Panics
/// When one is refused.
pub fn connect(address: &str, count: usize) -> Vec<TcpStream> {
    let one = |number: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(SENT[number % SENT.len()].as_bytes()).unwrap();
        stream.set_nonblocking(true).unwrap();
        stream
    };
    (0..count).map(one).collect()
}

/// Whether the server has ended the connection. Reads an answer that came before.
pub fn has_ended(mut stream: &TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => std::thread::sleep(Duration::ZERO),
            Err(_) => return true,
        }
    }
}
