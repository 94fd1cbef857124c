//! The bridge: the only room that knows all the others.
