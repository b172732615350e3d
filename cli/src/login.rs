//! `mlxd login`: the password of the web UI, its one-time link, and its sessions. Runs `mlxd-gateway login` on the home folder, with or
//! without a running server: the owner of the folder owns its sign-in.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{self, Answer, ClientError};
use crate::config::{self, Environment, Flags};
use crate::gateway::{Folder, Form};
use crate::{hidden, table};

/// Subcommands of `mlxd login`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum LoginVerb {
    /// Write an address where the password is set, once and within 30 minutes: the first one, or in place of a forgotten one.
    Link {
        #[command(flatten)]
        form: Form,
    },
    /// Set the password that standard input has. All sessions end, and from now on the server answers no request without a key or
    /// a session.
    Set {
        #[command(flatten)]
        form: Form,
    },
    /// Remove the password. All sessions end, and keys go on.
    Off {
        #[command(flatten)]
        form: Form,
    },
    /// List the browsers that are signed in.
    Ls {
        #[command(flatten)]
        form: Form,
    },
}

/// A session. Times are seconds since the epoch.
#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    name: String,
    created_at: u64,
    last_used_at: u64,
    expires_at: u64,
}

/// Runs a command and returns its output.
pub(crate) fn run(verb: LoginVerb, environment: &Environment) -> Result<Answer, ClientError> {
    match verb {
        LoginVerb::Link { form } => link(form, environment),
        LoginVerb::Set { form } => {
            let body = json!({"password": password()?});
            let (answer, _) = Folder::new(form.home, environment)?.ask("login", &["set".as_ref()], &body)?;
            let text = "the password is set, and all sessions have ended\n";
            let note = "From now on the server answers no request without a key or a session.\n";
            Ok(if form.json { answer.into() } else { Answer { text: text.into(), note: note.into() } })
        }
        LoginVerb::Off { form } => {
            let folder = Folder::new(form.home, environment)?;
            let (answer, _) = folder.ask("login", &["off".as_ref()], &Value::Null)?;
            let text = "there is no password any more, and all sessions have ended\n";
            Ok(if form.json { answer } else { text.into() }.into())
        }
        LoginVerb::Ls { form } => {
            let folder = Folder::new(form.home, environment)?;
            let (answer, mut parsed) = folder.ask("login", &["list".as_ref()], &Value::Null)?;
            if form.json {
                return Ok(answer.into());
            }
            let sessions: Vec<Listed> =
                serde_json::from_value(parsed["sessions"].take()).map_err(std::io::Error::from)?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
            Ok(list(&sessions, now).into())
        }
    }
}

fn link(form: Form, environment: &Environment) -> Result<Answer, ClientError> {
    let folder = Folder::new(form.home, environment)?;
    let (_, parsed) = folder.ask("login", &["link".as_ref()], &Value::Null)?;
    let base = match running(folder.path())? {
        Some(address) => address,
        None => {
            let config = config::resolve(Flags::at(Some(folder.path().to_owned())), environment.clone())?;
            format!("{}:{}", named(&config.host), config.port)
        }
    };
    let url = address(&base, &parsed);
    if form.json {
        let answer = json!({"url": url, "expires_at": parsed["expires_at"]});
        return Ok(format!("{answer}\n").into());
    }
    let note = "It works once, within 30 minutes. On another machine, put this one's address in its place.\n";
    Ok(Answer { text: url + "\n", note: note.into() })
}

/// The address of the home's server; `None` if none runs.
fn running(home: &Path) -> Result<Option<String>, ClientError> {
    Ok(if client::is_running(home)? { supervisor::address(home).ok() } else { None })
}

/// A host as it stands in an address.
fn named(host: &str) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => host.to_owned(),
    }
}

/// The address of the page at `base`, with the token of a link in the fragment: that part goes to no server and into no log.
fn address(base: &str, link: &Value) -> String {
    format!("http://{base}/#setup={}", link["token"].as_str().unwrap_or_default())
}

/// The password in standard input. A terminal's user enters it twice.
fn password() -> Result<String, ClientError> {
    let once = hidden::read("New password")?;
    let password = without_newline(&once).to_owned();
    let is_same = !std::io::stdin().is_terminal() || without_newline(&hidden::read("Once more")?) == password;
    if is_same { Ok(password) } else { Err(ClientError::Settings("the two are not the same".into())) }
}

/// Spaces may belong to a password, the end of the line does not.
fn without_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Writes the address where the first password is set to the terminal of a server that listens on `listening`. Into no log: whoever
/// reads it could take over the server.
#[expect(clippy::print_stderr, reason = "a word to the user")]
pub(crate) fn invite(home: &Path, listening: SocketAddr) {
    if !std::io::stderr().is_terminal() {
        let text =
            "there is no key and no password yet: `mlxd login link` prints an address where one is set";
        tracing::warn!("{text}");
        return;
    }
    match crate::gateway::run_in(home, "login", &["link".as_ref()], "{}") {
        Ok(answer) => {
            let link: Value = serde_json::from_str(&answer).unwrap_or_default();
            let url = address(&reachable(listening).to_string(), &link);
            eprintln!("There is no password yet. Set one within 30 minutes at\n\n  {url}\n");
        }
        Err(error) => tracing::error!(%error, "no address for the first password can be made"),
    }
}

/// An address at which other machines find this one.
fn reachable(mut listening: SocketAddr) -> SocketAddr {
    if listening.ip().is_unspecified() {
        let own = outbound().unwrap_or(match listening {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
        listening.set_ip(own);
    }
    listening
}

/// The address of the network that leads outside. Nothing is sent: a datagram socket only looks at the routes.
fn outbound() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documentation (RFC 5737).
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_unspecified())
}

fn list(sessions: &[Listed], now: u64) -> String {
    if sessions.is_empty() {
        return "nobody is signed in\n".into();
    }
    let head = ["ID", "BROWSER", "SIGNED IN", "LAST USE", "ENDS"].map(String::from);
    let ago = |at: u64| format!("{} ago", table::span(now.saturating_sub(at)));
    let row = |one: &Listed| {
        let left = format!("in {}", table::span(one.expires_at.saturating_sub(now)));
        [one.id.clone(), one.name.clone(), ago(one.created_at), ago(one.last_used_at), left]
    };
    let rows: Vec<_> = std::iter::once(head).chain(sessions.iter().map(row)).collect();
    table::aligned(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_of_a_link_is_in_the_fragment() {
        let link = json!({"token": "ab12", "expires_at": 1});
        assert_eq!(address("127.0.0.1:10240", &link), "http://127.0.0.1:10240/#setup=ab12");
        for (host, expected) in
            [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("localhost", "localhost")]
        {
            assert_eq!(named(host), expected);
        }
    }

    #[test]
    fn address_for_other_machines_is_not_the_wildcard() {
        for (listening, port) in [("0.0.0.0:1", 1), ("[::]:2", 2)] {
            let shown = reachable(listening.parse().unwrap());
            assert!(!shown.ip().is_unspecified() && shown.port() == port, "{shown}");
        }
        assert_eq!(reachable("10.0.0.1:3".parse().unwrap()).to_string(), "10.0.0.1:3");
    }

    #[test]
    fn only_the_end_of_the_line_is_no_part_of_a_password() {
        for (text, expected) in [("a b \r\n", "a b "), ("a\n\n", "a\n"), (" a", " a"), ("", "")] {
            assert_eq!(without_newline(text), expected, "{text:?}");
        }
    }

    #[test]
    fn list_shows_browsers_and_times() {
        let session = json!({"id": "ses_1", "name": "Firefox, Linux", "created_at": 880, "last_used_at": 940,
            "expires_at": 1000 + 3 * 86_400, "is_current": false});
        let text = list(&[serde_json::from_value(session).unwrap()], 1000);
        let last: Vec<&str> = text.lines().last().unwrap().split("  ").map(str::trim).collect();
        let cells: Vec<&str> = last.into_iter().filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, ["ses_1", "Firefox, Linux", "2 min ago", "1 min ago", "in 3 days"]);
        assert_eq!(list(&[], 1000), "nobody is signed in\n");
    }
}
