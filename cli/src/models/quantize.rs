//! `mlxd quantize`: the worker converts a model's weights, and this command shows the progress.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use indicatif::ProgressBar;
use ipc_proto::quantize::QuantizeEvent;
use supervisor::DiskModel;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::messages::{bar, say};
use super::{ModelsError, server_config, units};
use crate::client::Home;
use crate::config::Environment;

const BAR: &str = "{wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {eta}";
/// Layers that a sentence names.
const NAMED: usize = 3;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// A model on disk as `mlxd ls` names it, or its folder. Its weights must not be quantised.
    model: String,
    /// Bits per weight: 2, 3, 4, 5, 6 or 8 [default: 4].
    #[arg(long)]
    bits: Option<u8>,
    /// Weights that share a scale: 32, 64 or 128 [default: 64, with mxfp4 32].
    #[arg(long, value_name = "N")]
    group_size: Option<u16>,
    /// Meaning of the bits: MLX's multiples of a scale, or OCP's MXFP4.
    #[arg(long, value_enum, default_value = "affine")]
    mode: Mode,
    /// Folder of the result [default: models/NAME-4bit in the home folder].
    #[arg(long, short, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace a model that is there.
    #[arg(long)]
    force: bool,
    /// Write a line of JSON for each step.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    home: Home,
}

/// The modes of MLX that mlxd serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Affine,
    Mxfp4,
}

/// The packing that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packing {
    mode: Mode,
    bits: u8,
    group_size: u16,
}

impl Packing {
    fn new(flags: &Flags) -> Self {
        // The defaults of mlx-lm.
        let default = match flags.mode {
            Mode::Affine => 64,
            Mode::Mxfp4 => 32,
        };
        let (bits, group_size) = (flags.bits.unwrap_or(4), flags.group_size.unwrap_or(default));
        Self { mode: flags.mode, bits, group_size }
    }

    /// The end of the result's name, as mlx-community names its models.
    fn suffix(self) -> String {
        match self.mode {
            Mode::Affine => format!("{}bit", self.bits),
            Mode::Mxfp4 => "mxfp4".into(),
        }
    }

    fn mode_name(self) -> &'static str {
        match self.mode {
            Mode::Affine => "affine",
            Mode::Mxfp4 => "mxfp4",
        }
    }
}

/// Converts a model. Ctrl-C stops, and leaves nothing.
pub(super) async fn run(flags: Flags, environment: &Environment) -> Result<(), ModelsError> {
    let packing = Packing::new(&flags);
    let config = server_config(flags.home, environment)?;
    let own = config.home.join("models");
    let (name, folder) = find(&flags.model, || supervisor::models_on_disk(&config))?;
    let output = flags.output.unwrap_or_else(|| own.join(format!("{name}-{}", packing.suffix())));
    let start = Instant::now();
    let mut child = start_worker(&folder, &output, packing, flags.force)?;
    let ended = follow(&mut child, flags.json).await;
    let status = child.wait().await?;
    match ended? {
        Some(QuantizeEvent::Done { folder, bytes, bits_per_weight }) => {
            if !flags.json {
                let (size, time) = (units::bytes(bytes), units::duration(start.elapsed()));
                say(&format!(
                    "{} is complete: {size}, {bits_per_weight:.2} bits a weight, {time}",
                    folder.display()
                ));
                if let Some(id) = served_name(&folder, &own) {
                    say(&format!("try it: mlxd run {id}"));
                }
            }
            Ok(())
        }
        Some(QuantizeEvent::Failed { message }) => Err(ModelsError::Refused(message)),
        _ => Err(ModelsError::Refused(format!("the worker ended without a result: {status}"))),
    }
}

/// The name and the folder of a model on disk.
fn find(model: &str, on_disk: impl FnOnce() -> Vec<DiskModel>) -> Result<(String, PathBuf), ModelsError> {
    let path = Path::new(model);
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    if path.join("config.json").is_file() {
        let folder = path.canonicalize()?;
        return Ok((last(&folder).unwrap_or_default(), folder));
    }
    let found = on_disk().into_iter().find(|known| known.id == model);
    let unknown = || {
        let text = format!(
            "no model \"{model}\" is on disk: `mlxd ls` lists those that are, `mlxd pull` downloads one"
        );
        ModelsError::Refused(text)
    };
    let found = found.ok_or_else(unknown)?;
    Ok((last(path).unwrap_or_default(), found.details.folder))
}

fn start_worker(folder: &Path, output: &Path, packing: Packing, force: bool) -> Result<Child, ModelsError> {
    let program = supervisor::sibling("mlxd-worker")?;
    let mut command = Command::new(&program);
    command.args(["quantize", "--lifeline", "--model"]).arg(folder).arg("--output").arg(output);
    command.args(["--mode", packing.mode_name()]);
    command.args(["--bits", &packing.bits.to_string(), "--group-size", &packing.group_size.to_string()]);
    if force {
        command.arg("--replace");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|cause| ModelsError::File { path: program, cause })
}

/// Shows the worker's events until it ends; returns the last one that is a result. Ctrl-C has the worker clean up and end.
async fn follow(child: &mut Child, json: bool) -> Result<Option<QuantizeEvent>, ModelsError> {
    let Some(output) = child.stdout.take() else { return Ok(None) };
    let mut lines = BufReader::new(output).lines();
    let bar = (!json && std::io::stderr().is_terminal()).then(|| bar(BAR));
    let mut result = None;
    loop {
        let line = tokio::select! {
            line = lines.next_line() => line?,
            _ = tokio::signal::ctrl_c() => {
                drop(child.stdin.take());
                continue;
            }
        };
        let Some(line) = line else { break };
        if json {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
        let event: QuantizeEvent = serde_json::from_str(&line).map_err(std::io::Error::from)?;
        match event {
            QuantizeEvent::Progress { read } => bar.iter().for_each(|bar| bar.set_position(read)),
            QuantizeEvent::Planned { read, .. } => {
                let text = planned(&event);
                match &bar {
                    Some(bar) => {
                        bar.set_length(read);
                        bar.suspend(|| say(&text));
                    }
                    None if json => {}
                    None => say(&text),
                }
            }
            _ => result = Some(event),
        }
    }
    bar.iter().for_each(ProgressBar::finish_and_clear);
    Ok(result)
}

/// A sentence about the plan; empty for other events.
fn planned(event: &QuantizeEvent) -> String {
    let QuantizeEvent::Planned { packed, kept, read, write } = event else { return String::new() };
    let (read, write) = (units::bytes(*read), units::bytes(*write));
    let text = format!("{packed} layers are packed: {read} are read, {write} are written");
    if kept.is_empty() {
        return text;
    }
    let named = kept.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = match kept.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{text}\nnot packed, because groups do not divide their inputs: {named}{more}")
}

/// The name of a model below the home's folder for models.
fn served_name(folder: &Path, own: &Path) -> Option<String> {
    Some(folder.strip_prefix(own).ok()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use ipc_proto::supervisor::Details;
    use supervisor::Owner;

    use super::*;

    #[test]
    fn model_is_a_folder_or_one_on_disk() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().canonicalize().unwrap().join("tiny");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("config.json"), "{}").unwrap();
        let found = find(folder.to_str().unwrap(), || panic!("no look at the disk is needed")).unwrap();
        assert_eq!(found, ("tiny".into(), folder.clone()));
        let details = Details { folder: folder.clone(), ..Details::default() };
        let known = DiskModel { id: "org/big".into(), details, bytes: 0, created: 0, owner: Owner::HubCache };
        assert_eq!(find("org/big", || vec![known]).unwrap(), ("big".into(), folder));
        let text = find("org/none", Vec::new).unwrap_err().to_string();
        assert!(text.contains("\"org/none\"") && text.contains("mlxd pull"), "{text}");
    }

    #[test]
    fn plan_names_layers_that_stay() {
        let plan = |kept: &[&str]| {
            let kept = kept.iter().map(|name| (*name).to_owned()).collect();
            planned(&QuantizeEvent::Planned { packed: 7, kept, read: 2_000_000, write: 600_000 })
        };
        assert_eq!(plan(&[]), "7 layers are packed: 2.0 MB are read, 600.0 kB are written");
        assert!(plan(&["a", "b", "c", "d", "e"]).ends_with("inputs: a, b, c and 2 more"));
    }

    #[test]
    fn result_is_named_as_mlx_community_names_it() {
        let suffix = |mode, bits| Packing { mode, bits, group_size: 32 }.suffix();
        assert_eq!((suffix(Mode::Affine, 8), suffix(Mode::Mxfp4, 4)), ("8bit".into(), "mxfp4".into()));
        assert_eq!(served_name(Path::new("/h/models/a-4bit"), Path::new("/h/models")), Some("a-4bit".into()));
        assert_eq!(served_name(Path::new("/elsewhere/a"), Path::new("/h/models")), None);
    }
}
