//! Another program that holds a lock on a database.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::places;

/// Takes the lock, says so, and keeps it until its input ends.
const PROGRAM: &str = "
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute('BEGIN EXCLUSIVE')
print('locked', flush=True)
sys.stdin.read()
connection.execute('ROLLBACK')
";

/// Holds the lock until it is dropped.
pub struct Lock(Child);

impl Lock {
    /// Locks the database at `path`.
    ///
    /// # Panics
    /// When Python cannot lock it.
    pub fn take(path: &Path) -> Self {
        let mut python = Command::new(places::python());
        let python = python.args(["-c", PROGRAM]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "locked\n");
        Self(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
