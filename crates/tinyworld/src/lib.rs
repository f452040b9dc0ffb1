//! A small invented world: plain English text to train on, and questions about it, without any download.
//!
//! A [`World`] is made from a seed. It has people with names, homes, jobs, animals; towns, rooms, tools and things;
//! and writers that put them into encyclopedia entries, stories, puzzles, sums, word games and
//! examination papers. [`World::document`] gives the training text, one document per index; [`World::tasks`] gives
//! the [`WorldTask`]s that ask what a model took from it, from word order, which a model picks up in its first minutes, to
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

// Ground: words, random draws, and the form of tasks.
mod draw;
mod lexicon;
mod task;

// Facts of a world, sentences about them, and the items to keep out of the text.
mod english;
mod facts;
mod holdout;

// Writers of text and items.
mod domains;

// Which of them write how much, and the world as a whole.
mod curriculum;
mod world;

pub use holdout::{Holdout, WINDOW};
pub use task::{WorldItem, WorldTask, WorldTaskKind};
pub use world::{World, WorldConfig};
