//! The master key from a command of the settings, such as one that reads the keychain of the operating system.

use std::fmt;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ipc_proto::gateway::MasterKey;
use secrecy::{ExposeSecret, SecretString};

/// The name of the setting.
pub(super) const SETTING: &str = "master_key_command";
/// The time that the command may take. A question of the keychain waits for a person.
const LIMIT: Duration = Duration::from_secs(10);
/// The pause between two looks at the command.
const PAUSE: Duration = Duration::from_millis(10);
/// The bytes of its output that are read. A key has 64.
const MAX_OUTPUT: u64 = 4096;

/// A command that writes the master key to its standard output. It is run at most once.
pub(super) struct KeyCommand {
    /// The program and its arguments; not empty.
    words: Vec<String>,
    limit: Duration,
    outcome: OnceLock<Result<MasterKey, String>>,
}

impl fmt::Debug for KeyCommand {
    /// Arguments may be secrets.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("KeyCommand").field("program", &self.words[0]).finish_non_exhaustive()
    }
}

impl KeyCommand {
    /// The command of these words. `None` without any.
    pub(super) fn new(words: &[String]) -> Option<Self> {
        (!words.is_empty()).then(|| Self { words: words.to_vec(), limit: LIMIT, outcome: OnceLock::new() })
    }

    /// The key, or a sentence that says why there is none. The first call runs the command and waits for it.
    pub(super) fn key(&self) -> Result<&MasterKey, &str> {
        self.outcome.get_or_init(|| self.run()).as_ref().map_err(String::as_str)
    }

    fn run(&self) -> Result<MasterKey, String> {
        let program = &self.words[0];
        let problem =
            |what: &dyn fmt::Display| format!("{SETTING}: {program} {what}: mend it, and restart the server");
        let mut command = Command::new(program);
        command.args(&self.words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| problem(&format!("cannot be started ({error})")))?;
        let Some(mut pipe) = child.stdout.take() else { return Err(problem(&"has no output")) };
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let read = pipe.by_ref().take(MAX_OUTPUT).read_to_string(&mut text);
            // A program whose output nobody reads would end by a signal, which is not its problem.
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            read.map(|_| SecretString::from(text))
        });
        let ended = wait(&mut child, self.limit).map_err(|what| problem(&what))?;
        if !ended.success() {
            return Err(problem(&format!("ended with {ended}")));
        }
        // The program has ended: nothing but a child of it could keep the pipe open, which is then waited for.
        let text = reader.join().map_err(|_| problem(&"was not read"))?;
        let text = text.map_err(|error| problem(&format!("wrote no text ({error})")))?;
        MasterKey::parse(text.expose_secret()).map_err(|what| problem(&format!("wrote no key, which {what}")))
    }
}

/// Waits for the end of a program, and kills it after the limit.
fn wait(child: &mut Child, limit: Duration) -> Result<std::process::ExitStatus, String> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) if start.elapsed() < limit => std::thread::sleep(PAUSE),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {} s", limit.as_secs()));
            }
            Err(error) => return Err(format!("cannot be waited for ({error})")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::id_of;

    fn command(script: &str) -> KeyCommand {
        KeyCommand::new(&["/bin/sh", "-c", script].map(String::from)).unwrap()
    }

    #[test]
    fn output_is_the_key_and_the_command_runs_once() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let key = "ab".repeat(32);
        let command = command(&format!("echo run >> '{}'; echo {key}", runs.display()));
        let expected = id_of(&MasterKey::parse(&key).unwrap());
        assert_eq!(command.key().map(id_of), Ok(expected));
        assert_eq!(command.key().map(id_of), Ok(expected));
        assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\n");
        assert!(KeyCommand::new(&[]).is_none());
    }

    #[test]
    fn problem_names_the_program_and_quotes_no_output() {
        let problem = |command: &KeyCommand| command.key().map(id_of).unwrap_err().to_owned();
        for (script, part) in [
            ("echo hidden; exit 44", "ended with exit status: 44"),
            ("echo hidden", "wrote no key, which must be 64 hexadecimal digits"),
            ("printf %05000d 0", "wrote no key"),
        ] {
            let text = problem(&command(script));
            assert!(text.contains(part) && text.starts_with("master_key_command: /bin/sh "), "{text}");
            assert!(
                !text.contains("hidden") && !format!("{:?}", command(script)).contains("hidden"),
                "{text}"
            );
        }
        let missing = KeyCommand::new(&["/does/not/exist".to_owned()]).unwrap();
        assert!(problem(&missing).contains("cannot be started"));
        let slow = KeyCommand { limit: Duration::from_millis(50), ..command("exec sleep 60") };
        assert!(problem(&slow).contains("did not end within"));
    }
}
