//! Every client's protocol to every kind of provider, by the official SDKs. The providers are fakes, which check each request against
//! the SDKs' own types.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use e2e::{Server, places, scripts};

/// The line of the fakes behind the settings of their server. Their addresses follow.
const READY: &str = "# ready ";

/// The fake providers.
struct Fakes {
    child: Child,
    settings: String,
    /// The addresses of OpenAI's fake and of Anthropic's.
    addresses: Vec<String>,
}

impl Fakes {
    fn start() -> Self {
        let script = places::repository().join("tests/sdk/fake_upstreams.py");
        let mut command = Command::new(places::python());
        command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut settings, mut addresses) = (String::new(), Vec::new());
        for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
            if let Some(urls) = line.strip_prefix(READY) {
                addresses = urls.split(' ').map(str::to_owned).collect();
                break;
            }
            settings += &format!("{line}\n");
        }
        assert_eq!(addresses.len(), 2, "the fakes did not start:\n{settings}");
        Self { child, settings, addresses }
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_client_to_every_provider() {
    let fakes = Fakes::start();
    let server = Server::builder().config(&fakes.settings).start();
    let documented = places::repository().join("docs/src/providers.md");
    let arguments = [&server.url(""), &fakes.addresses[0], &fakes.addresses[1], documented.to_str().unwrap()];
    scripts::run("matrix.py", &arguments);
    scripts::run("matrix.mjs", &[&server.url("")]);
}
