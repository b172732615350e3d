//! Maps a file into memory: the worker's only unsafe code.
#![expect(unsafe_code, reason = "a mapping can change under us when somebody writes to the file")]

use std::fs::File;
use std::io;

use memmap2::Mmap;

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
