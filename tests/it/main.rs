//! Tests of the whole program, one crate: one link step.

mod tidy;
