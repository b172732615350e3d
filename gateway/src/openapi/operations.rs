//! The operations, by path.

use ipc_proto::hub::{Download, RemovedModel};
use ipc_proto::supervisor::ModelSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::admin::settings::ServerSettings;
use crate::admin::{
    chat_wire as chats, download_wire as downloads, key_wire as keys, log_wire as logs, login_wire as login,
    provider_wire as providers, wire as admin,
};
use crate::inference::routing::Decision;
use crate::protocols::anthropic::messages::{events as message_events, wire as messages};
use crate::protocols::anthropic::{error as anthropic_error, models as anthropic_models};
use crate::protocols::embeddings::{cohere, rerank, wire as embeddings};
use crate::protocols::lmstudio;
use crate::protocols::ollama::{models as ollama_models, pull as ollama_pull, wire as ollama};
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::completions::wire as completions;
use crate::protocols::openai::decisions::wire as decisions;
use crate::protocols::openai::responses::{answer, events as response_events, wire as responses};
use crate::protocols::openai::{error, models};
use crate::protocols::prompts::wire as prompts;
use crate::store::chats::ChatSummary;
use crate::store::requests::RequestRow;

/// Writes the schema of one type.
pub(super) type Schema = fn(&mut SchemaGenerator) -> Value;

pub(super) const JSON: &str = "application/json";
pub(super) const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

/// One method of one path.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    pub(super) summary: &'static str,
    pub(super) request: Option<Schema>,
    /// The media type and the schema; `None` for plain text.
    pub(super) answer: (&'static str, Option<Schema>),
    /// The media type and the schema of one event, if the response can be a stream.
    pub(super) event: Option<(&'static str, Schema)>,
    pub(super) error: Schema,
    /// The query parameters: names and JSON types.
    pub(super) query: &'static [(&'static str, &'static str)],
}

fn schema_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

/// An operation without a request body. The response is a `T`.
fn bodyless<T: JsonSchema>(method: &'static str, path: &'static str, summary: &'static str) -> Operation {
    let (error, query) = (schema_of::<error::Body> as Schema, &[]);
    let answer = (JSON, Some(schema_of::<T> as Schema));
    Operation { path, method, summary, request: None, answer, event: None, error, query }
}

/// An `A`, or a `B` for clients of another protocol.
fn either<A: JsonSchema, B: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    json!({"anyOf": [schema_of::<A>(schemas), schema_of::<B>(schemas)]})
}

/// An operation without a request body. The response is a text of this media type.
fn text(path: &'static str, media: &'static str, summary: &'static str) -> Operation {
    Operation { answer: (media, None), ..bodyless::<()>("get", path, summary) }
}

/// A read operation of the admin API.
fn admin_read<T: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { error: schema_of::<admin::Problem>, ..bodyless::<T>("get", path, summary) }
}

/// A command of the admin API. Its request body is optional.
fn admin_command<Q: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { error: schema_of::<admin::Problem>, ..post::<Q, admin::Model>(path, summary) }
}

/// An operation with a request body `Q`. The response is a `T`.
fn post<Q: JsonSchema, T: JsonSchema>(path: &'static str, summary: &'static str) -> Operation {
    Operation { request: Some(schema_of::<Q>), ..bodyless::<T>("post", path, summary) }
}

/// A text to tokenise, or a chat request with further options.
fn tokenize(schemas: &mut SchemaGenerator) -> Value {
    let conversation =
        json!({"allOf": [schema_of::<chat::Request>(schemas), schema_of::<prompts::TokenizeChat>(schemas)]});
    json!({"anyOf": [schema_of::<prompts::Tokenize>(schemas), conversation]})
}

/// Operations that show prompts.
fn prompt_operations() -> [Operation; 7] {
    let anthropic = schema_of::<anthropic_error::Body> as Schema;
    [
        post::<chat::Request, prompts::Rendered>(
            "/v1/chat/completions/render",
            "The prompt of a conversation as its model reads it",
        ),
        post::<completions::Request, prompts::RenderedList>(
            "/v1/completions/render",
            "The prompts of a completion as their model reads them",
        ),
        post::<responses::Request, prompts::Rendered>(
            "/v1/responses/render",
            "The prompt of a response as its model reads it",
        ),
        Operation {
            error: anthropic,
            ..post::<messages::Request, prompts::Rendered>(
                "/v1/messages/render",
                "The prompt of a message as its model reads it",
            )
        },
        Operation {
            request: Some(tokenize),
            answer: (JSON, Some(either::<prompts::Tokens, prompts::PlainTokens>)),
            ..post::<prompts::Tokenize, prompts::Tokens>(
                "/tokenize",
                "Token ids of a text, or of a chat request's prompt",
            )
        },
        post::<prompts::Detokenize, prompts::Detokenized>("/detokenize", "The text of token ids"),
        post::<chat::Request, prompts::Applied>("/apply-template", "The prompt text of a chat request"),
    ]
}

/// Every operation.
pub(super) fn operations() -> Vec<Operation> {
    let mut all = Vec::new();
    all.extend(completion_operations());
    all.extend(response_operations());
    all.extend(message_operations());
    all.extend(model_operations());
    all.extend(embedding_operations());
    all.extend(prompt_operations());
    all.extend(lmstudio_operations());
    all.extend(ollama_operations());
    all.extend(server_operations());
    all.extend(admin_operations());
    all.extend(request_operations());
    all.extend(key_operations());
    all.extend(login_operations());
    all.extend(ui_operations());
    all.extend(provider_operations());
    all.extend(download_operations());
    all
}

/// Chats, completions and decisions.
fn completion_operations() -> [Operation; 3] {
    [
        Operation {
            event: Some((EVENTS, schema_of::<chat::Chunk<chat::ChunkChoice>>)),
            ..post::<chat::Request, chat::Response>("/v1/chat/completions", "Answer a conversation")
        },
        Operation {
            event: Some((EVENTS, schema_of::<completions::Response<completions::Choice>>)),
            ..post::<completions::Request, completions::Response<completions::Choice>>(
                "/v1/completions",
                "Continue a text",
            )
        },
        post::<decisions::Request, decisions::Response>("/v1/decisions", "Score given answers to questions"),
    ]
}

/// OpenAI's Responses.
fn response_operations() -> [Operation; 7] {
    [
        Operation {
            event: Some((EVENTS, schema_of::<response_events::Event>)),
            ..post::<responses::Request, answer::Response>("/v1/responses", "Make a response")
        },
        post::<responses::Request, answer::Compacted>(
            "/v1/responses/compact",
            "Replace the earlier turns of a conversation by a summary",
        ),
        post::<responses::Request, answer::Count>("/v1/responses/input_tokens", "Count a request's tokens"),
        Operation {
            event: Some((EVENTS, schema_of::<response_events::Event>)),
            query: &[("stream", "boolean"), ("starting_after", "integer")],
            ..bodyless::<answer::Response>("get", "/v1/responses/{id}", "A kept response")
        },
        bodyless::<answer::Deleted>("delete", "/v1/responses/{id}", "Forget a response"),
        bodyless::<answer::Response>(
            "post",
            "/v1/responses/{id}/cancel",
            "Stop a response made in the background",
        ),
        Operation {
            query: &[("limit", "integer"), ("after", "string"), ("order", "string")],
            ..bodyless::<answer::Page>("get", "/v1/responses/{id}/input_items", "What a response answered")
        },
    ]
}

/// Anthropic's Messages.
fn message_operations() -> [Operation; 2] {
    let anthropic = schema_of::<anthropic_error::Body> as Schema;
    [
        Operation {
            event: Some((EVENTS, schema_of::<message_events::Event>)),
            error: anthropic,
            ..post::<messages::Request, messages::Response>("/v1/messages", "Make a message")
        },
        Operation {
            error: anthropic,
            ..post::<messages::Request, messages::Count>(
                "/v1/messages/count_tokens",
                "Count a message's tokens",
            )
        },
    ]
}

/// The models, for OpenAI's and Anthropic's clients.
fn model_operations() -> [Operation; 2] {
    [
        Operation {
            answer: (JSON, Some(either::<models::List, anthropic_models::List>)),
            query: &[("limit", "integer"), ("after_id", "string"), ("before_id", "string")],
            ..bodyless::<models::List>(
                "get",
                "/v1/models",
                "Every model; Anthropic's form where anthropic-version is sent",
            )
        },
        Operation {
            answer: (JSON, Some(either::<models::Model, anthropic_models::Model>)),
            ..bodyless::<models::Model>("get", "/v1/models/{id}", "One model")
        },
    ]
}

/// The server itself.
fn server_operations() -> [Operation; 5] {
    [
        bodyless::<Value>("get", "/health", "Whether requests are taken"),
        text("/", "text/plain", "A greeting for probes, the web UI for browsers"),
        text("/metrics", "text/plain", "Counters, for Prometheus"),
        text("/docs", "text/html", "This description, for people"),
        bodyless::<Value>("get", "/openapi.json", "This description, for programs"),
    ]
}

/// Embeddings and rerank.
fn embedding_operations() -> [Operation; 4] {
    [
        post::<embeddings::Request, embeddings::Response>("/v1/embeddings", "Embed texts"),
        Operation {
            answer: (JSON, Some(either::<rerank::Response, Vec<rerank::TeiRank>>)),
            ..post::<rerank::Request, rerank::Response>("/v1/rerank", "Sort documents by relevance")
        },
        Operation {
            answer: (JSON, Some(either::<rerank::Response, Vec<rerank::TeiRank>>)),
            ..post::<rerank::Request, rerank::Response>("/v2/rerank", "The same, for Cohere's newer clients")
        },
        post::<cohere::wire::Request, cohere::wire::Response>(
            "/v2/embed",
            "Embed texts, for Cohere's clients",
        ),
    ]
}

/// LM Studio's API.
fn lmstudio_operations() -> [Operation; 5] {
    [
        bodyless::<lmstudio::List>("get", "/api/v0/models", "Every model, as LM Studio lists them"),
        bodyless::<lmstudio::Model>("get", "/api/v0/models/{id}", "One of them"),
        Operation {
            event: Some((EVENTS, schema_of::<chat::Chunk<chat::ChunkChoice>>)),
            ..post::<chat::Request, chat::Response>("/api/v0/chat/completions", "As /v1/chat/completions")
        },
        Operation {
            event: Some((EVENTS, schema_of::<completions::Response<completions::Choice>>)),
            ..post::<completions::Request, completions::Response<completions::Choice>>(
                "/api/v0/completions",
                "As /v1/completions",
            )
        },
        post::<embeddings::Request, embeddings::Response>("/api/v0/embeddings", "As /v1/embeddings"),
    ]
}

/// Ollama's API.
fn ollama_operations() -> Vec<Operation> {
    let lines = |operation: Operation, line: Schema| Operation { event: Some((LINES, line)), ..operation };
    let not_built = |method, path| bodyless::<ollama::Problem>(method, path, "Not built: always an error");
    let mut all = vec![
        lines(
            post::<ollama::ChatRequest, ollama::ChatResponse>(
                "/api/chat",
                "Answer a conversation, for Ollama's clients",
            ),
            schema_of::<ollama::ChatResponse>,
        ),
        lines(
            post::<ollama::GenerateRequest, ollama::GenerateResponse>(
                "/api/generate",
                "Answer or continue a text",
            ),
            schema_of::<ollama::GenerateResponse>,
        ),
        post::<ollama::EmbedRequest, ollama::EmbedResponse>("/api/embed", "Embed texts"),
        post::<ollama::EmbeddingsRequest, ollama::EmbeddingsResponse>("/api/embeddings", "Embed one text"),
        bodyless::<ollama_models::Tags>("get", "/api/tags", "Every model, as Ollama lists them"),
        bodyless::<ollama_models::RunningModels>("get", "/api/ps", "Every loaded model"),
        post::<ollama_models::ShowRequest, ollama_models::Show>("/api/show", "One model"),
        bodyless::<ollama_models::Version>("get", "/api/version", "The Ollama that this is like"),
        lines(
            post::<ollama_pull::PullRequest, ollama_pull::PullProgress>(
                "/api/pull",
                "Download a model of Hugging Face's hub",
            ),
            schema_of::<ollama_pull::PullProgress>,
        ),
        not_built("post", "/api/create"),
        not_built("post", "/api/copy"),
        not_built("post", "/api/push"),
        not_built("delete", "/api/delete"),
        not_built("post", "/api/blobs/{id}"),
    ];
    all.iter_mut().for_each(|operation| operation.error = schema_of::<ollama::Problem>);
    all
}

/// The request log.
fn request_operations() -> [Operation; 4] {
    const FILTER: [(&str, &str); 4] =
        [("model", "string"), ("backend", "string"), ("status", "string"), ("key", "string")];
    const PAGE: &[(&str, &str)] = &[
        FILTER[0],
        FILTER[1],
        FILTER[2],
        FILTER[3],
        ("since", "string"),
        ("after", "string"),
        ("limit", "integer"),
    ];
    const EXPORT: &[(&str, &str)] = &[
        FILTER[0],
        FILTER[1],
        FILTER[2],
        FILTER[3],
        ("since", "string"),
        ("format", "string"),
        ("content", "boolean"),
    ];
    [
        Operation {
            query: PAGE,
            ..admin_read::<admin::Requests>("/admin/v1/requests", "Ended requests, the latest first")
        },
        admin_read::<admin::RequestDetail>(
            "/admin/v1/requests/{id}",
            "One of them, with the trace of its route, and its prompt and outputs if they are stored",
        ),
        Operation {
            query: EXPORT,
            answer: (LINES, Some(schema_of::<admin::ExportedRequest>)),
            ..admin_read::<()>("/admin/v1/requests/export", "All of them as one file, JSON lines or CSV")
        },
        Operation {
            query: &FILTER,
            answer: (EVENTS, Some(schema_of::<RequestRow>)),
            ..admin_read::<()>("/admin/v1/requests/tail", "Each one from now on")
        },
    ]
}

fn admin_operations() -> [Operation; 15] {
    [
        admin_read::<admin::Pool>("/admin/v1/pool", "The memory budget and who has what of it"),
        admin_read::<admin::Models>("/admin/v1/models", "Every model, and what its processes do"),
        admin_read::<admin::Model>("/admin/v1/models/{id}", "One of them"),
        Operation {
            answer: (EVENTS, Some(admin_event)),
            ..admin_read::<()>("/admin/v1/events", "All models, then every change")
        },
        Operation {
            query: &[("after", "integer"), ("limit", "integer")],
            ..admin_read::<logs::Lines>("/admin/v1/logs", "The last lines of all processes' logs")
        },
        admin_read::<ServerSettings>(
            "/admin/v1/settings",
            "The server's settings, and where each comes from",
        ),
        Operation {
            method: "patch",
            request: Some(schema_of::<Map<String, Value>>),
            ..admin_read::<ServerSettings>("/admin/v1/settings", "Change some of them in config.toml")
        },
        admin_read::<RemovedModel>("/admin/v1/models/{id}/removal", "What its removal takes away"),
        Operation {
            method: "delete",
            ..admin_read::<RemovedModel>("/admin/v1/models/{id}", "Unload it, and remove it from disk")
        },
        admin_command::<admin::Load>("/admin/v1/models/{id}/load", "Have it served"),
        admin_command::<admin::Unload>("/admin/v1/models/{id}/unload", "Give its memory back"),
        admin_command::<admin::Restart>("/admin/v1/models/{id}/restart", "Replace its processes"),
        admin_command::<admin::Pin>("/admin/v1/models/{id}/pin", "Keep it, or no longer"),
        admin_read::<ModelSettings>("/admin/v1/models/{id}/settings", "Its settings"),
        Operation {
            method: "put",
            answer: (JSON, Some(schema_of::<admin::EffectiveSettings>)),
            ..admin_command::<ModelSettings>("/admin/v1/models/{id}/settings", "Replace its settings")
        },
    ]
}

/// API keys.
fn key_operations() -> [Operation; 4] {
    let error = schema_of::<admin::Problem> as Schema;
    [
        admin_read::<keys::ApiKeys>("/admin/v1/keys", "Every API key, without its secret"),
        Operation { error, ..post::<keys::KeyInput, keys::NewKey>("/admin/v1/keys", "Make an API key") },
        admin_read::<keys::ApiKey>("/admin/v1/keys/{id}", "One of them"),
        Operation { error, ..bodyless::<keys::ApiKey>("delete", "/admin/v1/keys/{id}", "Revoke an API key") },
    ]
}

/// The sign-in to the web UI.
fn login_operations() -> [Operation; 7] {
    let error = schema_of::<admin::Problem> as Schema;
    let session = "/admin/v1/session";
    [
        admin_read::<login::Access>(session, "Who the client is, and how it is let in"),
        Operation {
            error,
            ..post::<login::SignInInput, login::Access>(session, "Sign in; the cookie is the session")
        },
        Operation { error, ..bodyless::<login::Access>("delete", session, "Sign out") },
        Operation {
            error,
            ..post::<login::SetupInput, login::Access>(
                "/admin/v1/setup",
                "Set the password by a one-time link, and sign in",
            )
        },
        admin_read::<login::SessionList>("/admin/v1/sessions", "Every session"),
        Operation { error, ..bodyless::<Value>("delete", "/admin/v1/sessions/{id}", "End a session") },
        Operation {
            error,
            ..post::<login::PasswordInput, login::Access>(
                "/admin/v1/password",
                "Set or change the password; all other sessions end",
            )
        },
    ]
}

/// The web UI's own endpoints: its conversations, their folders, presets, and running answers.
fn ui_operations() -> [Operation; 14] {
    let error = schema_of::<admin::Problem> as Schema;
    let (chat, folder, preset) = ("/ui/v1/chats/{id}", "/ui/v1/folders/{id}", "/ui/v1/presets/{id}");
    [
        text("/ui/assets/{id}", "application/octet-stream", "A file of the web UI"),
        Operation {
            query: &[("search", "string"), ("folder", "string"), ("after", "string"), ("limit", "integer")],
            ..admin_read::<chats::ChatSummaries>("/ui/v1/chats", "Conversations of the web UI")
        },
        admin_read::<chats::Chat>(chat, "One of them"),
        Operation {
            method: "put",
            error,
            ..post::<chats::ChatInput, ChatSummary>(chat, "Store a conversation")
        },
        Operation {
            method: "patch",
            error,
            ..post::<chats::ChatMark, ChatSummary>(chat, "Rename, pin or move a conversation")
        },
        Operation { error, ..bodyless::<Value>("delete", chat, "Delete a conversation") },
        admin_read::<chats::Folders>("/ui/v1/folders", "Folders of conversations"),
        Operation {
            method: "put",
            error,
            ..post::<chats::FolderInput, chats::Folders>(folder, "Make or rename a folder")
        },
        Operation {
            error,
            ..bodyless::<chats::Folders>("delete", folder, "Delete a folder; its conversations stay")
        },
        admin_read::<chats::Presets>("/ui/v1/presets", "Presets of the web UI"),
        Operation {
            method: "put",
            error,
            ..post::<chats::PresetInput, chats::Presets>(preset, "Store a preset")
        },
        Operation { error, ..bodyless::<chats::Presets>("delete", preset, "Delete a preset") },
        admin_read::<Value>(
            "/ui/v1/answers/{id}",
            "Whether the response to an Idempotency-Key can be read again",
        ),
        Operation {
            error,
            ..bodyless::<Value>("delete", "/ui/v1/answers/{id}", "End a request by its Idempotency-Key")
        },
    ]
}

/// Providers and routes.
fn provider_operations() -> [Operation; 10] {
    let error = schema_of::<admin::Problem> as Schema;
    let one = "/admin/v1/providers/{id}";
    let put = |operation: Operation| Operation { method: "put", error, ..operation };
    [
        admin_read::<providers::ProviderViews>("/admin/v1/providers", "Every provider, without its API key"),
        Operation {
            error,
            ..post::<providers::ProviderInput, providers::ProviderView>(
                "/admin/v1/providers",
                "Make a provider",
            )
        },
        admin_read::<providers::ProviderView>(one, "One of them"),
        put(post::<providers::ProviderInput, providers::ProviderView>(one, "Replace its settings")),
        Operation { error, ..bodyless::<providers::ProviderView>("delete", one, "Remove it") },
        Operation {
            method: "post",
            ..admin_read::<admin::ProviderTest>(
                "/admin/v1/providers/{id}/test",
                "Ask a provider for its models",
            )
        },
        Operation {
            error,
            ..post::<providers::ProviderInput, admin::ProviderTest>(
                "/admin/v1/test-provider",
                "Ask a provider that is not made yet for its models",
            )
        },
        admin_read::<providers::RouteViews>("/admin/v1/routes", "The routes; the etag is their revision"),
        put(post::<providers::RouteList, providers::RouteViews>(
            "/admin/v1/routes",
            "Replace all routes that are not in config.toml; with if-match, those of that etag",
        )),
        Operation {
            error,
            ..post::<admin::Explain, Decision>(
                "/admin/v1/routes/explain",
                "Choose a route, and ask no model but those that judge a given text",
            )
        },
    ]
}

/// Downloads, and the search for what to download.
fn download_operations() -> [Operation; 5] {
    let error = schema_of::<admin::Problem> as Schema;
    let one = "/admin/v1/downloads/{id}";
    [
        admin_read::<downloads::DownloadList>("/admin/v1/downloads", "Every download"),
        Operation {
            error,
            ..post::<downloads::NewDownload, Download>("/admin/v1/downloads", "Download a model of the hub")
        },
        Operation {
            method: "patch",
            error,
            ..post::<downloads::ChangedDownload, Download>(one, "Pause it, let it go on, or change its class")
        },
        Operation {
            error,
            query: &[("keep", "boolean")],
            ..bodyless::<Download>("delete", one, "Cancel it, and give its room back")
        },
        Operation {
            query: &[
                ("query", "string"),
                ("author", "string"),
                ("task", "string"),
                ("sort", "string"),
                ("limit", "integer"),
            ],
            ..admin_read::<downloads::FoundModels>("/admin/v1/hub/search", "Search the hub for MLX models")
        },
    ]
}

/// The data of one event of the admin API.
fn admin_event(schemas: &mut SchemaGenerator) -> Value {
    let forms = [
        schema_of::<Vec<admin::Model>>(schemas),
        schema_of::<admin::Change>(schemas),
        schema_of::<admin::FilesChange>(schemas),
        schema_of::<admin::PressureChange>(schemas),
        schema_of::<downloads::DownloadNews>(schemas),
    ];
    json!({"anyOf": forms})
}
