//! Simulated instruments that speak the real protocols.
