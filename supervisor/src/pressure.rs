//! Probes the system's memory pressure.

use ipc_proto::supervisor::Pressure;

use crate::machine;

/// Measures the memory pressure.
pub(crate) trait PressureProbe: Send {
    fn probe(&mut self) -> Pressure;
}

/// Asks the operating system.
#[derive(Debug)]
pub(crate) struct SystemProbe;

impl PressureProbe for SystemProbe {
    fn probe(&mut self) -> Pressure {
        machine::pressure()
    }
}

/// The probe of this build.
#[cfg(not(feature = "test-doubles"))]
pub(crate) fn probe() -> Box<dyn PressureProbe> {
    Box::new(SystemProbe)
}

/// The scripted probe if the environment names a script, else the system's.
#[cfg(feature = "test-doubles")]
pub(crate) fn probe() -> Box<dyn PressureProbe> {
    match crate::test_doubles::scripted_probe() {
        Some(probe) => Box::new(probe),
        None => Box::new(SystemProbe),
    }
}
