//! Unix sockets between mlxd's processes: private files, checked peers, a version handshake.
//!
//! Every connection starts the same way: the connecting side sends 8 bytes (`MLXD`, protocol version as u16, the
//! [`Channel`] it wants, a zero), the listening side answers with its own. A different version is an error that
//! names both, so that an upgrade with an old process still running says what to do instead of misreading frames.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::Framed;

use crate::codec::Bincode;

/// Raised whenever a message changes shape.
pub const PROTOCOL_VERSION: u16 = 1;
/// What fits `sockaddr_un.sun_path` everywhere: macOS has 104 bytes including the final zero.
pub const MAX_PATH_BYTES: usize = 103;

const MAGIC: [u8; 4] = *b"MLXD";
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is for.
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

    fn of(code: u8) -> io::Result<Self> {
        match code {
            1 => Ok(Self::Control),
            2 => Ok(Self::Steps),
            _ => Err(protocol_error(format!("unknown channel {code}"))),
        }
    }
}

/// The tarpc transport of a service whose server takes `In` and sends `Out`.
pub type Transport<In, Out> = Framed<UnixStream, Bincode<In, Out>>;

/// Puts frames on a connection.
pub fn framed<In, Out>(stream: UnixStream) -> Framed<UnixStream, Bincode<In, Out>> {
    Framed::new(stream, Bincode::default())
}

/// Listens at `path`, readable and writable by this user only. A file left there by a dead process is replaced.
///
/// # Errors
/// When the path is too long for a socket or cannot be bound.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let length = path.as_os_str().len();
    if length > MAX_PATH_BYTES {
        let text = format!(
            "socket path of {length} bytes is over the limit of {MAX_PATH_BYTES}: {}",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // The directory is 0700, so nobody could connect between the two calls.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Makes `directory` (and its parents) with mode 0700.
///
/// # Errors
/// When it cannot be made, or is there and belongs to somebody else.
pub fn private_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    fs::create_dir_all(directory)?;
    if fs::metadata(directory)?.uid() != nix::unistd::geteuid().as_raw() {
        let text = format!("{} belongs to another user", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700))
}

/// Takes the next connection: checks the peer's uid and shakes hands.
///
/// The caller should do this on a task of its own, after [`UnixListener::accept`], so that a silent peer holds up nobody.
///
/// # Errors
/// When the peer belongs to another user, speaks another version, or says nothing for five seconds.
pub async fn welcome(mut stream: UnixStream) -> io::Result<(Channel, UnixStream)> {
    check_peer(&stream)?;
    let theirs = timed(read_hello(&mut stream)).await?;
    // Answer first, so that a peer of another version can name both as well.
    stream.write_all(&hello(theirs.1)).await?;
    check_version(theirs.0)?;
    Ok((Channel::of(theirs.1)?, stream))
}

/// Connects to `path` for `channel`.
///
/// # Errors
/// When nobody listens, the peer belongs to another user, or speaks another version.
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

/// Refuses a peer that runs as another user (SO_PEERCRED, LOCAL_PEERCRED; tokio asks the kernel for either).
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
