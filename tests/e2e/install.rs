//! `packaging/install.sh` installs an archive from an HTTP server of this machine or a folder, and nothing if the checksum is
//! another. The archive here is a small one with the same form as that of `cargo xtask dist`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use e2e::places;
use tempfile::TempDir;

const NAME: &str = concat!("mlxd-", env!("CARGO_PKG_VERSION"), "-x86_64-unknown-linux-gnu");
const PAGE: &str = "share/man/man1/mlxd.1";
const COMPLETIONS: &str = "share/bash-completion/completions/mlxd";

/// A folder with an archive and its checksum, and one to install to.
struct Release {
    root: TempDir,
    prefix: PathBuf,
}

impl Release {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let prefix = root.path().join("a prefix");
        let release = Self { root, prefix };
        release.pack("first");
        release
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("release")
    }

    /// Makes an archive whose program says `word`.
    fn pack(&self, word: &str) {
        let (release, content) = (self.folder(), self.root.path().join("content").join(NAME));
        for (name, text) in [
            ("bin/mlxd", format!("#!/bin/sh\necho mlxd {word}\n")),
            ("lib/libmlx.so", String::new()),
            (PAGE, ".TH mlxd 1".into()),
            (COMPLETIONS, "complete".into()),
        ] {
            let path = content.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::set_permissions(content.join("bin/mlxd"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(&release).unwrap();
        let archive = format!("{NAME}.tar.gz");
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(content.parent().unwrap()).arg("-czf").arg(release.join(&archive)).arg(NAME);
        assert!(tar.status().unwrap().success());
        let sum = Command::new("sha256sum").arg(&archive).current_dir(&release).output().unwrap();
        fs::write(release.join(format!("{archive}.sha256")), sum.stdout).unwrap();
    }

    fn install(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("sh");
        command.arg(places::repository().join("packaging/install.sh")).arg("--prefix").arg(&self.prefix);
        command.args(arguments).env("TMPDIR", self.root.path()).env_remove("HTTP_PROXY");
        command.env("NO_PROXY", "127.0.0.1").output().unwrap()
    }

    fn installed(&self) -> String {
        let output = Command::new(self.prefix.join("bin/mlxd")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Everything below the prefix that is no folder.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        walk(&self.prefix, &mut found);
        found
    }
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Serves the files of a folder; returns the address.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || listener.incoming().for_each(|stream| answer(stream.unwrap(), &folder)));
    address
}

fn answer(mut stream: TcpStream, folder: &Path) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    lines.find(String::is_empty);
    let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (status, body) = match fs::read(folder.join(name)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn archive_is_installed_replaced_and_removed() {
    let release = Release::new();
    let address = serve(release.folder());
    let output = release.install(&["--from", &address]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("SHA-256 is right") && said.contains("--uninstall"), "{said}");
    assert_eq!(release.installed(), "mlxd first\n");
    for linked in [PAGE, COMPLETIONS] {
        let link = release.prefix.join(linked);
        assert_eq!(fs::read_link(&link).unwrap(), release.prefix.join("lib/mlxd").join(linked));
    }
    // A second version, this time from a folder.
    release.pack("second");
    let output = release.install(&["--from", release.folder().to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("needs a restart"));
    assert_eq!(release.installed(), "mlxd second\n");
    let own = release.prefix.join("share/man/man1/mlxd-own.1");
    fs::write(&own, "not of the archive").unwrap();
    let output = release.install(&["--uninstall"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(release.files(), [own], "only what was installed is removed");
}

#[test]
fn archive_with_another_checksum_is_not_installed() {
    let release = Release::new();
    let address = serve(release.folder());
    let sum = release.folder().join(format!("{NAME}.tar.gz.sha256"));
    fs::write(&sum, format!("{}  {NAME}.tar.gz\n", "0".repeat(64))).unwrap();
    let output = release.install(&["--from", &address]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("should be 0000"), "{}", text(&output.stderr));
    assert_eq!(release.files(), [] as [PathBuf; 0], "nothing is left");
    // Nor is one without a checksum, one from a server that anybody may imitate, or one in another program's place.
    fs::remove_file(&sum).unwrap();
    for (from, expected) in [
        (address.as_str(), "cannot download"),
        ("http://example.com/x", "only https:// is"),
        ("/nowhere", "cannot copy"),
    ] {
        let output = release.install(&["--from", from]);
        assert!(
            !output.status.success() && text(&output.stderr).contains(expected),
            "{}",
            text(&output.stderr)
        );
        assert_eq!(release.files(), [] as [PathBuf; 0], "{from}");
    }
    release.pack("first");
    fs::create_dir_all(release.prefix.join("bin")).unwrap();
    fs::write(release.prefix.join("bin/mlxd"), "mine").unwrap();
    let output = release.install(&["--from", &address]);
    assert!(text(&output.stderr).contains("another program's"), "{}", text(&output.stderr));
    assert_eq!(fs::read(release.prefix.join("bin/mlxd")).unwrap(), b"mine");
}
