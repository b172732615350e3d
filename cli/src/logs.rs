//! `mlxd logs`: the log of a server that runs in the background.
//!
//! A server that `mlxd run`, `mlxd launch` or the system started writes to a file in its home. One that a terminal started writes to
//! the terminal only.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::client::Home;
use crate::config::{self, ConfigError, Environment};
use crate::server::LOG;

/// A log of more bytes is set aside when a server starts.
const MAX_BYTES: u64 = 16 << 20;
/// Between two looks for new lines.
const LOOK: Duration = Duration::from_millis(100);
/// The process whose lines have no name before them.
const SUPERVISOR: &str = "supervisor";

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Only lines of this process: supervisor, gateway or a model's id.
    process: Option<String>,
    /// Go on with new lines until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Lines at most, the last ones.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 200)]
    lines: usize,
    #[command(flatten)]
    home: Home,
}

/// A reason why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "there is no log {}: a server that a terminal started writes to that terminal, one that `mlxd run`, `mlxd launch` or \
         `mlxd service install` started writes to this file", .0.display()
    )]
    None(PathBuf),
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: io::Error },
}

/// Writes the last lines to standard output, and new ones if they are followed.
pub(crate) fn run(flags: Flags, environment: &Environment) -> Result<(), LogsError> {
    let path = config::home(flags.home.folder(), environment)?.join(LOG);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LogsError::None(path)),
        opened => opened.map_err(|cause| LogsError::File { path: path.clone(), cause })?,
    };
    let process = flags.process.as_deref();
    let show = || -> io::Result<()> {
        let mut reader = BufReader::new(file);
        let mut last = VecDeque::new();
        each_line(&mut reader, process, |line| {
            last.push_back(line.to_owned());
            if last.len() > flags.lines {
                last.pop_front();
            }
            Ok(())
        })?;
        let mut out = io::stdout().lock();
        last.iter().try_for_each(|line| out.write_all(line))?;
        out.flush()?;
        if flags.follow { follow(&mut reader, process, &mut out) } else { Ok(()) }
    };
    match show() {
        // A reader such as `head` may leave early.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        shown => shown.map_err(|cause| LogsError::File { path, cause }),
    }
}

/// Writes new lines until the reader leaves.
fn follow(reader: &mut BufReader<File>, process: Option<&str>, out: &mut impl Write) -> io::Result<()> {
    loop {
        each_line(reader, process, |line| out.write_all(line))?;
        out.flush()?;
        std::thread::sleep(LOOK);
        // A server that starts may have emptied the file.
        if reader.get_ref().metadata()?.len() < reader.stream_position()? {
            reader.seek(SeekFrom::Start(0))?;
        }
    }
}

/// Calls `each` for the complete lines of a process from here on. A line that is not complete yet is left for the next call.
fn each_line(
    reader: &mut BufReader<File>,
    process: Option<&str>,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            // Its end comes later.
            reader.seek_relative(-(bytes as i64))?;
            return Ok(());
        }
        if process.is_none_or(|process| is_of(&line, process)) {
            each(&line)?;
        }
    }
}

/// Whether a line is of this process. The supervisor writes `[name] ` before its children's lines.
fn is_of(line: &[u8], process: &str) -> bool {
    let name = line.strip_prefix(b"[").and_then(|rest| {
        let end = rest.windows(2).position(|pair| pair == b"] ")?;
        Some(&rest[..end])
    });
    match name {
        Some(name) => name == process.escape_debug().to_string().as_bytes(),
        None => process == SUPERVISOR,
    }
}

/// Sets a long log aside as `serve.log.1`, if standard error is the home's log. Nothing is lost: this process is the only writer.
pub(crate) fn shorten(home: &Path) -> io::Result<()> {
    let path = home.join(LOG);
    let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let own = file.metadata()?;
    if own.len() <= MAX_BYTES {
        return Ok(());
    }
    let is_same = fs::metadata(&path).is_ok_and(|meta| (meta.dev(), meta.ino()) == (own.dev(), own.ino()));
    if is_same {
        fs::copy(&path, home.join(format!("{LOG}.1")))?;
        file.set_len(0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "2026-11-29 INFO starts\n[gateway] INFO listens\n[org/m] INFO loads\n[gateway] half";

    fn lines(reader: &mut BufReader<File>, process: Option<&str>) -> Vec<String> {
        let mut all = Vec::new();
        let keep = |line: &[u8]| {
            all.push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        };
        each_line(reader, process, keep).unwrap();
        all
    }

    #[test]
    fn lines_of_a_process_are_told_by_the_name_before_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), TEXT).unwrap();
        let read = |process| lines(&mut BufReader::new(File::open(file.path()).unwrap()), process);
        assert_eq!(read(None).len(), 3, "a line is shown when it is complete");
        assert_eq!(read(Some("supervisor")), ["2026-11-29 INFO starts\n"]);
        assert_eq!(read(Some("gateway")), ["[gateway] INFO listens\n"]);
        assert_eq!(read(Some("org/m")), ["[org/m] INFO loads\n"]);
        assert_eq!(read(Some("org")), [""; 0]);
    }

    #[test]
    fn half_line_is_shown_when_its_end_has_come() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), TEXT).unwrap();
        let mut reader = BufReader::new(File::open(file.path()).unwrap());
        assert_eq!(lines(&mut reader, Some("gateway")).len(), 1);
        let mut more = File::options().append(true).open(file.path()).unwrap();
        more.write_all(b" whole\n").unwrap();
        assert_eq!(lines(&mut reader, Some("gateway")), ["[gateway] half whole\n"]);
    }
}
