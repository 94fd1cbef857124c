//! How a round of reads is shown: in 120 columns, or as JSON.

use serde_json::{Value, json};

use super::super::table::Table;
use super::meanings::{FOURS, Meaning, ORDERS, PAIRS, Window, bits, characters};
use super::{Attempt, Round};
use crate::driver::Error;
use crate::profile;
use crate::profile::Order;
use crate::profile::RegisterType;

/// What stands beside a float that somebody could have measured.
const PLAUSIBLE: char = '*';

pub(super) fn text(round: &Round) -> String {
    let read = &round.read;
    let mut parts = vec![format!(
        "unit {}, {} {}, function {:02}",
        read.unit,
        name(read.table),
        range(read.address, read.count),
        read.table.read_function()
    )];
    parts.push(round.attempts.iter().map(|attempt| attempt_line(round, attempt)).collect::<Vec<_>>().join("\n"));
    if !round.window.answers.is_empty() {
        if read.table.is_bits() {
            parts.push(bit_table(round));
        } else {
            parts.push(single_table(round));
            parts.extend(wide_table("two registers", &round.window, &PAIRS));
            parts.extend(wide_table("four registers", &round.window, &FOURS));
            parts.extend(as_text(&round.window));
            parts.push(format!("{PLAUSIBLE} a float of a magnitude that people measure"));
        }
    }
    parts.join("\n\n")
}

fn name(table: profile::Table) -> &'static str {
    match table {
        profile::Table::Coil => "coils",
        profile::Table::Discrete => "discrete inputs",
        profile::Table::Input => "input registers",
        profile::Table::Holding => "holding registers",
    }
}

fn range(address: u16, count: u16) -> String {
    let last = u32::from(address) + u32::from(count) - 1;
    if count == 1 { address.to_string() } else { format!("{address} to {last}") }
}

/// What many manuals call an address: counted from one, behind the table's digit.
fn called(table: profile::Table, address: u16) -> String {
    let digit = match table {
        profile::Table::Coil => 0,
        profile::Table::Discrete => 1,
        profile::Table::Input => 3,
        profile::Table::Holding => 4,
    };
    let number = u32::from(address) + 1;
    if number < 10_000 { format!("{digit}{number:04}") } else { format!("{digit}{number:05}") }
}

fn attempt_line(round: &Round, attempt: &Attempt) -> String {
    let asked = round.read.address;
    let as_what = match attempt.address {
        address if address == asked => "as given",
        address if address < asked => "if the manual counts from 1",
        _ => "if the manual counts from 0 and the device from 1",
    };
    let said = match &attempt.outcome {
        Ok(took) => format!("answered in {:.1} ms", took.as_secs_f64() * 1e3),
        Err(error) => {
            // What to try is the same for the neighbours.
            let hint = hint(error, round).filter(|_| attempt.address == asked);
            format!("{error}{}", hint.map(|hint| format!("\n        {hint}")).unwrap_or_default())
        }
    };
    format!("  {:>5} ({as_what}): {said}", attempt.address)
}

/// What to try next.
fn hint(error: &Error, round: &Round) -> Option<String> {
    let read = &round.read;
    let others = match read.table {
        profile::Table::Holding => "`--table input`",
        profile::Table::Input => "`--table holding`",
        profile::Table::Coil => "`--table discrete`",
        profile::Table::Discrete => "`--table coil`",
    };
    Some(match error {
        Error::GivenUp(error) => return hint(error, round),
        Error::Exception { code: 1, .. } => format!("the device is there, but does not know this table; try {others}"),
        Error::Exception { code: 2, .. } if read.count > 1 => {
            format!("the device is there, but not all of these addresses are; try `--count 1`, or {others}")
        }
        Error::Exception { code: 2, .. } => format!("the device is there, but this address is not; try {others}"),
        Error::Exception { code: 3, .. } => "the device is there, but refuses this count; try a smaller one".to_owned(),
        Error::Exception { code: 10 | 11, .. } => {
            format!("the gateway is there, but nobody behind it answers as unit {}; check address and cable", read.unit)
        }
        Error::Exception { .. } => "the device is there; its manual says what the number means".to_owned(),
        Error::NoReply(_) => format!(
            "nobody answers as unit {}: check unit, baud rate, parity and wiring (A and B swapped?); `mbe-bridge scan` \
             tries them all",
            read.unit
        ),
        Error::Truncated { .. } | Error::Checksum | Error::Malformed { .. } => {
            "somebody talks, but not so: baud rate or parity may be wrong".to_owned()
        }
        Error::Echo => "add `--echo`".to_owned(),
        _ => return None,
    })
}

fn bit_table(round: &Round) -> String {
    let mut table = Table::new(&[">address", "called", "value"]);
    for address in round.window.addresses() {
        let value = round.window.words(address, 1).and_then(<[u16]>::first).copied().unwrap_or_default();
        table.row([
            address.to_string(),
            called(round.read.table, address),
            if value == 1 { "1" } else { "0" }.to_owned(),
        ]);
    }
    table.to_string()
}

fn single_table(round: &Round) -> String {
    let window = &round.window;
    let mut table = Table::new(&[
        ">address", "called", "hex", ">u16", ">i16", ">u16 BA", ">i16 BA", ">f16", ">bcd16", "ASCII", "bits",
    ]);
    for address in window.addresses() {
        let Some(word) = window.words(address, 1).and_then(<[u16]>::first).copied() else { continue };
        let as_type = |ty, order| window.meaning(address, ty, order).map_or_else(|| "-".to_owned(), |m| m.shown);
        table.row([
            address.to_string(),
            called(round.read.table, address),
            format!("{word:04x}"),
            as_type(RegisterType::U16, Order::Abcd),
            as_type(RegisterType::I16, Order::Abcd),
            as_type(RegisterType::U16, Order::Badc),
            as_type(RegisterType::I16, Order::Badc),
            as_type(RegisterType::F16, Order::Abcd),
            as_type(RegisterType::Bcd16, Order::Abcd),
            characters(word),
            bits(word),
        ]);
    }
    table.to_string()
}

/// All registers of the first answer as text, with the bytes of each as they are and swapped, if it looks like some.
fn as_text(window: &Window) -> Option<String> {
    let words = &window.answers.first()?.words;
    let straight: String = words.iter().map(|word| characters(*word)).collect();
    let swapped: String = words.iter().map(|word| characters(word.swap_bytes())).collect();
    let readable = straight.chars().filter(|c| *c != '.').count();
    let enough = words.len() > 1 && readable >= words.len();
    enough.then(|| format!("as text: `{straight}`, with the bytes swapped: `{swapped}`"))
}

/// The types that take several registers, a row for each address where one could begin.
fn wide_table(title: &str, window: &Window, types: &[(RegisterType, &str)]) -> Option<String> {
    let mut headings = vec![">from", "type"];
    let columns: Vec<String> = ORDERS.iter().map(|(_, name)| format!(">{name}")).collect();
    headings.extend(columns.iter().map(String::as_str));
    let mut table = Table::new(&headings);
    let mut rows = 0;
    for (ty, name) in types {
        for address in window.addresses() {
            let meanings = ORDERS.map(|(order, _)| window.meaning(address, *ty, order));
            if meanings.iter().all(Option::is_none) {
                continue;
            }
            rows += 1;
            let cells = meanings.iter().map(|meaning| meaning.as_ref().map_or_else(|| "-".to_owned(), marked));
            table.row([address.to_string(), (*name).to_owned()].into_iter().chain(cells));
        }
    }
    (rows > 0).then(|| format!("{title}\n{table}"))
}

fn marked(meaning: &Meaning) -> String {
    if meaning.plausible { format!("{PLAUSIBLE}{}", meaning.shown) } else { meaning.shown.clone() }
}

pub(super) fn json(round: &Round) -> Value {
    let window = &round.window;
    let attempts: Vec<Value> = round
        .attempts
        .iter()
        .map(|attempt| match &attempt.outcome {
            Ok(took) => json!({
                "address": attempt.address,
                "ms": took.as_secs_f64() * 1e3,
                "words": window.words(attempt.address, round.read.count),
            }),
            Err(error) => json!({
                "address": attempt.address,
                "error": error.to_string(),
                "reason": error.reason().to_string(),
                "hint": hint(error, round),
            }),
        })
        .collect();
    let values: Vec<Value> = if round.read.table.is_bits() {
        Vec::new()
    } else {
        window.addresses().into_iter().map(|address| json_values(window, address)).collect()
    };
    json!({
        "unit": round.read.unit,
        "table": round.read.table.name(),
        "address": round.read.address,
        "count": round.read.count,
        "reads": attempts,
        "values": values,
    })
}

fn json_values(window: &Window, address: u16) -> Value {
    let mut types = serde_json::Map::new();
    let singles = [
        (RegisterType::U16, "u16"),
        (RegisterType::I16, "i16"),
        (RegisterType::F16, "f16"),
        (RegisterType::Bcd16, "bcd16"),
    ];
    for (ty, name) in singles.iter().chain(&PAIRS).chain(&FOURS) {
        let orders = ORDERS.iter().filter_map(|(order, word)| {
            let meaning = window.meaning(address, *ty, *order)?;
            let number = serde_json::from_str::<Value>(&meaning.shown).ok();
            Some(((*word).to_owned(), number.unwrap_or(Value::String(meaning.shown))))
        });
        let orders: serde_json::Map<String, Value> = orders.collect();
        if !orders.is_empty() {
            types.insert((*name).to_owned(), Value::Object(orders));
        }
    }
    let ascii = window.words(address, 1).and_then(<[u16]>::first).map(|word| characters(*word));
    json!({ "address": address, "ascii": ascii, "types": types })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::meanings::Answered;
    use super::*;
    use crate::driver::modbus::Read;

    fn round(words: &[u16]) -> Round {
        let count = u16::try_from(words.len()).unwrap() - 2;
        let answered = |address: u16| Answered {
            address,
            words: words[usize::from(address) - 99..][..usize::from(count)].to_vec(),
        };
        let attempt = |address| Attempt { address, outcome: Ok(Duration::from_millis(12)) };
        Round {
            read: Read { unit: 7, table: profile::Table::Input, address: 100, count },
            attempts: [100, 99, 101].map(attempt).into(),
            window: Window { answers: [100, 99, 101].map(answered).into() },
        }
    }

    #[test]
    fn everything_fits_120_columns_and_the_neighbours_are_there() {
        let shown = text(&round(&[0xFFFF, 0x42F6, 0xE666, 0x8000, 0x7FFF, 0x4142, 0x9999, 0xFFFE]));
        for line in shown.lines() {
            assert!(line.chars().count() <= 120, "{} columns: {line}", line.chars().count());
        }
        for address in ["99  30100", "100  30101", "106  30107"] {
            assert!(shown.contains(address), "{address} is missing in\n{shown}");
        }
        let line = shown.lines().find(|line| line.trim_start().starts_with("100  f32")).unwrap();
        assert!(line.contains("*123.45"), "{line}");
        assert!(shown.lines().any(|line| line.trim_start().starts_with("99  f32")), "{shown}");
        assert!(shown.lines().any(|line| line.trim_start().starts_with("101  f64")), "{shown}");
    }

    #[test]
    fn a_refusal_is_said_in_words_with_what_to_try() {
        let read = Read { unit: 1, table: profile::Table::Holding, address: 0, count: 2 };
        let error = Error::Exception { code: 2, what: "illegal data address" };
        let attempts = vec![Attempt { address: 0, outcome: Err(error) }];
        let round = Round { read, attempts, window: Window::default() };
        let shown = text(&round);
        for words in ["illegal data address", "try `--count 1`, or `--table input`"] {
            assert!(shown.contains(words), "{shown}");
        }
        assert_eq!(json(&round)["reads"][0]["reason"], "exception");
    }

    #[test]
    fn addresses_are_called_as_in_manuals() {
        assert_eq!(called(profile::Table::Holding, 0), "40001");
        assert_eq!(called(profile::Table::Input, 9_999), "310000");
        assert_eq!(called(profile::Table::Coil, 12), "00013");
    }
}
