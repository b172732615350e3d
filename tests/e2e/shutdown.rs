//! Nothing stays behind after a shutdown, however it happens.

use std::process::Command;
use std::time::Duration;

use e2e::{Server, places, process};
use nix::sys::signal::Signal;

#[test]
fn sigterm_and_sigint_leave_no_process() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let server = Server::start();
        assert_eq!(server.count().status, 200);
        assert_eq!(server.workers().len(), 1);
        let status = server.stop(signal);
        assert!(status.success(), "{signal}: {status}");
    }
}

#[test]
fn killed_supervisor_leaves_no_orphan() {
    let server = Server::start();
    assert_eq!(server.count().status, 200);
    let family: Vec<i32> = server.gateways().into_iter().chain(server.workers()).map(|p| p.pid).collect();
    assert_eq!(family.len(), 2);
    process::signal(server.pid() as i32, Signal::SIGKILL);
    process::wait_for("no orphans", Duration::from_secs(5), || {
        process::processes().iter().all(|p| !family.contains(&p.pid))
    });
}

#[test]
fn home_in_use_is_refused_and_home_of_a_killed_server_is_reused() {
    let server = Server::start();
    let second = || {
        let mut command = Command::new(places::binary("mlxd"));
        command.args(["serve", "--port", "0", "--home"]).arg(server.home());
        command
    };
    let refused = second().output().unwrap();
    assert!(!refused.status.success());
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains(&server.pid().to_string()), "it names the process that holds the home: {text}");
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    let taken = Command::new(places::binary("mlxd"))
        .args(["serve", "--port", &port, "--home"])
        .arg(tempfile::tempdir().unwrap().path())
        .output()
        .unwrap();
    assert!(!taken.status.success());
    assert!(String::from_utf8_lossy(&taken.stderr).contains(&port));
    process::signal(server.pid() as i32, Signal::SIGKILL);
    process::wait_for("the family ends", Duration::from_secs(5), || {
        process::children(1, "mlxd-gateway")
            .iter()
            .all(|p| !p.command.contains(server.home().to_str().unwrap()))
    });
    let mut third = second().spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(third.try_wait().unwrap().is_none(), "a home whose owner was killed can be used again");
    process::signal(third.id() as i32, Signal::SIGTERM);
    assert!(third.wait().unwrap().success());
}
