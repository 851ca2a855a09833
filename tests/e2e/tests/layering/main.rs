//! Holds the workspace to its layers, and its sources to the house style.

#![allow(clippy::unwrap_used)]

mod graph;
mod style;
