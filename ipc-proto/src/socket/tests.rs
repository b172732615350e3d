use std::os::unix::fs::MetadataExt;

use super::*;

async fn pair(channel: Channel) -> (io::Result<(Channel, UnixStream)>, io::Result<UnixStream>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = listen(&path).unwrap();
    let accept = async { welcome(listener.accept().await.unwrap().0).await };
    tokio::join!(accept, connect(&path, channel))
}

#[tokio::test]
async fn both_ends_agree_on_the_channel() {
    for channel in [Channel::Control, Channel::Steps] {
        let (ours, theirs) = pair(channel).await;
        assert_eq!(ours.unwrap().0, channel);
        theirs.unwrap();
    }
}

#[tokio::test]
async fn frame_arrives_unchanged() {
    use futures::{SinkExt, StreamExt};
    let (ours, theirs) = pair(Channel::Steps).await;
    let mut ours = framed::<String, String>(ours.unwrap().1);
    let mut theirs = framed::<String, String>(theirs.unwrap());
    ours.send("tokens".into()).await.unwrap();
    assert_eq!(theirs.next().await.unwrap().unwrap(), "tokens");
    drop(ours);
    assert!(theirs.next().await.is_none());
}

#[tokio::test]
async fn other_version_is_named_on_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = listen(&path).unwrap();
    let old_client = async {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"MLXD\x00\x63\x01\x00").await.unwrap();
        read_hello(&mut stream).await.unwrap()
    };
    let accept = async { welcome(listener.accept().await.unwrap().0).await };
    let (error, answer) = tokio::join!(accept, old_client);
    assert!(
        error.unwrap_err().to_string().contains(&format!("protocol 99, this process {PROTOCOL_VERSION}"))
    );
    assert_eq!(answer.0, PROTOCOL_VERSION);
}

#[tokio::test]
async fn peer_without_magic_is_refused() {
    for hello in [&b"GET / HTTP/1.1\r\n"[..], b"MLXD\x00\x02\x09\x00"] {
        let (client, server) = UnixStream::pair().unwrap();
        let mut client = client;
        client.write_all(hello).await.unwrap();
        assert_eq!(welcome(server).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
    let (client, server) = UnixStream::pair().unwrap();
    drop(client);
    assert!(welcome(server).await.is_err(), "a peer that leaves is an error, not a wait");
}

#[tokio::test(start_paused = true)]
async fn silent_peer_times_out() {
    let (_client, server) = UnixStream::pair().unwrap();
    assert_eq!(welcome(server).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn listening_socket_is_private_and_replaces_a_dead_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("home/run");
    private_directory(&run).unwrap();
    assert_eq!(fs::metadata(&run).unwrap().mode() & 0o777, 0o700);
    let path = run.join("s");
    drop(listen(&path).unwrap());
    let _second = listen(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn long_paths_are_refused_before_binding() {
    let error = listen(Path::new(&format!("/tmp/{}", "x".repeat(120)))).unwrap_err();
    assert!(error.to_string().contains("over the limit of 103"));
}
