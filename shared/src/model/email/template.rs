//! The e-mails that the server words itself, by name, filled with typed data.
//! A template file has its subject on the first line, then an empty line, then its text.

use deserr::{Deserr, IntoValue, ValuePointerRef};
use platform::request::{FieldErrors, REQUIRED};
use utoipa::ToSchema;

use super::{Subject, Text, one_line};

/// Longest one-line field, in characters: two of them still fit into a subject.
pub const LINE_MAX_CHARS: usize = 100;
/// Longest field of several lines, in characters.
pub const PASSAGE_MAX_CHARS: usize = 2_000;

/// The names of the templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr)]
#[deserr(rename_all = lowercase)]
pub enum Name {
    /// Greets a new member.
    Welcome,
    /// Asks somebody to join an org.
    Invitation,
    /// Tells that an analysis is done.
    #[deserr(rename = "analysis_ready")]
    AnalysisReady,
}

impl Name {
    fn source(self) -> &'static str {
        match self {
            Self::Welcome => include_str!("templates/welcome.txt"),
            Self::Invitation => include_str!("templates/invitation.txt"),
            Self::AnalysisReady => include_str!("templates/analysis_ready.txt"),
        }
    }
}

/// A template with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Template {
    /// Greets a new member.
    Welcome(Welcome),
    /// Asks somebody to join an org.
    Invitation(Invitation),
    /// Tells that an analysis is done.
    AnalysisReady(AnalysisReady),
}

/// What `welcome` is filled with.
#[derive(Debug, Clone, PartialEq, Eq, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WelcomeData)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
pub struct Welcome {
    /// Who is greeted.
    pub name: Line,
    /// The org that they joined.
    pub org_name: Line,
}

/// What `invitation` is filled with.
#[derive(Debug, Clone, PartialEq, Eq, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InvitationData)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
pub struct Invitation {
    /// Who invites.
    pub inviter_name: Line,
    /// The org to join.
    pub org_name: Line,
    /// A word from the inviter.
    pub note: Passage,
}

/// What `analysis_ready` is filled with.
#[derive(Debug, Clone, PartialEq, Eq, Deserr, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AnalysisReadyData)]
#[deserr(error = FieldErrors, deny_unknown_fields)]
pub struct AnalysisReady {
    /// What was analysed.
    pub title: Line,
    /// The gist of it.
    pub summary: Passage,
}

/// One line of 1 to 100 characters, no control characters and no `=?`.
#[derive(Debug, Clone, PartialEq, Eq, Deserr, ToSchema)]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(as = EmailLine, value_type = String, min_length = 1, max_length = 100)]
pub struct Line(String);

impl TryFrom<String> for Line {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        one_line(&text, LINE_MAX_CHARS, "must have 1 to 100 characters").map(Self)
    }
}

/// Plain text of 1 to 2,000 characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserr, ToSchema)]
#[deserr(try_from(String) = Self::try_from -> &'static str)]
#[schema(as = EmailPassage, value_type = String, min_length = 1, max_length = 2000)]
pub struct Passage(String);

impl TryFrom<String> for Passage {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.chars().count() > PASSAGE_MAX_CHARS {
            return Err("must have 1 to 2000 characters");
        }
        Text::parse(text.trim()).map(|text| Self(text.into()))
    }
}

impl Template {
    /// The template of a name, filled with `data`, which stands at a place of the body.
    ///
    /// # Errors
    /// A field that is missing, not of this template, or out of its limits.
    pub(super) fn parse<V: IntoValue>(
        name: Name,
        data: Option<V>,
        at: ValuePointerRef<'_>,
    ) -> Result<Self, FieldErrors> {
        let data = data.ok_or_else(|| FieldErrors::at(at, REQUIRED))?.into_value();
        match name {
            Name::Welcome => Welcome::deserialize_from_value(data, at).map(Self::Welcome),
            Name::Invitation => Invitation::deserialize_from_value(data, at).map(Self::Invitation),
            Name::AnalysisReady => AnalysisReady::deserialize_from_value(data, at).map(Self::AnalysisReady),
        }
    }

    /// The template's name.
    #[must_use]
    pub fn name(&self) -> Name {
        match self {
            Self::Welcome(_) => Name::Welcome,
            Self::Invitation(_) => Name::Invitation,
            Self::AnalysisReady(_) => Name::AnalysisReady,
        }
    }

    /// The subject and text with the data filled in.
    ///
    /// # Errors
    /// The template's file asks for a field that its type has not; a test keeps that from happening.
    pub fn render(&self) -> Result<(Subject, Text), &'static str> {
        let fields = self.fields();
        let (subject, text) = self.name().source().split_once("\n\n").ok_or("has no text")?;
        Ok((Subject::parse(&fill(subject, &fields)?)?, Text::parse(&fill(text, &fields)?)?))
    }

    fn fields(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Welcome(data) => vec![("name", &data.name.0), ("org_name", &data.org_name.0)],
            Self::Invitation(data) => {
                vec![("inviter_name", &data.inviter_name.0), ("org_name", &data.org_name.0), ("note", &data.note.0)]
            }
            Self::AnalysisReady(data) => {
                vec![("title", &data.title.0), ("summary", &data.summary.0)]
            }
        }
    }
}

/// Replaces each `{{field}}` once: what a value brings in is never looked at again.
fn fill(source: &str, fields: &[(&str, &str)]) -> Result<String, &'static str> {
    let mut filled = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("{{") {
        let (field, after) = after.split_once("}}").ok_or("has an open placeholder")?;
        let (_, value) = fields.iter().find(|(name, _)| *name == field).ok_or("has a placeholder without a value")?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(name: &str, data: Value) -> Result<Template, Vec<(String, String)>> {
        let place = ValuePointerRef::Origin;
        let errors = |errors: FieldErrors| {
            errors.into_vec().into_iter().map(|error| (error.pointer, error.message)).collect::<Vec<_>>()
        };
        let name: Name = deserr::deserialize(json!(name)).map_err(errors)?;
        Template::parse(name, Some(data), place.push_key("data")).map_err(errors)
    }

    /// Each template with the longest values that its type takes.
    fn filled(one_char: char) -> [Template; 3] {
        let line = one_char.to_string().repeat(LINE_MAX_CHARS);
        let passage = one_char.to_string().repeat(PASSAGE_MAX_CHARS);
        [
            parse("welcome", json!({"name": line, "org_name": line})),
            parse("invitation", json!({"inviter_name": line, "org_name": line, "note": passage})),
            parse("analysis_ready", json!({"title": line, "summary": passage})),
        ]
        .map(|template| template.expect("the longest values are taken"))
    }

    #[test]
    fn every_template_renders_with_the_longest_values() {
        for template in filled('ß') {
            let (subject, text) = template.render().expect("a template renders");
            assert!(!subject.as_str().contains("{{") && !text.as_str().contains("{{"));
        }
    }

    /// Members are made by invitations, whose link comes in a mail of its own (`POST /orgs/{org_id}/invitations`).
    #[test]
    fn no_template_says_that_somebody_is_added() {
        for template in filled('x') {
            let source = template.name().source();
            assert!(!source.contains("add you") && !source.contains("organisation"), "{source}");
        }
    }

    #[test]
    fn every_field_of_a_type_is_used_by_its_file() {
        for template in filled('x') {
            for (field, _) in template.fields() {
                let placeholder = format!("{{{{{field}}}}}");
                assert!(template.name().source().contains(&placeholder), "{:?} does not use {field}", template.name());
            }
        }
    }

    #[test]
    fn a_value_is_not_a_template() {
        let template = parse("welcome", json!({"name": "{{org_name}}", "org_name": "}}{{name}}"}))
            .expect("braces are ordinary characters");
        let (_, text) = template.render().expect("a template renders");
        assert!(text.as_str().contains("{{org_name}}"));
        assert!(text.as_str().contains("}}{{name}}"));
    }

    #[test]
    fn wrong_data_names_its_field() {
        let cases = [
            ("welcome", json!({"name": "A"}), "/data/org_name"),
            ("welcome", json!({"name": "A", "org_name": "B", "x": 1}), "/data/x"),
            ("welcome", json!({"name": "A\nBcc: b@example.com", "org_name": "B"}), "/data/name"),
            ("welcome", json!({"name": "A\u{2028}", "org_name": "B"}), "/data/name"),
            ("welcome", json!({"name": " ", "org_name": "B"}), "/data/name"),
            ("welcome", json!({"name": "=?utf-8?Q?=0D=0A?=", "org_name": "B"}), "/data/name"),
            ("welcome", json!({"name": 5, "org_name": "B"}), "/data/name"),
            ("analysis_ready", json!({"title": "A", "summary": "b\u{0}"}), "/data/summary"),
            ("Welcome", json!({}), ""),
            ("../../etc/passwd", json!({}), ""),
        ];
        for (name, value, pointer) in cases {
            let problems = parse(name, value.clone()).expect_err("wrong data must not be taken");
            assert_eq!(problems.len(), 1);
            assert_eq!(problems[0].0, pointer, "{name} {value}: {problems:?}");
        }
    }

    #[test]
    fn a_broken_file_is_an_error_and_no_panic() {
        assert!(fill("Dear {{nobody}}", &[("name", "A")]).is_err());
        assert!(fill("Dear {{name", &[("name", "A")]).is_err());
    }
}
