use proptest::prelude::*;
use shared::model::analysis::{SentimentLabel, UNDETERMINED, input_tokens_max};

use super::*;

const PROSE: &str = include_str!("../../../../../data/prose.txt");

#[test]
fn a_page_of_prose_is_understood() {
    let Outcome { analysis, usage } = analyze(PROSE);
    assert_eq!(analysis.language, "en");
    assert!((400..=520).contains(&analysis.word_count), "{}", analysis.word_count);
    assert!(analysis.key_phrases.len() >= 5, "{:?}", analysis.key_phrases);
    let sentences: Vec<_> = Document::parse(PROSE).sentences;
    assert_eq!(sentences.len(), analysis.sentence_count as usize);
    let quoted = sentences.iter().filter(|s| analysis.summary.contains(&s.text)).count();
    assert_eq!(quoted, 3, "the summary quotes the text: {}", analysis.summary);
    assert_ne!(analysis.sentiment.label, SentimentLabel::Unknown);
    let ease = analysis.readability.flesch_reading_ease.expect("English has a figure");
    assert!((30.0..100.0).contains(&ease), "{ease}");
    assert!(usage.input_tokens > 400 && usage.output_tokens > 20);
    assert!(analysis.checked().is_ok());
}

/// Texts that break careless code, with the number of words in each.
fn odd_texts() -> Vec<(String, u32)> {
    vec![
        (String::new(), 0),
        (" \n\t\u{a0}\u{feff}".into(), 0),
        ("a".repeat(100_000), 1),
        ("\u{1F600}\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467}\u{1F1E9}\u{1F1EA}".repeat(50), 0),
        ("\0".into(), 0),
        ("\0a\0b\0".into(), 2),
        ("ש\u{202E}לום עולם".into(), 2),
        ("e\u{301}".repeat(1_000), 1),
        (".".repeat(10_000), 0),
        ("Mr. ".repeat(10_000), 10_000),
        ("?!".repeat(5_000), 0),
        ("- \n".repeat(5_000), 0),
        ("你好世界。".repeat(100), 400),
        ("\u{10FFFF}\u{FFFD}".into(), 0),
        ("Hello Привет 你好 שלום".into(), 5),
    ]
}

#[test]
fn odd_texts_give_an_analysis_within_limits() {
    for (text, words) in odd_texts() {
        let start: String = text.chars().take(20).collect();
        let outcome = analyze(&text);
        assert_eq!(outcome.analysis.word_count, words, "{start:?}");
        assert_eq!(outcome, analyze(&text), "{start:?} twice");
        assert!(outcome.usage.input_tokens <= input_tokens_max(text.len()), "{start:?}");
        if words == 0 {
            assert_eq!(outcome.analysis.language, UNDETERMINED, "{start:?}");
            assert_eq!(outcome.analysis.summary, "", "{start:?}");
        }
        outcome.analysis.checked().expect("an odd text still gives a good analysis");
    }
}

#[test]
fn languages_without_a_word_list_say_so() {
    let german = "Der Bäcker öffnet seinen Laden jeden Morgen um sechs Uhr, auch wenn es regnet. \
        Seine Kunden lieben das frische Brot und den Kaffee, den er ihnen dazu schenkt.";
    let analysis = analyze(german).analysis;
    assert_eq!(analysis.language, "de");
    assert_eq!(analysis.sentiment.label, SentimentLabel::Unknown);
    assert_eq!(analysis.readability.flesch_reading_ease, None);
    assert!(analysis.key_phrases.iter().all(|phrase| phrase != "und"));
    assert!(!analysis.summary.is_empty());
}

/// Each of these would take minutes if any step looked back over the whole text.
#[test]
fn hostile_megabytes_are_analysed() {
    for unit in ["a b. ", "Mr. ", "word ", "x\u{301}", "never so good but ", "a,b;", "\n\n", "J. "] {
        let analysis = analyze(&unit.repeat(1_048_576 / unit.len())).analysis;
        assert!(analysis.clone().checked().is_ok(), "{unit:?}: {analysis:?}");
    }
}

#[test]
fn tokens_are_never_more_than_bytes() {
    assert_eq!(estimate_tokens(""), 0);
    assert_eq!(estimate_tokens("a"), 1);
    assert_eq!(estimate_tokens("abcde"), 2);
    assert_eq!(estimate_tokens("你好"), 2);
}

proptest! {
    #[test]
    fn any_text_gives_a_good_analysis(text in any::<String>()) {
        let outcome = analyze(&text);
        prop_assert_eq!(&outcome, &analyze(&text));
        prop_assert!(outcome.usage.input_tokens <= text.len() as u64);
        prop_assert!(outcome.analysis.checked().is_ok());
    }

    #[test]
    fn any_words_give_a_good_analysis(
        words in proptest::collection::vec("[a-zA-Z'é]{1,12}[.,;!?-]{0,2}|\u{2019}|\n|Dr\\.", 0..200),
    ) {
        let text = words.join(" ");
        prop_assert!(analyze(&text).analysis.checked().is_ok());
    }
}
