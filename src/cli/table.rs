//! Plain tables for terminals.

use std::fmt;

use super::screen::cut;

/// Rows under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub(super) struct Table {
    headings: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; one that begins with `>` is aligned to the right.
    pub(super) fn new(headings: &[&str]) -> Self {
        let right = headings.iter().map(|heading| heading.starts_with('>')).collect();
        let headings = headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
        Self { headings, right, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The same in at most so many columns, as far as that goes: the widest texts are cut first, numbers never.
    pub(super) fn fitted(mut self, columns: usize) -> Self {
        let mut widths = self.widths();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        while total(&widths) > columns {
            let texts = widths.iter_mut().zip(&self.right).filter(|(width, right)| !**right && **width > NARROWEST);
            let Some((widest, _)) = texts.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
        }
        for row in std::iter::once(&mut self.headings).chain(&mut self.rows) {
            for (cell, width) in row.iter_mut().zip(&widths) {
                *cell = cut(cell, *width);
            }
        }
        self
    }

    fn widths(&self) -> Vec<usize> {
        let all = || std::iter::once(&self.headings).chain(&self.rows);
        let width =
            |column: usize| all().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
        (0..self.headings.len()).map(width).collect()
    }
}

/// Blanks between columns.
const GAP: usize = 2;

/// A text column is not cut below this: less tells nobody anything.
const NARROWEST: usize = 8;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = || std::iter::once(&self.headings).chain(&self.rows);
        let widths = self.widths();
        for (number, row) in all().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let mut line = String::new();
            for (place, ((cell, width), right)) in row.iter().zip(&widths).zip(&self.right).enumerate() {
                if place > 0 {
                    line.push_str(&" ".repeat(GAP));
                }
                line.push_str(&if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
            }
            f.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::live::number;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", ">value"]);
        table.row(["chamber_pressure".to_owned(), number(1.2e-9)]);
        table.row(["T".to_owned(), number(650.5)]);
        assert_eq!(
            table.to_string(),
            "name                 value\nchamber_pressure  1.200e-9\nT                  650.500"
        );
    }

    #[test]
    fn a_table_that_is_too_wide_loses_text_and_no_numbers() {
        let mut table = Table::new(&["name", ">value", "quality"]);
        table.row(["a_channel_with_a_long_name".to_owned(), "1.200e-9".to_owned(), "bad: no_reply".to_owned()]);
        let fitted = table.fitted(36).to_string();
        assert_eq!(fitted.lines().nth(1), Some("a_channel_w…  1.200e-9  bad: no_rep…"));
        assert!(fitted.lines().all(|line| line.chars().count() <= 36), "{fitted}");
    }
}
