//! The lab's TOML file. A [`Config`](self) exists only if it is valid.
