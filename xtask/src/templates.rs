//! Published chat templates and what Transformers makes of them, for the sweep in `gateway/tests/templates.rs`.

use std::path::PathBuf;
use std::process::Command;

use crate::progress::step;
use crate::{paths, setup};

/// What renders the reference.
const PACKAGES: [&str; 2] = ["transformers==5.24.0", "jinja2==3.1.6"];
const SCRIPTS: [&str; 2] =
    [include_str!("../scripts/chat_templates.py"), include_str!("../scripts/chat_template_cases.py")];

/// Fetches the templates into .mlx/templates and renders them; gives the folder.
///
/// # Errors
/// When a package cannot be had or the script fails.
pub(crate) fn prepare() -> anyhow::Result<PathBuf> {
    let (venv, folder) = (paths::mlx().join("templates-venv"), paths::mlx().join("templates"));
    setup::Stamp::new("templates-venv", &PACKAGES).once(|| setup::make_venv(&venv, &PACKAGES))?;
    let run = |verb: &str, out: &[&std::path::Path]| {
        let mut script = Command::new(venv.join("bin/python"));
        script.arg(paths::own("scripts/chat_templates.py")).arg(verb).arg(&folder).args(out);
        step(&format!("chat templates: {verb}"), &mut script)
    };
    setup::Stamp::new("templates", &SCRIPTS[..1]).once(|| run("fetch", &[]))?;
    let renderings = folder.join("renderings.json");
    let wanted = [SCRIPTS[0], SCRIPTS[1], PACKAGES[0], PACKAGES[1]];
    setup::Stamp::new("renderings", &wanted).once(|| run("render", &[&renderings]))?;
    Ok(folder)
}
