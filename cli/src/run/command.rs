//! Lines of a conversation that begin with a slash. Pure.

/// A line of the user, by its meaning.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    /// A question for the model.
    Question(String),
    /// Show the commands.
    Help,
    /// Forget the conversation.
    Clear,
    /// Answer the last question again.
    Retry,
    /// Set the system message; without a text there is none.
    System(Option<String>),
    /// Set the temperature; without a number it is the model's.
    Temperature(Option<f64>),
    /// Set the greatest length of an answer; without a number it is the model's.
    MaxTokens(Option<u32>),
    /// Ask another model from now on.
    Model(String),
    /// Write the conversation's request into a file.
    Save(String),
    /// Leave.
    Exit,
    /// Nothing.
    Empty,
    /// A wrong command, as a sentence.
    Wrong(String),
}

/// The commands, for `/help`.
pub(super) const HELP: &str = "\
/clear            forget the conversation
/retry            answer the last question again
/system TEXT      set the system message; without TEXT there is none
/temperature N    set the temperature; without N it is the model's
/max-tokens N     set the greatest length of an answer; without N it is the model's
/model NAME       ask another model from now on
/save FILE        write the conversation to a file, as a request in JSON
/exit             leave, as Ctrl-D does
Ctrl-C ends an answer. A line that ends with \\ goes on in the next.
";

impl Line {
    /// Reads a line.
    pub(super) fn parse(line: &str) -> Self {
        let text = line.trim();
        let Some(command) = text.strip_prefix('/') else {
            return if text.is_empty() { Self::Empty } else { Self::Question(text.to_owned()) };
        };
        let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
        match (name, rest) {
            ("help" | "?", None) => Self::Help,
            ("clear", None) => Self::Clear,
            ("retry", None) => Self::Retry,
            ("exit" | "quit" | "bye", None) => Self::Exit,
            ("system", text) => Self::System(text.map(str::to_owned)),
            ("model", Some(name)) => Self::Model(name.to_owned()),
            ("save", Some(file)) => Self::Save(file.to_owned()),
            ("temperature", text) => number(text, Self::Temperature),
            ("max-tokens", text) => number(text, Self::MaxTokens),
            _ => Self::Wrong(format!("/{command} is no command: /help lists them")),
        }
    }
}

fn number<T: std::str::FromStr>(text: Option<&str>, line: fn(Option<T>) -> Line) -> Line {
    match text.map(str::parse) {
        None => line(None),
        Some(Ok(number)) => line(Some(number)),
        Some(Err(_)) => Line::Wrong(format!("\"{}\" is no number", text.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_questions_or_commands() {
        assert_eq!(Line::parse(" Hi there "), Line::Question("Hi there".into()));
        assert_eq!(Line::parse("  "), Line::Empty);
        assert_eq!(Line::parse("/system be brief"), Line::System(Some("be brief".into())));
        assert_eq!(Line::parse("/system"), Line::System(None));
        assert_eq!(Line::parse("/temperature 0.5"), Line::Temperature(Some(0.5)));
        assert_eq!(Line::parse("/max-tokens"), Line::MaxTokens(None));
        assert_eq!(Line::parse("/bye"), Line::Exit);
        for wrong in ["/max-tokens many", "/model", "/clear all", "/dance"] {
            assert!(matches!(Line::parse(wrong), Line::Wrong(_)), "{wrong}");
        }
    }

    #[test]
    fn help_names_every_command() {
        for line in HELP.lines().filter(|line| line.starts_with('/')) {
            let name = line.split_whitespace().next().unwrap();
            let is_wrong = |line: &str| matches!(Line::parse(line), Line::Wrong(_));
            assert!(!is_wrong(name) || !is_wrong(&format!("{name} 1")), "{name}");
        }
    }
}
