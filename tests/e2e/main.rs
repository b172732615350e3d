//! The end-to-end suite: real processes, a real model, real clients.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod agents;
mod api;
mod background;
#[cfg(target_os = "linux")]
mod bad_day;
#[cfg(target_os = "linux")]
mod bad_day_supervisor;
mod broken_models;
mod browser;
mod chaos;
mod clients;
mod cors;
mod cut_off;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod dist;
mod doctor;
mod downloads;
mod errors;
mod figures;
mod fleet;
mod footprint;
mod gateway;
mod hub;
#[cfg(target_os = "linux")]
mod hub_disk;
mod hub_faults;
mod hub_rate;
#[cfg(target_os = "linux")]
mod huge_prompts;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod install;
mod judge;
mod keys;
mod launch;
mod live_providers;
mod login;
mod logs;
mod managed;
mod matrix;
mod prompts;
mod providers;
mod quantize;
mod real_backends;
mod recovery;
mod request_tail;
mod rerank;
mod responses;
mod resumption;
mod scripted;
mod sdk;
mod service;
mod shapes;
mod shutdown;
mod silence;
#[cfg(target_os = "linux")]
mod slow;
mod stated_memory;
mod telemetry;
mod thinking;
mod tracing;
mod vision;
mod web_ui;
