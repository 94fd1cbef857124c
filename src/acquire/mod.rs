//! Acquisition: which instrument is due, one task per link, samples with their time.
