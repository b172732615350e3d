//! Downloads to a disk that is too small, or becomes full.

use std::fs;
use std::process::{Command, Stdio};

use e2e::hub_user::HubUser;
use e2e::places;

use crate::hub_faults::hub;

/// Runs `script` in namespaces where HF_HOME is a disk of this size. Returns standard error. `$0` is mlxd.
fn on_a_small_disk(user: &HubUser, megabytes: u32, script: &str) -> String {
    fs::create_dir_all(user.hugging_face()).unwrap();
    let script = format!("mount -t tmpfs -o size={megabytes}m none \"$HF_HOME\"\n{script}");
    let mut shell: Command = user.command("unshare".as_ref());
    shell.args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c", &script]);
    let output = shell.arg(places::binary("mlxd")).stdout(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn too_small_disk_is_named_before_anything_comes() {
    let hub = hub(4_000_000);
    let user = HubUser::new(&hub);
    let said = on_a_small_disk(&user, 6, "\"$0\" pull mlx-community/big");
    assert!(said.contains("the download needs 8.0 MB"), "{said}");
    assert!(said.contains("mlxd rm") && hub.sent() < 100_000, "{said}");
}

#[test]
fn disk_that_becomes_full_is_named_and_rm_gives_the_room_back() {
    let hub = hub(12_000_000);
    hub.faults(|faults| faults.slow = Some(4_000_000));
    let user = HubUser::new(&hub);
    let script = "(sleep 1; head -c 200000000 /dev/zero >\"$HF_HOME/other\") 2>/dev/null &\n\
                  \"$0\" pull mlx-community/big; wait; rm \"$HF_HOME/other\"\n\
                  \"$0\" rm --yes mlx-community/big; du -s \"$HF_HOME/hub\" >&2";
    let said = on_a_small_disk(&user, 96, script);
    assert!(said.contains("is full: make room, then pull again"), "{said}");
    assert!(said.contains("are free again"), "{said}");
    let left: u64 =
        said.lines().last().and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap();
    assert!(left < 100, "{said}");
}
