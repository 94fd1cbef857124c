//! Tests of the whole program, one crate: one link step.

#[cfg(test)]
mod tidy;
