//! Cuts a text into sentences and words, by UAX #29, with what that standard leaves to tailoring:
//! wrapped lines belong together, and an abbreviation's full stop ends no sentence.

use std::collections::HashMap;

use unicode_segmentation::UnicodeSegmentation;

/// A longer word is counted, and otherwise left out: it is no language.
const WORD_MAX_BYTES: usize = 64;

/// Abbreviations that a name or a number follows, in lower case, without the last full stop.
const ABBREVIATIONS: [&str; 24] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "e.g", "i.e", "cf", "nos", "fig", "figs", "vol", "pp",
    "gen", "col", "lt", "capt", "hon", "rev", "approx",
];

/// A text, cut up. Words are numbered in the order in which they first appear.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) sentences: Vec<Sentence>,
    pub(super) vocabulary: Vec<Word>,
    numbers: HashMap<String, u32>,
}

/// One sentence.
#[derive(Debug)]
pub(super) struct Sentence {
    /// On one line, without control characters.
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
    pub(super) word_count: usize,
    pub(super) opens_paragraph: bool,
}

/// A part of a sentence that matters to the analysis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The word with this number in the vocabulary.
    Word(u32),
    /// Punctuation that no phrase spans.
    Break,
}

/// One word of the vocabulary.
#[derive(Debug)]
pub(super) struct Word {
    /// In lower case, with straight apostrophes: the form to compare by.
    pub(super) folded: String,
    /// As the text writes it; in lower case if it ever does so.
    pub(super) surface: String,
}

impl Document {
    /// Cuts `text` up, in time and memory proportional to its length.
    pub(super) fn parse(text: &str) -> Self {
        let mut document = Self::default();
        for paragraph in paragraphs(text) {
            let mut opens_paragraph = true;
            for sentence in sentences(&paragraph) {
                let sentence = document.sentence(sentence, opens_paragraph);
                // A sentence without a word, such as a ruled line, says nothing.
                if sentence.word_count > 0 {
                    document.sentences.push(sentence);
                    opens_paragraph = false;
                }
            }
        }
        document
    }

    pub(super) fn word_count(&self) -> usize {
        self.sentences.iter().map(|s| s.word_count).sum()
    }

    pub(super) fn word(&self, number: u32) -> &Word {
        &self.vocabulary[number as usize]
    }

    fn sentence(&mut self, text: String, opens_paragraph: bool) -> Sentence {
        let mut tokens = Vec::new();
        let mut word_count = 0;
        for piece in text.split_word_bounds() {
            if piece.chars().any(char::is_alphanumeric) {
                word_count += 1;
                tokens.push(if piece.len() > WORD_MAX_BYTES { Token::Break } else { Token::Word(self.number(piece)) });
            } else if !piece.chars().all(|c| c.is_whitespace() || c == '-') {
                tokens.push(Token::Break);
            }
        }
        Sentence { text, tokens, word_count, opens_paragraph }
    }

    fn number(&mut self, piece: &str) -> u32 {
        let folded = fold(piece);
        if let Some(&number) = self.numbers.get(&folded) {
            let surface = &mut self.vocabulary[number as usize].surface;
            if piece.chars().all(|c| !c.is_uppercase()) {
                piece.clone_into(surface);
            }
            return number;
        }
        // Cannot run out: a text of 4 billion different words does not fit into a request.
        let number = u32::try_from(self.vocabulary.len()).unwrap_or(u32::MAX - 1);
        self.numbers.insert(folded.clone(), number);
        self.vocabulary.push(Word { folded, surface: piece.to_owned() });
        number
    }
}

/// Lower case, with the typographic apostrophe made straight.
fn fold(word: &str) -> String {
    word.to_lowercase().replace('\u{2019}', "'")
}

/// The paragraphs, each on one line: divided by blank lines, and before the items of a list.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        let line = line.trim();
        if (line.is_empty() || opens_item(line)) && !open.is_empty() {
            paragraphs.push(std::mem::take(&mut open));
        }
        if line.is_empty() {
            continue;
        }
        if !open.is_empty() {
            open.push(' ');
        }
        open.extend(line.chars().map(|c| {
            let ends_line = matches!(c, '\u{2028}' | '\u{2029}');
            if c.is_control() || ends_line { ' ' } else { c }
        }));
    }
    if !open.is_empty() {
        paragraphs.push(open);
    }
    paragraphs
}

fn opens_item(line: &str) -> bool {
    ["- ", "* ", "+ ", "\u{2022} ", "#"].iter().any(|marker| line.starts_with(marker))
}

/// The sentences of a paragraph, trimmed.
fn sentences(paragraph: &str) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    let mut continues = false;
    for piece in paragraph.split_sentence_bounds() {
        match sentences.last_mut() {
            Some(last) if continues => last.push_str(piece),
            _ => sentences.push(piece.to_owned()),
        }
        continues = ends_with_abbreviation(piece);
    }
    for sentence in &mut sentences {
        *sentence = sentence.trim().to_owned();
    }
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

fn ends_with_abbreviation(piece: &str) -> bool {
    let Some(rest) = piece.trim_end().strip_suffix('.') else {
        return false;
    };
    let last =
        rest.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '\u{201C}')).next().unwrap_or(rest);
    if last.len() > WORD_MAX_BYTES {
        return false;
    }
    let mut chars = last.chars();
    let is_initial = chars.next().is_some_and(|c| c.is_uppercase() && c != 'I') && chars.next().is_none();
    is_initial || ABBREVIATIONS.contains(&last.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        Document::parse(text).sentences.into_iter().map(|sentence| sentence.text).collect()
    }

    #[test]
    fn wrapped_lines_belong_together() {
        assert_eq!(
            texts("A sentence that is\nwrapped. Another\r\none.\n\nA heading\n\n- one\n- two"),
            ["A sentence that is wrapped.", "Another one.", "A heading", "- one", "- two"]
        );
    }

    #[test]
    fn abbreviations_end_no_sentence() {
        assert_eq!(
            texts("Dr. Grey met J. S. Black, e.g. Here. See Fig. 3. Fine."),
            ["Dr. Grey met J. S. Black, e.g. Here.", "See Fig. 3.", "Fine."]
        );
    }

    #[test]
    fn words_are_counted_by_unicode_rules() {
        let document = Document::parse("The well-kept cat\u{2019}s 3.5 kg -- 你好 \u{1F600}!");
        assert_eq!(document.word_count(), 8);
        assert_eq!(document.vocabulary[3].folded, "cat's");
    }

    #[test]
    fn lower_case_wins_for_the_surface() {
        let document = Document::parse("Bread rises. Then bread cools near Oslo.");
        assert_eq!(document.vocabulary[0].surface, "bread");
        assert_eq!(document.vocabulary[5].surface, "Oslo");
    }

    #[test]
    fn control_characters_do_not_survive() {
        assert_eq!(texts("a\u{0}b\u{1b}[1m c\u{2028}d"), ["a b [1m c d"]);
    }
}
