//! The supervisor is stopped: a gateway answers from its own knowledge, and nothing waits for ever.

use std::time::{Duration, Instant};

use e2e::places::SHALLOW;
use e2e::{Server, process};
use nix::sys::signal::Signal;

/// Lets the supervisor go on when it is dropped.
struct Stopped(i32);

impl Drop for Stopped {
    fn drop(&mut self) {
        process::signal(self.0, Signal::SIGCONT);
    }
}

#[test]
fn stopped_supervisor_delays_no_endpoint_for_long() {
    let server = Server::start();
    let right = server.count();
    let models = server.get("/v1/models").body;
    let begun = Instant::now();
    {
        process::signal(server.pid() as i32, Signal::SIGSTOP);
        let _stopped = Stopped(server.pid() as i32);
        let answer = server.count();
        assert_eq!(answer.body["choices"], right.body["choices"], "a loaded model goes on");
        assert_eq!(server.get("/health").status, 200);
        let listed = server.get("/v1/models");
        assert_eq!((listed.status, listed.body), (200, models.clone()));
        assert_eq!(server.get(&format!("/v1/models/{SHALLOW}")).status, 200);
        assert_eq!(server.get("/metrics").status, 200);
        let pool = server.get("/admin/v1/pool");
        assert_eq!(pool.status, 503, "{}", pool.body);
        assert!(pool.text("/detail").contains("the supervisor does not answer"), "{}", pool.body);
    }
    let took = begun.elapsed();
    println!("five endpoints without the supervisor took {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    process::wait_for("it answers again", Duration::from_secs(20), || {
        server.get("/admin/v1/pool").status == 200
    });
    assert!(server.stop(Signal::SIGTERM).success());
}
