//! Live: latest values and the state of everything.
