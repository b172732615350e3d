//! The systemd unit and the launchd agent, as text.

use std::path::{Path, PathBuf};

use super::manager::NAME;
use crate::server::LOG;

/// Variables that say where models are. The manager has none of the shell's, so they are written down. Tokens are not: files of
/// Hugging Face's and of the home hold them.
const PASSED_ON: [&str; 5] = ["HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"];
/// Open files. The server takes no more.
const OPEN_FILES: u32 = 65_536;
/// macOS allows no more.
const OPEN_FILES_MACOS: u32 = 10_240;
/// Seconds to stop. The server takes seven at most.
const STOPPING: u32 = 15;

/// What the system starts.
#[derive(Debug)]
pub(super) struct Service {
    program: PathBuf,
    pub(super) home: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Service {
    pub(super) fn new(program: PathBuf, home: PathBuf, variable: impl Fn(&str) -> Option<String>) -> Self {
        let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name, variable(name)?)));
        Self { program, home, variables: passed_on.collect() }
    }

    fn log(&self) -> String {
        text(&self.home.join(LOG))
    }
}

/// The systemd user unit.
pub(super) fn unit(service: &Service) -> String {
    let word = |path: &Path| in_unit(&text(path), &['%', '$']);
    let (program, home) = (word(&service.program), word(&service.home));
    // A path behind `append:` is not quoted.
    let log = service.log().replace('%', "%%");
    let variables: String = service
        .variables
        .iter()
        .map(|(name, value)| format!("Environment={}\n", in_unit(&format!("{name}={value}"), &['%'])))
        .collect();
    format!(
        "# Written by `mlxd service install`.\n\
         [Unit]\n\
         Description=Local AI server for MLX models\n\
         StartLimitIntervalSec=60\n\
         StartLimitBurst=5\n\
         \n\
         [Service]\n\
         ExecStart={program} serve --home {home}\n\
         {variables}\
         Restart=on-failure\n\
         # A wrong configuration does not get better.\n\
         RestartPreventExitStatus=64\n\
         # The server stops its processes itself.\n\
         KillMode=mixed\n\
         TimeoutStopSec={STOPPING}\n\
         # The server replaces a worker that the system ends for want of memory.\n\
         OOMPolicy=continue\n\
         LimitNOFILE={OPEN_FILES}\n\
         StandardError=append:{log}\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n"
    )
}

/// A quoted word of a unit. The `special` characters are written twice.
fn in_unit(text: &str, special: &[char]) -> String {
    let mut word = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => word.extend(['\\', character]),
            other if special.contains(&other) => word.extend([other, other]),
            _ => word.push(character),
        }
    }
    word + "\""
}

/// The launchd agent.
pub(super) fn plist(service: &Service) -> String {
    let (program, home) = (in_xml(&text(&service.program)), in_xml(&text(&service.home)));
    let log = in_xml(&service.log());
    let variables: String = service
        .variables
        .iter()
        .map(|(name, value)| format!("        <key>{name}</key><string>{}</string>\n", in_xml(value)))
        .collect();
    let variables = match variables.as_str() {
        "" => String::new(),
        _ => format!("    <key>EnvironmentVariables</key>\n    <dict>\n{variables}    </dict>\n"),
    };
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by `mlxd service install`. -->
<plist version="1.0">
<dict>
    <key>Label</key><string>{NAME}</string>
    <key>ProgramArguments</key>
    <array>
        <string>{program}</string>
        <string>serve</string>
        <string>--home</string>
        <string>{home}</string>
    </array>
{variables}    <key>RunAtLoad</key><true/>
    <!-- Start it again unless it ended by request. -->
    <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>
    <!-- "Background" would slow its processor and disks. -->
    <key>ProcessType</key><string>Interactive</string>
    <key>ExitTimeOut</key><integer>{STOPPING}</integer>
    <key>SoftResourceLimits</key><dict><key>NumberOfFiles</key><integer>{OPEN_FILES_MACOS}</integer></dict>
    <key>StandardErrorPath</key><string>{log}</string>
</dict>
</plist>
"#
    )
}

fn in_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(program: &str, home: &str, variables: &[(&str, &str)]) -> Service {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        Service::new(program.into(), home.into(), find)
    }

    #[test]
    fn unit_is_as_recorded() {
        let cache = [("HF_HOME", "/data/hf"), ("HF_TOKEN", "hf_secret")];
        insta::assert_snapshot!(unit(&service("/opt/mlxd/bin/mlxd", "/home/me/.mlxd", &cache)));
    }

    #[test]
    fn agent_is_as_recorded() {
        let cache = [("HF_HOME", "/Volumes/Data & More/hf")];
        insta::assert_snapshot!(plist(&service("/opt/mlxd/bin/mlxd", "/Users/me/.mlxd", &cache)));
    }

    #[test]
    fn special_characters_of_a_path_are_escaped() {
        let odd = service("/a b/\"q\"/mlxd", "/100% $HOME/<h>", &[]);
        let unit = unit(&odd);
        assert!(
            unit.contains("ExecStart=\"/a b/\\\"q\\\"/mlxd\" serve --home \"/100%% $$HOME/<h>\"\n"),
            "{unit}"
        );
        assert!(unit.contains("StandardError=append:/100%% $HOME/<h>/serve.log\n"), "{unit}");
        assert!(plist(&odd).contains("<string>/100% $HOME/&lt;h&gt;</string>"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn systemd_finds_nothing_wrong_with_the_unit() {
        use std::process::Command;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mlxd.service");
        // The program has to exist.
        std::fs::write(&file, unit(&service("/bin/true", "/tmp/a b%c", &[("HF_HOME", "/x y")]))).unwrap();
        let mut analyze = Command::new("systemd-analyze");
        let Ok(output) = analyze.args(["--user", "verify"]).arg(&file).output() else {
            eprintln!("SKIPPED: the check of the unit, as systemd is not there");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let own: Vec<&str> = said.lines().filter(|line| line.contains("mlxd.service")).collect();
        assert!(own.is_empty(), "{own:?}");
    }
}
