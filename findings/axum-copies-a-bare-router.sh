#!/usr/bin/env bash
# Guess: a Router is a handle (an Arc inside, `clone` is cheap), so `axum::serve(listener, router)` costs nothing by connection.
# Reality: served bare, the router is cloned and given its state anew for each connection, and that copies its routes: with 50 routes
#   about 155 allocations and 41 KB more than `router.into_make_service()`, which copies none, for the same answer. It grows with the
#   number of routes. The examples pass the bare router.
# Versions: axum 0.8.9 (crates.io) with Cargo's newest matching tokio and hyper; Rust 1.95.
# For a server author: clients of local servers open a connection for each request, health checks and editors above all. Say
#   `into_make_service()`.
# Grounds: costly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "copies"
version = "0.1.0"
edition = "2021"
[dependencies]
axum = { version = "=0.8.9", default-features = false, features = ["http1", "tokio"] }
tokio = { version = "1", features = ["rt", "net", "macros", "io-util"] }
TOML
cat > src/main.rs <<'RS'
use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::{Router, routing::get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CONNECTIONS: usize = 50;
static COUNT: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size(), Relaxed);
        System.alloc(layout)
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        System.dealloc(at, layout)
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn router(routes: usize) -> Router {
    let path = |n| format!("/v1/route{n}/{{id}}");
    (0..routes).fold(Router::new(), |router, n| router.route(&path(n), get(|| async { "x" }).post(|| async { "x" })))
}

async fn ask(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /v1/route1/a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

/// Allocations and bytes of one connection with one request.
async fn cost(address: SocketAddr) -> (usize, usize) {
    for _ in 0..5 {
        ask(address).await;
    }
    let (count, bytes) = (COUNT.load(Relaxed), BYTES.load(Relaxed));
    for _ in 0..CONNECTIONS {
        ask(address).await;
    }
    ((COUNT.load(Relaxed) - count) / CONNECTIONS, (BYTES.load(Relaxed) - bytes) / CONNECTIONS)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut more = Vec::new();
    for routes in [2, 50] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router(routes)).await });
        let bare = cost(address).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router(routes).into_make_service()).await });
        let made = cost(address).await;
        println!("{routes} routes, one connection: bare {bare:?}, into_make_service {made:?} (allocations, bytes)");
        more.push((bare.0 - made.0, bare.1 - made.1, made.0));
    }
    assert!(more[1].0 > 100 && more[1].1 > 30_000, "the bare router is copied");
    assert!(more[0].0 < 30 && more[0].2 == more[1].2, "the copy grows with the routes, the service does not");
}
RS
export CARGO_TARGET_DIR="$work/target"
cargo run -q
cargo tree -q --depth 1
