//! A proxy for requests that should not be made: it notes their first lines and refuses them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A running proxy. It never connects to any host.
pub struct Outside {
    address: SocketAddr,
    wanted: Arc<Mutex<Vec<String>>>,
}

impl Outside {
    /// Starts the proxy.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let wanted = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&wanted);
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut line = String::new();
                let _ = BufReader::new(&client).read_line(&mut line);
                notes.lock().unwrap().push(line.trim_end().to_owned());
                let _ = client
                    .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        Self { address, wanted }
    }

    /// The value for `HTTPS_PROXY`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of the requests so far, such as `CONNECT host:443 HTTP/1.1`.
    pub fn wanted(&self) -> Vec<String> {
        self.wanted.lock().unwrap().clone()
    }
}
