//! A hub for models over real HTTP, as Hugging Face's is seen from outside: search, information, trees, redirects to a server under
//! another name, ranges, gated models, and faults on request.
//!
//! `tests/sdk/hub_client.py` drives the real huggingface_hub against it, which shows that it is faithful.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::places;

mod answers;
mod connection;
mod content;

pub use content::{Content, bytes, git_sha1, hexadecimal};

/// The commit of every model.
pub const COMMIT: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f9001122334";
/// The token that opens gated models. It is no secret: no other server knows it.
pub const TOKEN: &str = "hf_for_tests";

/// A running hub.
pub struct FakeHub {
    address: SocketAddr,
    state: Arc<State>,
}

/// A model on the hub.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Its files by their paths. Those that end in `.safetensors` are in large-file storage.
    pub files: BTreeMap<String, Content>,
    /// Whether its conditions must be accepted.
    pub gated: bool,
    /// Tags besides `mlx`.
    pub tags: Vec<String>,
}

impl Model {
    /// A model with these files.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (path.to_owned(), Content::new(bytes))).collect();
        Self { files, ..Self::default() }
    }

    /// A model of the tests that a worker loads.
    ///
    /// # Panics
    /// It was not fetched.
    pub fn toy() -> Self {
        let folder = places::models().join(places::TOY_QWEN2);
        let names = [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        Self::new(names.map(|name| (name, std::fs::read(folder.join(name)).unwrap())))
    }
}

/// Faults to inject.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Bytes a second of each connection's answers.
    pub slow: Option<u64>,
    /// Answers of files break off after so many bytes, once for each number.
    pub cuts: VecDeque<usize>,
    /// Statuses of the next answers to requests whose paths contain the text, with more headers.
    pub statuses: VecDeque<(&'static str, u16, &'static str)>,
    /// Addresses of files that have been given out expire after so many uses.
    pub uses: Option<u32>,
    /// One byte of every file is wrong.
    pub wrong: bool,
    /// Files come whole, whatever range is asked for.
    pub no_ranges: bool,
    /// Redirects carry the headers of the storage with chunks.
    pub xet: bool,
}

/// A request, and how it was answered.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The header `Host`.
    pub host: String,
    /// The header `Range`.
    pub range: Option<String>,
    /// The header `Authorization`.
    pub authorization: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// Bytes of the answer's body that went out.
    pub sent: u64,
}

#[derive(Default)]
struct State {
    models: Mutex<BTreeMap<String, Model>>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<Request>>,
    /// How often each signed address was used.
    uses: Mutex<BTreeMap<String, u32>>,
}

impl State {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }
}

impl FakeHub {
    /// Starts a hub with these models.
    pub fn start(models: impl IntoIterator<Item = (&'static str, Model)>) -> Self {
        let models = models.into_iter().map(|(id, model)| (id.to_owned(), model)).collect();
        let state = Arc::new(State { models: Mutex::new(models), ..State::default() });
        // The second name of the machine, localhost, is that of the server with the files.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || connection::serve(&stream, &state, address.port()));
            }
        });
        Self { address, state }
    }

    /// The address for `HF_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what goes wrong.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state.faults());
    }

    /// Changes the models.
    pub fn models(&self, change: impl FnOnce(&mut BTreeMap<String, Model>)) {
        change(&mut self.state.models.lock().unwrap());
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests.lock().unwrap().clone()
    }

    /// Bytes of files that went out so far, under all addresses.
    pub fn sent(&self) -> u64 {
        let is_file =
            |request: &&Request| request.path.starts_with("/cdn/") || request.path.contains("/resolve/");
        self.requests().iter().filter(is_file).map(|request| request.sent).sum()
    }
}

/// The pause that limits a connection to `rate` bytes a second.
fn pause(bytes: usize, rate: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / rate as f64)
}
