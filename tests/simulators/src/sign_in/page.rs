//! The visible part of an HTML page: its text and its forms.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

/// A page, reduced to words and forms.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Text of `<title>`.
    pub title: String,

    /// All visible text, white space collapsed.
    pub text: String,

    /// The forms, in order.
    pub forms: Vec<Form>,

    /// `<meta name content>` pairs.
    pub metas: Vec<(String, String)>,
}

/// A form.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// `get` or `post`, lower case.
    pub method: String,

    /// `action` as written; empty: the page's own address.
    pub action: String,

    /// Everything but buttons.
    pub fields: Vec<Field>,

    /// The buttons that submit it.
    pub buttons: Vec<Button>,
}

/// An input of a form.
#[derive(Clone, Default)]
pub struct Field {
    /// `name`.
    pub name: String,

    /// `value`. May be a secret, such as a CSRF token.
    pub value: String,

    /// `type`, lower case; `text` when absent.
    pub kind: String,

    /// Whether a box is ticked.
    pub checked: bool,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Field({} {})", self.kind, self.name)
    }
}

/// A submit button.
#[derive(Debug, Clone, Default)]
pub struct Button {
    /// `name`.
    pub name: String,

    /// `value`.
    pub value: String,

    /// Its label.
    pub label: String,
}

impl Button {
    /// Whether its label, or else its value, says one of these words.
    pub fn says(&self, words: &[&str]) -> bool {
        [&self.label, &self.value].into_iter().any(|text| {
            let text = text.to_ascii_lowercase();
            text.split(|letter: char| !letter.is_ascii_alphabetic())
                .any(|word| words.contains(&word))
        })
    }
}

impl Form {
    /// The field a person types into, if there is one.
    pub fn typed_field(&self) -> Option<&Field> {
        self.fields
            .iter()
            .find(|field| field.kind == "text" || field.kind == "email")
    }

    /// The data that a browser sends: the fields, with the typed text in one of them, and the pressed button.
    pub fn submission(&self, typed: Option<(&str, &str)>, button: &Button) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = self
            .fields
            .iter()
            .filter(|field| !field.name.is_empty())
            .filter(|field| field.checked || !matches!(field.kind.as_str(), "checkbox" | "radio"))
            .map(|field| match typed {
                Some((name, value)) if name == field.name => (field.name.clone(), value.to_owned()),
                _ => (field.name.clone(), field.value.clone()),
            })
            .collect();
        if !button.name.is_empty() {
            pairs.push((button.name.clone(), button.value.clone()));
        }
        pairs
    }
}

impl Page {
    /// Reads HTML. Never fails: HTML has no errors a browser would stop at.
    pub fn parse(html: &str) -> Self {
        let tokenizer = Tokenizer::new(Reader::default(), TokenizerOpts::default());
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(html));
        // The sink never pauses for a script, so one call processes the whole page.
        let _ = tokenizer.feed(&input);
        tokenizer.end();
        let mut page = tokenizer.sink.reading.into_inner().page;
        page.text = page.text.split_whitespace().collect::<Vec<_>>().join(" ");
        page.title = page.title.split_whitespace().collect::<Vec<_>>().join(" ");
        page
    }

    /// `content` of the `<meta>` with this name.
    pub fn meta(&self, name: &str) -> Option<&str> {
        self.metas
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, content)| content.as_str())
    }
}

#[derive(Default)]
struct Reader {
    reading: RefCell<Reading>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "elements nest in any combination")]
struct Reading {
    page: Page,
    in_form: bool,
    in_button: bool,
    in_title: bool,
    in_style: bool,
}

impl TokenSink for Reader {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut reading = self.reading.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => return reading.start(&tag),
            Token::TagToken(tag) => reading.end(&tag),
            Token::CharacterTokens(text) => reading.characters(&text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn attribute(tag: &Tag, name: &str) -> Option<String> {
    let found = tag.attrs.iter().find(|attribute| &*attribute.name.local == name);
    found.map(|attribute| attribute.value.to_string())
}

impl Reading {
    fn start(&mut self, tag: &Tag) -> TokenSinkResult<()> {
        let text = |name| attribute(tag, name).unwrap_or_default();
        match &*tag.name {
            "title" => {
                self.in_title = true;
                return TokenSinkResult::RawData(RawKind::Rcdata);
            }
            "style" | "script" => {
                self.in_style = true;
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            "meta" => self.page.metas.push((text("name"), text("content"))),
            "form" => {
                self.in_form = true;
                let method = text("method").to_ascii_lowercase();
                self.page.forms.push(Form {
                    method: if method == "post" {
                        method
                    } else {
                        "get".to_owned()
                    },
                    action: text("action"),
                    ..Form::default()
                });
            }
            "input" => self.input(tag),
            "button" => self.button(tag),
            _ => self.page.text.push(' '),
        }
        TokenSinkResult::Continue
    }

    fn form(&mut self) -> Option<&mut Form> {
        if self.in_form {
            self.page.forms.last_mut()
        } else {
            None
        }
    }

    fn input(&mut self, tag: &Tag) {
        let text = |name| attribute(tag, name).unwrap_or_default();
        let kind = attribute(tag, "type").map_or_else(|| "text".to_owned(), |kind| kind.to_ascii_lowercase());
        if attribute(tag, "disabled").is_some() {
            return;
        }
        let Some(form) = self.form() else { return };
        if kind == "submit" {
            form.buttons.push(Button {
                name: text("name"),
                value: text("value"),
                label: text("value"),
            });
        } else {
            let checked = attribute(tag, "checked").is_some();
            form.fields.push(Field {
                name: text("name"),
                value: text("value"),
                kind,
                checked,
            });
        }
    }

    fn button(&mut self, tag: &Tag) {
        let text = |name| attribute(tag, name).unwrap_or_default();
        let submits = attribute(tag, "type").is_none_or(|kind| kind.eq_ignore_ascii_case("submit"));
        if !submits || attribute(tag, "disabled").is_some() {
            return;
        }
        let button = Button {
            name: text("name"),
            value: text("value"),
            label: String::new(),
        };
        if let Some(form) = self.form() {
            form.buttons.push(button);
            self.in_button = true;
        }
    }

    fn end(&mut self, tag: &Tag) {
        match &*tag.name {
            "title" => self.in_title = false,
            "style" | "script" => self.in_style = false,
            "form" => self.in_form = false,
            "button" => self.in_button = false,
            _ => {}
        }
        self.page.text.push(' ');
    }

    fn characters(&mut self, text: &str) {
        if self.in_title {
            self.page.title.push_str(text);
        } else if !self.in_style {
            self.page.text.push_str(text);
            if self.in_button
                && let Some(button) = self
                    .page
                    .forms
                    .last_mut()
                    .and_then(|form| form.buttons.last_mut())
            {
                button.label.push_str(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!DOCTYPE html><html><head><title>Allow &amp; go</title>
        <meta name="code" content="7"><style>form { color: red }</style></head><body>
        <h1>Client &lt;b&gt;</h1>
        <form method="POST" action="/consent"><input type=hidden name=csrf value="a&amp;b">
        <input type="checkbox" name="remember" value="1"><input name="login">
        <button type="button">Help</button>
        <button name="decision" value="allow">Allow <b>access</b></button>
        <button name="decision" value="deny">Deny</button></form></body></html>"#;

    #[test]
    fn reads_words_and_forms() {
        let page = Page::parse(PAGE);
        assert_eq!(page.title, "Allow & go");
        assert_eq!(page.meta("code"), Some("7"));
        assert!(page.text.starts_with("Client <b>"), "{}", page.text);
        assert!(!page.text.contains("red"));
        let [form] = page.forms.as_slice() else {
            panic!("one form")
        };
        assert_eq!((form.method.as_str(), form.action.as_str()), ("post", "/consent"));
        assert_eq!(form.buttons.len(), 2, "a plain button submits nothing");
        assert!(form.buttons[0].says(&["allow"]) && !form.buttons[0].says(&["deny"]));
    }

    #[test]
    fn submits_what_a_browser_submits() {
        let page = Page::parse(PAGE);
        let form = &page.forms[0];
        let sent = form.submission(Some(("login", "ana")), &form.buttons[1]);
        let sent: Vec<_> = sent
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(sent, [("csrf", "a&b"), ("login", "ana"), ("decision", "deny")]);
    }
}
