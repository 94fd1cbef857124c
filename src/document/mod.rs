//! TOML documents with positions: problems that name file, line and column, show the line and the nearest right key.
