//! The programs that lie in the folder of this one.

use std::io;
use std::path::{Path, PathBuf};

/// The path of the program `name` beside this one. It may be missing.
///
/// # Errors
/// The system does not say where this program is.
pub fn sibling(name: &str) -> io::Result<PathBuf> {
    beside(&std::env::current_exe()?, name)
}

/// The path of `name` beside the program `this`. macOS gives the path as it was called, so a link has to be followed.
fn beside(this: &Path, name: &str) -> io::Result<PathBuf> {
    Ok(this.canonicalize()?.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn programs_are_beside_the_program_and_not_beside_its_links() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["programs", "links"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        fs::write(root.join("programs/mlxd"), "").unwrap();
        symlink("../programs/mlxd", root.join("links/mlxd")).unwrap();
        symlink("mlxd", root.join("links/second")).unwrap();
        for called in ["programs/mlxd", "links/mlxd", "links/second", "links/../links/mlxd"] {
            let found = beside(&root.join(called), "mlxd-worker").unwrap();
            assert_eq!(found, root.join("programs/mlxd-worker"), "{called}");
        }
        assert!(beside(&root.join("links/gone"), "mlxd-worker").is_err());
    }
}
