//! The programs that start services: systemd and launchd.

use std::path::PathBuf;

use super::ServiceError;
use super::text::{Service, plist, unit};
use crate::config::Environment;

/// The name of the service.
pub(super) const NAME: &str = "mlxd";

/// The system's manager of the user's services.
pub(super) enum Manager {
    /// With the folder of the user's units.
    Systemd(PathBuf),
    /// With the folder of the user's agents, and the user's id.
    Launchd(PathBuf, u32),
}

impl Manager {
    pub(super) fn of_this_system(environment: &Environment) -> Result<Self, ServiceError> {
        let home = environment.variable("HOME").map(PathBuf::from).ok_or(ServiceError::NoHome)?;
        if cfg!(target_os = "macos") {
            return Ok(Self::Launchd(home.join("Library/LaunchAgents"), nix::unistd::getuid().as_raw()));
        }
        let config = environment.variable("XDG_CONFIG_HOME").map(PathBuf::from);
        Ok(Self::Systemd(config.unwrap_or_else(|| home.join(".config")).join("systemd/user")))
    }

    /// The file that says how to start the service.
    pub(super) fn file(&self) -> PathBuf {
        match self {
            Self::Systemd(folder) => folder.join(format!("{NAME}.service")),
            Self::Launchd(folder, _) => folder.join(format!("{NAME}.plist")),
        }
    }

    /// Its contents.
    pub(super) fn text(&self, service: &Service) -> String {
        match self {
            Self::Systemd(_) => unit(service),
            Self::Launchd(..) => plist(service),
        }
    }

    /// Commands that start the service, now and at each login.
    pub(super) fn start(&self) -> Vec<Vec<String>> {
        match self {
            Self::Systemd(_) => {
                vec![systemctl(&["daemon-reload"]), systemctl(&["enable", "--now", NAME])]
            }
            Self::Launchd(_, user) => {
                let file = self.file().display().to_string();
                vec![words(&["launchctl", "bootstrap", &format!("gui/{user}"), &file])]
            }
        }
    }

    /// Commands that stop the service for good.
    pub(super) fn stop(&self) -> Vec<Vec<String>> {
        match self {
            Self::Systemd(_) => vec![systemctl(&["disable", "--now", NAME])],
            Self::Launchd(_, user) => vec![words(&["launchctl", "bootout", &format!("gui/{user}/{NAME}")])],
        }
    }

    /// Commands after the file is gone.
    pub(super) fn forget(&self) -> Vec<Vec<String>> {
        match self {
            Self::Systemd(_) => vec![systemctl(&["daemon-reload"])],
            Self::Launchd(..) => Vec::new(),
        }
    }

    /// A command that succeeds if the service runs.
    pub(super) fn is_running(&self) -> Vec<String> {
        match self {
            Self::Systemd(_) => systemctl(&["is-active", "--quiet", NAME]),
            Self::Launchd(_, user) => words(&["launchctl", "print", &format!("gui/{user}/{NAME}")]),
        }
    }
}

fn systemctl(arguments: &[&str]) -> Vec<String> {
    words(&[&["systemctl", "--user"], arguments].concat())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
