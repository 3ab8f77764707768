//! An extractive summary: the sentences that say most, in the text's own words and order.
//! After SumBasic (Nenkova and Vanderwende 2005): words weigh by their frequency, and weigh less
//! once they have been said, so that the second sentence does not repeat the first.

use super::text::{Document, Sentence, Token};

/// Most sentences in a summary.
const SENTENCES_MAX: usize = 3;
/// Longest sentence that is quoted whole, in characters; longer ones are cut.
const SENTENCE_MAX_CHARS: usize = 320;
/// Shorter sentences are headings or asides.
const WORDS_MIN: usize = 5;
/// What the opening sentence of a paragraph counts more: it tends to say what the paragraph is about.
const OPENING_BONUS: f64 = 1.2;
/// Evens out sentence lengths: without it, the shortest sentence with one frequent word wins.
const LENGTH_OFFSET: f64 = 4.0;

// A summary always fits the model's limit, the spaces between its sentences included.
const _: () = assert!(SENTENCES_MAX * (SENTENCE_MAX_CHARS + 1) <= shared::model::analysis::SUMMARY_MAX_CHARS);

/// The summary; `is_content` tells which words of the vocabulary count.
pub(super) fn summarize(document: &Document, is_content: &[bool]) -> String {
    let mut weights = frequencies(document, is_content);
    let mut candidates: Vec<usize> =
        (0..document.sentences.len()).filter(|&index| is_statement(&document.sentences[index])).collect();
    if candidates.is_empty() {
        candidates = (0..document.sentences.len()).collect();
    }
    let wanted = (document.sentences.len() / 6).clamp(1, SENTENCES_MAX);
    let mut chosen = Vec::with_capacity(wanted);
    while chosen.len() < wanted {
        // Ties go to the earlier sentence: `>` keeps the first best.
        let mut best: Option<(usize, f64)> = None;
        for &index in candidates.iter().filter(|index| !chosen.contains(*index)) {
            let score = score(&document.sentences[index], &weights);
            if best.is_none_or(|(_, highest)| score > highest) {
                best = Some((index, score));
            }
        }
        let Some((index, _)) = best else { break };
        for number in words(&document.sentences[index]) {
            weights[number] *= weights[number];
        }
        chosen.push(index);
    }
    chosen.sort_unstable();
    chosen.iter().map(|&index| cut(&document.sentences[index].text)).collect::<Vec<_>>().join(" ")
}

/// Whether it can stand by itself: a heading is short or has no full stop.
fn is_statement(sentence: &Sentence) -> bool {
    let text = sentence.text.trim_end_matches(['"', '\'', '\u{201D}', '\u{2019}', '\u{BB}', ')', ']', '\u{300D}']);
    let ends = text.ends_with(['.', '!', '?', '\u{2026}', '\u{3002}', '\u{FF01}', '\u{FF1F}', '\u{61F}', '\u{964}']);
    ends && sentence.word_count >= WORDS_MIN
}

/// Each word's share of the content words; 0 for the others.
fn frequencies(document: &Document, is_content: &[bool]) -> Vec<f64> {
    let mut counts = vec![0.0_f64; document.vocabulary.len()];
    let mut total = 0.0;
    for number in document.sentences.iter().flat_map(words) {
        if is_content[number] {
            counts[number] += 1.0;
            total += 1.0;
        }
    }
    if total > 0.0 {
        counts.iter_mut().for_each(|count| *count /= total);
    }
    counts
}

fn score(sentence: &Sentence, weights: &[f64]) -> f64 {
    let mut sum = 0.0;
    let mut count = 0.0;
    for number in words(sentence) {
        if weights[number] > 0.0 {
            sum += weights[number];
            count += 1.0;
        }
    }
    let mean = sum / (count + LENGTH_OFFSET);
    if sentence.opens_paragraph { mean * OPENING_BONUS } else { mean }
}

fn words(sentence: &Sentence) -> impl Iterator<Item = usize> {
    sentence.tokens.iter().filter_map(|token| match token {
        Token::Word(number) => Some(*number as usize),
        Token::Break => None,
    })
}

/// At most [`SENTENCE_MAX_CHARS`] characters, cut between words where there are any.
fn cut(sentence: &str) -> String {
    let Some((end, _)) = sentence.char_indices().nth(SENTENCE_MAX_CHARS - 1) else {
        return sentence.to_owned();
    };
    let head = &sentence[..end];
    let head = head.rsplit_once(char::is_whitespace).map_or(head, |(before, _)| before);
    format!("{}\u{2026}", head.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(text: &str) -> String {
        let document = Document::parse(text);
        let is_content: Vec<bool> = document.vocabulary.iter().map(|w| w.folded.len() > 3).collect();
        summarize(&document, &is_content)
    }

    #[test]
    fn the_sentence_about_the_frequent_words_is_chosen() {
        let text = "Yesterday it rained on our roof for hours. \
            The river floods the valley when the river meets melting snow. \
            My aunt owns a yellow bicycle and two hats. \
            Farmers watch the river all spring. The valley is green. Some people fish there at night.";
        assert_eq!(summary(text), "The river floods the valley when the river meets melting snow.");
    }

    #[test]
    fn a_heading_is_not_quoted() {
        let text = "The river in our green valley\n\nThe river is wide. The river carries boats (and \"sand\").";
        assert_eq!(summary(text), "The river carries boats (and \"sand\").");
    }

    #[test]
    fn sentences_keep_their_order_and_do_not_repeat() {
        let line = "Rivers carry water to the sea. ";
        let other = "Mountains shelter small villages from northern winds. ";
        let text = format!("{}{}", line.repeat(8), other.repeat(4));
        let summary = summary(&text);
        let rivers = summary.find("Rivers").expect("rivers are the main matter");
        let mountains = summary.find("Mountains").expect("mountains are the second");
        assert!(rivers < mountains);
        assert_eq!(summary.matches("Rivers").count(), 1);
    }

    #[test]
    fn long_sentences_are_cut_between_words() {
        let text = "water ".repeat(200);
        let summary = summary(&text);
        assert!(summary.chars().count() <= SENTENCE_MAX_CHARS);
        assert!(summary.ends_with("water\u{2026}"));
    }
}
