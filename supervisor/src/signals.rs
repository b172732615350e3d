//! The signals that stop the server.
#![expect(unsafe_code, reason = "the standard library cannot ask whether a signal is ignored")]

use nix::sys::signal::{SigHandler, Signal, signal};
use tokio::signal::unix::{self, SignalKind};

/// SIGINT, SIGTERM and SIGHUP.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    /// `None` if the process was started to ignore it, as `nohup` does.
    hangup: Option<unix::Signal>,
}

impl StopSignals {
    /// Installs the handlers.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let hangup = if is_hangup_ignored()? { None } else { Some(unix::signal(SignalKind::hangup())?) };
        let (interrupt, terminate) =
            (unix::signal(SignalKind::interrupt())?, unix::signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Waits for the next of the signals.
    pub(crate) async fn next(&mut self) {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hangup => {}
        }
    }
}

/// Whether SIGHUP is ignored. It is afterwards.
fn is_hangup_ignored() -> std::io::Result<bool> {
    // SAFETY: ignoring a signal installs no function. The handler that it replaces is the default one: no code of this process has
    // installed another yet.
    let before = unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }?;
    Ok(matches!(before, SigHandler::SigIgn))
}
