//! What the numbers of a run mean: estimates with error bars, differences with p-values, phases of a curve.
//!
//! A probe yields a score for each item. This crate turns such scores into an [`Estimate`] ([`mean`], [`proportion`], [`ratio`]), compares two
//! probes of the same items as a [`PairedDifference`] ([`paired_mean`], [`paired_ratio`], [`paired_binary`]), says what such a comparison could have found
//! ([`minimum_detectable_effect`]), sums up several tasks ([`pooled_mean`], [`combined_estimate`], [`combined_difference`]), keeps many comparisons honest
//! ([`benjamini_hochberg`]), labels where a task stands on its curve ([`phases`]), and says where a measurement lies beside a [`PublishedSeries`]. Items that are not independent of each other are
//! counted for what they are worth: every estimate is told its [`Clusters`]; what is no sum over items has its error from a [`jackknife`].
//!
//! Every function is total: what cannot be known (no items, one item, a NaN among the scores) is `None`, never a number
//! that looks like one. Standard errors here are of *item sampling*; the spread between checkpoints and between
//! seeds is something else, and larger.
//!
//! Deliberately unknown here: tensors, tasks, files, and where the scores came from.

// Distributions, and which items are independent.
mod clusters;
mod distribution;

// One measurement.
mod estimate;
mod jackknife;

// Several measurements.
mod combined;
mod difference;
mod multiple;
mod phase;
mod power;
mod published;

pub use clusters::Clusters;
pub use combined::{WeightedEstimate, combined_difference, combined_estimate, pooled_mean};
pub use difference::{PairedDifference, paired_binary, paired_mean, paired_ratio};
pub use estimate::{Estimate, is_above, mean, proportion, ratio};
pub use jackknife::jackknife;
pub use multiple::benjamini_hochberg;
pub use phase::{Observation, Phase, PhaseRules, phases};
pub use power::{minimum_detectable_effect, minimum_detectable_effect_unpaired};
pub use published::{PublishedBand, PublishedPoint, PublishedSeries, SeriesPosition, parse_published};
