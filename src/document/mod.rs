//! TOML documents with positions: problems that name file, line and column, show the line and the nearest right key.
//!
//! A file is read into a shape of which every key is optional ([`read`]); each entry that does not fit is noted, cut out
//! and the rest is tried again, so that one reading finds all problems. What is required, and what has to fit together,
//! is checked by the room that knows the meaning, which adds to the same [`Problems`].
//!
//! What a problem shows of a document is masked: see [`Source::masked`].
//!
//! This room knows nothing of what a document is about, and opens no files. Shapes use `deny_unknown_fields` and neither
//! `flatten` nor tagged or untagged enums: with those, serde loses the positions.

mod mask;
mod nearest;
mod problem;
mod read;
mod spanned;
mod values;

pub use nearest::{did_you_mean, nearest};
pub use problem::{Problem, Problems, Severity, Source};
pub use read::{Document, read, read_masked};
pub use spanned::Spanned;
pub use values::{DurationText, Number, Open, Scalar};
