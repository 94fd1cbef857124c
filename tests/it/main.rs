//! Tests of the whole program, one crate: one link step.

#[cfg(test)]
#[cfg(unix)]
mod bridge;
#[cfg(test)]
mod config;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod library;
#[cfg(test)]
mod push;
#[cfg(test)]
mod server;
#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "../shim/mod.rs"]
mod shim;
#[cfg(test)]
#[cfg(unix)]
mod simulated;
#[cfg(test)]
mod streamer;
#[cfg(test)]
mod tidy;
#[cfg(test)]
#[cfg(unix)]
mod traps;
#[cfg(test)]
mod upload;
