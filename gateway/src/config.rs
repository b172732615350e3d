//! Reads the settings that the supervisor passes at startup.

use std::fs;
use std::path::Path;

use anyhow::Context;
use ipc_proto::gateway::GatewayConfig;

/// The settings from `path`: a file, or an inherited pipe under `/dev/fd`. Reads a pipe to its end.
///
/// # Errors
/// The document cannot be read, has an unknown key or a wrong value.
pub fn read(path: &Path) -> anyhow::Result<GatewayConfig> {
    let problem = || format!("cannot read the settings from {}", path.display());
    let document = fs::read(path).with_context(problem)?;
    serde_json::from_slice(&document).with_context(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_with_unknown_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, r#"{"recoveries": 7}"#).unwrap();
        assert_eq!(read(&path).unwrap().recoveries, 7);
        fs::write(&path, r#"{"recoverys": 7}"#).unwrap();
        let problem = format!("{:#}", read(&path).unwrap_err());
        assert!(problem.contains("config.json") && problem.contains("recoverys"), "{problem}");
    }
}
