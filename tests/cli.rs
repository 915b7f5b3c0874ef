//! The command line does what it says.
#![allow(missing_docs, clippy::unwrap_used, clippy::default_trait_access)]

#[path = "cli/beside.rs"]
mod beside;
#[cfg(unix)]
#[path = "cli/budgets.rs"]
mod budgets;
#[path = "cli/convert.rs"]
mod convert;
#[cfg(unix)]
#[path = "cli/metrics.rs"]
mod metrics;
#[path = "cli/places.rs"]
mod places;
#[path = "cli/proof.rs"]
mod proof;
#[path = "cli/pruned.rs"]
mod pruned;
#[path = "cli/quantized.rs"]
mod quantized;
#[path = "cli/recipes.rs"]
mod recipes;
#[path = "cli/samples.rs"]
mod samples;
#[path = "cli/shown.rs"]
mod shown;
#[path = "cli/stage.rs"]
mod stage;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/written.rs"]
mod written;
