//! `GET /admin/v1/requests/export`: the request log as one file.

use std::fmt;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use futures::stream::{self, StreamExt};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde::Deserialize;

use super::{filter, refused};
use crate::access::Tenant;
use crate::admin::wire::{ExportQuery, ExportedRequest, RequestQuery};
use crate::protocols::error::ApiError;
use crate::store::Db;
use crate::store::requests::{RequestFilter, RequestRow};

/// Rows that are in memory at once.
const PAGE: u32 = 500;
/// The same with their contents, which are up to a megabyte each.
const CONTENT_PAGE: u32 = 25;

/// The form of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// A table with a line of names, as in RFC 4180.
    Csv,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
        })
    }
}

/// `GET /admin/v1/requests/export`: the latest first. Only administrators get stored prompts and outputs.
///
/// # Errors
/// An invalid filter; the database refuses.
pub async fn export(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    query: Result<Query<ExportQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|e| Error::invalid("format", e.body_text()))?;
    let format = query.format;
    if query.content && !tenant.is_admin() {
        let text = "content: stored prompts and outputs need an API key of the scope admin";
        return Err(Error::new(ErrorKind::PermissionDenied, Origin::Client, text).into());
    }
    let mut pages = Pages::new(db, query)?;
    // Shows whether the database answers, while the response can still be an error.
    let first = pages.next().await?;
    let rest = stream::try_unfold(pages, Pages::advance);
    let body = Body::from_stream(stream::iter(first.map(Ok)).chain(rest));
    let media_type = match format {
        Format::Jsonl => "application/x-ndjson",
        Format::Csv => "text/csv; charset=utf-8",
    };
    let name = format!("attachment; filename=\"requests-{}.{format}\"", Utc::now().format("%Y-%m-%d"));
    Ok(([(CONTENT_TYPE, media_type.to_owned()), (CONTENT_DISPOSITION, name)], body).into_response())
}

/// The pages of an export, in order.
pub struct Pages {
    db: Db,
    format: Format,
    has_content: bool,
    /// Selects the rows after the last page.
    filter: RequestFilter,
    is_first: bool,
    is_last: bool,
}

impl Pages {
    /// All pages of an export.
    ///
    /// # Errors
    /// An invalid filter.
    pub fn new(db: Db, query: ExportQuery) -> Result<Self> {
        let ExportQuery { format, content: has_content, model, backend, status, key, since } = query;
        if has_content && format == Format::Csv {
            let text = "content: a table has no prompts and outputs; ask for jsonl";
            return Err(Error::invalid("content", text));
        }
        let query = RequestQuery { model, backend, status, key, since, ..RequestQuery::default() };
        Ok(Self { db, format, has_content, filter: filter(query)?, is_first: true, is_last: false })
    }

    async fn advance(mut self) -> Result<Option<(Vec<u8>, Self)>> {
        Ok(self.next().await?.map(|page| (page, self)))
    }

    /// The next page.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.is_last {
            return Ok(None);
        }
        let most = if self.has_content { CONTENT_PAGE } else { PAGE };
        let rows = self.db.requests(&self.filter, most).await.map_err(|error| refused(&error))?;
        self.is_last = rows.len() < most as usize;
        self.filter.after = rows.last().map(|row| (row.started_at_ms, row.id.clone()));
        let is_first = std::mem::take(&mut self.is_first);
        match self.format {
            Format::Jsonl => lines(self.with_contents(rows).await?).map(Some),
            Format::Csv => table(&rows, is_first).map(Some),
        }
    }

    async fn with_contents(&self, rows: Vec<RequestRow>) -> Result<Vec<ExportedRequest>> {
        let ids: Vec<&str> = rows.iter().filter(|_| self.has_content).map(|row| &*row.id).collect();
        let mut contents = self.db.contents(&ids).await.map_err(|error| refused(&error))?;
        let exported = rows.into_iter().map(|row| {
            let content = contents.remove(&row.id);
            ExportedRequest { row, content }
        });
        Ok(exported.collect())
    }
}

fn lines(rows: Vec<ExportedRequest>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, &row).map_err(|e| unwritten(&e))?;
        text.push(b'\n');
    }
    Ok(text)
}

fn table(rows: &[RequestRow], has_names: bool) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(has_names).from_writer(Vec::new());
    for row in rows {
        writer.serialize(without_formulas(row.clone())).map_err(|e| unwritten(&e))?;
    }
    writer.into_inner().map_err(|e| unwritten(&e))
}

/// A row whose texts no spreadsheet takes for formulas: clients choose some of them.
fn without_formulas(mut row: RequestRow) -> RequestRow {
    let RequestRow { id, model, used_model, route, key_name, sender, session, notes, .. } = &mut row;
    let optional = [used_model, route, key_name, sender, session, notes].into_iter().flatten();
    for text in optional.chain([id, model]) {
        if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
            text.insert(0, '\'');
        }
    }
    row
}

fn unwritten(error: &dyn fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, Origin::Gateway, format!("a record of a request: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::content::StoredContent;
    use crate::inference::record::Record;
    use crate::store::contents::ContentRow;

    async fn exported(query: ExportQuery, records: &[Record]) -> String {
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        for batch in records.chunks(500).filter(|batch| !batch.is_empty()) {
            db.insert_requests(batch).await.unwrap();
        }
        let mut pages = Pages::new(db, query).unwrap();
        let mut text = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            text.extend(page);
        }
        String::from_utf8(text).unwrap()
    }

    #[tokio::test]
    async fn export_has_each_row_once_over_all_pages() {
        let records: Vec<_> = (0..1200).map(|at| Record::example(&format!("{at:04}"), at / 7)).collect();
        let text = exported(ExportQuery { format: Format::Csv, ..ExportQuery::default() }, &records).await;
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("id,started_at_ms,endpoint,model,"));
        let ids: Vec<_> = lines.map(|line| line.split(',').next().unwrap().to_owned()).collect();
        let expected: Vec<_> = (0..1200).rev().map(|at| format!("{at:04}")).collect();
        assert_eq!(ids, expected);
    }

    #[tokio::test]
    async fn export_obeys_the_filter() {
        let other = Record { model: "other".into(), ..Record::example("b", 2) };
        let query = ExportQuery { model: Some("other".into()), ..ExportQuery::default() };
        let text = exported(query, &[Record::example("a", 1), other]).await;
        let row: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&row["id"], &row["completion_tokens"]), (&"b".into(), &2.into()));
    }

    #[tokio::test]
    async fn contents_are_exported_only_if_asked_for_and_not_in_tables() {
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        let ids: Vec<String> = (0..60).map(|at| format!("{at:02}")).collect();
        let records: Vec<_> = ids.iter().map(|id| Record::example(id, 5)).collect();
        db.insert_requests(&records).await.unwrap();
        let content = StoredContent { request: "a prompt".into(), ..StoredContent::default() };
        let row = ContentRow { request_id: "07".into(), started_at_ms: 5, content };
        db.insert_contents(&[row]).await.unwrap();
        for content in [false, true] {
            let query = ExportQuery { content, ..ExportQuery::default() };
            let mut pages = Pages::new(db.clone(), query).unwrap();
            let mut text = String::new();
            while let Some(page) = pages.next().await.unwrap() {
                text.push_str(str::from_utf8(&page).unwrap());
            }
            assert_eq!((text.lines().count(), text.matches("a prompt").count()), (60, usize::from(content)));
        }
        let query = ExportQuery { content: true, format: Format::Csv, ..ExportQuery::default() };
        assert!(Pages::new(db, query).err().unwrap().message.contains("jsonl"));
    }

    #[tokio::test]
    async fn empty_log_is_an_empty_file() {
        assert_eq!(exported(ExportQuery::default(), &[]).await, "");
    }

    #[test]
    fn table_quotes_texts_and_disarms_formulas() {
        let row = RequestRow {
            model: "=1+1".into(),
            notes: Some("{\"a\": \"b, c\"}".into()),
            ..RequestRow::example()
        };
        let text = String::from_utf8(table(&[row], false).unwrap()).unwrap();
        assert!(text.contains(",'=1+1,"), "{text}");
        assert!(text.contains(r#","{""a"": ""b, c""}","#), "{text}");
    }
}
