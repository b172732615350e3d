use std::sync::Arc;

use ipc_proto::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A server that answers each path by the bytes that `answer` gives. Returns its address.
async fn server(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(connection.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                // A client that has seen enough leaves.
                let _ = connection.write_all(&answer(head.split(' ').nth(1).unwrap())).await;
            });
        }
    });
    address
}

fn whole(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn redirect(target: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

fn fetcher(host: SocketAddr) -> Fetcher {
    Fetcher::new(ImageUrls::Hosts(vec![host.to_string()]))
}

async fn refusal(fetcher: &Fetcher, url: &str) -> String {
    let error = fetcher.fetch(url).await.unwrap_err();
    assert_eq!((error.kind, &error.field), (ErrorKind::InvalidRequest, &Some(Field::Messages)));
    error.message
}

#[tokio::test]
async fn listed_host_is_asked_and_redirects_are_followed() {
    let address = server(|path| match path {
        "/a" => redirect("/b"),
        "/b" => redirect("c?d"),
        "/c?d" => whole(b"image"),
        _ => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
    })
    .await;
    let fetcher = fetcher(address);
    assert_eq!(fetcher.fetch(&format!("http://{address}/a")).await.unwrap(), "image");
    assert!(refusal(&fetcher, &format!("http://{address}/x")).await.contains("404"));
}

#[tokio::test]
async fn redirects_are_checked_and_counted() {
    let other = server(|_| whole(b"secret")).await;
    let address = server(move |path| match path {
        "/out" => redirect(&format!("http://{other}/")),
        "/file" => redirect("file:///etc/passwd"),
        "/user" => redirect("http://u:p@a.example/"),
        _ => redirect("/again"),
    })
    .await;
    let fetcher = fetcher(address);
    for (path, reason) in [
        ("out", "is not among the hosts"),
        ("file", "only http"),
        ("user", "no user"),
        ("again", "more than 3 times"),
    ] {
        let text = refusal(&fetcher, &format!("http://{address}/{path}")).await;
        assert!(text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn large_bodies_are_cut_off_whatever_their_length_says() {
    let address = server(|path| match path {
        "/announced" => b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec(),
        "/endless" => [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![7; MAX_IMAGE_BYTES + 1]].concat(),
        // It has more than it says: only so much is read.
        "/liar" => [&b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nimage"[..], &[7; 999]].concat(),
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_vec(),
    })
    .await;
    let fetcher = fetcher(address);
    for path in ["announced", "endless"] {
        let text = refusal(&fetcher, &format!("http://{address}/{path}")).await;
        assert!(text.contains("more than 20 MiB"), "{path}: {text}");
    }
    assert_eq!(fetcher.fetch(&format!("http://{address}/liar")).await.unwrap(), "image");
    let text = refusal(&fetcher, &format!("http://{address}/short")).await;
    assert!(text.contains("broke off"), "{text}");
}

#[tokio::test]
async fn names_of_this_machine_are_refused_by_default() {
    let public = Fetcher::new(ImageUrls::Public);
    for url in ["http://localhost/a.png", "http://127.0.0.1/a.png"] {
        assert!(refusal(&public, url).await.contains("not on the public internet"), "{url}");
    }
    let off = Fetcher::new(ImageUrls::Off);
    assert!(refusal(&off, "http://a.example/").await.contains("fetches no images"));
}
