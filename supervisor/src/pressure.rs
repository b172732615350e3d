//! Probes the system's memory pressure. Tests script it with a file.

use std::path::PathBuf;

use ipc_proto::supervisor::Pressure;

use crate::machine;

/// Measures the memory pressure.
pub(crate) trait PressureProbe: Send {
    fn probe(&mut self) -> Pressure;
}

/// Asks the operating system.
#[derive(Debug)]
pub(crate) struct SystemProbe;

impl PressureProbe for SystemProbe {
    fn probe(&mut self) -> Pressure {
        machine::pressure()
    }
}

/// Reads `normal`, `warn` or `critical` from a file, for tests of a whole server.
///
/// A missing file or any other content means `normal`.
#[derive(Debug)]
pub(crate) struct ScriptedProbe(pub(crate) PathBuf);

impl PressureProbe for ScriptedProbe {
    fn probe(&mut self) -> Pressure {
        match std::fs::read_to_string(&self.0).unwrap_or_default().trim() {
            "warn" => Pressure::Warn,
            "critical" => Pressure::Critical,
            _ => Pressure::Normal,
        }
    }
}

/// A [`ScriptedProbe`] if MLXD_TEST_PRESSURE names a file, else a [`SystemProbe`].
pub(crate) fn probe() -> Box<dyn PressureProbe> {
    match std::env::var_os("MLXD_TEST_PRESSURE") {
        Some(path) => Box::new(ScriptedProbe(path.into())),
        None => Box::new(SystemProbe),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripted_probe_reads_the_file_and_defaults_to_normal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pressure");
        let mut probe = ScriptedProbe(path.clone());
        for (text, pressure) in [
            ("warn\n", Pressure::Warn),
            ("critical", Pressure::Critical),
            ("normal", Pressure::Normal),
            ("?", Pressure::Normal),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(probe.probe(), pressure);
        }
        std::fs::remove_file(path).unwrap();
        assert_eq!(probe.probe(), Pressure::Normal);
    }
}
