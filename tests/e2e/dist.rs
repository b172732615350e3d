//! The archive of `cargo xtask dist` runs in a folder far from the checkout: it is unpacked, serves a model
//! and answers. Where the system lets a user mount, the checkout's libraries are hidden meanwhile.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::places::{self, SMOLLM2};
use e2e::{http, process};
use nix::sys::signal::Signal;
use serde_json::json;

/// Mounts $1, the models, on $2, hides the folders $3 and $4, and becomes the rest.
const HIDE: &str = r#"set -e
mount --bind "$1" "$2"
mount -t tmpfs none "$3"
mount -t tmpfs none "$4"
shift 4
exec "$@""#;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        process::signal(self.0.id() as i32, Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Packs the programs as they are, and unpacks the archive in `folder`.
fn unpack(folder: &Path) -> PathBuf {
    let xtask = places::binary("xtask");
    assert!(xtask.exists(), "{} is missing: run `cargo xtask test`", xtask.display());
    run(Command::new(xtask).args(["dist", "--built", "--out"]).arg(folder.join("out")));
    let entries = fs::read_dir(folder.join("out")).unwrap().map(|entry| entry.unwrap().path());
    let archive = entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "gz")).unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap().to_owned();
    run(Command::new("sha256sum")
        .args(["--check", &format!("{name}.sha256")])
        .current_dir(folder.join("out")));
    let formula = fs::read_to_string(folder.join("out/mlxd.rb")).unwrap();
    assert!(formula.contains(&name) && folder.join("out/install.sh").exists(), "{formula}");
    run(Command::new("tar").arg("-C").arg(folder).arg("-xzf").arg(&archive));
    // The packed folder must not serve in the archive's place.
    fs::remove_dir_all(folder.join("out")).unwrap();
    folder.join(name.strip_suffix(".tar.gz").unwrap())
}

fn may_mount(folder: &Path) -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none"]).arg(folder);
    unshare.output().is_ok_and(|output| output.status.success())
}

/// `mlxd` of the archive; with the checkout's libraries out of its sight where that is possible.
fn serve(archive: &Path, folder: &Path) -> (Server, String) {
    let mlxd = archive.join("bin/mlxd");
    let models = folder.join("models");
    fs::create_dir(&models).unwrap();
    let mut command = Command::new(&mlxd);
    let mut served = places::models();
    if may_mount(&models) {
        command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", HIDE, "sh"]).arg(&served).arg(&models);
        command.args([".mlx", "target"].map(|hidden| places::repository().join(hidden))).arg(&mlxd);
        served = models;
    }
    command.args(["serve", "--port", "0", "--home"]).arg(folder.join("home")).arg("--models").arg(served);
    command.env_remove("LD_LIBRARY_PATH").env_remove("MLXD_API_KEYS").stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut log = Vec::new();
    let address = lines.by_ref().find_map(|line| {
        let address = line.split_once("listening on ").map(|(_, rest)| rest.trim().to_owned());
        // `localhost` has an address of each family.
        let address = address.map(|all| all.split(' ').next().unwrap_or_default().to_owned());
        log.push(line);
        address
    });
    let address = address.unwrap_or_else(|| panic!("mlxd listens:\n{}", log.join("\n")));
    // A full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    (server, address)
}

/// No process may have mapped a file of the checkout.
fn assert_apart(server: &Server, archive: &Path) {
    let mlxd = server.0.id();
    let workers = process::children(mlxd, "mlxd-worker").into_iter();
    let children = workers.chain(process::children(mlxd, "mlxd-gateway")).map(|process| process.pid as u32);
    let pids: Vec<u32> = children.chain([mlxd]).collect();
    assert!(pids.len() >= 3, "a worker, a gateway and mlxd: {pids:?}");
    for pid in &pids {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let libraries: Vec<&str> = maps.lines().filter(|line| line.contains(".so")).collect();
        let checkout = places::repository().display().to_string();
        let foreign: Vec<_> = libraries.iter().filter(|line| line.contains(&checkout)).collect();
        assert!(foreign.is_empty(), "of the checkout: {foreign:?}");
    }
    let maps = fs::read_to_string(format!("/proc/{}/maps", pids[0])).unwrap();
    for library in
        ["libmlx.so", "libmlxc.so", "libmlxd_blas.so", "libmlxd_kernels.so", "libscipy_openblas.so"]
    {
        let bundled = archive.join("lib").join(library).display().to_string();
        assert!(maps.contains(&bundled), "the worker loads {bundled}");
    }
}

#[test]
fn an_archive_serves_far_from_the_checkout() {
    let folder = tempfile::Builder::new().prefix("mlxd-dist-").tempdir().unwrap();
    let archive = unpack(folder.path());
    for file in [
        "README.md",
        "licenses/mlxd-LICENSE-MIT",
        "licenses/MLX",
        "licenses/OpenBLAS",
        "licenses/crates",
        "share/man/man1/mlxd-serve.1",
        "share/bash-completion/completions/mlxd",
        "share/zsh/site-functions/_mlxd",
        "share/fish/vendor_completions.d/mlxd.fish",
    ] {
        assert!(archive.join(file).exists(), "{file} is in the archive");
    }
    let (server, address) = serve(&archive, folder.path());
    process::wait_for("the gateway answers", Duration::from_secs(20), || {
        http::get(&format!("{address}/health")).is_ok_and(|answer| answer.status == 200)
    });
    let body = json!({
        "model": SMOLLM2, "temperature": 0, "max_tokens": 20,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    });
    let answer =
        http::post_bytes(&format!("{address}/v1/chat/completions"), body.to_string().as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.text("/choices/0/message/content").contains("Paris"), "{}", answer.body);
    assert_apart(&server, &archive);
}
