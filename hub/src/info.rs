//! The hub's description of a model: the wire types and their meaning.

use serde::Deserialize;
use serde_json::Value;

/// A model at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// The model's present name. A renamed model answers by its old one, too.
    pub id: String,
    /// The revision's commit.
    pub commit: String,
    /// Whether users have to accept conditions.
    pub gated: bool,
}

/// A file of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// The path inside the repository, with slashes.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// The git blob's name: a SHA-1 over its length and content.
    pub(crate) git_sha1: String,
    /// The SHA-256 of the content, for a file in large-file storage.
    pub(crate) sha256: Option<String>,
    /// Its name in the storage with chunks.
    pub(crate) xet: Option<String>,
}

impl RemoteFile {
    /// The name under which the cache keeps the content.
    pub(crate) fn etag(&self) -> &str {
        self.sha256.as_deref().unwrap_or(&self.git_sha1)
    }
}

/// The answer of `/api/models/{id}/revision/{revision}`.
#[derive(Debug, Deserialize)]
pub(crate) struct WireInfo {
    id: String,
    sha: Option<String>,
    #[serde(default)]
    gated: Value,
}

impl WireInfo {
    /// `None` without a commit.
    pub(crate) fn into_info(self) -> Option<ModelInfo> {
        let commit = self.sha.filter(|sha| crate::settings::is_commit(sha))?;
        // `false`, or how requests are approved.
        Some(ModelInfo {
            id: self.id,
            commit,
            gated: !matches!(self.gated, Value::Bool(false) | Value::Null),
        })
    }
}

/// An entry of `/api/models/{id}/tree/{revision}`.
#[derive(Debug, Deserialize)]
pub(crate) struct WireEntry {
    #[serde(rename = "type")]
    kind: String,
    oid: String,
    size: u64,
    path: String,
    lfs: Option<WireLfs>,
    #[serde(rename = "xetHash")]
    xet_hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireLfs {
    oid: String,
    size: u64,
}

impl WireEntry {
    /// `None` for a folder.
    ///
    /// # Errors
    /// A path or digest that would not be safe in a path of the cache.
    pub(crate) fn into_file(self) -> Option<Result<RemoteFile, String>> {
        if self.kind != "file" {
            return None;
        }
        let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        let is_safe = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        if !self.path.split('/').all(is_safe) {
            return Some(Err(format!("the path \"{}\"", self.path)));
        }
        let digests = is_hex(&self.oid, 40) && self.lfs.as_ref().is_none_or(|lfs| is_hex(&lfs.oid, 64));
        if !digests {
            return Some(Err(format!("the digest of {}", self.path)));
        }
        Some(Ok(RemoteFile {
            path: self.path,
            size: self.lfs.as_ref().map_or(self.size, |lfs| lfs.size),
            git_sha1: self.oid,
            sha256: self.lfs.map(|lfs| lfs.oid),
            xet: self.xet_hash,
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(value: Value) -> Option<Result<RemoteFile, String>> {
        serde_json::from_value::<WireEntry>(value).unwrap().into_file()
    }

    #[test]
    fn large_files_have_their_own_digest_and_size() {
        let (git, sha) = ("a".repeat(40), "b".repeat(64));
        let lfs = json!({"oid": sha, "size": 900, "pointerSize": 134});
        let file =
            entry(json!({"type": "file", "oid": git, "size": 134, "path": "m.safetensors", "lfs": lfs}));
        let file = file.unwrap().unwrap();
        assert_eq!((file.size, file.etag()), (900, sha.as_str()));
        let small = entry(json!({"type": "file", "oid": git, "size": 3, "path": "a/config.json"}));
        assert_eq!(small.unwrap().unwrap().etag(), git);
        assert!(entry(json!({"type": "directory", "oid": git, "size": 0, "path": "a"})).is_none());
    }

    #[test]
    fn paths_and_digests_cannot_leave_the_cache() {
        let git = "a".repeat(40);
        for path in ["../x", "/etc/passwd", "a//b", "a/../../b", "."] {
            let refused = entry(json!({"type": "file", "oid": git, "size": 1, "path": path}));
            assert!(refused.unwrap().is_err(), "{path}");
        }
        let digest = entry(json!({"type": "file", "oid": "../../x", "size": 1, "path": "x"}));
        assert!(digest.unwrap().is_err());
    }
}
