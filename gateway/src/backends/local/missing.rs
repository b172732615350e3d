//! A request for a model that is on the hub and not on this machine: it may begin the download.

use std::time::Duration;

use ipc_proto::hub::{Download, DownloadOrder, DownloadState};
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Resource};

use crate::fleet::FleetClient;

/// The pause before another try if the rest of the time is not known.
const PAUSE: u64 = 15;
/// Between these times clients try again. SDKs sleep through the pause, and their callers know nothing of it.
const PAUSES: (u64, u64) = (2, 30);

/// The answer to a request for a model that is not on this machine. Begins its download, if the hub has it. `unknown` is the answer
/// without a download.
pub(super) async fn download(fleet: &FleetClient, model: &str, unknown: Error) -> Error {
    if !may_be_on_the_hub(model) {
        return unknown;
    }
    let order = DownloadOrder { model: model.to_owned(), automatic: true, ..DownloadOrder::default() };
    match fleet.add_download(order).await {
        Ok(download) => answer(&download),
        Err(error) => {
            tracing::info!(model, %error, "a request's model is not downloaded");
            unknown
        }
    }
}

/// Whether a name is `organisation/name`. Others are more often those of models elsewhere.
fn may_be_on_the_hub(name: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    name.split_once('/').is_some_and(|(organisation, rest)| is_plain(organisation) && is_plain(rest))
}

fn answer(download: &Download) -> Error {
    let model = &download.model;
    let reason = download.error.as_deref().unwrap_or_default();
    let text = match download.state {
        DownloadState::Failed => {
            let text = format!("the model \"{model}\" is not here, and its download has failed: {reason}");
            return Error::not_found(Resource::Model, text);
        }
        DownloadState::Paused => format!(
            "the model \"{model}\" is not here yet, and its download is paused{}: PATCH /admin/v1/downloads/{} lets it go on",
            share(download),
            download.id
        ),
        DownloadState::Queued | DownloadState::Running | DownloadState::Done => {
            let left =
                download.seconds_left.map_or_else(String::new, |left| format!(", about {left} s left"));
            format!(
                "the model \"{model}\" is being downloaded{}{left}: try again then, or see GET /admin/v1/downloads",
                share(download)
            )
        }
    };
    let pause = download.seconds_left.unwrap_or(PAUSE).clamp(PAUSES.0, PAUSES.1);
    Error::new(ErrorKind::Unavailable, Origin::Hub, text)
        .with_disposition(Disposition::RetryAfter(Duration::from_secs(pause)))
}

/// How much of it is here.
fn share(download: &Download) -> String {
    let percent = download.bytes_total.and_then(|total| (download.bytes_done * 100).checked_div(total));
    percent.map_or_else(String::new, |percent| format!(", {percent} % are here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Download {
        Download {
            model: "o/m".into(),
            state: DownloadState::Running,
            bytes_done: 30,
            bytes_total: Some(120),
            seconds_left: Some(300),
            ..Download::default()
        }
    }

    #[test]
    fn answer_has_the_progress_and_a_pause_that_sdks_sleep_through() {
        let error = answer(&running());
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(error.disposition, Disposition::RetryAfter(Duration::from_secs(30)));
        assert!(error.message.contains("25 % are here, about 300 s left"), "{error}");
        let new = answer(&Download { bytes_total: None, seconds_left: None, ..running() });
        assert_eq!(new.disposition, Disposition::RetryAfter(Duration::from_secs(PAUSE)));
        assert!(!new.message.contains('%'), "{new}");
        let empty = answer(&Download { bytes_total: Some(0), ..running() });
        assert!(!empty.message.contains('%'), "{empty}");
    }

    #[test]
    fn failed_download_is_final_and_has_its_reason() {
        let failed = Download { state: DownloadState::Failed, error: Some("no room".into()), ..running() };
        let error = answer(&failed);
        assert_eq!(
            (error.kind, error.disposition),
            (ErrorKind::NotFound(Resource::Model), Disposition::Final)
        );
        assert!(error.message.contains("no room"), "{error}");
    }

    #[test]
    fn only_names_of_the_hub_are_asked_for() {
        for name in ["gpt-5", "a/b/c", "/b", "a/", "a/b c", "https://x/y"] {
            assert!(!may_be_on_the_hub(name), "{name}");
        }
        assert!(may_be_on_the_hub("mlx-community/Qwen3-0.6B-4bit"));
    }
}
