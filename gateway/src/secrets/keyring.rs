//! The master keys at hand: the one of the settings or of their command, or those in files of the home folder.
//!
//! `master.key` is made at its first use. While the secrets of the database are sealed anew, `master.key.old` holds the key before:
//! it goes when the change is complete. A crash therefore leaves both, and the secrets say by which they are sealed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ipc_proto::gateway::MasterKey;
use secrecy::{ExposeSecret, SecretString};

use super::command::{KeyCommand, SETTING};
use super::{KeyId, Location, OpenError, SealError, generate, id_of, open, sealed_by};

const OWNER_ONLY: u32 = 0o600;

/// The sources of one home folder's master keys.
#[derive(Debug, Clone)]
pub struct Keyring {
    /// The key of the settings. With it, no file is read.
    given: Option<MasterKey>,
    /// The command of the settings that writes it. With it, no file is read either.
    command: Option<Arc<KeyCommand>>,
    home: PathBuf,
}

/// The keys at hand at one moment.
#[derive(Debug, Default)]
pub struct KeysAtHand {
    /// The present key first.
    keys: Vec<MasterKey>,
    /// Its source, for messages.
    source: String,
    /// The reason why a file cannot be read.
    problem: Option<String>,
}

/// Why the master key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file cannot be read or written.
    #[error("{}: {cause}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        cause: io::Error,
    },
    /// The command of the settings gives no key.
    #[error("{0}")]
    Command(String),
    /// A file holds no key.
    #[error("{} {problem}", .file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// The form that its content must have.
        problem: &'static str,
    },
    /// The operating system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// A secret cannot be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl KeysAtHand {
    /// The key that seals new secrets.
    pub fn present(&self) -> Option<&MasterKey> {
        self.keys.first()
    }

    /// Opens a secret by the key that has sealed it.
    ///
    /// # Errors
    /// A sentence that names the key wanted and the one at hand.
    pub fn open(&self, sealed: &[u8], at: Location<'_>) -> Result<SecretString, String> {
        let wanted = sealed_by(sealed);
        let Some(key) = self.keys.iter().find(|key| Some(id_of(key)) == wanted) else {
            let cause = wanted.map_or(OpenError::Form, OpenError::OtherKey);
            return Err(format!("its API key cannot be read: {cause}, and {}", self.describe()));
        };
        open(key, sealed, at).map_err(|cause| format!("its API key cannot be read: {cause}"))
    }

    fn describe(&self) -> String {
        match (self.present(), &self.problem) {
            (_, Some(problem)) => problem.clone(),
            (Some(key), None) => format!("{} has the master key {}", self.source, id_of(key)),
            (None, None) => {
                let source = &self.source;
                format!("there is no master key here: put {source} back, or set MLXD_MASTER_KEY")
            }
        }
    }
}

impl Keyring {
    /// The keys of `home`, unless the settings give one or a command that writes it.
    pub fn new(given: Option<MasterKey>, command: &[String], home: &Path) -> Self {
        Self { given, command: KeyCommand::new(command).map(Arc::new), home: home.to_owned() }
    }

    /// Whether the settings give the key.
    pub fn is_given(&self) -> bool {
        self.given.is_some() || self.command.is_some()
    }

    /// Reads the keys at hand.
    pub fn read(&self) -> KeysAtHand {
        if let Some(key) = &self.given {
            return KeysAtHand { keys: vec![key.clone()], source: "MLXD_MASTER_KEY".into(), problem: None };
        }
        if let Some(command) = &self.command {
            let (keys, problem) = match command.key() {
                Ok(key) => (vec![key.clone()], None),
                Err(problem) => (Vec::new(), Some(problem.to_owned())),
            };
            return KeysAtHand { keys, source: SETTING.into(), problem };
        }
        let source = self.file().display().to_string();
        let (mut keys, mut problem) = (Vec::new(), None);
        for file in [self.file(), self.old_file()] {
            match read_key(&file) {
                Ok(key) => keys.extend(key),
                Err(error) => problem = Some(error.to_string()),
            }
        }
        KeysAtHand { keys, source, problem }
    }

    /// The key that seals new secrets. Makes the file if there is none.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds no key.
    pub fn present_or_new(&self) -> Result<MasterKey, KeyringError> {
        if let Some(key) = &self.given {
            return Ok(key.clone());
        }
        if let Some(command) = &self.command {
            return command.key().cloned().map_err(|problem| KeyringError::Command(problem.to_owned()));
        }
        if let Some(key) = read_key(&self.file())? {
            return Ok(key);
        }
        let key = generate()?;
        let new = self.write_beside("new", &key)?;
        // Unlike a rename this fails if another process has made the file meanwhile.
        let linked = fs::hard_link(&new, self.file());
        let _ = fs::remove_file(&new);
        match linked {
            Ok(()) => self.sync_folder().map(|()| key),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let missing = || error_at(&self.file(), ErrorKind::NotFound.into());
                read_key(&self.file())?.ok_or_else(missing)
            }
            Err(cause) => Err(error_at(&self.file(), cause)),
        }
    }

    /// Keeps a copy of the present key until [`Self::forget_old`].
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn keep_old(&self, present: &MasterKey) -> Result<(), KeyringError> {
        let copy = self.write_beside("old", present)?;
        fs::rename(&copy, self.old_file()).map_err(|cause| error_at(&self.old_file(), cause))?;
        self.sync_folder()
    }

    /// Replaces the file's key.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn replace(&self, next: &MasterKey) -> Result<(), KeyringError> {
        let new = self.write_beside("new", next)?;
        fs::rename(&new, self.file()).map_err(|cause| error_at(&self.file(), cause))?;
        self.sync_folder()
    }

    /// Deletes the key before the present one.
    ///
    /// # Errors
    /// The file cannot be deleted.
    pub fn forget_old(&self) -> Result<(), KeyringError> {
        match fs::remove_file(self.old_file()) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(error_at(&self.old_file(), cause)),
            _ => Ok(()),
        }
    }

    /// Completes or takes back a replacement that a crash has interrupted. `sealed` are all ids by which secrets are sealed. Only
    /// for the process that holds the lock of changes.
    ///
    /// # Errors
    /// A file cannot be read, renamed or deleted.
    pub fn repair(&self, sealed: &[KeyId]) -> Result<(), KeyringError> {
        if self.is_given() {
            return Ok(());
        }
        let Some(old) = read_key(&self.old_file())? else { return Ok(()) };
        let is_used = |key: &MasterKey| sealed.contains(&id_of(key));
        let present = read_key(&self.file())?;
        if is_used(&old) && !present.as_ref().is_some_and(is_used) {
            fs::rename(self.old_file(), self.file()).map_err(|cause| error_at(&self.file(), cause))?;
            return self.sync_folder();
        }
        self.forget_old()
    }

    fn file(&self) -> PathBuf {
        self.home.join("master.key")
    }

    fn old_file(&self) -> PathBuf {
        self.home.join("master.key.old")
    }

    /// Writes a key to a file beside the others that no other writer has. Returns its path.
    fn write_beside(&self, name: &str, key: &MasterKey) -> Result<PathBuf, KeyringError> {
        let path = self.home.join(format!("master.key.{name}-{}", uuid::Uuid::new_v4().simple()));
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(OWNER_ONLY).open(&path)?;
            writeln!(file, "{}", key.to_hex().expose_secret())?;
            file.sync_all()
        };
        write().map_err(|cause| error_at(&path, cause)).map(|()| path.clone())
    }

    /// Makes renamed files survive a power cut.
    fn sync_folder(&self) -> Result<(), KeyringError> {
        let synced = File::open(&self.home).and_then(|folder| folder.sync_all());
        synced.map_err(|cause| error_at(&self.home, cause))
    }
}

/// The key in a file; `None` if there is no file.
fn read_key(file: &Path) -> Result<Option<MasterKey>, KeyringError> {
    let text = match fs::read_to_string(file) {
        Ok(text) => SecretString::from(text),
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(error_at(file, cause)),
    };
    let content = |problem| KeyringError::Content { file: file.to_owned(), problem };
    MasterKey::parse(text.expose_secret()).map(Some).map_err(content)
}

fn error_at(file: &Path, cause: io::Error) -> KeyringError {
    KeyringError::File { file: file.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::secrets::seal;

    const AT: Location<'_> = Location { table: "providers", row: "far", column: "sealed_key" };

    fn id(key: &MasterKey) -> KeyId {
        id_of(key)
    }

    fn names(home: &Path) -> Vec<String> {
        let entries = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn key_is_made_at_its_first_use_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let keyring = Keyring::new(None, &[], home.path());
        assert!(keyring.read().present().is_none() && names(home.path()).is_empty());
        let made = keyring.present_or_new().unwrap();
        assert_eq!(id(&keyring.present_or_new().unwrap()), id(&made));
        assert_eq!(keyring.read().present().map(id), Some(id(&made)));
        assert_eq!(names(home.path()), ["master.key"]);
        let mode = fs::metadata(home.path().join("master.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, OWNER_ONLY);
    }

    #[test]
    fn processes_that_make_the_key_at_once_agree() {
        let home = tempfile::tempdir().unwrap();
        let made: Vec<KeyId> = std::thread::scope(|scope| {
            let make = || id(&Keyring::new(None, &[], home.path()).present_or_new().unwrap());
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
    }

    #[test]
    fn key_of_the_settings_needs_no_file() {
        let home = tempfile::tempdir().unwrap();
        let given = generate().unwrap();
        let keyring = Keyring::new(Some(given.clone()), &[], home.path());
        assert_eq!(id(&keyring.present_or_new().unwrap()), id(&given));
        assert!(names(home.path()).is_empty());
    }

    #[test]
    fn error_names_the_key_wanted_and_the_one_at_hand() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (generate().unwrap(), generate().unwrap());
        let sealed = seal(&one, &"sk-1".into(), AT).unwrap();
        let problem = |given: Option<&MasterKey>| {
            Keyring::new(given.cloned(), &[], home.path()).read().open(&sealed, AT).unwrap_err()
        };
        let text = problem(Some(&other));
        assert!(text.contains(&id(&one).to_string()) && text.contains(&id(&other).to_string()), "{text}");
        assert!(text.contains("MLXD_MASTER_KEY has"), "{text}");
        let text = problem(None);
        assert!(text.contains("there is no master key here") && text.contains("master.key"), "{text}");
        fs::write(home.path().join("master.key"), "x").unwrap();
        let text = problem(None);
        assert!(text.contains("master.key must be 64 hexadecimal digits"), "{text}");
        assert!(
            Keyring::new(None, &[], home.path()).present_or_new().is_err(),
            "a damaged key is not replaced"
        );
    }

    /// The secrets say which of the two keys counts after a crash.
    #[test]
    fn interrupted_replacement_is_taken_back_or_completed() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        for (sealed, expected) in [(vec![&one], &one), (vec![&other], &other), (vec![], &other)] {
            let home = tempfile::tempdir().unwrap();
            let keyring = Keyring::new(None, &[], home.path());
            keyring.keep_old(&one).unwrap();
            keyring.replace(&other).unwrap();
            let both: Vec<KeyId> = keyring.read().keys.iter().map(id).collect();
            assert_eq!(both, [id(&other), id(&one)], "secrets of both open meanwhile");
            let sealed: Vec<KeyId> = sealed.into_iter().map(id).collect();
            keyring.repair(&sealed).unwrap();
            assert_eq!(keyring.read().keys.iter().map(id).collect::<Vec<_>>(), [id(expected)]);
            assert_eq!(names(home.path()), ["master.key"]);
        }
    }

    #[test]
    fn key_of_a_command_needs_no_file_and_a_failing_one_makes_none() {
        let home = tempfile::tempdir().unwrap();
        let command = |script: &str| ["/bin/sh", "-c", script].map(String::from);
        let given = generate().unwrap();
        let script = format!("echo {}", given.to_hex().expose_secret());
        let keyring = Keyring::new(None, &command(&script), home.path());
        assert!(keyring.is_given());
        assert_eq!(id(&keyring.present_or_new().unwrap()), id(&given));
        let sealed = seal(&given, &"sk-1".into(), AT).unwrap();
        assert_eq!(keyring.read().open(&sealed, AT).unwrap().expose_secret(), "sk-1");
        let failing = Keyring::new(None, &command("exit 3"), home.path());
        assert!(failing.present_or_new().unwrap_err().to_string().contains("exit status: 3"));
        let text = failing.read().open(&sealed, AT).unwrap_err();
        assert!(text.contains("master_key_command: /bin/sh ended with"), "{text}");
        assert!(names(home.path()).is_empty());
    }
}
