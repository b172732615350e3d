//! Tells what a model thinks from what it answers: text between two tags where the output begins.

use clap::ValueEnum;

use super::tool_parser::Hold;

/// How a model marks what it thinks. gpt-oss has its own way: see [`super::tool_parser::harmony`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum ReasoningFormat {
    /// Not at all.
    None,
    /// `<think>…</think>`: DeepSeek-R1, Qwen3, SmolLM3.
    Think,
    /// `[THINK]…[/THINK]`: Magistral.
    MistralThink,
}

impl ReasoningFormat {
    /// What a chat template shows.
    pub fn detect(template: &str) -> Self {
        Self::detect_with_evidence(template).0
    }

    /// The format that a chat template shows, and the text in the template that shows it.
    pub fn detect_with_evidence(template: &str) -> (Self, Option<&'static str>) {
        let tags = [(Self::MistralThink, "[THINK]"), (Self::Think, "</think>"), (Self::Think, "<think>")];
        match tags.into_iter().find(|(_, tag)| template.contains(tag)) {
            Some((format, tag)) => (format, Some(tag)),
            None => (Self::None, None),
        }
    }

    /// Its tags.
    pub fn tags(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::None => None,
            Self::Think => Some(("<think>", "</think>")),
            Self::MistralThink => Some(("[THINK]", "[/THINK]")),
        }
    }
}

/// Where a character belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// To what the model thinks.
    Reasoning,
    /// To its answer.
    Answer,
}

/// The state of one output. White space around what is thought is dropped with the tags.
#[derive(Debug)]
pub struct Reasoning {
    tags: Option<(&'static str, &'static str)>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before anything, and whether the prompt has opened it.
    Start(bool, Hold),
    /// The hold, and whether text has come.
    Inside(Hold, bool),
    /// Before the answer.
    After,
    Answer,
}

impl Reasoning {
    /// Nothing has come; `open` says that the prompt has ended with the opening tag.
    pub fn new(format: ReasoningFormat, open: bool) -> Self {
        let tags = format.tags();
        let state = if tags.is_some() { State::Start(open, Hold::default()) } else { State::Answer };
        Self { tags, state }
    }

    /// Whether all that follows is answer.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Answer)
    }

    /// Whether the model thinks.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.state, State::Inside(..) | State::Start(true, _))
    }

    /// Takes the next character; gives text that is certain to `tell`.
    pub fn feed(&mut self, c: char, tell: &mut impl FnMut(Side, &str)) {
        let Some((open, close)) = self.tags else { return tell(Side::Answer, c.encode_utf8(&mut [0; 4])) };
        match &mut self.state {
            State::Start(opened, hold) => {
                let opened = *opened;
                let mut text = String::new();
                let found = hold.feed(c, &[open], |piece| text.push_str(piece)).is_some();
                if found {
                    self.state = State::Inside(Hold::default(), false);
                } else if !text.is_empty() {
                    text += &hold.take();
                    self.state = if opened { State::Inside(Hold::default(), false) } else { State::Answer };
                    text.chars().for_each(|c| self.feed(c, tell));
                }
            }
            State::Inside(hold, some) => {
                if !*some && hold.is_blank() && c.is_whitespace() {
                    return;
                }
                let found = hold.feed(c, &[close], |piece| {
                    *some = true;
                    tell(Side::Reasoning, piece);
                });
                if found.is_some() {
                    self.state = State::After;
                }
            }
            State::After if c.is_whitespace() => {}
            State::After | State::Answer => {
                self.state = State::Answer;
                tell(Side::Answer, c.encode_utf8(&mut [0; 4]));
            }
        }
    }

    /// Nothing more comes.
    pub fn finish(&mut self, tell: &mut impl FnMut(Side, &str)) {
        match std::mem::replace(&mut self.state, State::Answer) {
            State::Start(false, mut hold) => tell(Side::Answer, &hold.take()),
            State::Start(true, mut hold) | State::Inside(mut hold, _) => {
                tell(Side::Reasoning, hold.take().trim_end());
            }
            State::After | State::Answer => {}
        }
    }
}
