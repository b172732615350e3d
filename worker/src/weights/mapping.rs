//! Maps a file into memory.
#![expect(unsafe_code, reason = "a mapping changes if another process writes to the file")]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, UncheckedAdvice};

/// Maps `file` read-only.
///
/// # Errors
/// Those of the system.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only. If another process truncates the file during a read, SIGBUS ends only
    // this process: the supervisor reports it and starts another. Reading into a buffer instead would double the memory
    // for loading.
    unsafe { Mmap::map(file) }
}

/// Releases the pages of a part that was read, so that weights do not count twice. Reading it again loads it from the file.
///
/// Darwin only deactivates the pages. They then leave memory when it is needed, and its physical footprint never counts them.
pub(super) fn release(map: &Mmap, part: Range<usize>) {
    // SAFETY: MADV_DONTNEED discards writes, and this mapping is never written: the next access loads the file's bytes, under
    // the same condition as in `map`.
    let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, part.start, part.len()) };
    if let Err(error) = advised {
        tracing::debug!(%error, "the pages of a file stay");
    }
}
