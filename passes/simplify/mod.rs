//! What needs no arithmetic: removing, merging and inlining.

pub mod cast_like;
pub mod constant_if;
pub mod dead;
pub mod equal_initializers;
pub mod equal_nodes;
pub mod functions;
pub mod identity;
