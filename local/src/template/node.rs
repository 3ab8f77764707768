//! A YAML document as nodes that know their line and their path, so that every error says both.
//! CloudFormation's tags (`!Ref`, `!Sub`, …) stay on the node they stand on.

use std::collections::HashMap;

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use super::TemplateError;

/// One node of the template.
#[derive(Debug)]
pub(super) struct Node {
    line: usize,
    path: String,
    tag: Option<String>,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(String, Node)>),
}

/// The values that `!Ref` and `${…}` stand for: the template's parameters.
pub(super) type Parameters = HashMap<String, String>;

impl Node {
    /// Parses the first document of `text`.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let documents = MarkedYaml::load_from_str(text).map_err(|error| TemplateError {
            line: error.marker().line(),
            path: String::new(),
            message: format!("not valid YAML: {}", error.info()),
        })?;
        let document = documents.first().ok_or_else(|| TemplateError {
            line: 1,
            path: String::new(),
            message: "the file is empty".to_owned(),
        })?;
        Self::convert(document, String::new())
    }

    fn convert(yaml: &MarkedYaml<'_>, path: String) -> Result<Self, TemplateError> {
        let line = yaml.span.start.line();
        let broken = |message: &str| TemplateError { line, path: path.clone(), message: message.to_owned() };
        let value = match &yaml.data {
            YamlData::Tagged(tag, inner) => {
                let mut node = Self::convert(inner, path)?;
                node.line = line; // the inner node of a tagged scalar has none
                node.tag = Some(tag.suffix.clone());
                return Ok(node);
            }
            YamlData::Value(scalar) => Value::Scalar(scalar_text(scalar)),
            YamlData::Representation(text, ..) => Value::Scalar(text.clone().into_owned()),
            YamlData::Sequence(items) => Value::Sequence(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| Self::convert(item, format!("{path}[{index}]")))
                    .collect::<Result<_, _>>()?,
            ),
            YamlData::Mapping(entries) => {
                let mut mapping = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let YamlData::Value(scalar) = &key.data else {
                        return Err(broken("a key must be a plain text"));
                    };
                    let key = scalar_text(scalar);
                    let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    mapping.push((key, Self::convert(value, inner)?));
                }
                Value::Mapping(mapping)
            }
            YamlData::Alias(_) | YamlData::BadValue => {
                return Err(broken("this alias or value cannot be read"));
            }
        };
        Ok(Self { line, path, tag: None, value })
    }

    /// An error about this node.
    pub(super) fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError { line: self.line, path: self.path.clone(), message: message.into() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            Value::Scalar(_) | Value::Sequence(_) => None,
        }
    }

    /// The entry `key`, or an error that says that it is missing.
    pub(super) fn require(&self, key: &str) -> Result<&Self, TemplateError> {
        self.get(key).ok_or_else(|| self.error(format!("{key} is missing")))
    }

    /// The entries of a mapping, in the file's order.
    pub(super) fn entries(&self) -> Result<&[(String, Self)], TemplateError> {
        match &self.value {
            Value::Mapping(entries) => Ok(entries),
            Value::Scalar(_) | Value::Sequence(_) => Err(self.error("must be a mapping")),
        }
    }

    pub(super) fn items(&self) -> Result<&[Self], TemplateError> {
        match &self.value {
            Value::Sequence(items) => Ok(items),
            Value::Scalar(_) | Value::Mapping(_) => Err(self.error("must be a list")),
        }
    }

    /// A plain text, number or boolean as it is written, without intrinsic functions.
    pub(super) fn text(&self) -> Result<&str, TemplateError> {
        match (&self.value, &self.tag) {
            (Value::Scalar(text), None) => Ok(text),
            (_, Some(tag)) => Err(self.error(format!("must be a plain text here, not !{tag}"))),
            _ => Err(self.error("must be a plain text")),
        }
    }

    /// A whole number.
    pub(super) fn number(&self) -> Result<u64, TemplateError> {
        let text = self.text()?;
        text.parse().map_err(|_| self.error(format!("must be a whole number, not {text:?}")))
    }

    /// Whether this is `!Sub` of a text that uses `${name}`.
    pub(super) fn substitutes(&self, name: &str) -> bool {
        match (&self.value, self.tag.as_deref()) {
            (Value::Scalar(text), Some("Sub")) => text.contains(&format!("${{{name}}}")),
            _ => false,
        }
    }

    /// The logical id or parameter that a `!Ref` names.
    pub(super) fn reference(&self) -> Option<&str> {
        match (&self.value, self.tag.as_deref()) {
            (Value::Scalar(name), Some("Ref")) => Some(name),
            _ => None,
        }
    }

    /// What a `!GetAtt` names: `<logical id>.<attribute>`.
    pub(super) fn attribute(&self) -> Option<&str> {
        match (&self.value, self.tag.as_deref()) {
            (Value::Scalar(name), Some("GetAtt")) => Some(name),
            _ => None,
        }
    }

    /// The text of a `!Sub`, as it is written.
    pub(super) fn substitution(&self) -> Option<&str> {
        match (&self.value, self.tag.as_deref()) {
            (Value::Scalar(text), Some("Sub")) => Some(text),
            _ => None,
        }
    }

    /// The names of a `!FindInMap`: the mapping, its row and its column.
    pub(super) fn lookup(&self) -> Option<&[Self]> {
        match (&self.value, self.tag.as_deref()) {
            (Value::Sequence(items), Some("FindInMap")) => Some(items),
            _ => None,
        }
    }

    /// The two values that an `!If` chooses from.
    pub(super) fn alternatives(&self) -> Option<&[Self]> {
        match (&self.value, self.tag.as_deref()) {
            (Value::Sequence(items), Some("If")) => items.get(1..),
            _ => None,
        }
    }

    /// What `!If [OwnTable, …, …]` gives where the stack has a table of its own. Here it has.
    pub(super) fn own_table(&self) -> Option<&Self> {
        match (&self.value, self.tag.as_deref()) {
            (Value::Sequence(items), Some("If")) => match items.as_slice() {
                [Self { value: Value::Scalar(condition), .. }, own, _] if condition == "OwnTable" => Some(own),
                _ => None,
            },
            _ => None,
        }
    }

    /// The entries of a list, or this alone.
    pub(super) fn one_or_more(&self) -> &[Self] {
        match (&self.value, &self.tag) {
            (Value::Sequence(items), None) => items,
            _ => std::slice::from_ref(self),
        }
    }

    /// A text with `!Ref` and `!Sub` of parameters carried out.
    ///
    /// # Errors
    /// What only a deployment knows (a resource's name, an export) is an error here.
    pub(super) fn resolve(&self, parameters: &Parameters) -> Result<String, TemplateError> {
        let Value::Scalar(text) = &self.value else {
            return Err(self.error("must be a text"));
        };
        match self.tag.as_deref() {
            None => Ok(text.clone()),
            Some("Ref") => self.parameter(text, parameters).map(str::to_owned),
            Some("Sub") => self.substitute(text, parameters),
            Some(tag) => Err(self.error(format!("!{tag} is known to a deployment only"))),
        }
    }

    fn substitute(&self, text: &str, parameters: &Parameters) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let inner = &rest[start + 2..];
            let end = inner.find('}').ok_or_else(|| self.error("`${` without `}`"))?;
            out.push_str(self.parameter(&inner[..end], parameters)?);
            rest = &inner[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    fn parameter<'p>(&self, name: &str, parameters: &'p Parameters) -> Result<&'p str, TemplateError> {
        parameters
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| self.error(format!("{name} is not a parameter with a Default")))
    }
}

fn scalar_text(scalar: &Scalar<'_>) -> String {
    match scalar {
        Scalar::Null => String::new(),
        Scalar::Boolean(value) => value.to_string(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::FloatingPoint(value) => value.to_string(),
        Scalar::String(text) => text.clone().into_owned(),
    }
}
