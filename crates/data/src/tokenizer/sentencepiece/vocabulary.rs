//! The pieces of a model.

use std::collections::HashMap;

use crate::tokenizer::sentencepiece::proto::PieceProto;

/// The pieces of a model, by id and by spelling.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    pieces: Vec<VocabularyPiece>,
    /// Pieces that text can be encoded as.
    by_text: HashMap<Box<str>, u32>,
    /// Pieces that text is never encoded as: the unknown piece, control symbols, bytes.
    reserved: HashMap<Box<str>, u32>,
    pub(super) unknown: u32,
    /// Ids of the 256 bytes, if the model uses byte fallback.
    pub(super) bytes: Option<Box<[u32; 256]>>,
    longest: usize,
}

#[derive(Clone, Debug)]
pub(super) struct VocabularyPiece {
    pub(super) text: Box<str>,
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

/// Type of a piece. The numbers are those of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Normal,
    /// The piece for characters without a piece.
    Unknown,
    /// `<s>`, `</s>`: never the result of encoding text.
    Control,
    /// Always one token, never merged with its neighbours.
    UserDefined,
    /// In the vocabulary, but never in a result.
    Unused,
    /// `<0x0A>`.
    Byte(u8),
}

impl Vocabulary {
    /// Checks the pieces as SentencePiece does, and that their scores are finite.
    ///
    /// # Errors
    /// A description of the first invalid piece.
    pub(super) fn new(protos: Vec<PieceProto>, byte_fallback: bool) -> Result<Self, String> {
        let mut unknown = None;
        let mut bytes = [None; 256];
        let (mut by_text, mut reserved) = (HashMap::new(), HashMap::new());
        let mut pieces = Vec::with_capacity(protos.len());
        for (id, proto) in (0..).zip(protos) {
            let piece = VocabularyPiece::new(id, proto)?;
            match piece.kind {
                PieceKind::Unknown if unknown.is_some() => {
                    return Err(format!("piece {id} (`{}`) is a second unknown piece", piece.text));
                }
                PieceKind::Unknown => unknown = Some(id),
                PieceKind::Byte(_) if !byte_fallback => {
                    return Err(format!(
                        "piece {id} (`{}`) is a byte, but byte_fallback is false",
                        piece.text
                    ));
                }
                PieceKind::Byte(byte) => bytes[usize::from(byte)] = Some(id),
                _ => {}
            }
            let names = if piece.is_text() { &mut by_text } else { &mut reserved };
            if let Some(other) = names.insert(piece.text.clone(), id) {
                return Err(format!("pieces {other} and {id} are both `{}`", piece.text));
            }
            pieces.push(piece);
        }
        let missing = bytes.iter().filter(|id| id.is_none()).count();
        if byte_fallback && missing > 0 {
            return Err(format!("byte_fallback is true, but {missing} of the 256 bytes have no piece"));
        }
        Ok(Self {
            longest: by_text.keys().map(|text| text.len()).max().unwrap_or(0),
            unknown: unknown.ok_or("it has no piece for what is unknown (of type UNKNOWN)")?,
            bytes: byte_fallback.then(|| Box::new(bytes.map(Option::unwrap_or_default))),
            pieces,
            by_text,
            reserved,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn piece(&self, id: u32) -> Option<&VocabularyPiece> {
        self.pieces.get(id as usize)
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = (u32, &VocabularyPiece)> {
        (0..).zip(&self.pieces)
    }

    /// Returns the pieces that text can be encoded as, with their ids.
    pub(super) fn text_pieces(&self) -> impl Iterator<Item = (u32, &VocabularyPiece)> {
        self.pieces().filter(|(_, piece)| piece.is_text())
    }

    /// Returns the user-defined symbols.
    pub(super) fn symbols(&self) -> impl Iterator<Item = (u32, &VocabularyPiece)> {
        self.pieces().filter(|(_, piece)| piece.kind == PieceKind::UserDefined)
    }

    /// Returns the piece with exactly this text.
    pub(super) fn of_text(&self, text: &str) -> Option<(u32, &VocabularyPiece)> {
        if text.len() > self.longest {
            return None;
        }
        self.by_text.get(text).map(|&id| (id, &self.pieces[id as usize]))
    }

    /// Returns the id of a name. Control symbols take precedence over text.
    pub(super) fn id_of(&self, name: &str) -> Option<u32> {
        self.reserved.get(name).or_else(|| self.by_text.get(name)).copied()
    }

    /// Appends the ids for characters without a piece: their bytes, or the unknown piece.
    pub(super) fn push_unknown(&self, text: &str, ids: &mut Vec<u32>) {
        match &self.bytes {
            Some(bytes) => ids.extend(text.bytes().map(|byte| bytes[usize::from(byte)])),
            None => ids.push(self.unknown),
        }
    }
}

impl VocabularyPiece {
    fn new(id: u32, proto: PieceProto) -> Result<Self, String> {
        let (number, score) = (proto.kind(), proto.score());
        let text = proto.piece.unwrap_or_default();
        if text.is_empty() || text.contains('\0') {
            return Err(format!("piece {id} is empty or has a NUL in it: {text:?}"));
        }
        if !score.is_finite() {
            return Err(format!("the score of piece {id} (`{text}`) is {score}"));
        }
        let kind = match number {
            1 => PieceKind::Normal,
            2 => PieceKind::Unknown,
            3 => PieceKind::Control,
            4 => PieceKind::UserDefined,
            5 => PieceKind::Unused,
            6 => PieceKind::Byte(
                byte_of(&text).ok_or_else(|| format!("piece {id} is to be a byte, but is `{text}`"))?,
            ),
            other => return Err(format!("piece {id} (`{text}`) is of unknown type {other}")),
        };
        Ok(Self { text: text.into(), score, kind })
    }

    fn is_text(&self) -> bool {
        matches!(self.kind, PieceKind::Normal | PieceKind::UserDefined | PieceKind::Unused)
    }
}

/// Returns the byte that a piece such as `<0x0A>` spells, with two upper-case digits.
fn byte_of(piece: &str) -> Option<u8> {
    let hex = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let byte = u8::from_str_radix(hex, 16).ok()?;
    (format!("{byte:02X}") == hex).then_some(byte)
}
