//! How the system is doing for memory: asked of a source, which tests script.

use std::path::PathBuf;

use ipc_proto::supervisor::Pressure;

use crate::machine;

/// Somebody who knows.
pub(crate) trait Source: Send {
    /// How it is now.
    fn read(&mut self) -> Pressure;
}

/// The system itself.
#[derive(Debug)]
pub(crate) struct System;

impl Source for System {
    fn read(&mut self) -> Pressure {
        machine::pressure()
    }
}

/// A file that says `normal`, `warn` or `critical`; for tests that squeeze a server from outside. Without the file, or with
/// anything else in it, all is normal.
#[derive(Debug)]
pub(crate) struct Scripted(pub(crate) PathBuf);

impl Source for Scripted {
    fn read(&mut self) -> Pressure {
        match std::fs::read_to_string(&self.0).unwrap_or_default().trim() {
            "warn" => Pressure::Warn,
            "critical" => Pressure::Critical,
            _ => Pressure::Normal,
        }
    }
}

/// The source that the environment names, else the system: MLXD_TEST_PRESSURE is the path of a [`Scripted`] one.
pub(crate) fn source() -> Box<dyn Source> {
    match std::env::var_os("MLXD_TEST_PRESSURE") {
        Some(path) => Box::new(Scripted(path.into())),
        None => Box::new(System),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pressure");
        let mut source = Scripted(path.clone());
        for (text, pressure) in [
            ("warn\n", Pressure::Warn),
            ("critical", Pressure::Critical),
            ("normal", Pressure::Normal),
            ("?", Pressure::Normal),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(source.read(), pressure);
        }
        std::fs::remove_file(path).unwrap();
        assert_eq!(source.read(), Pressure::Normal);
    }
}
