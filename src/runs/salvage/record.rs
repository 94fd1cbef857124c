//! The values of a row. Source: "Record Format", <https://www.sqlite.org/fileformat2.html>, 2.1.

use super::pages::varint;

/// More columns than any table of a run file has.
const MOST_COLUMNS: usize = 32;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Int(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// The values of a row; none if the bytes are no row, or hold what run files never do.
pub(super) fn values(record: &[u8]) -> Option<Vec<Value<'_>>> {
    let (types, mut content) = split(record)?;
    let mut values = Vec::with_capacity(types.len());
    for kind in types {
        let (bytes, rest) = content.split_at_checked(width(kind)?)?;
        content = rest;
        values.push(value(kind, bytes)?);
    }
    content.is_empty().then_some(values)
}

/// Whether the row is a body, by its first bytes: a row id and bytes.
pub(super) fn is_body(record: &[u8]) -> bool {
    split(record)
        .is_some_and(|(types, _)| matches!(types.as_slice(), [0, blob] if *blob >= 12 && blob.is_multiple_of(2)))
}

/// The types of the columns, and the content.
fn split(record: &[u8]) -> Option<(Vec<u64>, &[u8])> {
    let (length, after) = varint(record)?;
    let length = usize::try_from(length).ok()?;
    let (header, content) = record.split_at_checked(length)?;
    let mut rest = header.get(record.len() - after.len()..)?;
    let mut types = Vec::new();
    while !rest.is_empty() {
        let (kind, after) = varint(rest)?;
        rest = after;
        types.push(kind);
        if types.len() > MOST_COLUMNS {
            return None;
        }
    }
    Some((types, content))
}

fn width(kind: u64) -> Option<usize> {
    match kind {
        0 | 8 | 9 => Some(0),
        1..=4 => usize::try_from(kind).ok(),
        5 => Some(6),
        6 => Some(8),
        12.. => usize::try_from((kind - 12) / 2).ok(),
        _ => None,
    }
}

fn value(kind: u64, bytes: &[u8]) -> Option<Value<'_>> {
    Some(match kind {
        0 => Value::Null,
        8 => Value::Int(0),
        9 => Value::Int(1),
        1..=6 => {
            let negative = bytes.first()? & 0x80 != 0;
            Value::Int(bytes.iter().fold(-i64::from(negative), |number, byte| number << 8 | i64::from(*byte)))
        }
        _ if kind.is_multiple_of(2) => Value::Blob(bytes),
        _ => Value::Text(std::str::from_utf8(bytes).ok()?),
    })
}

impl<'a> Value<'a> {
    /// A number, or none for NULL; nothing else may be there.
    pub(super) fn int(self) -> Option<Option<i64>> {
        match self {
            Self::Null => Some(None),
            Self::Int(number) => Some(Some(number)),
            Self::Text(_) | Self::Blob(_) => None,
        }
    }

    /// A text, or none for NULL; nothing else may be there.
    pub(super) fn text(self) -> Option<Option<&'a str>> {
        match self {
            Self::Null => Some(None),
            Self::Text(text) => Some(Some(text)),
            Self::Int(_) | Self::Blob(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_the_format_says() {
        // Header of 6 bytes: NULL, i16, 1, text of 2, blob of 1.
        let record = [6, 0, 2, 9, 17, 14, 0xFF, 0xFE, b'h', b'i', 7];
        let wanted = vec![Value::Null, Value::Int(-2), Value::Int(1), Value::Text("hi"), Value::Blob(&[7])];
        assert_eq!(values(&record), Some(wanted));
        for length in 0..record.len() {
            assert_eq!(values(&record[..length]), None);
        }
        assert_eq!(values(&[&record[..], &[0]].concat()), None, "nothing may follow");
        assert!(is_body(&[3, 0, 14, 7]) && !is_body(&record));
    }

    #[test]
    fn numbers_have_up_to_nine_bytes() {
        assert_eq!(varint(&[0x7F, 1]), Some((127, &[1][..])));
        assert_eq!(varint(&[0x81, 0x00]), Some((128, &[][..])));
        assert_eq!(varint(&[0xFF; 9]), Some((u64::MAX, &[][..])));
        assert_eq!(varint(&[0xFF; 8]), None);
    }
}
