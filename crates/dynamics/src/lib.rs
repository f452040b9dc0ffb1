//! Statistics of a run: estimates with error bars, differences with p-values, and phases of a curve.
//!
//! A probe yields a score per item. This crate
//!
//! - turns scores into an [`Estimate`]: [`mean`], [`proportion`], [`ratio`], and [`jackknife`] for statistics
//!   that aren't sums over items;
//! - compares two measurements of the same items as a [`PairedDifference`]: [`paired_mean`],
//!   [`paired_ratio`], [`paired_binary`];
//! - computes which differences could have been detected: [`minimum_detectable_effect`];
//! - combines several tasks: [`pooled_mean`], [`combined_estimate`], [`combined_difference`];
//! - corrects for multiple comparisons: [`benjamini_hochberg`];
//! - assigns phases to a task's curve: [`phases`];
//! - compares measurements with a [`PublishedSeries`].
//!
//! Items that aren't independent are grouped into [`Clusters`], which every estimate takes into account.
//!
//! Every function is total: what can't be known (no items, one item, a NaN among the scores) is `None`, never
//! a misleading number. Standard errors are those of *item sampling*. The spread between checkpoints and
//! between seeds is another, larger one.
//!
//! This crate knows nothing of tensors, tasks, files, or the origin of scores.

// Distributions, and the independence of items.
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
