#![doc = include_str!("ARCHITECTURE.md")]

pub mod model;

pub mod document;

pub mod profile;

pub mod config;

pub mod link;

pub mod driver;

pub mod acquire;

pub mod mux;

pub mod runs;

pub mod upload;

pub mod atomscale;

pub mod logfile;

pub mod live;

pub mod web;

pub mod sim;

pub mod server;

pub mod delivery;

pub mod streamer;

pub mod bridge;

pub mod cli;

pub use streamer::TimeseriesStreamer;
