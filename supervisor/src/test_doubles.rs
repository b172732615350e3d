//! A memory pressure for end-to-end tests, selected by the environment. A release build has none of this.

use std::path::PathBuf;

use ipc_proto::supervisor::Pressure;

use crate::pressure::PressureProbe;

/// The path of a file with the pressure.
#[cfg(feature = "test-doubles")]
const PRESSURE: &str = "MLXD_TEST_PRESSURE";

/// Reads `normal`, `warn` or `critical` from a file.
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

/// The [`ScriptedProbe`], if the environment names its file.
#[cfg(feature = "test-doubles")]
pub(crate) fn scripted_probe() -> Option<ScriptedProbe> {
    std::env::var_os(PRESSURE).map(|path| ScriptedProbe(path.into()))
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
