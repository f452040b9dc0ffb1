//! A small invented world: plain English training text and questions about it, without any download.
//!
//! A [`World`] is derived from a seed. It has people with names, homes, occupations and animals, towns,
//! rooms, tools and things. Writers put them into encyclopedia entries, stories, puzzles, sums, word games
//! and examination papers. [`World::document`] returns the training text, one document per index.
//! [`World::tasks`] returns the [`WorldTask`]s that measure what a model has learned from it. They range from
//! word order, which a model learns in its first minutes, to sums of two-digit numbers, which a small model
//! may never learn.
//!
//! The questions are held out in two ways. Writers draw names, operands and sentences from pools that are
//! divided between text and questions by a hash, and [`Holdout`] rejects every document that nevertheless
//! contains a word sequence of an item.
//!
//! The amounts of each kind of document, and the tasks, are tables in `curriculum.rs`. The words are in
//! `lexicon/`, and each module of `domains/` contains the writers of one domain together with its tasks.
//!
//! This crate doesn't depend on tokens, models or scores.

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
