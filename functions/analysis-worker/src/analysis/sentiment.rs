//! How an English text feels, from a word list and the rules around a word: negation, emphasis, "but".
//! The rules and the scale follow VADER (Hutto and Gilbert 2014); the words and their weights are our own.

use std::collections::HashMap;
use std::sync::LazyLock;

use shared::model::analysis::{Sentiment, SentimentLabel};

use super::text::{Document, Sentence, Token};

/// Scores nearer to 0 are neutral, VADER's own bound.
const NEUTRAL_WITHIN: f64 = 0.05;
/// A text whose feelings nearly cancel out, and that has many of both kinds, is mixed.
const MIXED_WITHIN: f64 = 0.25;
/// How large a share of the sentences each kind must have in a mixed text.
const MIXED_SHARE: f64 = 0.25;
/// Turns a sum of weights into -1 to 1; VADER's constant.
const ALPHA: f64 = 15.0;
/// What "not" does to the next three words.
const NEGATION: f64 = -0.74;
/// What "very" adds to a weight, or "slightly" takes from it.
const EMPHASIS: f64 = 0.3;
/// How many words before a word bear on it.
const REACH: usize = 3;
/// How much what stands before "but" counts, and what stands after it.
const AROUND_BUT: (f64, f64) = (0.5, 1.5);

const NEGATIONS: [&str; 16] = [
    "not", "no", "never", "none", "nobody", "nothing", "neither", "nor", "nowhere", "cannot", "without", "hardly",
    "rarely", "seldom", "scarcely", "despite",
];
const INTENSIFIERS: [&str; 24] = [
    "very",
    "really",
    "extremely",
    "so",
    "too",
    "absolutely",
    "completely",
    "totally",
    "utterly",
    "highly",
    "deeply",
    "especially",
    "particularly",
    "incredibly",
    "remarkably",
    "truly",
    "quite",
    "most",
    "more",
    "entirely",
    "thoroughly",
    "exceptionally",
    "enormously",
    "such",
];
const DOWNTONERS: [&str; 10] =
    ["slightly", "somewhat", "barely", "little", "less", "fairly", "almost", "partly", "marginally", "occasionally"];

static WEIGHTS: LazyLock<HashMap<&'static str, f64>> = LazyLock::new(|| {
    include_str!("sentiment_en.txt")
        .lines()
        .filter_map(|line| {
            let (weight, words) = line.split_once(' ')?;
            Some((weight.parse::<f64>().ok()?, words))
        })
        .flat_map(|(weight, words)| words.split(' ').map(move |word| (word, weight)))
        .collect()
});

/// What a word does to the sentence that it stands in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Feeling(f64),
    Negates,
    Intensifies,
    Softens,
    Turns,
    Nothing,
}

/// The feeling of the text; `unknown` where there is no word list for `language`.
pub(super) fn judge(document: &Document, language: &str) -> Sentiment {
    if language != "en" {
        return Sentiment { label: SentimentLabel::Unknown, score: None };
    }
    let roles: Vec<Role> = document.vocabulary.iter().map(|word| role(&word.folded)).collect();
    let scores: Vec<f64> = document.sentences.iter().map(|sentence| score(sentence, &roles)).collect();
    let count = scores.len().max(1) as f64;
    let mean = scores.iter().sum::<f64>() / count;
    let share = |holds: fn(f64) -> bool| scores.iter().filter(|&&s| holds(s)).count() as f64 / count;
    let is_mixed = mean.abs() < MIXED_WITHIN
        && share(|s| s > NEUTRAL_WITHIN) >= MIXED_SHARE
        && share(|s| s < -NEUTRAL_WITHIN) >= MIXED_SHARE;
    let label = if is_mixed {
        SentimentLabel::Mixed
    } else if mean >= NEUTRAL_WITHIN {
        SentimentLabel::Positive
    } else if mean <= -NEUTRAL_WITHIN {
        SentimentLabel::Negative
    } else {
        SentimentLabel::Neutral
    };
    Sentiment {
        label,
        // Adding 0 turns a negative zero into a plain one.
        score: Some((mean * 100.0).round() / 100.0 + 0.0),
    }
}

/// One sentence's feeling, from -1 to 1.
fn score(sentence: &Sentence, roles: &[Role]) -> f64 {
    let words: Vec<Role> = sentence
        .tokens
        .iter()
        .filter_map(|token| match token {
            Token::Word(number) => Some(roles[*number as usize]),
            Token::Break => None,
        })
        .collect();
    let turn = words.iter().position(|role| *role == Role::Turns);
    let mut sum = 0.0;
    for (place, role) in words.iter().enumerate() {
        let Role::Feeling(weight) = *role else {
            continue;
        };
        let weight = in_context(weight, &words[place.saturating_sub(REACH)..place]);
        sum += match turn {
            Some(turn) if place < turn => weight * AROUND_BUT.0,
            Some(_) => weight * AROUND_BUT.1,
            None => weight,
        };
    }
    sum / (sum * sum + ALPHA).sqrt()
}

fn in_context(weight: f64, before: &[Role]) -> f64 {
    let mut weight = weight;
    let mut negated = false;
    for role in before {
        match role {
            Role::Negates => negated = !negated,
            Role::Intensifies => weight += EMPHASIS * weight.signum(),
            Role::Softens => weight -= EMPHASIS * weight.signum(),
            // What stands before "but" does not reach across it.
            Role::Turns => negated = false,
            Role::Feeling(_) | Role::Nothing => {}
        }
    }
    if negated { weight * NEGATION } else { weight }
}

fn role(word: &str) -> Role {
    if word == "but" || word == "however" {
        Role::Turns
    } else if NEGATIONS.contains(&word) || word.ends_with("n't") {
        Role::Negates
    } else if INTENSIFIERS.contains(&word) {
        Role::Intensifies
    } else if DOWNTONERS.contains(&word) {
        Role::Softens
    } else {
        weight(word).map_or(Role::Nothing, Role::Feeling)
    }
}

/// The weight of a word or of the root that it is a regular form of.
fn weight(word: &str) -> Option<f64> {
    let look_up = |word: &str| WEIGHTS.get(word).copied();
    if let Some(weight) = look_up(word) {
        return Some(weight);
    }
    for ending in ["'s", "s", "es", "d", "ed", "ing", "ly"] {
        let Some(root) = word.strip_suffix(ending).filter(|root| root.len() > 2) else {
            continue;
        };
        let single =
            root.char_indices().next_back().filter(|&(at, last)| root[..at].ends_with(last)).map(|(at, _)| &root[..at]);
        let found = look_up(root)
            .or_else(|| look_up(&format!("{root}e")))
            .or_else(|| look_up(&format!("{}y", root.strip_suffix('i')?)))
            .or_else(|| look_up(single?));
        if found.is_some() {
            return found;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn english(text: &str) -> Sentiment {
        judge(&Document::parse(text), "en")
    }

    fn score_of(text: &str) -> f64 {
        english(text).score.expect("English has a score")
    }

    #[test]
    fn plain_verdicts() {
        assert_eq!(english("What a wonderful day. I love it.").label, SentimentLabel::Positive);
        assert_eq!(english("The service was awful and slow.").label, SentimentLabel::Negative);
        assert_eq!(english("The table has four legs.").label, SentimentLabel::Neutral);
        assert_eq!(english("The food was delicious. The waiter was rude and nasty.").label, SentimentLabel::Mixed);
    }

    #[test]
    fn negation_emphasis_and_but_count() {
        assert!(score_of("It is not good.") < 0.0);
        assert!(score_of("It isn\u{2019}t good.") < 0.0);
        assert!(score_of("It is not bad.") > 0.0);
        assert!(score_of("It is very good.") > score_of("It is good."));
        assert!(score_of("It is slightly good.") < score_of("It is good."));
        assert!(score_of("It is good but terrible.") < score_of("It is good and terrible."));
        assert!(score_of("It is terrible but good.") > score_of("It is terrible and good."));
    }

    #[test]
    fn regular_forms_find_their_root() {
        for (form, root) in [
            ("enjoyed", "enjoy"),
            ("loving", "love"),
            ("worries", "worry"),
            ("stopped", "stop"),
            ("beautifully", "beautiful"),
            ("failures", "failure"),
        ] {
            assert_eq!(weight(form), weight(root), "{form}");
            assert!(weight(root).is_some(), "{root}");
        }
        assert_eq!(weight("é"), None);
        assert_eq!(weight("ééés"), None);
    }

    #[test]
    fn other_languages_are_unknown() {
        let verdict = judge(&Document::parse("Das ist wunderbar."), "de");
        assert_eq!(verdict.label, SentimentLabel::Unknown);
        assert_eq!(verdict.score, None);
    }

    #[test]
    fn every_listed_word_stands_once_and_has_no_second_role() {
        let listed: Vec<&str> = include_str!("sentiment_en.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| line.split(' ').skip(1))
            .collect();
        assert_eq!(listed.len(), WEIGHTS.len());
        for word in listed {
            assert!(matches!(role(word), Role::Feeling(w) if w != 0.0 && w.abs() <= 3.0), "{word}");
        }
    }
}
