//! Unix sockets between mlxd's processes: private files, checked peers, a version handshake.
//!
//! Every connection starts with a handshake. The connecting side sends 8 bytes: `MLXD`, the protocol version as u16, the requested
//! [`Channel`], a zero. The listening side answers in the same form. Different versions are an error that names both. Without it, an
//! old process that still runs after an upgrade would misread frames.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::Framed;

use crate::codec::Bincode;

/// Increases with every change of a message's layout.
pub const PROTOCOL_VERSION: u16 = 8;
/// The size of `sockaddr_un.sun_path` on all systems: macOS has 104 bytes, including the final zero.
pub const MAX_PATH_BYTES: usize = 103;

const MAGIC: [u8; 4] = *b"MLXD";
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The purpose of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// tarpc calls.
    Control,
    /// Step frames.
    Steps,
}

impl Channel {
    fn code(self) -> u8 {
        match self {
            Self::Control => 1,
            Self::Steps => 2,
        }
    }

    fn from_code(code: u8) -> io::Result<Self> {
        match code {
            1 => Ok(Self::Control),
            2 => Ok(Self::Steps),
            _ => Err(protocol_error(format!("unknown channel {code}"))),
        }
    }
}

/// The tarpc transport that receives `In` and sends `Out`.
pub type Transport<In, Out> = Framed<UnixStream, Bincode<In, Out>>;

/// Frames a connection.
pub fn framed<In, Out>(stream: UnixStream) -> Framed<UnixStream, Bincode<In, Out>> {
    Framed::new(stream, Bincode::default())
}

/// Listens at `path`. Only this user can read and write it. Replaces the file of a dead process.
///
/// # Errors
/// The path is too long for a socket, or cannot be bound.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let length = path.as_os_str().len();
    if length > MAX_PATH_BYTES {
        let text = format!(
            "socket path of {length} bytes is over the limit of {MAX_PATH_BYTES}: {}",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(e);
    }
    let listener = UnixListener::bind(path)?;
    // The directory has mode 0700, so no other user can connect between the two calls.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Creates `directory` and its parents, and sets its mode to 0700.
///
/// # Errors
/// It cannot be created, or belongs to another user.
pub fn private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    fs::create_dir_all(directory)?;
    if fs::metadata(directory)?.uid() != nix::unistd::geteuid().as_raw() {
        let text = format!("{} belongs to another user", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

/// Gives each connection to `listener` to `take`, which does not wait; never returns.
pub async fn accept_each(listener: &UnixListener, take: impl Fn(UnixStream)) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => take(stream),
            Err(error) => {
                // Probably out of file descriptors: retry when some may be free again.
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Checks the peer of an accepted connection and performs the handshake.
///
/// Call it in a task of its own after [`UnixListener::accept`], so that a silent peer does not delay other connections.
///
/// # Errors
/// The peer belongs to another user, has another version, or is silent for five seconds.
pub async fn welcome(mut stream: UnixStream) -> io::Result<(Channel, UnixStream)> {
    check_peer(&stream)?;
    let theirs = timed(read_hello(&mut stream)).await?;
    // Answers before the check, so that the peer can also name both versions.
    stream.write_all(&hello(theirs.1)).await?;
    check_version(theirs.0)?;
    Ok((Channel::from_code(theirs.1)?, stream))
}

/// Connects to `path` for `channel`.
///
/// # Errors
/// No process listens, or the peer belongs to another user or has another version.
pub async fn connect(path: &Path, channel: Channel) -> io::Result<UnixStream> {
    let mut stream = UnixStream::connect(path).await?;
    check_peer(&stream)?;
    stream.write_all(&hello(channel.code())).await?;
    let theirs = timed(read_hello(&mut stream)).await?;
    check_version(theirs.0)?;
    Ok(stream)
}

fn hello(channel: u8) -> [u8; 8] {
    let [m0, m1, m2, m3] = MAGIC;
    let [v0, v1] = PROTOCOL_VERSION.to_be_bytes();
    [m0, m1, m2, m3, v0, v1, channel, 0]
}

async fn read_hello(stream: &mut UnixStream) -> io::Result<(u16, u8)> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes).await?;
    let [m0, m1, m2, m3, v0, v1, channel, _] = bytes;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(protocol_error("the peer is not mlxd".into()));
    }
    Ok((u16::from_be_bytes([v0, v1]), channel))
}

async fn timed<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(HANDSHAKE_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn check_version(theirs: u16) -> io::Result<()> {
    if theirs == PROTOCOL_VERSION {
        return Ok(());
    }
    Err(protocol_error(format!(
        "the peer speaks protocol {theirs}, this process {PROTOCOL_VERSION}: restart `mlxd serve` after an upgrade"
    )))
}

fn protocol_error(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Rejects a peer that runs as another user. tokio reads SO_PEERCRED or LOCAL_PEERCRED.
fn check_peer(stream: &UnixStream) -> io::Result<()> {
    let (theirs, ours) = (stream.peer_cred()?.uid(), nix::unistd::geteuid().as_raw());
    if theirs == ours {
        return Ok(());
    }
    let text = format!("the peer runs as uid {theirs}, this process as {ours}");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

#[cfg(test)]
mod tests;
