//! Links: one byte stream to the field each, serial or TCP.
