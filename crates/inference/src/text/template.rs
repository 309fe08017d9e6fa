//! A model's chat template, rendered in a sandbox: no files, no clock, no network, bounded work
//! and bounded output. It never sees tokens.

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};

use crate::request::{ChatMessage, GenerateError};

const NAME: &str = "chat";
/// Template instructions per rendering. A long conversation needs some tens per message.
const FUEL: u64 = 2_000_000;
const RECURSION_LIMIT: usize = 64;

/// A compiled template with the model's special tokens.
pub(crate) struct ChatTemplate {
    environment: Environment<'static>,
    beginning: String,
    end: String,
}

impl ChatTemplate {
    /// Compiles `source`; `beginning` and `end` are the texts of the special tokens of those names.
    pub(crate) fn new(source: String, beginning: String, end: String) -> Result<Self, String> {
        let mut environment = Environment::new();
        // As transformers sets up Jinja.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION_LIMIT);
        environment.add_function("raise_exception", |message: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_template_owned(NAME, source).map_err(|error| error.to_string())?;
        Ok(Self { environment, beginning, end })
    }

    /// The prompt for an answer to `messages`, at most `limit` bytes.
    pub(crate) fn render(
        &self,
        messages: &[ChatMessage],
        limit: usize,
    ) -> Result<String, GenerateError> {
        let refuse = |error: Error| {
            let reason = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            GenerateError::BadRequest(format!(
                "the model's chat template refuses the messages: {reason}"
            ))
        };
        let template = self.environment.get_template(NAME).map_err(refuse)?;
        let turn = |message: &ChatMessage| {
            Value::from_pairs([
                ("role", message.role.as_str()),
                ("content", message.content.as_str()),
            ])
        };
        let turns: Vec<Value> = messages.iter().map(turn).collect();
        let context = context! {
            messages => turns, bos_token => &self.beginning, eos_token => &self.end, add_generation_prompt => true,
        };
        let mut output = Bounded { bytes: Vec::new(), limit };
        let rendered = template.render_captured_to(context, &mut output).map(|_| ());
        rendered
            .map_err(|error| if output.bytes.len() > limit { too_long() } else { refuse(error) })?;
        String::from_utf8(output.bytes).map_err(|error| GenerateError::Internal(error.to_string()))
    }
}

/// The refusal of a prompt that cannot fit, without the numbers that only tokenising would give.
pub(crate) fn too_long() -> GenerateError {
    GenerateError::BadRequest("the prompt is longer than the model's context".to_owned())
}

/// Collects up to `limit` bytes; the write that would exceed it fails and marks the overflow.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let room = self.limit.saturating_add(1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&more[..more.len().min(room)]);
        if self.bytes.len() > self.limit {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(more.len())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(
        source: &str,
        messages: &[(&str, &str)],
        limit: usize,
    ) -> Result<String, GenerateError> {
        let message = |(role, content): &(&str, &str)| ChatMessage {
            role: (*role).to_owned(),
            content: (*content).to_owned(),
        };
        let messages: Vec<_> = messages.iter().map(message).collect();
        let template =
            ChatTemplate::new(source.to_owned(), "<s>".to_owned(), "</s>".to_owned()).unwrap();
        template.render(&messages, limit)
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work() {
        let source = "{{ bos_token }}\n{% for m in messages %}\n    {%- if m.role.startswith('u') %}\n[{{ m['content'].strip().upper() }}]\n    {% endif %}\n{% endfor %}{{ eos_token }}";
        assert_eq!(
            render(source, &[("user", " hi "), ("system", "x")], 99).unwrap(),
            "<s>\n[HI]\n</s>"
        );
    }

    #[test]
    fn an_exception_of_the_template_reaches_the_caller_in_its_words() {
        let refused = render("{{ raise_exception('roles must alternate') }}", &[("user", "a")], 99)
            .unwrap_err();
        let GenerateError::BadRequest(text) = refused else { panic!("{refused:?}") };
        assert!(text.ends_with(": roles must alternate"), "{text}");
    }

    #[test]
    fn endless_work_and_endless_output_are_cut_off() {
        let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        assert!(matches!(render(nested, &[("user", "a")], 99), Err(GenerateError::BadRequest(_))));
        let long = "{% for a in range(999) %}0123456789{% endfor %}";
        assert_eq!(render(long, &[("user", "a")], 99), Err(too_long()));
        assert_eq!(render("{{ messages[0].content }}", &[("user", "12345")], 4), Err(too_long()));
        assert_eq!(render("{{ messages[0].content }}", &[("user", "12345")], 5).unwrap(), "12345");
    }

    #[test]
    fn content_is_data_and_never_template_code() {
        let text = "{{ 1 + 1 }}{% raw %}<|end|>";
        assert_eq!(render("{{ messages[0].content }}", &[("user", text)], 99).unwrap(), text);
    }

    #[test]
    fn a_template_cannot_include_files() {
        assert!(render("{% include '/etc/hostname' %}", &[("user", "a")], 9999).is_err());
    }
}
