//! A live table: drawn over itself where a person watches, below itself elsewhere.
//!
//! On a terminal it has the alternate screen to itself. Each drawing goes out in one write, moves the cursor home and
//! clears only what the new text leaves over, so nothing flickers; what does not fit is cut. When it ends, the last drawing
//! stays on the ordinary screen.

use std::io::{IsTerminal as _, Write as _};

use super::print;

/// A terminal that does not say how large it is.
const USUAL_SIZE: (usize, usize) = (80, 24);

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Where a live table is drawn. Dropping it gives the terminal back.
#[derive(Debug)]
pub(super) struct Screen {
    watched: bool,
    last: String,
}

impl Screen {
    /// Takes the terminal, if standard output is one.
    pub(super) fn open() -> Self {
        let watched = std::io::stdout().is_terminal();
        if watched {
            write(ENTER);
        }
        Self { watched, last: String::new() }
    }

    /// Columns and rows; none where nobody watches and nothing has to fit.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        self.watched.then(terminal_size)
    }

    /// Shows this instead of what is there.
    pub(super) fn draw(&mut self, text: &str) {
        match self.size() {
            Some(size) => write(&frame(text, size)),
            None => print(format_args!("{text}\n")),
        }
        text.clone_into(&mut self.last);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.watched {
            write(&format!("{LEAVE}{}\n", self.last));
        }
    }
}

/// The bytes that put a text on a screen of this size.
fn frame(text: &str, (columns, rows): (usize, usize)) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(rows);
    let shown = if hidden > 0 { rows.saturating_sub(1) } else { lines.len() };
    let mut frame = String::from("\x1b[H");
    for (number, line) in lines.iter().take(shown).enumerate() {
        if number > 0 {
            frame.push_str("\r\n");
        }
        frame.push_str(&cut(line, columns));
        frame.push_str("\x1b[K");
    }
    if hidden > 0 {
        frame.push_str(&cut(&format!("\r\n… {} more lines; make the window larger", hidden + 1), columns + 2));
        frame.push_str("\x1b[K");
    }
    frame.push_str("\x1b[J");
    frame
}

/// A line that fits, with an ellipsis where it did not.
pub(super) fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let mut kept: String = line.chars().take(columns.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

fn terminal_size() -> (usize, usize) {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout())
        && size.ws_col > 0
        && size.ws_row > 0
    {
        return (size.ws_col.into(), size.ws_row.into());
    }
    USUAL_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_covers_the_old_one_and_fits() {
        assert_eq!(frame("ab\ncdefgh", (4, 5)), "\x1b[Hab\x1b[K\r\ncde…\x1b[K\x1b[J");
        let tall = frame("1\n2\n3\n4\n5", (60, 3));
        assert_eq!(tall, "\x1b[H1\x1b[K\r\n2\x1b[K\r\n… 3 more lines; make the window larger\x1b[K\x1b[J");
        assert!(!tall.contains("\x1b[2J"), "clearing the whole screen flickers");
    }
}
