//! The mux: samples of many links aligned onto one time axis.
