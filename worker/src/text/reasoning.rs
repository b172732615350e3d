//! Separates a model's reasoning from its answer: text between two tags at the beginning of the output.
//!
//! A model may reason although its prompt opens no reasoning. Its closing tag is then alone. The text before it has gone out as
//! answer, but the tag does not.

use clap::ValueEnum;

use super::tool_parser::marker_buffer::MarkerBuffer;

/// How a model marks its reasoning. gpt-oss uses channels instead: see [`super::tool_parser::harmony`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum ReasoningFormat {
    /// Not at all.
    None,
    /// `<think>…</think>`: DeepSeek-R1, Qwen3, SmolLM3.
    Think,
    /// `[THINK]…[/THINK]`: Magistral, Ministral 3.
    MistralThink,
    /// `<seed:think>…</seed:think>`: Seed-OSS.
    SeedThink,
    /// `<think>…</think><response>…</response>`: Granite 3.
    Granite,
    /// `<|START_THINKING|>…<|END_THINKING|><|START_RESPONSE|>…<|END_RESPONSE|>`: Command R7B, Command A.
    Cohere,
    /// `<|channel>thought…<channel|>`: Gemma 4.
    Gemma,
}

impl ReasoningFormat {
    /// The format that a chat template shows.
    pub fn detect(template: &str) -> Self {
        Self::detect_with_evidence(template).0
    }

    /// The format that a chat template shows, and the text in the template that shows it.
    pub fn detect_with_evidence(template: &str) -> (Self, Option<&'static str>) {
        let tags = [
            (Self::MistralThink, "[THINK]"),
            (Self::SeedThink, "<seed:think>"),
            (Self::Cohere, "<|START_THINKING|>"),
            (Self::Gemma, "<|channel>"),
            (Self::Granite, "<response></response>"),
            (Self::Think, "</think>"),
            (Self::Think, "<think>"),
        ];
        match tags.into_iter().find(|(_, tag)| template.contains(tag)) {
            Some((format, tag)) => (format, Some(tag)),
            None => (Self::None, None),
        }
    }

    /// The opening and the closing tag.
    pub fn tags(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None => None,
            Self::Think | Self::Granite => Some(("<think>", "</think>")),
            Self::MistralThink => Some(("[THINK]", "[/THINK]")),
            Self::SeedThink => Some(("<seed:think>", "</seed:think>")),
            Self::Cohere => Some(("<|START_THINKING|>", "<|END_THINKING|>")),
            Self::Gemma => Some(("<|channel>thought", "<channel|>")),
        }
    }

    /// Tags, or parts of tags, that are special tokens in some models. The detokenizer would drop those.
    pub fn special_markers(self) -> Vec<&'static str> {
        match (self, self.tags()) {
            (Self::Gemma, _) => vec!["<|channel>", "<channel|>"],
            (_, Some((open, close))) => vec![open, close],
            (_, None) => Vec::new(),
        }
    }

    /// The tags around the answer, which do not belong to it.
    fn answer_tags(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Granite => Some(("<response>", "</response>")),
            Self::Cohere => Some(("<|START_RESPONSE|>", "<|END_RESPONSE|>")),
            Self::None | Self::Think | Self::MistralThink | Self::SeedThink | Self::Gemma => None,
        }
    }
}

/// The section of the output that a text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the two sections are self-evident")]
pub enum Section {
    Reasoning,
    Answer,
}

/// The state of one output. Drops the tags and the white space around the reasoning.
#[derive(Debug)]
pub struct ReasoningParser {
    tags: Option<(&'static str, &'static str)>,
    wrapper: Wrapper,
    state: State,
    /// Whether a closing tag in the answer can end reasoning that was not opened.
    may_close: bool,
}

#[derive(Debug)]
enum State {
    /// Before any text. `opened`: the prompt ends with the opening tag.
    Start {
        opened: bool,
        buffer: MarkerBuffer,
    },
    /// Within the reasoning. `has_text`: some of it has come.
    Inside {
        buffer: MarkerBuffer,
        has_text: bool,
    },
    /// Between the closing tag and the answer.
    After,
    Answer(AnswerTags),
}

/// The tags in the answer.
#[derive(Debug, Default)]
struct AnswerTags {
    /// A possible beginning of a tag.
    held: String,
    /// Opening tags without a closing one.
    open: u32,
    /// No reasoning has come, so a closing tag without an opening one ends it.
    may_close: bool,
    wrapper: Wrapper,
}

/// The tags around the answer.
#[derive(Debug, Clone, Copy, Default)]
enum Wrapper {
    /// There are none, or the text has begun without them, or they have ended.
    #[default]
    None,
    /// The opening one may come.
    Before(&'static str, &'static str),
    /// The closing one may come.
    Within(&'static str),
}

impl Wrapper {
    /// Whether the text held back is a tag, which does not go out; `None` while it may become one.
    fn takes(&mut self, held: &str) -> Option<bool> {
        match *self {
            Self::Before(open, close) if held.trim_start() == open => {
                *self = Self::Within(close);
                Some(true)
            }
            Self::Before(open, _) if open.starts_with(held.trim_start()) => None,
            Self::Within(close) if held == close => {
                *self = Self::None;
                Some(true)
            }
            Self::Within(close) if close.starts_with(held) => None,
            Self::Within(_) => Some(false),
            Self::Before(..) | Self::None => {
                *self = Self::None;
                Some(false)
            }
        }
    }
}

impl AnswerTags {
    fn push(&mut self, c: char, (open, close): (&str, &str), emit: &mut impl FnMut(Section, &str)) {
        self.held.push(c);
        while !self.held.is_empty() {
            match self.wrapper.takes(&self.held) {
                None => return,
                Some(true) => self.held.clear(),
                Some(false) => {}
            }
            let is_close = self.held == close;
            if is_close && self.open == 0 && self.may_close {
                self.may_close = false;
                self.held.clear();
            } else if is_close || self.held == open {
                self.open = if is_close { self.open.saturating_sub(1) } else { self.open + 1 };
                emit(Section::Answer, &std::mem::take(&mut self.held));
            } else if [open, close].iter().any(|tag| tag.starts_with(&self.held)) {
                return;
            } else {
                emit(Section::Answer, self.held.remove(0).encode_utf8(&mut [0; 4]));
            }
        }
    }
}

impl State {
    fn inside() -> Self {
        Self::Inside { buffer: MarkerBuffer::default(), has_text: false }
    }

    fn answer(may_close: bool, wrapper: Wrapper) -> Self {
        Self::Answer(AnswerTags { may_close, wrapper, ..AnswerTags::default() })
    }
}

impl ReasoningParser {
    /// A parser before the first character. `opened`: the prompt ends with the opening tag.
    pub fn new(format: ReasoningFormat, opened: bool) -> Self {
        let tags = format.tags();
        let start = State::Start { opened, buffer: MarkerBuffer::default() };
        let state = if tags.is_some() { start } else { State::answer(false, Wrapper::None) };
        let wrapper =
            format.answer_tags().map_or(Wrapper::None, |(open, close)| Wrapper::Before(open, close));
        Self { tags, wrapper, state, may_close: true }
    }

    /// Whether all further text belongs to the answer.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Answer(_))
    }

    /// Takes a closing tag in the answer as text from here on. It stands in a call, or in an answer with a form of its own.
    pub fn keep_closing_tags(&mut self) {
        self.may_close = false;
        if let State::Answer(answer) = &mut self.state {
            answer.may_close = false;
        }
    }

    /// Whether the output is inside the reasoning.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Inside { .. } | State::Start { opened: true, .. })
    }

    /// Parses the next character. Hands text to `emit` once its section is certain.
    pub fn push(&mut self, c: char, emit: &mut impl FnMut(Section, &str)) {
        let Some(tags @ (open, close)) = self.tags else {
            return emit(Section::Answer, c.encode_utf8(&mut [0; 4]));
        };
        match &mut self.state {
            State::Start { opened, buffer } => {
                let opened = *opened;
                let mut text = String::new();
                let found = buffer.push(c, &[open], |piece| text.push_str(piece)).is_some();
                if found {
                    self.state = State::inside();
                } else if !text.is_empty() {
                    text += &buffer.take();
                    let answer = State::answer(self.may_close, self.wrapper);
                    self.state = if opened { State::inside() } else { answer };
                    text.chars().for_each(|c| self.push(c, emit));
                }
            }
            State::Inside { buffer, has_text } => {
                if !*has_text && buffer.is_blank() && c.is_whitespace() {
                    return;
                }
                let found = buffer.push(c, &[close], |piece| {
                    *has_text = true;
                    emit(Section::Reasoning, piece);
                });
                if found.is_some() {
                    self.state = State::After;
                }
            }
            State::After if c.is_whitespace() => {}
            State::After => {
                self.state = State::answer(false, self.wrapper);
                self.push(c, emit);
            }
            State::Answer(answer) => answer.push(c, tags, emit),
        }
    }

    /// Ends the output: hands over the text held back so far.
    pub fn finish(&mut self, emit: &mut impl FnMut(Section, &str)) {
        match std::mem::replace(&mut self.state, State::answer(false, Wrapper::None)) {
            State::Start { opened: false, mut buffer } => emit(Section::Answer, &buffer.take()),
            State::Start { opened: true, mut buffer } | State::Inside { mut buffer, .. } => {
                emit(Section::Reasoning, buffer.take().trim_end());
            }
            State::Answer(AnswerTags { held, .. }) => emit(Section::Answer, &held),
            State::After => {}
        }
    }
}
