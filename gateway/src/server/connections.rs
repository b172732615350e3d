//! Serves each connection in a task of its own. hyper ends connections that send no request; `axum::serve` has no setting for
//! that. A stream or a WebSocket may last as long as it likes, if its client reads.

use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::task::TaskTracker;
use tower_http::add_extension::AddExtension;

use crate::admin::login::Peer;
use crate::server::closable_listener::{Accepted, ClosableListener};
use crate::server::shutdown::{Stage, draining};
use crate::server::unread::Impatient;

/// Serves `router` until the gateway drains and the last request has ended. A connection ends that has no complete request head
/// for `idle`: it was just opened, its request before was answered, or its head comes slowly. So does one whose client takes
/// nothing of an answer for `idle`.
pub async fn serve(
    mut listener: ClosableListener,
    router: Router,
    idle: Duration,
    stage: watch::Receiver<Stage>,
) {
    // Connections share the routes. Without this step each would copy them.
    let router = router.with_state::<()>(());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle);
    let connections = TaskTracker::new();
    let mut drains = pin!(draining(stage.clone()));
    loop {
        tokio::select! {
            biased;
            () = &mut drains => break,
            accepted = listener.accept() => {
                let Accepted { stream, place } = accepted;
                let peer = Peer(stream.peer_addr().ok().map(|address| address.ip()));
                let client = Client { stream: Impatient::new(stream, idle), peer, place };
                connections.spawn(connection(client, router.clone(), http.clone(), stage.clone()));
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// An accepted connection.
struct Client {
    stream: Impatient<TcpStream>,
    peer: Peer,
    place: OwnedSemaphorePermit,
}

async fn connection(
    Client { stream, peer, place }: Client,
    router: Router,
    http: http1::Builder,
    stage: watch::Receiver<Stage>,
) {
    let service = TowerToHyperService::new(AddExtension::new(router, peer));
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = draining(stage) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
    drop(place);
}
