use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::generate::*;
use crate::stream::*;
use crate::supervisor::*;
use crate::worker::*;
use crate::{Disposition, Error, ErrorKind, Field, Origin, Resource};

fn kind() -> impl Strategy<Value = ErrorKind> {
    prop::sample::select(vec![
        ErrorKind::InvalidRequest,
        ErrorKind::ContextLength,
        ErrorKind::TooLarge,
        ErrorKind::Unauthorized,
        ErrorKind::PermissionDenied,
        ErrorKind::NotFound(Resource::Model),
        ErrorKind::NotFound(Resource::Response),
        ErrorKind::NotFound(Resource::PreviousResponse),
        ErrorKind::ModelBroken,
        ErrorKind::Overloaded,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::Upstream,
        ErrorKind::Timeout,
        ErrorKind::Cancelled,
        ErrorKind::Internal,
    ])
}

fn origin() -> impl Strategy<Value = Origin> {
    let all =
        [Origin::Client, Origin::Gateway, Origin::Supervisor, Origin::Worker, Origin::Hub, Origin::Upstream];
    prop::sample::select(all.to_vec())
}

fn disposition() -> impl Strategy<Value = Disposition> {
    prop_oneof![
        Just(Disposition::Final),
        Just(Disposition::RetryElsewhere),
        any::<Duration>().prop_map(Disposition::RetryAfter),
    ]
}

fn field() -> impl Strategy<Value = Field> {
    let plain = vec![
        Field::Model,
        Field::Messages,
        Field::Prompt,
        Field::Suffix,
        Field::Tools,
        Field::ToolChoice,
        Field::OutputFormat,
        Field::Choices,
        Field::StopTokens,
        Field::LogitBias,
        Field::Tokens,
        Field::Inputs,
        Field::Dimensions,
        Field::PromptName,
        Field::Generated,
    ];
    prop_oneof![
        prop::sample::select(plain),
        any::<u32>().prop_map(Field::Input),
        any::<u32>().prop_map(Field::Document),
        any::<String>().prop_map(Field::Named),
    ]
}

fn error() -> impl Strategy<Value = Error> {
    let blame = (prop::option::of(field()), prop::option::of(capacity()));
    (kind(), origin(), disposition(), any::<String>(), blame).prop_map(
        |(kind, origin, disposition, message, (field, capacity))| Error {
            kind,
            origin,
            disposition,
            message,
            field,
            capacity,
        },
    )
}

fn capacity() -> impl Strategy<Value = Capacity> {
    any::<(u32, u32)>().prop_map(|(limit, free)| Capacity { limit, free })
}

fn image() -> impl Strategy<Value = Image> {
    let source = prop_oneof![
        vec(any::<u8>(), 0..40).prop_map(|bytes| ImageSource::Data(bytes.into())),
        any::<String>().prop_map(ImageSource::Url),
        "[a-z/]{0,40}".prop_map(|path| ImageSource::File(path.into())),
    ];
    let detail = prop::sample::select(vec![ImageDetail::Auto, ImageDetail::Low, ImageDetail::High]);
    (source, detail).prop_map(|(source, detail)| Image { source, detail })
}

fn content() -> impl Strategy<Value = Content> {
    (any::<String>(), prop::option::of(image())).prop_map(|(text, image)| {
        let mut content = Content::from(text);
        image.into_iter().for_each(|image| content.push_image(image));
        content
    })
}

fn message() -> impl Strategy<Value = Message> {
    let roles = vec![Role::System, Role::User, Role::Assistant, Role::Tool];
    (prop::sample::select(roles), content(), any::<Option<String>>()).prop_flat_map(
        |(role, content, name)| {
            let calls = vec(tool_call(), 0..3);
            (calls, any::<Option<String>>(), any::<Option<String>>()).prop_map(
                move |(tool_calls, reasoning, tool_call_id)| {
                    let (content, name) = (content.clone(), name.clone());
                    Message { role, content, name, reasoning, tool_calls, tool_call_id }
                },
            )
        },
    )
}

fn tool_call() -> impl Strategy<Value = ToolCall> {
    any::<(String, String, String)>().prop_map(|(id, name, arguments)| ToolCall { id, name, arguments })
}

fn tool() -> impl Strategy<Value = Tool> {
    let input = prop_oneof![
        any::<(Option<String>, bool)>().prop_map(|(schema, strict)| ToolInput::Json { schema, strict }),
        Just(ToolInput::Text(None)),
        any::<String>().prop_map(|text| ToolInput::Text(Some(TextGrammar::Lark(text)))),
        any::<String>().prop_map(|text| ToolInput::Text(Some(TextGrammar::Regex(text)))),
    ];
    let texts = any::<(String, Option<String>)>();
    (texts, input).prop_map(|((name, description), input)| Tool { name, description, input })
}

fn tool_changes() -> impl Strategy<Value = ToolChanges> {
    (vec(tool(), 0..2), vec(any::<String>(), 0..2))
        .prop_map(|(added, withdrawn)| ToolChanges { added, withdrawn })
}

fn tools() -> impl Strategy<Value = (Vec<Tool>, ToolChoice, bool)> {
    let choice = prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        any::<String>().prop_map(ToolChoice::Named),
    ];
    (vec(tool(), 0..3), choice, any::<bool>())
}

fn prompt() -> impl Strategy<Value = Prompt> {
    let tools = (tools(), tool_changes());
    let chat = (vec(message(), 0..4), tools, any::<Option<String>>(), any::<(bool, Option<bool>, bool)>())
        .prop_map(
            |(
                messages,
                ((tools, tool_choice, parallel_calls), tool_changes),
                template_kwargs,
                (continues, sanitize_control_tokens, truncates),
            )| {
                Prompt::Chat(ChatPrompt {
                    messages,
                    tools,
                    tool_changes,
                    tool_choice,
                    parallel_calls,
                    template_kwargs,
                    continues,
                    sanitize_control_tokens,
                    truncates,
                })
            },
        );
    prop_oneof![
        any::<String>().prop_map(Prompt::Text),
        vec(any::<u32>(), 0..9).prop_map(Prompt::Tokens),
        (".{0,9}", ".{0,9}").prop_map(|(before, after)| Prompt::Infill { before, after }),
        chat
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let number = prop::option::of(-2.0f32..2.0);
    let filters =
        (number.clone(), number.clone(), any::<Option<u32>>(), number.clone(), any::<Option<u64>>());
    let penalties = (number.clone(), number.clone(), number, vec((any::<u32>(), -9.0f32..9.0), 0..3));
    (filters, penalties).prop_map(
        |(
            (temperature, top_p, top_k, min_p, seed),
            (repetition_penalty, presence_penalty, frequency_penalty, logit_bias),
        )| Sampling {
            temperature,
            top_p,
            top_k,
            min_p,
            seed,
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            logit_bias,
        },
    )
}

fn constraint() -> impl Strategy<Value = Constraint> {
    prop_oneof![
        Just(Constraint::JsonObject),
        any::<String>().prop_map(Constraint::JsonSchema),
        any::<String>().prop_map(Constraint::Regex),
        any::<String>().prop_map(Constraint::Lark),
    ]
}

fn generation() -> impl Strategy<Value = Generation> {
    let output = (prompt(), sampling(), prop::option::of(constraint()));
    let logprobs =
        any::<Option<(u8, bool)>>().prop_map(|wanted| wanted.map(|(top, prompt)| Logprobs { top, prompt }));
    let ends = (vec(any::<String>(), 0..4), vec(any::<u32>(), 0..3), any::<bool>());
    let limits = any::<(Option<u32>, u32, Option<u32>, Option<u32>, u32)>();
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    let rest = (priority, any::<bool>());
    (output, logprobs, ends, limits, rest).prop_map(|(output, logprobs, ends, limits, rest)| {
        let (priority, report_progress) = rest;
        let (prompt, sampling, constraint) = output;
        let (stop, stop_tokens, ignore_eos) = ends;
        let (max_tokens, min_tokens, reasoning_budget, time_limit_ms, scored_from) = limits;
        Generation {
            prompt,
            sampling,
            stop,
            max_tokens,
            min_tokens,
            ignore_eos,
            stop_tokens,
            reasoning_budget,
            logprobs,
            scored_from,
            constraint,
            priority,
            time_limit_ms,
            report_progress,
        }
    })
}

fn choice() -> impl Strategy<Value = Choice> {
    (any::<(u64, u32)>(), vec(any::<u32>(), 0..9)).prop_map(|((id, index), generated)| Choice {
        id: ChoiceId(id),
        index,
        generated,
    })
}

fn submission() -> impl Strategy<Value = Submission> {
    (any::<(String, String, u64)>(), generation(), vec(choice(), 1..4)).prop_map(
        |((request_id, cache_scope, tenant), generation, choices)| Submission {
            request_id,
            cache_scope,
            tenant,
            generation,
            choices,
        },
    )
}

fn logprobs() -> impl Strategy<Value = Vec<TokenLogprob>> {
    let one = || (vec(any::<u8>(), 0..5), prop::option::of(-50.0f32..0.0));
    let one = move || one().prop_map(|(bytes, logprob)| Alternative { bytes, logprob });
    vec((one(), vec(one(), 0..3)).prop_map(|(token, top)| TokenLogprob { token, top }), 0..3)
}

fn event() -> impl Strategy<Value = Event> {
    let usage = any::<(u32, u32, u32, u32, u32)>().prop_map(|(p, c, w, o, r)| Usage {
        prompt_tokens: p,
        cached_tokens: c,
        cache_written_tokens: w,
        completion_tokens: o,
        reasoning_tokens: r,
    });
    let reason = prop_oneof![
        Just(FinishReason::Stop),
        Just(FinishReason::ToolCalls),
        Just(FinishReason::Length),
        any::<u8>().prop_map(FinishReason::StopText),
    ];
    let part = prop_oneof![
        any::<String>().prop_map(Part::Text),
        any::<String>().prop_map(Part::Reasoning),
        any::<(String, String)>().prop_map(|(id, name)| Part::Call { id, name }),
        any::<String>().prop_map(Part::Arguments),
    ];
    let delta = (any::<u32>(), vec(any::<u32>(), 0..3), vec(part, 0..3), logprobs())
        .prop_map(|(index, tokens, parts, logprobs)| Delta { index, tokens, parts, logprobs });
    let progress = any::<[u32; 4]>().prop_map(|[total, cached, processed, elapsed_ms]| PromptProgress {
        total,
        cached,
        processed,
        elapsed_ms,
    });
    prop_oneof![
        progress.prop_map(Event::Progress),
        logprobs().prop_map(|tokens| Event::Prompt { tokens }),
        delta.prop_map(Event::Delta),
        (reason, usage).prop_map(|(reason, usage)| Event::Finished { reason, usage }),
        error().prop_map(Event::Failed),
    ]
}

fn frame() -> impl Strategy<Value = StreamFrame> {
    let events = vec((any::<u64>().prop_map(ChoiceId), event()), 0..8);
    let step =
        (any::<u64>(), events).prop_map(|(step, events)| StreamFrame::Step(StepFrame { step, events }));
    prop_oneof![Just(StreamFrame::Welcome), step]
}

fn model_info() -> impl Strategy<Value = ModelInfo> {
    let kind = prop_oneof![Just(ModelKind::Generate), Just(ModelKind::Embed), Just(ModelKind::Rerank)];
    let bound = (any::<u32>(), vec(any::<u8>(), 0..4), any::<bool>())
        .prop_map(|(bytes, untokenized, skips_space)| TokenBound { bytes, untokenized, skips_space });
    let sizes = (any::<u32>(), any::<u64>());
    (any::<String>(), kind, sizes, any::<(bool, bool)>(), proptest::option::of(bound)).prop_map(
        |(architecture, kind, (max_context, weight_bytes), flags, token_bound)| ModelInfo {
            architecture,
            kind,
            max_context,
            has_chat_template: flags.0,
            weight_bytes,
            token_bound,
            keeps_user_turns: flags.1,
        },
    )
}

fn address() -> impl Strategy<Value = WorkerAddress> {
    ("[a-z/]{0,40}", any::<u64>(), model_info()).prop_map(|(socket, incarnation, model)| WorkerAddress {
        socket: PathBuf::from(socket),
        incarnation,
        model,
    })
}

fn state() -> impl Strategy<Value = ModelState> {
    prop_oneof![
        Just(ModelState::Stopped),
        Just(ModelState::Queued),
        any::<(u64, u64)>().prop_map(|(loaded, total)| ModelState::Loading { loaded, total }),
        Just(ModelState::Ready),
        Just(ModelState::Draining),
        any::<String>().prop_map(ModelState::Failed),
    ]
}

fn worker_entry() -> impl Strategy<Value = WorkerEntry> {
    let states = vec![
        WorkerState::Stopped,
        WorkerState::Starting,
        WorkerState::Ready,
        WorkerState::Draining,
        WorkerState::Stopping,
        WorkerState::Failed,
    ];
    let numbers = any::<(u64, Option<u32>, u64, u64, u32, u32, u64, Option<u64>, Option<u64>)>();
    (prop::sample::select(states), numbers).prop_map(|(state, n)| {
        let (incarnation, pid, footprint, lease, running, waiting, steps, idle_ms, expires_ms) = n;
        WorkerEntry {
            incarnation,
            pid,
            state,
            footprint,
            lease,
            running,
            waiting,
            steps,
            idle_ms,
            expires_ms,
        }
    })
}

fn details() -> impl Strategy<Value = Details> {
    let can = any::<[bool; 5]>().prop_map(|[chat, tools, reasoning, vision, embeddings]| Capabilities {
        chat,
        tools,
        reasoning,
        vision,
        embeddings,
    });
    let texts = ("[a-z/]{0,40}", any::<(String, String, [Option<String>; 3])>());
    let kinds = prop::sample::select(vec![ModelKind::Generate, ModelKind::Embed, ModelKind::Rerank]);
    let controls = vec![ReasoningControl::Fixed, ReasoningControl::Switch, ReasoningControl::Effort];
    let kinds = (kinds, any::<bool>(), prop::sample::select(controls));
    (texts, can, any::<(u64, Option<u32>, u64, u64)>(), kinds).prop_map(
        |((folder, texts), capabilities, numbers, (kind, unserved, reasoning_control))| {
            let (architecture, quantization, [problem, chat_problem, backend]) = texts;
            let (parameters, context, weight_bytes, kv_bytes_per_token) = numbers;
            Details {
                folder: PathBuf::from(folder),
                backend,
                architecture,
                kind,
                unserved,
                parameters,
                quantization,
                context,
                capabilities,
                reasoning_control,
                weight_bytes,
                kv_bytes_per_token,
                problem,
                chat_problem,
            }
        },
    )
}

fn exit() -> impl Strategy<Value = Exit> {
    let how = any::<(String, Option<i32>, Option<i32>, bool)>();
    (any::<(u64, u64)>(), how, vec(any::<String>(), 0..3)).prop_map(|((at, incarnation), how, last_words)| {
        let (status, code, signal, expected) = how;
        Exit { at, incarnation, status, code, signal, expected, last_words }
    })
}

fn entry() -> impl Strategy<Value = ModelEntry> {
    let names = (any::<String>(), vec(any::<String>(), 0..3));
    let rest =
        (any::<(u64, u64, u32, bool, Option<u32>)>(), vec(worker_entry(), 0..3), prop::option::of(exit()));
    (names, details(), state(), rest).prop_map(|((id, aliases), details, state, rest)| {
        let ((created, bytes, waiting, pinned, context), workers, last_exit) = rest;
        ModelEntry {
            id,
            aliases,
            created,
            bytes,
            details,
            state,
            context,
            workers,
            waiting,
            pinned,
            last_exit,
        }
    })
}

fn pool() -> impl Strategy<Value = Pool> {
    let pressure = prop::sample::select(vec![Pressure::Normal, Pressure::Warn, Pressure::Critical]);
    let lease = (any::<(String, u64, u64, u64, u64, u64, u64)>(), health()).prop_map(|(numbers, health)| {
        let (model, incarnation, bytes, weights, kv, transient, footprint) = numbers;
        Lease { model, incarnation, bytes, weights, kv, transient, footprint, health }
    });
    let names = any::<(Vec<String>, Vec<String>)>();
    (any::<[u64; 6]>(), pressure, vec(lease, 0..3), names).prop_map(
        |(numbers, pressure, leases, (queue, unknown))| {
            let [budget, leased, measured, physical, available, evictions] = numbers;
            Pool {
                budget,
                leased,
                measured,
                physical,
                available,
                pressure,
                leases,
                queue,
                evictions,
                hidden: unknown.clone(),
                unknown,
            }
        },
    )
}

fn changes() -> impl Strategy<Value = Changes> {
    let names = any::<(u64, u64, String, String)>();
    let subject = prop_oneof![
        Just(Subject::Workers),
        any::<bool>().prop_map(|there| Subject::Files { there }),
        Just(Subject::Pressure(Pressure::Warn)),
    ];
    let change =
        (names, state(), vec(address(), 0..3), subject).prop_map(|(names, state, ready, subject)| {
            let (revision, at_ms, model, note) = names;
            Change { revision, at_ms, subject, model, state, ready, note }
        });
    (any::<u64>(), any::<bool>(), vec(change, 0..3)).prop_map(|(revision, lost, changes)| Changes {
        revision,
        lost,
        changes,
    })
}

fn keep_alive() -> impl Strategy<Value = KeepAlive> {
    prop_oneof![Just(KeepAlive::Default), any::<u32>().prop_map(KeepAlive::Seconds), Just(KeepAlive::Forever)]
}

fn want() -> impl Strategy<Value = Want> {
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    (any::<String>(), prop::option::of(keep_alive()), priority, any::<Option<u64>>())
        .prop_map(|(model, keep_alive, priority, lost)| Want { model, keep_alive, priority, lost })
}

fn settings() -> impl Strategy<Value = ModelSettings> {
    let priority = prop::sample::select(vec![Priority::High, Priority::Normal, Priority::Low]);
    let numbers = any::<(Option<u32>, Option<u32>, Option<u32>, Option<u32>, u32, u32)>();
    let formats = any::<(Option<String>, Option<String>, Option<String>, Option<String>)>();
    (vec(any::<String>(), 0..3), any::<(bool, bool, bool)>(), priority, numbers, formats).prop_map(
        |(
            aliases,
            (pin, preload, sanitize_control_tokens),
            priority,
            numbers,
            (tool_format, reasoning_format, draft_model, adapter),
        )| {
            let (context, kv_mib, max_batch, idle_seconds, replicas, draft_tokens) = numbers;
            ModelSettings {
                aliases,
                context,
                kv_mib,
                max_batch,
                pin,
                preload,
                idle_seconds,
                priority,
                replicas,
                draft_tokens,
                draft_model,
                adapter: adapter.map(PathBuf::from),
                tool_format,
                reasoning_format,
                sanitize_control_tokens,
            }
        },
    )
}

fn health() -> impl Strategy<Value = Health> {
    let prefix =
        any::<[u64; 5]>().prop_map(|[hits, misses, misses_after_eviction, evictions, last_miss_at]| {
            PrefixStatistics { hits, misses, misses_after_eviction, evictions, last_miss_at }
        });
    let memory = any::<(u64, u64, u64)>().prop_map(|(weights, kv_used, peak)| Memory {
        weights,
        kv_used,
        peak,
        ..Memory::default()
    });
    let drafts = any::<(u64, u64)>().prop_map(|(proposed, accepted)| DraftStatistics { proposed, accepted });
    (any::<(u64, u32, u32, u32, u32, u32)>(), prefix, memory, drafts).prop_map(
        |(
            (steps, running, waiting, kv_blocks_used, kv_blocks_total, max_context),
            prefix,
            memory,
            drafts,
        )| Health {
            steps,
            running,
            waiting,
            kv_blocks_used,
            kv_blocks_total,
            max_context,
            prefix,
            drafts,
            memory,
        },
    )
}

/// A message passes the framed codec unchanged, whole and from a buffer that arrives in two pieces.
fn round_trip<T>(message: &T, cut: usize)
where
    T: Serialize + DeserializeOwned + PartialEq + Clone + std::fmt::Debug,
{
    let mut codec = Bincode::<T, T>::default();
    let mut wire = BytesMut::new();
    codec.encode(message.clone(), &mut wire).unwrap();
    let whole = wire.clone();
    let mut arriving = wire.split_to(cut % whole.len());
    assert!(codec.decode(&mut arriving).unwrap().is_none(), "a part of a frame is no message");
    arriving.extend_from_slice(&wire);
    assert_eq!(codec.decode(&mut arriving).unwrap().as_ref(), Some(message));
    assert!(arriving.is_empty());
    // Every proper prefix of the message itself is an error, never a message and never a panic.
    let bytes = encode(message).unwrap();
    for end in 0..bytes.len().min(200) {
        assert!(decode::<T>(&bytes[..end]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn submissions_round_trip(m in submission(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn frames_round_trip(m in frame(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn hellos_round_trip(id: u64, cut: usize) { round_trip(&StreamHello { stream: StreamId(id) }, cut); }
    #[test]
    fn errors_round_trip(m in error(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn addresses_round_trip(m in address(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn entries_round_trip(m in entry(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn pools_round_trip(m in pool(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn changes_round_trip(m in changes(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn settings_round_trip(m in settings(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn progress_round_trips(loaded: u64, total: u64, cut: usize) { round_trip(&LoadProgress { loaded, total }, cut); }
    #[test]
    fn wants_round_trip(m in want(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn healths_round_trip(m in health(), cut: usize) { round_trip(&m, cut); }
    #[test]
    fn results_round_trip(prompt_tokens: u32, capacity in capacity(), e in error(), cut: usize) {
        round_trip(&Ok::<_, Error>(Accepted { prompt_tokens, capacity }), cut);
        round_trip(&Err::<Accepted, _>(e), cut);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..512)) {
        let _ = decode::<Submission>(&bytes);
        let _ = decode::<StreamFrame>(&bytes);
        let _ = decode::<Vec<ModelEntry>>(&bytes);
        let _ = decode::<tarpc::ClientMessage<WorkerRequest>>(&bytes);
        let _ = decode::<tarpc::Response<SupervisorResponse>>(&bytes);
        let mut codec = Bincode::<StreamFrame, ()>::default();
        let mut wire = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = codec.decode(&mut wire) {}
    }

    #[test]
    fn flipped_bits_never_panic(m in frame(), at: usize, bit in 0u8..8) {
        let mut bytes = encode(&m).unwrap();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = decode::<StreamFrame>(&bytes);
    }
}

#[test]
fn control_calls_round_trip() {
    let call = tarpc::ClientMessage::Request(tarpc::Request {
        context: tarpc::context::current(),
        id: 7,
        message: SupervisorRequest::EnsureReady { want: Want::model("a/b") },
    });
    let bytes = encode(&call).unwrap();
    match decode(&bytes).unwrap() {
        tarpc::ClientMessage::Request(tarpc::Request { id: 7, message, .. }) => match message {
            SupervisorRequest::EnsureReady { want } => assert_eq!(want, Want::model("a/b")),
            other => panic!("another call: {other:?}"),
        },
        other => panic!("another message: {other:?}"),
    }
}

#[test]
fn claimed_length_allocates_nothing() {
    // A string said to be 2^60 bytes long: refused by the limit, not by running out of memory.
    let mut bytes = vec![253];
    bytes.extend_from_slice(&(1u64 << 60).to_le_bytes());
    assert!(decode::<String>(&bytes).is_err());
    assert!(decode::<Vec<u64>>(&bytes).is_err());
    // One byte under the limit in claimed length, ten bytes in fact.
    let mut bytes = vec![252];
    bytes.extend_from_slice(&(MAX_FRAME_BYTES as u32 - 1).to_le_bytes());
    bytes.extend_from_slice(b"short");
    assert!(decode::<String>(&bytes).is_err());
}

#[test]
fn oversized_frames_are_refused_by_their_length() {
    let mut codec = Bincode::<String, String>::default();
    let mut wire = BytesMut::from(&(MAX_FRAME_BYTES as u32 + 1).to_be_bytes()[..]);
    assert_eq!(codec.decode(&mut wire).unwrap_err().kind(), io::ErrorKind::InvalidData);
    let error = codec.encode("x".repeat(MAX_FRAME_BYTES + 1), &mut BytesMut::new()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn trailing_bytes_are_an_error() {
    let mut bytes = encode(&StreamId(3)).unwrap();
    bytes.push(0);
    assert!(decode::<StreamId>(&bytes).unwrap_err().to_string().contains("1 bytes left over"));
}
