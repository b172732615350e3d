//! Writes compactions: the summary before an answer, and the response that is nothing but a summary.

use ipc_proto::generate::{Delta, Usage};

use super::{ResponseBuilder, Status, to_usage};
use crate::dispatch::writer::ResponseWriter;
use crate::inference::output::Output;
use crate::protocols::common::answer::unix_seconds;
use crate::protocols::openai::responses::answer::Item;
use crate::protocols::openai::responses::compaction::{Summary, passes};
use crate::protocols::openai::responses::events::Body;

impl ResponseBuilder {
    /// Pushes the summary that was made before the answer, if there is one.
    pub(super) fn push_preface(&mut self, buffer: &mut Vec<u8>) {
        let summary = self.head.compacted.get().and_then(|compacted| compacted.summary.clone());
        let Some(summary) = summary.filter(|_| self.done.is_empty() && self.open.is_none()) else { return };
        self.begin_compaction(buffer);
        self.end_compaction(buffer, &summary);
    }

    /// Pushes that more of the summary was written, without its text.
    pub(super) fn push_summary(&mut self, buffer: &mut Vec<u8>, delta: &Delta) {
        if self.summary.is_none() {
            self.begin_compaction(buffer);
        }
        self.summary.get_or_insert_default().add(delta.clone());
        let item_id = self.compaction_id();
        let body = Body::Compacting { item_id: &item_id, output_index: self.done.len() };
        self.push_event(buffer, "response.compaction.compacting", body);
    }

    /// Ends a response that is a summary. A summary that was cut off is taken as it is.
    pub(super) fn finish_summary(&mut self, buffer: &mut Vec<u8>, usage: Usage) {
        let text = match passes::summary_text(self.summary.as_ref().unwrap_or(&Output::default())) {
            Ok(text) => text,
            Err(error) => return self.fail(buffer, &error),
        };
        let earlier = self.head.compacted.get().cloned().unwrap_or_default();
        let summary = Summary { text, kept_bytes: earlier.kept_bytes, before_question: false };
        self.end_compaction(buffer, &summary);
        self.status = Status::Completed(unix_seconds());
        self.usage = Some(to_usage(passes::sum(earlier.usage, usage)));
    }

    fn begin_compaction(&mut self, buffer: &mut Vec<u8>) {
        let item = Item::Compaction { id: self.compaction_id(), encrypted_content: String::new() };
        let body = Body::Item { output_index: self.done.len(), item };
        self.push_event(buffer, "response.output_item.added", body);
    }

    fn end_compaction(&mut self, buffer: &mut Vec<u8>, summary: &Summary) {
        let item = Item::Compaction { id: self.compaction_id(), encrypted_content: summary.seal() };
        let body = Body::Item { output_index: self.done.len(), item: item.clone() };
        self.push_event(buffer, "response.output_item.done", body);
        self.done.push(item);
    }

    fn compaction_id(&self) -> String {
        format!("cmp_{}_{}", self.id_suffix(), self.done.len())
    }
}
