//! Maps a file into memory.
#![expect(unsafe_code, reason = "a mapping can change under us when somebody writes to the file")]

use std::fs::File;
use std::io;
use std::ops::Range;

use memmap2::{Mmap, UncheckedAdvice};

/// Maps `file` read-only.
///
/// # Errors
/// What the system says.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only. Should another process truncate the file while it is read, this
    // process gets SIGBUS and dies alone: the supervisor reports it and starts another. Reading into a buffer instead
    // would double the memory that loading takes.
    unsafe { Mmap::map(file) }
}

/// Lets go of the pages of a part that was read, so that a file that becomes arrays does not count twice. Read again, they come from
/// the file again.
pub(super) fn let_go(map: &Mmap, part: Range<usize>) {
    // SAFETY: MADV_DONTNEED loses what was written, and nobody writes to this mapping: the file's bytes come back at the next
    // look, under the same condition as in `map`.
    let advised = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, part.start, part.len()) };
    if let Err(error) = advised {
        tracing::debug!(%error, "the pages of a file stay");
    }
}
