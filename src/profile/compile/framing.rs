//! Framing and checksums of the engines of messages.

use std::ops::Range;

use super::super::checksum::Checksum;
use super::super::device::Alphabet;
use super::super::framing::{End, Escape, Framing};
use super::super::pattern::{frame_bytes, hex, text_message};
use super::super::schema::{ChecksumFile, EscapeFile, FramingFile};
use super::super::text::TextError;
use super::Compiler;
use crate::document::Spanned;

/// The checksums of both directions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checksums {
    pub(super) sent: Option<Checksum>,
    pub(super) received: Option<Checksum>,
}

const HELP: &str =
    "framing = { terminator = \"<CR>\" } says how the end of a message is told; so do `fixed`, `length` and `idle`";

pub(super) fn framing(
    framing: Option<&Spanned<FramingFile>>,
    alphabet: Alphabet,
    whole: &Range<usize>,
    compiler: &mut Compiler<'_>,
) -> Option<(Framing, Checksums)> {
    let Some(framing) = framing else {
        if alphabet == Alphabet::Bytes {
            return Some((Framing { start: Vec::new(), end: End::Pattern, escape: None }, Checksums::default()));
        }
        compiler.missing(whole, "framing", "a text profile has no `framing`", HELP);
        return None;
    };
    let file = framing.get_ref();
    let start = file.start.as_ref().map_or(Some(Vec::new()), |start| marker(start, alphabet, compiler))?;
    let escape = file.escape.as_ref().and_then(|given| escape(given, compiler));
    let checksums = file.checksum.as_ref().map(|given| checksums(given, compiler)).unwrap_or_default();
    let end = end(framing, alphabet, compiler)?;
    if let Some(given) =
        file.escape.as_ref().filter(|_| !matches!(end, End::Fixed(_) | End::Length { .. } | End::Pattern))
    {
        compiler.error(given.span(), "`escape` goes with messages whose length is known", "");
    }
    Some((Framing { start, end, escape }, checksums))
}

fn end(framing: &Spanned<FramingFile>, alphabet: Alphabet, compiler: &mut Compiler<'_>) -> Option<End> {
    let file = framing.get_ref();
    let given: Vec<(&str, Range<usize>)> = [
        ("terminator", file.terminator.as_ref().map(Spanned::span)),
        ("fixed", file.fixed.as_ref().map(Spanned::span)),
        ("length", file.length.as_ref().map(Spanned::span)),
        ("idle", file.idle.as_ref().map(Spanned::span)),
    ]
    .into_iter()
    .filter_map(|(key, span)| Some((key, span?)))
    .collect();
    if let [(first, _), (second, span), ..] = given.as_slice() {
        compiler.error(
            span.clone(),
            format!("the end of a message is told by `{first}` or by `{second}`, not by both"),
            "",
        );
    }
    if let Some(tail) = file.tail.as_ref().filter(|_| file.terminator.is_none()) {
        compiler.error(tail.span(), "`tail` counts the bytes behind a `terminator`, and there is none", "");
    }
    if let Some(terminator) = &file.terminator {
        let bytes = marker(terminator, alphabet, compiler)?;
        return Some(End::Terminator {
            bytes,
            tail: file.tail.as_ref().map_or(0, |tail| usize::from(*tail.get_ref())),
        });
    }
    if let Some(fixed) = &file.fixed {
        if *fixed.get_ref() == 0 {
            compiler.error(fixed.span(), "a message has at least one byte", "");
            return None;
        }
        return Some(End::Fixed(usize::from(*fixed.get_ref())));
    }
    if let Some(length) = &file.length {
        let Some(at) = &length.get_ref().at else {
            let help = "length = { at = 2, plus = 5 }: which byte tells the length, and what has to be added to it";
            compiler.missing(&length.span(), "framing.length.at", "`length` has no `at`", help);
            return None;
        };
        return Some(End::Length { at: usize::from(*at.get_ref()), plus: usize::from(length.get_ref().plus) });
    }
    if let Some(idle) = &file.idle {
        if idle.get_ref().0.is_zero() {
            compiler.error(idle.span(), "a silence of no length ends nothing", "");
        }
        return Some(End::Idle(idle.get_ref().0));
    }
    if alphabet == Alphabet::Bytes {
        return Some(End::Pattern);
    }
    compiler.missing(&framing.span(), "framing.terminator", "`framing` has no `terminator`", HELP);
    None
}

/// The bytes of a terminator or a start: text with tokens, or hex.
fn marker(given: &Spanned<String>, alphabet: Alphabet, compiler: &mut Compiler<'_>) -> Option<Vec<u8>> {
    let text = compiler.substituted(given.get_ref());
    let bytes = match alphabet {
        Alphabet::Text => text_message(&text, None).map(|(bytes, _)| bytes),
        Alphabet::Bytes => frame_bytes(&text),
    };
    match bytes {
        Ok(bytes) if !bytes.is_empty() => Some(bytes),
        Ok(_) => {
            compiler.error(given.span(), "this has to be at least one byte", HELP);
            None
        }
        Err(error) => {
            compiler.error(given.span(), error.to_string(), "");
            None
        }
    }
}

fn escape(given: &Spanned<EscapeFile>, compiler: &mut Compiler<'_>) -> Option<Escape> {
    const HELP: &str = "escape = { byte = \"80\", before = \"80..85\" }";
    let one = |text: &str| match hex(text.trim())?.as_slice() {
        [byte] => Ok(*byte),
        _ => Err(TextError::Hex(text.to_owned())),
    };
    let file = given.get_ref();
    let (Some(byte), Some(before)) = (&file.byte, &file.before) else {
        compiler.error(given.span(), "`escape` needs `byte` and `before`", HELP);
        return None;
    };
    let (first, last) = before.get_ref().split_once("..").unwrap_or((before.get_ref(), before.get_ref()));
    match (one(byte.get_ref()), one(first), one(last)) {
        (Ok(byte), Ok(first), Ok(last)) if (first..=last).contains(&byte) => {
            Some(Escape { byte, before: first..=last })
        }
        (Ok(_), Ok(_), Ok(_)) => {
            compiler.error(before.span(), "the escape has to be among the bytes that are escaped", HELP);
            None
        }
        _ => {
            compiler.error(given.span(), "`byte` is one byte in hex, `before` one or a range of them", HELP);
            None
        }
    }
}

fn checksums(given: &Spanned<ChecksumFile>, compiler: &mut Compiler<'_>) -> Checksums {
    let file = given.get_ref();
    let Some(kind) = &file.kind else {
        let help = "checksum = { kind = \"sum8\", from = 1, encode = \"hex2\" }";
        compiler.missing(&given.span(), "framing.checksum.kind", "`checksum` has no `kind`", help);
        return Checksums::default();
    };
    let kind = *kind.get_ref();
    let encoding = file.encode.as_ref().map_or(kind.usual_encoding(), |encode| *encode.get_ref());
    if let Some(encode) = file.encode.as_ref().filter(|_| !encoding.fits(kind)) {
        let bits = if kind.is_wide() { "16 bits: hex4, be or le" } else { "8 bits: byte, hex2 or dec3" };
        compiler.error(encode.span(), format!("the checksum has {bits}"), "");
    }
    let to = file.to.as_ref().map(|to| usize::from(*to.get_ref()));
    let over = |from: u16| Some(Checksum { kind, encoding, from: usize::from(from), to });
    Checksums { sent: over(file.from), received: over(file.reply_from.unwrap_or(file.from)) }
}
