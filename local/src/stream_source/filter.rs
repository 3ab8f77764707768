//! `FilterCriteria`: which records of a stream reach a function. Patterns are those of the template: a text as it is, or what it
//! begins with. Any other operator is refused, rather than let through what AWS would not.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>

use serde_json::Value as Json;

/// A pattern that is not known here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("FilterCriteria: {0} is not known locally")]
pub struct UnknownPattern(String);

/// All patterns of a mapping: a record passes that one of them lets through, or each if there is none.
#[derive(Debug)]
pub(super) struct Filter(Vec<Pattern>);

#[derive(Debug)]
enum Pattern {
    /// Each of these fields is there and matches.
    Fields(Vec<(String, Pattern)>),
    /// A text that one of these matches.
    AnyOf(Vec<Rule>),
}

#[derive(Debug)]
enum Rule {
    Equals(String),
    Prefix(String),
}

impl Filter {
    pub(super) fn new(patterns: &[String]) -> Result<Self, UnknownPattern> {
        let pattern = |text: &String| {
            let json = serde_json::from_str(text).map_err(|error| UnknownPattern(format!("{text} ({error})")))?;
            Pattern::new(&json)
        };
        Ok(Self(patterns.iter().map(pattern).collect::<Result<_, _>>()?))
    }

    pub(super) fn lets_through(&self, record: &Json) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.matches(record))
    }
}

impl Pattern {
    fn new(json: &Json) -> Result<Self, UnknownPattern> {
        match json {
            Json::Object(fields) if !fields.is_empty() => {
                let field = |(name, pattern): (&String, &Json)| Ok((name.clone(), Self::new(pattern)?));
                Ok(Self::Fields(fields.iter().map(field).collect::<Result<_, _>>()?))
            }
            Json::Array(rules) if !rules.is_empty() => {
                Ok(Self::AnyOf(rules.iter().map(Rule::new).collect::<Result<_, _>>()?))
            }
            other => Err(UnknownPattern(other.to_string())),
        }
    }

    fn matches(&self, value: &Json) -> bool {
        match self {
            Self::Fields(fields) => {
                fields.iter().all(|(name, pattern)| value.get(name).is_some_and(|value| pattern.matches(value)))
            }
            Self::AnyOf(rules) => value.as_str().is_some_and(|text| rules.iter().any(|rule| rule.matches(text))),
        }
    }
}

impl Rule {
    fn new(json: &Json) -> Result<Self, UnknownPattern> {
        if let Some(text) = json.as_str() {
            return Ok(Self::Equals(text.to_owned()));
        }
        let only = json.as_object().filter(|operators| operators.len() == 1);
        match only.and_then(|operators| operators.get("prefix")?.as_str()) {
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None => Err(UnknownPattern(json.to_string())),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Equals(whole) => text == whole,
            Self::Prefix(prefix) => text.starts_with(prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(patterns: &[&str]) -> Result<Filter, UnknownPattern> {
        Filter::new(&patterns.iter().map(|pattern| (*pattern).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_record_passes_that_matches_one_pattern_in_all_its_fields() {
        let filter = filter(&[
            r#"{"eventName": ["MODIFY", "REMOVE"], "dynamodb": {"Keys": {"sk": {"S": ["ORG"]}}}}"#,
            r#"{"dynamodb": {"Keys": {"pk": {"S": [{"prefix": "ITEMS#"}]}}}}"#,
        ])
        .expect("known patterns");
        let passes = |event: &str, pk: &str, sk: &str| {
            filter.lets_through(
                &json!({ "eventName": event, "dynamodb": { "Keys": { "pk": { "S": pk }, "sk": { "S": sk } } } }),
            )
        };
        assert!(passes("MODIFY", "ORG#1", "ORG") && passes("REMOVE", "ORG#1", "ORG"));
        assert!(!passes("INSERT", "ORG#1", "ORG") && !passes("MODIFY", "ORG#1", "ORG#2"));
        assert!(passes("INSERT", "ITEMS#1", "x") && !passes("INSERT", "ITEM#1", "x"));
        assert!(!filter.lets_through(&json!({ "eventName": "MODIFY" })), "a field that is not there");
    }

    #[test]
    fn without_patterns_each_record_passes() {
        assert!(filter(&[]).expect("nothing to know").lets_through(&json!({})));
    }

    #[test]
    fn unknown_operators_are_refused() {
        for pattern in [
            r#"{"a": [{"anything-but": ["x"]}]}"#,
            r#"{"a": [{"exists": true}]}"#,
            r#"{"a": [{"numeric": [">", 1]}]}"#,
            r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#,
            r#"{"a": [{"prefix": {"equals-ignore-case": "x"}}]}"#,
            r#"{"a": [1]}"#,
            r#"{"a": [null]}"#,
            r#"{"a": []}"#,
            r#"{"a": "x"}"#,
            r#"{"$or": [{"a": ["x"]}]}"#,
            "{}",
            "not JSON",
        ] {
            assert!(filter(&[pattern]).is_err(), "{pattern}");
        }
    }
}
