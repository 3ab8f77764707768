//! Texts that are longer than a record may be.

/// Bytes of a text in one record: DynamoDB takes 400 KB.
pub(super) const PIECE_BYTES: usize = 300_000;

/// Cuts a text into pieces of at most [`PIECE_BYTES`].
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        pieces.push(piece);
        rest = later;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_characters_and_make_the_text_again() {
        assert!(pieces("").is_empty());
        let text = format!("x{}", "é".repeat(PIECE_BYTES));
        let pieces = pieces(&text);
        assert_eq!((pieces.len(), pieces.concat() == text), (3, true));
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES));
    }
}
