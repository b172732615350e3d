//! One file's download.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use reqwest::StatusCode;
use tokio::sync::Mutex;

use super::checker::Checker;
use super::partial::Partial;
use super::{Event, Shared, blocking, is_complete};
use crate::backoff::{Backoff, spread};
use crate::client::{Failure, Location, content_range, unreachable, version};
use crate::error::{HubError, at};
use crate::info::RemoteFile;

/// Bytes of a part. Each is one request.
const PART: u64 = 32 << 20;
/// Bytes after which a piece is written.
const PIECE: usize = 256 << 10;
/// The age at which a smaller piece is written.
const PIECE_AGE: Duration = Duration::from_secs(1);

/// Downloads one file into the cache.
pub(super) struct Transfer<'a> {
    shared: &'a Shared<'a>,
    file: &'a RemoteFile,
    address: Mutex<Address>,
}

/// The address of the bytes, until it expires.
#[derive(Default)]
struct Address {
    location: Option<Location>,
    /// The server's name of this version of the file.
    version: Option<String>,
    /// Counts the addresses.
    number: u64,
}

/// The file on disk, open for this download.
struct Open {
    partial: Arc<Partial>,
    path: Arc<PathBuf>,
    checker: Checker,
}

/// The reason why a read of a part ended early.
enum Stop {
    Failure(Failure),
    /// The server sends the whole file only.
    NoRanges,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// The reason why a part ended without success.
enum Ended {
    Error(HubError),
    NoRanges,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(shared: &'a Shared<'a>, file: &'a RemoteFile) -> Self {
        Self { shared, file, address: Mutex::default() }
    }

    /// Downloads the missing parts, checks the digest, and makes the file a blob.
    pub(super) async fn run(self) -> Result<(), HubError> {
        let (repository, file) = (self.shared.repository, self.file);
        if is_complete(repository, file) {
            return Ok(());
        }
        let waiting = || self.event(Event::Waiting(file.path.clone()));
        let _lock = repository.lock_blob(file.etag(), waiting).await?;
        // Another program may have brought it in the meantime.
        if is_complete(repository, file) {
            return Ok(());
        }
        let mut found = self.attempt().await?;
        if let Some((resumed, partial, _)) = &found
            && *resumed > 0
        {
            // The old part may be damaged.
            partial.discard().map_err(at(partial.path()))?;
            self.event(Event::Restarted { path: file.path.clone(), lost: file.size });
            found = self.attempt().await?;
        }
        let Some((_, partial, found)) = found else {
            self.event(Event::Completed { path: file.path.clone(), bytes: file.size });
            return Ok(());
        };
        partial.discard().map_err(at(partial.path()))?;
        let expected = file.etag().to_owned();
        let page = self.shared.hub.page(&format!("{}/discussions", self.shared.name.id));
        Err(HubError::Digest { file: file.path.clone(), found, expected, page })
    }

    /// Downloads the missing parts. With a wrong digest, returns the bytes that an earlier download had left, and the digest.
    async fn attempt(&self) -> Result<Option<(u64, Arc<Partial>, String)>, HubError> {
        let (repository, file) = (self.shared.repository, self.file);
        let opened = Partial::open(repository, file.etag(), file.size);
        let (partial, ranges) = opened.map_err(at(repository.blobs()))?;
        let (partial, resumed) = (Arc::new(partial), ranges.total());
        let parts = ranges.missing(file.size, PART);
        let path = Arc::new(partial.path().to_owned());
        let checker = Checker::start(file, &partial, ranges).map_err(at(path.as_ref()))?;
        let open = Open { partial: Arc::clone(&partial), path, checker };
        self.fill(&open, parts).await?;
        let Open { path, checker, .. } = open;
        let digest = checker.digest().await.map_err(at(path.as_ref()))?;
        if digest != file.etag() {
            return Ok(Some((resumed, partial, digest)));
        }
        let blob = repository.blob(file.etag());
        blocking(&path, move || partial.complete(&blob)).await?;
        Ok(None)
    }

    /// Downloads the parts, several at a time.
    async fn fill(&self, open: &Open, parts: Vec<Range<u64>>) -> Result<(), HubError> {
        let at_once = self.shared.connections.available_permits().max(1);
        let all = futures::stream::iter(parts).map(|part| self.part(open, part, true));
        match all.buffer_unordered(at_once).try_collect::<()>().await {
            Ok(()) => Ok(()),
            Err(Ended::Error(error)) => Err(error),
            Err(Ended::NoRanges) => match self.part(open, 0..self.file.size, false).await {
                Ok(()) => Ok(()),
                Err(Ended::Error(error)) => Err(error),
                Err(Ended::NoRanges) => Err(HubError::Changed(self.file.path.clone())),
            },
        }
    }

    /// Downloads one part, and tries again after failures that may pass. `ranged`: by a request for this range.
    async fn part(&self, open: &Open, part: Range<u64>, ranged: bool) -> Result<(), Ended> {
        let Ok(_permit) = self.shared.connections.acquire().await else { return Ok(()) };
        let (mut begin, mut backoff) = (part.start, Backoff::default());
        while begin < part.end {
            let before = begin;
            let stop = match self.read(open, &mut begin, part.end, ranged).await {
                Ok(()) => continue,
                Err(stop) => stop,
            };
            let Stop::Failure(failure) = stop else { return Err(Ended::NoRanges) };
            if begin > before {
                backoff.reset();
            }
            if !ranged {
                begin = 0;
            }
            let Some(after) = failure.pause(&mut backoff, spread()) else {
                return Err(Ended::Error(failure.last(&self.file.path, &backoff)));
            };
            let cause = failure.error.to_string();
            self.event(Event::Retrying { path: self.file.path.clone(), cause, after });
            tokio::time::sleep(after).await;
        }
        Ok(())
    }

    /// Reads from `begin` on, which moves with the bytes that are on disk.
    async fn read(&self, open: &Open, begin: &mut u64, end: u64, ranged: bool) -> Result<(), Stop> {
        let (location, known, number) = self.locate().await?;
        let range = ranged.then_some((*begin, end));
        let opened = self.shared.hub.open(&location, range, known.as_deref()).await;
        let response = match opened {
            Ok(response) => response,
            Err(failure) => {
                if failure.has_expired() {
                    self.forget(number).await;
                }
                return Err(failure.into());
            }
        };
        self.check_answer(&response, *begin, ranged).await?;
        let url = response.url().clone();
        let mut stream = response.bytes_stream();
        let (mut piece, mut since) = (Vec::with_capacity(PIECE), Instant::now());
        let mut failure = None;
        while *begin + (piece.len() as u64) < end {
            match stream.next().await {
                Some(Ok(bytes)) => {
                    self.shared.limiter.pass(bytes.len() as u64).await;
                    let room = (end - *begin) as usize - piece.len();
                    piece.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Some(Err(error)) => failure = Some(unreachable(&url, &error)),
                None => failure = Some(self.cut_off(&url)),
            }
            if piece.len() >= PIECE || since.elapsed() > PIECE_AGE || failure.is_some() {
                piece = self.write(open, begin, piece).await?;
                since = Instant::now();
            }
            if let Some(error) = failure {
                return Err(Failure::passing(error).into());
            }
        }
        self.write(open, begin, piece).await?;
        Ok(())
    }

    /// Refuses an answer that is not the range that was asked for.
    async fn check_answer(&self, response: &reqwest::Response, begin: u64, ranged: bool) -> Result<(), Stop> {
        let changed = || Failure::fatal(HubError::Changed(self.file.path.clone()));
        if response.status() != StatusCode::PARTIAL_CONTENT {
            let is_wrong_size = response.content_length().is_some_and(|length| length != self.file.size);
            return match (ranged, is_wrong_size) {
                (_, true) => Err(changed().into()),
                (true, false) if self.file.size > 0 => Err(Stop::NoRanges),
                _ => Ok(()),
            };
        }
        // Some mirrors leave the header out.
        if let Some((first, size)) = content_range(response.headers())
            && (first != begin || size.is_some_and(|size| size != self.file.size))
        {
            return Err(changed().into());
        }
        let mut address = self.address.lock().await;
        address.version = version(response.headers());
        Ok(())
    }

    fn cut_off(&self, url: &reqwest::Url) -> HubError {
        let host = url.host_str().unwrap_or("the server").to_owned();
        HubError::Unreachable { host, cause: format!("it broke off {}", self.file.path) }
    }

    /// Writes a piece. Returns its memory, empty.
    async fn write(&self, open: &Open, begin: &mut u64, mut piece: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (partial, at, length) = (Arc::clone(&open.partial), *begin, piece.len() as u64);
        if length == 0 {
            return Ok(piece);
        }
        let written = blocking(&open.path, move || partial.write(at, &piece).map(|()| piece)).await;
        piece = written.map_err(Failure::fatal)?;
        piece.clear();
        *begin += length;
        open.checker.written(at..at + length);
        self.event(Event::Received { path: self.file.path.clone(), bytes: length });
        Ok(piece)
    }

    /// The server with the bytes, its name for this version of them, and the address's number.
    async fn locate(&self) -> Result<(Location, Option<String>, u64), Failure> {
        let mut address = self.address.lock().await;
        if address.location.is_none() {
            let location = self.shared.hub.locate(&self.shared.name, &self.file.path).await?;
            if location.size.is_some_and(|size| size != self.file.size) {
                return Err(Failure::fatal(HubError::Changed(self.file.path.clone())));
            }
            *address = Address { location: Some(location), version: None, number: address.number + 1 };
        }
        let Address { location, version, number } = &*address;
        let location =
            location.clone().ok_or_else(|| Failure::fatal(HubError::Changed(self.file.path.clone())))?;
        Ok((location, version.clone(), *number))
    }

    /// The address has expired, unless another part has asked for a new one.
    async fn forget(&self, number: u64) {
        let mut address = self.address.lock().await;
        if address.number == number {
            address.location = None;
        }
    }

    fn event(&self, event: Event) {
        self.shared.progress.event(event);
    }
}
