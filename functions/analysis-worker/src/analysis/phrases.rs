//! Key phrases after RAKE (Rose et al. 2010): what stands between stop words and punctuation is a
//! candidate. RAKE's own score favours what occurs once; here a phrase also counts by how often it comes.

use std::collections::HashMap;

use shared::model::analysis::KEY_PHRASE_MAX_CHARS;

use super::text::{Document, Token};

/// Most words in a phrase.
const WORDS_MAX: usize = 3;
/// Most phrases.
const PHRASES_MAX: usize = 8;
/// What several words that come together repeatedly count more than each of them.
const COLLOCATION_BONUS: f64 = 2.0;

/// A phrase's words, the unused places filled with [`NONE`].
type Phrase = [u32; WORDS_MAX];
const NONE: u32 = u32::MAX;

/// The phrases, most telling first; `is_content` tells which words of the vocabulary count.
pub(super) fn extract(document: &Document, is_content: &[bool]) -> Vec<String> {
    let phrases = candidates(document, is_content);
    let mut frequencies = vec![0.0_f64; document.vocabulary.len()];
    for (phrase, seen) in &phrases {
        for &number in words(phrase) {
            frequencies[number as usize] += f64::from(seen.times);
        }
    }
    let mut ranked: Vec<(f64, u32, Phrase)> =
        phrases.iter().map(|(phrase, seen)| (score(phrase, seen.times, &frequencies), seen.first, *phrase)).collect();
    // The place of first appearance is unique: the order never depends on the map's.
    ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));

    let mut chosen: Vec<Phrase> = Vec::new();
    let mut texts = Vec::new();
    for (_, _, phrase) in ranked {
        if texts.len() == PHRASES_MAX {
            break;
        }
        let text = words(&phrase).map(|&number| document.word(number).surface.as_str()).collect::<Vec<_>>().join(" ");
        if text.chars().count() <= KEY_PHRASE_MAX_CHARS && chosen.iter().all(|other| !overlap(other, &phrase)) {
            chosen.push(phrase);
            texts.push(text);
        }
    }
    texts
}

struct Seen {
    times: u32,
    /// Place in the text.
    first: u32,
}

fn candidates(document: &Document, is_content: &[bool]) -> HashMap<Phrase, Seen> {
    let mut phrases: HashMap<Phrase, Seen> = HashMap::new();
    let mut place = 0;
    let mut run: Vec<u32> = Vec::new();
    for sentence in &document.sentences {
        for token in sentence.tokens.iter().chain([&Token::Break]) {
            place += 1;
            match token {
                Token::Word(number) if is_content[*number as usize] => run.push(*number),
                _ => {
                    // Longer runs are lists or headlines; their words are counted one by one.
                    let length = if run.len() <= WORDS_MAX { WORDS_MAX } else { 1 };
                    for words in run.chunks(length) {
                        let mut phrase = [NONE; WORDS_MAX];
                        phrase[..words.len()].copy_from_slice(words);
                        let seen = phrases.entry(phrase).or_insert(Seen { times: 0, first: place });
                        seen.times += 1;
                        place += 1;
                    }
                    run.clear();
                }
            }
        }
    }
    phrases
}

fn score(phrase: &Phrase, times: u32, frequencies: &[f64]) -> f64 {
    let length = words(phrase).count() as f64;
    let sum: f64 = words(phrase).map(|&number| frequencies[number as usize]).sum();
    let mean = sum / length;
    let together = if length > 1.0 && times > 1 { COLLOCATION_BONUS } else { 1.0 };
    mean * length.sqrt() * (1.0 + f64::from(times).ln()) * together
}

fn words(phrase: &Phrase) -> impl Iterator<Item = &u32> {
    phrase.iter().take_while(|&&number| number != NONE)
}

/// Whether the shorter of the two has at least half its words in the other.
fn overlap(a: &Phrase, b: &Phrase) -> bool {
    let common = words(a).filter(|number| words(b).any(|other| other == *number)).count();
    let shorter = words(a).count().min(words(b).count());
    common > 0 && common * 2 >= shorter
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phrases(text: &str) -> Vec<String> {
        let document = Document::parse(text);
        let is_content: Vec<bool> = document.vocabulary.iter().map(|w| w.folded.len() > 3).collect();
        extract(&document, &is_content)
    }

    #[test]
    fn what_comes_together_often_comes_first() {
        let found = phrases("The night train is in. A night train to us. On the night train we eat. The cook is up.");
        assert_eq!(found[0], "night train");
        assert!(found.contains(&"cook".to_owned()));
    }

    #[test]
    fn punctuation_ends_a_phrase_and_hyphens_do_not() {
        let found = phrases("Bread, cheese; well-kept wine.");
        assert_eq!(
            found,
            ["well kept wine", "bread", "cheese"]
                .map(|s| { if s == "bread" { "Bread".to_owned() } else { s.to_owned() } })
        );
    }

    #[test]
    fn a_list_without_end_gives_its_words() {
        let text = "alpha bravo delta gamma sigma kappa";
        assert_eq!(phrases(text).len(), 6);
    }
}
