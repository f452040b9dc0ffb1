//! A small invented world: plain English text to train on, and questions about it, without any download.
//!
//! A [`World`] is made from a seed. It has people with names, homes, jobs, animals; towns, rooms, tools and things;
//! and writers that put them into encyclopedia entries, stories, puzzles, sums, word games and
//! examination papers. [`World::document`] gives the training text, one document per index; [`World::tasks`] gives
//! the [`Task`]s that ask what a model took from it, from word order, which a model picks up in its first minutes, to
//! sums of two-digit numbers, which a small one may never learn.
//!
//! The questions are held out in two ways. Writers draw names, operands and sentences from pools that are divided by a hash
//! between text and questions, and [`Holdout`] turns away any document in which a word sequence of an
//! item would nevertheless stand.
//!
//! How much of each kind is written, and which tasks exist, is one table: `curriculum.rs`. The words are in `lexicon/`, and each module of
//! `domains/` has the writers of one domain together with the tasks about it.
//!
//! This crate knows nothing of tokens, models or scores.

mod curriculum;
mod domains;
mod draw;
mod english;
mod holdout;
mod lexicon;
mod task;
mod world;

pub use holdout::{Holdout, WINDOW};
pub use task::{Item, Kind, Task};
pub use world::{World, WorldConfig};
